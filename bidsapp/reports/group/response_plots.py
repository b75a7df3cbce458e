"""Figures of the response over all visits: waterfall, spider and swimmer plots."""

from collections.abc import Collection

import pandas as pd

from bidsapp.lesions import rano_records
from bidsapp.lesions.response import STUDY_RULE
from bidsapp.reports.figures.response import Changes, spider, waterfall
from bidsapp.reports.figures.swimmer import swimmer
from bidsapp.reports.group.plot import Plot
from bidsapp.study.tables import Statistics

_FROM_BASELINE = "change from baseline (%)"
_CHANGES = {
    "panel": "Panel of the figure: volume of a lesion, or sum of diameters of a participant",
    "name": "Participant, or participant and lesion",
    "days": "Days from treatment to the session",
    "change": "Change from baseline, percent",
    "response": "Category at the session: by the volume of the lesion, or RANO-BM",
}


def response_plots(statistics: Statistics, pages: Collection[str]) -> list[Plot]:
    """Plot the changes of volumes and diameters over all visits, and the follow-up of patients.

    Parameters
    ----------
    statistics : Statistics
    pages : collection of str
        Participants with a page, to which labels lead.
    """
    changes = [_volume_changes(statistics.lesion_response)]
    what = "of the volume of each lesion"
    patients = statistics.rano
    if len(patients):
        changes.append(_sum_changes(patients))
        what += " and of the sum of diameters of each patient"
    data = pd.concat([panel.known().assign(panel=panel.title) for panel in changes])
    found = [
        Plot(
            "waterfall",
            waterfall(changes, pages),
            data[list(_CHANGES)],
            _CHANGES,
            f"Change {what} at the last session, in the colour of its response; a short line marks "
            "a smaller value before. Dashed: thresholds of a response and of a progression. A "
            "progression counts from the smallest value, so that its bar may be lower. New "
            "lesions, which have no baseline, are not shown.",
            f"Waterfall plot: change {what} at the last session, in descending order",
        ),
        Plot(
            "spider",
            spider(changes),
            data[list(_CHANGES)],
            _CHANGES,
            f"Change {what} over time, in the colour of the last response; triangles: larger "
            "changes, cut off.",
            f"Spider plot: change {what} over days since treatment",
        ),
    ]
    return [*found, _swimmer(patients, pages)] if patients["days"].notna().any() else found


def _volume_changes(table: pd.DataFrame) -> Changes:
    """Return the changes of the volume of each lesion."""
    lesion = table["lesion"].astype(str)
    frame = pd.DataFrame(
        {
            "name": table["participant_id"].str.removeprefix("sub-") + "·" + lesion,
            "days": table["days"],
            "change": table["volume_from_baseline_percent"],
            "response": table["volume_response"],
        }
    )
    return Changes("Lesions: volume", _FROM_BASELINE, frame, STUDY_RULE)


def _sum_changes(table: pd.DataFrame) -> Changes:
    """Return the changes of the sum of diameters of each patient, 0 at baseline."""
    start = table["diameter_sum_mm"].notna() & (table["response"] == "n/a")
    frame = pd.DataFrame(
        {
            "name": table["participant_id"].str.removeprefix("sub-"),
            "days": table["days"],
            "change": table["from_baseline_percent"].mask(start, 0.0),
            "response": table["response"],
        }
    )
    limits = rano_records.PARTIAL_RESPONSE, rano_records.PROGRESSION
    return Changes("Patients: sum of diameters", _FROM_BASELINE, frame, limits)


def _swimmer(patients: pd.DataFrame, pages: Collection[str]) -> Plot:
    """Plot the follow-up of each patient with the response at each visit."""
    columns = {
        "participant_id": "Participant",
        "days": "Days from treatment to the session",
        "response": "Category by RANO-BM; n/a at baseline",
    }
    data = patients[list(columns)]
    return Plot(
        "swimmer",
        swimmer(data, pages),
        data,
        columns,
        "Follow-up of each patient, with the response by RANO-BM at each session; a bar has the "
        "colour of the response at the session before.",
        "Swimmer plot: a bar per patient over days since treatment, with the response at each "
        "session",
    )
