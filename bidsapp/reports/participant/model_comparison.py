"""Tables on the fitted models: which of them the data support, and the noise level."""

import pandas as pd

from bidsapp.bids import outputs
from bidsapp.models import MODELS
from bidsapp.reports.page.blocks import Block, Cell, Table
from bidsapp.reports.participant.records import ParticipantOutputs, read_json

_TITLES = {row.label: row.title for row in MODELS.values()}


def show_model_choice(participant: ParticipantOutputs) -> list[Block]:
    """Show how well the data of each lesion support each kinetic model."""
    table = participant.choices
    if table.empty:
        return []
    lesions = [n for n in participant.lesion_names if (table["lesion"] == n).any()]
    return [_choice_table(participant, n, table[table["lesion"] == n]) for n in lesions]


def _choice_table(participant: ParticipantOutputs, lesion: int, table: pd.DataFrame) -> Table:
    rows: list[list[Cell]] = []
    for session in participant.sessions:
        for row in table[table["session_id"] == session.label].to_dict("records"):
            delta, weight = f"{row['aicc_delta']:.0f}", f"{row['akaike_weight']:.2f}"
            preferred = f"{row['n_preferred']} of {row['n_compared']}"
            title = _TITLES.get(row["model"], row["model"])
            verdict = "n/a" if pd.isna(row["verdict"]) else row["verdict"]
            rows.append([session.name, title, delta, weight, preferred, verdict])
    columns: list[Cell] = ["Session", "Model", ("ΔAICc", "from the best model"), "Weight",
                           ("Preferred by", "voxels"), "Verdict"]  # fmt: skip
    return Table(participant.title(lesion), columns, rows, text=frozenset({1, 5}))


def noise_levels(participant: ParticipantOutputs) -> list[Block]:
    """Return the table of the noise levels estimated by the diffusion fits."""
    rows: list[list[Cell]] = []
    for session in participant.sessions:
        for row in MODELS.values():
            last = outputs.parameter_map("dwi", row.parameters[-1].name, row.label)
            paths = session.files(last, extension=".json")
            sigma = read_json(paths[0])["Model"]["Parameters"].get("sigma") if paths else None
            if sigma is not None:
                rows.append([session.name, row.title, f"{float(sigma):.3g}"])
    columns: list[Cell] = ["Session", "Model", ("Noise SD", "of one image, in its units")]
    caption = "Noise level estimated from the data by the fit"
    return [Table(caption, columns, rows, text=frozenset({1}))] if rows else []
