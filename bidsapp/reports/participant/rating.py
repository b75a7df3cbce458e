"""The section in which a reader rates each lesion; the page saves what the group level reads."""

from bidsapp.bids import documents
from bidsapp.reports.page.blocks import Block, RatingForm
from bidsapp.reports.participant.records import ParticipantOutputs, read_json
from bidsapp.study.tables.ratings import CHOICES


def show_rating(participant: ParticipantOutputs) -> list[Block]:
    """Return the form for the ratings of the lesions; nothing without lesions."""
    lesions = {number: participant.title(number) for number in participant.lesion_names}
    if not lesions:
        return []
    path = documents.STATUS.path(participant.output_dir, participant=participant.label)
    run = read_json(path).get("run_id", "") if path.exists() else ""
    # Results without a known run are compared with none, so that "repeat" stays in force.
    return [RatingForm(participant.label, str(run or "n/a"), CHOICES, lesions)]
