"""The section on the arterial input."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bidsapp.bids import outputs
from bidsapp.errors import FitError
from bidsapp.models.contrast.arrival import find_arrival
from bidsapp.reports.figures.artery import ArterialCurves, arterial_input
from bidsapp.reports.figures.images import Panel
from bidsapp.reports.figures.layout import Array
from bidsapp.reports.page.blocks import Block, Picture, Table
from bidsapp.reports.participant.records import (
    ParticipantOutputs,
    SessionOutputs,
    load_volume,
    read_frame,
    read_json,
)
from bidsapp.reports.participant.slices import (
    crop_panel,
    cut_panel,
    detail_box,
    grey_window,
    lesion_cut,
    turn,
)

_QUANTITIES = {
    "frame_times": "times of the frames",
    "repetition_time": "TR",
    "relaxivity": "relaxivity",
    "haematocrit": "haematocrit",
    "t1_blood": "T1 of blood",
    "t1_tissue": "T1 of tissue",
}
"""Names of the quantities in the sidecar of the arterial input, for readers."""
DETAIL = 36.0
"""Side of the square detail around the voxels, mm."""


def show_arterial_input(participant: ParticipantOutputs) -> list[Block]:
    """Show the arterial input of every session that has one."""
    paths = {session: session.find(outputs.ARTERIAL_INPUT) for session in participant.sessions}
    inputs = {
        session: _read_arterial_input(session, path) for session, path in paths.items() if path
    }
    if not inputs:
        return []
    figure = arterial_input(list(inputs.values()), [session.heading for session in inputs])
    summary = "; ".join(f"{session.name}: {_summary(curve)}" for session, curve in inputs.items())
    alt = f"Arterial concentration over time in {len(inputs)} sessions. {summary}"
    caption = f"{summary}."
    lost = [session.name for session, curve in inputs.items() if curve.arrival is None]
    pictured = any(curve.detail is not None for curve in inputs.values())
    if pictured:
        caption += " Outlined: the averaged voxels, in the slice that contains most of them."
    scaled = [text for session in inputs if (text := _scaling(session))]
    if scaled:
        caption += (
            f" {' '.join(scaled)} Tissue in arterial voxels and inflow lower the measured curve; "
            "the courses of single voxels are as measured."
        )
    if lost:
        caption += f" No bolus arrival was found in {', '.join(lost)}."
    stem = f"{participant.label}_desc-aif"
    picture = Picture(stem, figure, alt, caption, form="png" if pictured else "svg")
    return [picture, *_origins({session: path for session, path in paths.items() if path})]


def _origins(paths: Mapping[SessionOutputs, Path]) -> list[Block]:
    """List where the quantities come from that the data of each session state."""
    rows = [
        [session.name, _QUANTITIES.get(name, name), origin]
        for session, path in paths.items()
        for name, origin in _sidecar(path).get("ValuesFrom", {}).items()
    ]
    columns = ["Session", "Quantity", "From"]
    caption = "Origin of the quantities from which concentrations are calculated"
    return [Table(caption, columns, rows, text=frozenset({1, 2}))] if rows else []


def _summary(curve: ArterialCurves) -> str:
    count = len(curve.voxels)
    voxels = f", {count} voxel{'s' * (count > 1)}" if count else ""
    return f"peak {np.nanmax(curve.blood):.1f} mM in blood{voxels}"


def _scaling(session: SessionOutputs) -> str:
    """Describe how the artery was scaled to the vein, and by how much this lowers parameters."""
    path = session.find(outputs.ARTERIAL_QUALITY)
    quality = read_json(path) if path else {}
    if "VenousScale" not in quality:
        return ""
    scale, error = quality["VenousScale"], quality["VenousScaleStandardError"]
    vein = f"the vein ({quality['VenousVoxels']} voxels), with {scale:.2f} ± {error:.2f} times"
    if quality["BloodShare"] >= 1:
        return f"{session.name}: as measured, since {vein} its area, is the more diluted."
    peak = quality["PeakBlood"] / quality["MeasuredPeakBlood"]
    return (
        f"{session.name}: scaled to {vein} the measured area; the peak is {peak:.2f} times that "
        f"measured. Ktrans and ve are about {_lowering(scale)} lower than unscaled, vp up to "
        f"{_lowering(peak)}."
    )


def _lowering(factor: float) -> str:
    """Return by how much a parameter falls that is inverse to a factor of the arterial input."""
    return f"{100 * (1 - 1 / factor):.0f} %"


def _read_arterial_input(session: SessionOutputs, path: Path) -> ArterialCurves:
    table = read_frame(path)
    time, blood, plasma = (table[name].to_numpy(float) for name in ("time", "blood", "plasma"))
    try:
        arrival = find_arrival(blood, time).time
    except FitError:
        arrival = None
    source = _source(path)
    whole, detail = _pictures(session, source) or (None, None)
    voxels = _voxels(session, source)
    return ArterialCurves(time, blood, plasma, arrival, voxels, whole, detail)


def _source(path: Path) -> str:
    """Return the source of the arterial input: roi, auto, ..., as in the names of voxel files."""
    return str(_sidecar(path).get("Source", ""))


def _sidecar(path: Path) -> Mapping[str, Any]:
    """Return the sidecar of an arterial input; empty if there is none."""
    sidecar = path.with_suffix(".json")
    return read_json(sidecar) if sidecar.exists() else {}


def _voxels(session: SessionOutputs, source: str) -> Array:
    """Return the concentration in each voxel of the artery, (V, N)."""
    path = session.find(outputs.ARTERIAL_CURVES.with_fixed(desc=source))
    if path is None:
        return np.empty((0, 0))
    return read_frame(path).drop(columns="time").to_numpy(float).T


def _pictures(session: SessionOutputs, source: str) -> tuple[Panel, Panel] | None:
    """Return the slice with most of the arterial voxels, and the detail around them."""
    path = session.find(outputs.ARTERIAL_VOXELS.with_fixed(desc=source))
    image = session.find(outputs.MEAN_IMAGE["perf"])
    if path is None or image is None:
        return None
    mask, background = load_volume(path), load_volume(image)
    if not mask.same_grid(background) or not mask.data.any():
        return None
    cut = lesion_cut((mask.data > 0).astype(np.int64), 1, background.slice_axis)
    inside = np.asarray(turn(np.take(mask.data, cut[1], cut[0])) > 0, bool)
    whole = cut_panel(background, cut, grey_window(background))
    box = detail_box(inside, whole.spacing, DETAIL)
    return replace(whole, box=box), crop_panel(replace(whole, outline=inside), box)
