"""The sections of the participant page, described in sections.toml: derivatives -> blocks."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.interpolate import PchipInterpolator

from bidsapp.bids import outputs
from bidsapp.imaging.motion.parameters import DISPLACEMENT
from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.figures.histograms import histograms
from bidsapp.reports.figures.lesion_curves import Curve, concentration_curves, diffusion_decay
from bidsapp.reports.figures.motion import MotionTrace, motion_traces
from bidsapp.reports.page.blocks import Block, Cell, Picture, Table
from bidsapp.reports.page.numbers import count_of
from bidsapp.reports.participant.artery import show_arterial_input
from bidsapp.reports.participant.changes import show_changes
from bidsapp.reports.participant.dose import show_dose
from bidsapp.reports.participant.dstar import dstar_tables
from bidsapp.reports.participant.followed import show_followed
from bidsapp.reports.participant.lesion_panels import lesion_values
from bidsapp.reports.participant.maps import show_maps, show_standard_errors
from bidsapp.reports.participant.model_comparison import noise_levels, show_model_choice
from bidsapp.reports.participant.noise import noise_table
from bidsapp.reports.participant.provenance import show_crashes, show_methods, show_provenance
from bidsapp.reports.participant.rating import show_rating
from bidsapp.reports.participant.records import (
    DATATYPES,
    ParticipantOutputs,
    SessionOutputs,
    read_frame,
    rows_of,
)
from bidsapp.reports.participant.recovery import show_recovery
from bidsapp.reports.participant.regions import show_regions
from bidsapp.reports.participant.registration import show_registration
from bidsapp.reports.participant.response import show_response
from bidsapp.reports.participant.timeline import TIMELINE, show_timeline
from bidsapp.reports.participant.unmixed import unmixed_tables
from bidsapp.reports.participant.viewer import viewer_pages


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
    return [] if table.empty else sorted(set(rows_of(table, session)["lesion"]))


def show_lesions(participant: ParticipantOutputs) -> list[Block]:
    """Show the parameters of each lesion, a row for each session, and the unmixed values."""
    if participant.statistics.empty:
        return []
    tables = [_lesion_table(participant, lesion) for lesion in participant.lesion_names]
    return [*tables, *unmixed_tables(participant)]


def _lesion_table(participant: ParticipantOutputs, lesion: int) -> Table:
    sessions = participant.sessions
    found = {(s, p): participant.values_of(s, lesion, p) for s in sessions for p in DISPLAY}
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
            summary = f"{name}: motion in {count_of(len(traces), 'session')}"
            blocks.append(Picture(stem, figure, alt, caption, summary=summary))
    return blocks


def _motion(path: Path) -> MotionTrace:
    table = read_frame(path)
    columns = [[f"{kind}_{axis}" for axis in "xyz"] for kind in ("trans", "rot")]
    shifts, turns = (table[names].to_numpy(float) for names in columns)
    outliers = table["outlier"].to_numpy(float) == 1 if "outlier" in table else None
    return MotionTrace(shifts, turns, table["framewise_displacement"].to_numpy(float), outliers)


def show_viewer_links(participant: ParticipantOutputs) -> list[Block]:
    """Link to the viewer."""
    return [*viewer_pages(participant)]


SECTIONS: Mapping[str, Callable[[ParticipantOutputs], list[Block]]] = {
    "timeline": show_timeline,
    "maps": show_maps,
    "viewer": show_viewer_links,
    "enhancement": show_enhancement,
    "diffusion": show_diffusion,
    "arterial": show_arterial_input,
    "rating": show_rating,
    "lesions": show_lesions,
    "changes": show_changes,
    "response": show_response,
    "followed": show_followed,
    "dose": show_dose,
    "regions": show_regions,
    "recovery": show_recovery,
    "distribution": show_distribution,
    "registration": show_registration,
    "motion": show_motion,
    "errors": show_standard_errors,
    "modelchoice": show_model_choice,
    "overview": show_sessions,
    "crashes": show_crashes,
    "methods": show_methods,
    "provenance": show_provenance,
}
"""The function of each section, by its id."""
