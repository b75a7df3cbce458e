"""The section on registration: images on the T1w, transforms, quality, and distortion."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bidsapp.bids import outputs
from bidsapp.reports.figures.images import registration_overlay
from bidsapp.reports.page.blocks import Block, Cell, Fold, Picture, Table
from bidsapp.reports.participant.movement import build_flicker, describe_transform
from bidsapp.reports.participant.records import (
    DATATYPES,
    ParticipantOutputs,
    SessionOutputs,
    Volume,
    load_volume,
    read_json,
)
from bidsapp.reports.participant.slices import (
    Cut,
    brain_box,
    crop_panel,
    cut_panel,
    grey_window,
    turn,
)

_QUALITY: dict[Cell, tuple[str, int]] = {
    ("Translation", "mm"): ("translation_mm", 1),
    ("Rotation", "°"): ("rotation_degrees", 1),
    ("Scaling", "volume ratio"): ("determinant", 3),
    ("In field of view", "fraction of brain"): ("overlap", 2),
    ("Expected error", "mm"): ("expected_error_mm", 2),
    ("Cost", "lower is better"): ("cost", 3),
}
"""Quality measures of a registration: heading -> key and decimals."""

_DISTORTION: dict[Cell, tuple[str, int]] = {
    ("Mean shift", "mm"): ("mean_abs_shift_mm", 2),
    ("Maximum shift", "mm"): ("max_abs_shift_mm", 1),
    ("Smallest stretch", "length ratio"): ("least_jacobian", 2),
    ("Largest stretch", "length ratio"): ("largest_jacobian", 2),
}
"""Measures of a distortion: heading -> key and decimals."""


@dataclass(frozen=True)
class RegisteredImage:
    """An image registered to another, and the file with the quality of the registration."""

    session: SessionOutputs
    name: str
    image: Path
    quality: Path | None
    acquired: Path | None = None
    transform: Path | None = None


def show_registration(participant: ParticipantOutputs) -> list[Block]:
    """Show every registered image with the edges of the fixed image."""
    reference = _reference(participant)
    if reference is None:
        return []
    groups = [(session, _series_onto(session)) for session in participant.sessions]
    groups.append((reference, _sessions_onto(participant)))
    done = [(fixed, moving) for fixed, moving in groups if moving]
    if not done:
        return []
    blocks: list[Block] = [
        _quality_table([onto for _, moving in done for onto in moving], participant),
        _words_table(done),
        *_distortion_table(participant),
    ]
    return [*blocks, *(_overlay(fixed, moving) for fixed, moving in done)]


def _series_onto(session: SessionOutputs) -> list[RegisteredImage]:
    """Return the series registered to the session's T1w."""
    found = []
    for datatype, name in DATATYPES.items():
        image = outputs.MEAN_IMAGE[datatype]
        path = session.find(image, space="T1w") if session.t1w else None
        if path:
            quality = session.find(outputs.TO_T1W_QUALITY, datatype)
            acquired = session.find(image)
            kind = "dwi" if datatype == "dwi" else "dce"
            transform = outputs.TO_T1W.with_fixed(from_=kind, to="T1w")
            moved = session.find(transform, datatype)
            found.append(RegisteredImage(session, name, path, quality, acquired, moved))
    return found


def _sessions_onto(participant: ParticipantOutputs) -> list[RegisteredImage]:
    """Return the T1w images registered to that of the reference session."""
    found = []
    for session in participant.sessions:
        path = session.find(outputs.T1W, space="individual")
        if path:
            quality = session.find(outputs.TO_BASELINE_QUALITY)
            moved = session.find(outputs.TO_BASELINE.with_fixed(from_="T1w", to="individual"))
            found.append(RegisteredImage(session, "T1w", path, quality, session.t1w, moved))
    return found


def _reference(participant: ParticipantOutputs) -> SessionOutputs | None:
    """Return the session to which the others are registered, which is not itself registered."""
    for session in participant.sessions:
        if session.t1w and not session.find(outputs.T1W, space="individual"):
            return session
    return None


def _mask(session: SessionOutputs) -> Volume | None:
    path = session.find(outputs.BRAIN_MASK)
    return load_volume(path) if path else None


def _overlay(fixed: SessionOutputs, moving: list[RegisteredImage]) -> Fold:
    """Show images registered to the T1w of a session, with its edges and alternating with it."""
    assert fixed.t1w is not None
    grid, mask = load_volume(fixed.t1w), _mask(fixed)
    cuts = _overview_cuts(grid, mask)
    volumes = [grid, *(load_volume(onto.image) for onto in moving)]
    rows = [[cut_panel(v, cut, grey_window(v, mask)) for cut in cuts] for v in volumes]
    frames = None
    if mask is not None:
        brains = [np.asarray(turn(np.take(mask.data > 0, i, axis)), bool) for axis, i in cuts]
        rows[0] = [replace(p, outline=brain) for p, brain in zip(rows[0], brains, strict=True)]
        frames = [brain_box(mask, axis) for axis, _ in cuts]
        rows = [[crop_panel(p, box) for p, box in zip(row, frames, strict=True)] for row in rows]
    between = moving[0].name == "T1w"
    names = [onto.session.name if between else onto.name for onto in moving]
    figure = registration_overlay(rows, [fixed.name if between else "T1w", *names])
    title = f"{fixed.name}: {' and '.join(names)} on the T1w"
    if between:
        title = f"{', '.join(names)}: T1w on the T1w of {fixed.name}"
    stem = f"{fixed.stem}_desc-{'longitudinal' if between else 'coreg'}"
    alt = f"{title}: three axial, one coronal and one sagittal slice of each image."
    blocks: list[Block] = [Picture(stem, figure, alt, "", form="jpeg")]
    for onto, name, row in zip(moving, names, rows[1:], strict=True):
        if onto.acquired:
            blocks.append(
                build_flicker(
                    f"{stem}_{name}",
                    f"{onto.session.name}: {onto.name} before and after registration",
                    rows[0],
                    row,
                    load_volume(onto.acquired),
                    (grid, cuts, frames),
                    (f"T1w of {fixed.name}", f"{onto.name} of {onto.session.name}"),
                )
            )
    return Fold(title, blocks)


def _overview_cuts(volume: Volume, mask: Volume | None) -> list[Cut]:
    """Return three axial slices, one coronal and one sagittal slice through the brain."""
    inside = mask.data > 0 if mask is not None and mask.same_grid(volume) else volume.data > 0
    bounds = []
    for axis in range(3):
        where = np.flatnonzero(inside.any(axis=tuple(i for i in range(3) if i != axis)))
        bounds.append((where[0], where[-1]) if len(where) else (0, volume.data.shape[axis] - 1))
    places = [(2, 0.35), (2, 0.55), (2, 0.75), (1, 0.5), (0, 0.4)]
    return [(axis, round(float(np.interp(at, (0, 1), bounds[axis])))) for axis, at in places]


def _flip_angle_qualities(participant: ParticipantOutputs) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and quality of the registration of each image at one flip angle to the DCE."""
    for session in participant.sessions:
        path = session.find(outputs.T1_QUALITY)
        found = read_json(path).get("Registration", {}) if path else {}
        for name, image in found.get("Images", {}).items():
            short = name.partition(".")[0].removeprefix(f"{session.stem}_")
            used = "" if image["applied"] else " (not applied)"
            method = {"metric": found["Metric"], "engine": found["Engine"]}
            yield f"{session.name}: {short} on the DCE{used}", {**image, **method}


def _quality_table(moving: list[RegisteredImage], participant: ParticipantOutputs) -> Table:
    """Return the table of the quality measures of each registration."""
    rows = []
    named = [
        (f"{onto.session.name}: {onto.name}", read_json(onto.quality) if onto.quality else {})
        for onto in moving
    ]
    for name, quality in [*named, *_flip_angle_qualities(participant)]:
        numbers = [
            f"{float(quality[key]):.{digits}f}" if quality.get(key) is not None else "not recorded"
            for key, digits in _QUALITY.values()
        ]
        method = ", ".join(str(quality[k]) for k in ("metric", "engine") if quality.get(k))
        rows.append([name, *numbers, method or "not recorded"])
    caption = "Transform and quality of each registration"
    text = frozenset({len(_QUALITY) + 1})
    return Table(caption, ["Image", *_QUALITY, "Metric and engine"], rows, text=text)


def _words_table(groups: list[tuple[SessionOutputs, list[RegisteredImage]]]) -> Table:
    """Return the table that describes the displacement of each image in words."""
    rows: list[list[Cell]] = []
    for fixed, moving in groups:
        mask = _mask(fixed)
        inside = np.argwhere(mask.data > 0) if mask is not None else np.zeros((1, 3))
        centre = inside.mean(axis=0)
        affine = mask.affine if mask is not None else np.eye(4)
        middle = affine[:3, :3] @ centre + affine[:3, 3]
        for onto in moving:
            words = describe_transform(onto.transform, middle) if onto.transform else "not recorded"
            rows.append([f"{onto.session.name}: {onto.name}", words])
    caption = "Displacement of each image at the centre of the brain (patient's left and right)"
    return Table(caption, ["Image", "Displacement"], rows, text=frozenset({1}))


def _distortion_table(participant: ParticipantOutputs) -> list[Table]:
    """Return the table of the EPI distortion of the brain, if it was corrected."""
    rows: list[list[Cell]] = []
    for session in participant.sessions:
        path = session.find(outputs.SHIFT_SUMMARY)
        content = read_json(path) if path else {}
        if content:
            numbers = [f"{float(content[key]):.{digits}f}" for key, digits in _DISTORTION.values()]
            rows.append([session.name, *numbers, content["method"]])
    caption = "Corrected EPI distortion of the DWI, in the brain"
    text = frozenset({len(_DISTORTION) + 1})
    return [Table(caption, ["Session", *_DISTORTION, "Method"], rows, text=text)] if rows else []
