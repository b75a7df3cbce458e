"""The sections of the participant page, described in sections.toml: derivatives -> blocks."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.interpolate import PchipInterpolator

from bidsapp.bids import documents, outputs
from bidsapp.imaging.motion.parameters import DISPLACEMENT
from bidsapp.models import MODELS
from bidsapp.models.parameters import DISPLAY, FOLLOWED
from bidsapp.reports.figures.histograms import histograms
from bidsapp.reports.figures.lesion_curves import Curve, concentration_curves, diffusion_decay
from bidsapp.reports.figures.motion import MotionTrace, motion_traces
from bidsapp.reports.figures.timelines import LesionTimeline, lesion_timeline
from bidsapp.reports.page.blocks import Block, Cell, Picture, Table, Text
from bidsapp.reports.page.numbers import count_of
from bidsapp.reports.participant.artery import show_arterial_input
from bidsapp.reports.participant.changes import show_changes
from bidsapp.reports.participant.dose import show_dose
from bidsapp.reports.participant.dstar import dstar_tables
from bidsapp.reports.participant.followed import show_followed
from bidsapp.reports.participant.image_sections import (
    lesion_values,
    show_maps,
    show_registration,
    show_standard_errors,
)
from bidsapp.reports.participant.model_comparison import noise_levels, show_model_choice
from bidsapp.reports.participant.noise import noise_table
from bidsapp.reports.participant.rating import show_rating
from bidsapp.reports.participant.records import (
    DATATYPES,
    ParticipantOutputs,
    SessionOutputs,
    read_frame,
    read_json,
)
from bidsapp.reports.participant.recovery import show_recovery
from bidsapp.reports.participant.regions import show_regions
from bidsapp.reports.participant.response import show_response
from bidsapp.reports.participant.unmixed import unmixed_tables
from bidsapp.reports.participant.viewer import viewer_pages

TIMELINE = (*FOLLOWED, "volume")
"""Parameters that are plotted over the sessions of a participant."""


def show_sessions(participant: ParticipantOutputs) -> list[Block]:
    """List the sessions and the results in each."""
    rows = []
    for session in participant.sessions:
        lesions = _lesions_of(participant, session)
        rows.append(
            [
                session.name,
                session.day,
                "yes" if session.t1w else "no",
                *("analysed" if session.ran(datatype) else "no result" for datatype in DATATYPES),
                str(len(lesions)) if lesions else "none",
            ]
        )
    columns = ["Session", "Day", "T1w", *DATATYPES.values(), "Lesions"]
    caption = "Available images and results; days are relative to treatment"
    return [Table(caption, columns, rows, text=frozenset({2, 3, 4}))] if rows else []


def _lesions_of(participant: ParticipantOutputs, session: SessionOutputs) -> list[int]:
    table = participant.statistics
    return [] if table.empty else sorted(set(_of_session(table, session)["lesion"]))


def _of_session(table: pd.DataFrame, session: SessionOutputs) -> pd.DataFrame:
    return table[table["session_id"].fillna("").astype(str) == session.label]


def _row(
    participant: ParticipantOutputs, session: SessionOutputs, lesion: int, parameter: str
) -> Mapping[str, float] | None:
    """Return the statistics of a parameter of a lesion in a session, or None."""
    table = participant.statistics
    if table.empty:
        return None
    table = _of_session(table, session)
    table = table[(table["lesion"] == lesion) & (table["parameter"] == parameter)]
    return None if table.empty else {str(k): v for k, v in table.iloc[0].items()}


def show_lesions(participant: ParticipantOutputs) -> list[Block]:
    """Show the parameters of each lesion, a row for each session, and the unmixed values."""
    if participant.statistics.empty:
        return []
    tables = [_lesion_table(participant, lesion) for lesion in participant.lesion_names]
    return [*tables, *unmixed_tables(participant)]


def _lesion_table(participant: ParticipantOutputs, lesion: int) -> Table:
    sessions = participant.sessions
    found = {(s, p): _row(participant, s, lesion, p) for s in sessions for p in DISPLAY}
    shown = [p for p in DISPLAY if any(found[session, p] for session in sessions)]
    rows = [[_when(s), *(_cell(p, found[s, p]) for p in shown)] for s in sessions]
    table = participant.statistics
    marked = pd.to_numeric(table["excluded"], errors="coerce").fillna(0) > 0
    excluded = bool((marked & (table["lesion"] == lesion)).any())
    columns: list[Cell] = ["Session", *((DISPLAY[p].label, DISPLAY[p].unit) for p in shown)]
    badge = "excluded from the group analysis" if excluded else ""
    return Table(participant.title(lesion), columns, rows, badge=badge)


def _when(session: SessionOutputs) -> Cell:
    return session.name if np.isnan(session.days) else (session.name, f"day {session.day}")


def _cell(name: str, row: Mapping[str, float] | None) -> Cell:
    """Return the lines of a cell: mean and SD, median, number of voxels with a value."""
    if row is None:
        return "–"
    text = DISPLAY[name].text
    mean = text(row["mean"])
    if np.isnan(row["n_valid"]):
        return mean
    mean += "" if np.isnan(row["std"]) else f" ± {text(row['std'])}"
    return mean, f"median {text(row['median'])}", f"{row['n_valid']:.0f} of {row['n_voxels']:.0f}"


def show_timeline(participant: ParticipantOutputs) -> list[Block]:
    """Plot the parameters of each lesion over the sessions."""
    names, sessions = participant.lesion_names, participant.sessions
    if participant.statistics.empty or len(sessions) < 2:
        return []
    found = set(participant.statistics.dropna(subset=["mean"])["parameter"])
    shown = [parameter for parameter in TIMELINE if parameter in found]
    series = [[_series(participant, lesion, p) for p in shown] for lesion in names]
    dated = not any(np.isnan(session.days) for session in sessions)
    ticks = [s.day if dated else s.name for s in sessions]
    xlabel = "days since treatment" if dated else "session"
    figure = lesion_timeline(series, [f"Lesion {n}" for n in names], shown, ticks, xlabel)
    alt = f"{len(names)} lesions over {len(sessions)} sessions; the values are in the tables above."
    caption = "Sessions are evenly spaced, regardless of the time between them."
    return [Picture(f"{participant.label}_desc-timeline", figure, alt, caption)]


def _series(participant: ParticipantOutputs, lesion: int, parameter: str) -> LesionTimeline:
    rows = [_row(participant, session, lesion, parameter) for session in participant.sessions]
    keys = ("mean", "p25", "p75", "standard_error")
    values = [[np.nan if row is None else float(row.get(k, np.nan)) for row in rows] for k in keys]
    return LesionTimeline(*(np.array(v) for v in values))


def show_enhancement(participant: ParticipantOutputs) -> list[Block]:
    """Plot the concentration of contrast agent in each lesion over time."""
    return _curve_blocks(participant, "perf", "time", concentration_curves)


def show_diffusion(participant: ParticipantOutputs) -> list[Block]:
    """Plot the diffusion signal of each lesion over b."""
    blocks = _curve_blocks(participant, "dwi", "bvalue", diffusion_decay)
    tables = [*dstar_tables(participant), *noise_table(participant), *noise_levels(participant)]
    return [*blocks, *tables] if blocks else []


def _curve_blocks(
    participant: ParticipantOutputs, datatype: str, x: str, plot: Callable[..., Figure]
) -> list[Block]:
    """Return the figure of lesion curves, lesions by sessions with curves."""
    curves_file = outputs.LESION_CURVES[datatype]
    paths = {session: session.find(curves_file) for session in participant.sessions}
    tables = {session: read_frame(path) for session, path in paths.items() if path}
    names = [
        n for n in participant.lesion_names if any(f"lesion-{n}" in t for t in tables.values())
    ]
    if not names:
        return []
    curves = [[_curve(table, x, lesion) for table in tables.values()] for lesion in names]
    labels = [f"Lesion {lesion}" for lesion in names], [session.heading for session in tables]
    series = DATATYPES[datatype]
    lesions, sessions = count_of(len(names), "lesion"), count_of(len(tables), "session")
    alt = f"{series} curves of {lesions} in {sessions}, with the fit."
    caption = "Points: mean over the lesion. Line: the model fitted to these points."
    return [
        Picture(
            f"{participant.label}_desc-{series.lower()}curves", plot(curves, *labels), alt, caption
        )
    ]


def _curve(table: pd.DataFrame, x: str, lesion: int) -> Curve | None:
    column = f"lesion-{lesion}"
    if column not in table or table[column].isna().all():
        return None
    fitted = f"{column}_fit"
    numbers = {name: table[name].to_numpy(float) for name in (x, column, fitted) if name in table}
    other = f"{column}_biexponential"
    second = _smooth(numbers[x], table[other].to_numpy(float)) if other in table else None
    return Curve(numbers[x], numbers[column], numbers.get(fitted), second)


def _smooth(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a monotone curve through fitted values, for display."""
    known = np.isfinite(y)
    if known.sum() < 2:
        return None
    fine = np.linspace(x.min(), x.max(), 200)
    return fine, PchipInterpolator(x[known], y[known])(fine)


def show_distribution(participant: ParticipantOutputs) -> list[Block]:
    """Plot the distribution of each parameter over the voxels of each lesion."""
    values = lesion_values(participant)
    names = [n for n in participant.lesion_names if any(key[1] == n for key in values)]
    shown = [p for p in TIMELINE if any(key[2] == p for key in values)]
    if not names or not shown:
        return []
    sessions = [s for s in participant.sessions if any(key[0] == s.label for key in values)]
    rows = [[{s.name: values.get((s.label, n, p)) for s in sessions} for p in shown] for n in names]
    figure = histograms(rows, [f"Lesion {n}" for n in names], shown)
    alt = f"Histograms of {', '.join(shown)} in {len(names)} lesions, one line per session."
    return [Picture(f"{participant.label}_desc-distribution", figure, alt, "")]


def show_motion(participant: ParticipantOutputs) -> list[Block]:
    """Plot the motion within every series."""
    blocks: list[Block] = []
    for datatype, name in DATATYPES.items():
        paths = {s: s.find(outputs.MOTION, datatype) for s in participant.sessions}
        traces = {session: _motion(path) for session, path in paths.items() if path}
        if traces:
            figure = motion_traces(
                list(traces.values()), [session.heading for session in traces], DISPLACEMENT
            )
            worst = "; ".join(
                f"{session.name}: {np.nanmax(trace.displacement, initial=0):.2f} mm"
                for session, trace in traces.items()
            )
            stem = f"{participant.label}_desc-{name.lower()}motion"
            caption = f"Maximum framewise displacement: {worst}."
            alt = f"Motion of {name}. {caption}"
            blocks.append(Picture(stem, figure, alt, caption, heading=name))
    return blocks


def _motion(path: Path) -> MotionTrace:
    table = read_frame(path)
    columns = [[f"{kind}_{axis}" for axis in "xyz"] for kind in ("trans", "rot")]
    shifts, turns = (table[names].to_numpy(float) for names in columns)
    outliers = table["outlier"].to_numpy(float) == 1 if "outlier" in table else None
    return MotionTrace(shifts, turns, table["framewise_displacement"].to_numpy(float), outliers)


def show_viewer_links(participant: ParticipantOutputs) -> list[Block]:
    """Link to the viewer of every session."""
    return [*viewer_pages(participant)]


def show_methods(participant: ParticipantOutputs) -> list[Block]:
    """Show the methods text."""
    path = documents.METHODS.path(participant.output_dir)
    return [Text("", path.read_text(encoding="utf-8").strip())] if path.exists() else []


def show_crashes(participant: ParticipantOutputs) -> list[Block]:
    """Show the last lines of each crash file."""
    return [
        Text(
            path.relative_to(participant.folder).as_posix(),
            "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]),
            folded=True,
            href=quote(path.relative_to(participant.output_dir).as_posix()),
        )
        for path in participant.crashes
    ]


def show_provenance(participant: ParticipantOutputs) -> list[Block]:
    """Show the software, inputs and settings of the results."""
    blocks: list[Block] = []
    description = participant.output_dir / "dataset_description.json"
    if description.exists():
        made = read_json(description)
        rows = [
            [g.get("Name", "n/a"), g.get("Version", "n/a"), g.get("CodeURL", "–")]
            for g in made.get("GeneratedBy", [])
        ]
        blocks.append(
            Table("Generated by", ["Software", "Version", "Code"], rows, text=frozenset({1, 2}))
        )
    settings, inputs = (
        kind.find(participant.output_dir, participant=participant.label)
        for kind in (documents.SETTINGS, documents.INPUTS)
    )
    files = [*settings, *inputs[-1:], *_sidecars(participant.sessions)]
    for path in files:
        name = path.relative_to(participant.output_dir).as_posix()
        blocks.append(Text(name, _readable(path), folded=True, href=quote(name)))
    return blocks


def _sidecars(sessions: Sequence[SessionOutputs]) -> list[Path]:
    """Return the sidecar of one map of each model, from the first session that has it."""
    found = []
    for row in MODELS.values():
        first = {"model": row.label, "param": row.parameters[0].name, "desc": ""}
        maps = (outputs.DCE_MAP, outputs.DWI_MAP)
        paths = [p for s in sessions for m in maps for p in s.files(m, extension=".json", **first)]
        found.extend(paths[:1])
    return found


def _readable(path: Path) -> str:
    if path.suffix == ".json":
        return json.dumps(read_json(path), indent=2, ensure_ascii=False, sort_keys=True)
    return path.read_text(encoding="utf-8", errors="replace")


SECTIONS: Mapping[str, Callable[[ParticipantOutputs], list[Block]]] = {
    "overview": show_sessions,
    "followed": show_followed,
    "lesions": show_lesions,
    "rating": show_rating,
    "regions": show_regions,
    "changes": show_changes,
    "response": show_response,
    "dose": show_dose,
    "recovery": show_recovery,
    "timeline": show_timeline,
    "registration": show_registration,
    "viewer": show_viewer_links,
    "maps": show_maps,
    "errors": show_standard_errors,
    "distribution": show_distribution,
    "enhancement": show_enhancement,
    "modelchoice": show_model_choice,
    "arterial": show_arterial_input,
    "diffusion": show_diffusion,
    "motion": show_motion,
    "methods": show_methods,
    "crashes": show_crashes,
    "provenance": show_provenance,
}
"""The function of each section, by its id."""
