"""The sections of the participant page that show images: registration and maps."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bidsapp.reports.blocks import Block, Cell, Picture, Table
from bidsapp.reports.figures import DISPLAY
from bidsapp.reports.images import Panel, lesion_maps, registration_overlay
from bidsapp.reports.records import (
    DATATYPES,
    Participant,
    Session,
    Volume,
    load_volume,
    read_json,
)
from bidsapp.reports.slices import (
    Cut,
    brain_box,
    crop,
    detail_box,
    grey_window,
    lesion_cut,
    panel,
    turn,
)

MAPS = {
    "f": ("dwi", "param-f_dwimap.nii.gz"),
    "D": ("dwi", "param-D_dwimap.nii.gz"),
    "ADC": ("dwi", "ADC.nii.gz"),
    "Ktrans": ("perf", "param-Ktrans_dcemap.nii.gz"),
    "ve": ("perf", "param-ve_dcemap.nii.gz"),
    "vp": ("perf", "param-vp_dcemap.nii.gz"),
    "Fp": ("perf", "param-Fp_dcemap.nii.gz"),
    "PS": ("perf", "param-PS_dcemap.nii.gz"),
    "delay": ("perf", "param-delay_dcemap.nii.gz"),
}
"""Where each map of the mosaic is."""

REFERENCES = {"dwi": "desc-b0_dwiref.nii.gz", "perf": "desc-mean_dceref.nii.gz"}
"""The average image of each series."""

COLUMNS = ("slice", "T1w", *MAPS)

_QUALITY: dict[Cell, tuple[str, int]] = {
    ("Moved", "mm"): ("translation_mm", 1),
    ("Turned", "°"): ("rotation_degrees", 1),
    ("Scaled", "volume ratio"): ("determinant", 3),
    ("In view", "share of brain"): ("overlap", 2),
    ("Expected error", "mm"): ("expected_error_mm", 2),
    ("Cost", "lower is better"): ("cost", 3),
}
"""A registration's numbers: heading -> key and decimals."""

_HEADINGS = {"T1w": "anatomy"}


@dataclass(frozen=True)
class Onto:
    """An image that was brought onto another, and the file that says how well."""

    session: Session
    name: str
    image: Path
    quality: Path | None


def registration(participant: Participant) -> list[Block]:
    """Show every image that was brought onto another, with the edges of that other."""
    reference = _reference(participant)
    if reference is None:
        return []
    groups = [(session, _series_onto(session)) for session in participant.sessions]
    groups.append((reference, _sessions_onto(participant)))
    done = [(fixed, moving) for fixed, moving in groups if moving]
    table = _quality_table([onto for _, moving in done for onto in moving])
    return [table, *(_overlay(fixed, moving) for fixed, moving in done)] if done else []


def _series_onto(session: Session) -> list[Onto]:
    """Return the series on the session's T1w."""
    found = []
    for datatype, name in DATATYPES.items():
        path = session.find(datatype, REFERENCES[datatype], "T1w") if session.t1w else None
        if path:
            quality = session.find(datatype, "desc-coreg_quality.json")
            found.append(Onto(session, name, path, quality))
    return found


def _sessions_onto(participant: Participant) -> list[Onto]:
    """Return the sessions' T1w on the reference."""
    found = []
    for session in participant.sessions:
        path = session.find("anat", "desc-preproc_T1w.nii.gz", "individual")
        if path:
            quality = session.find("anat", "desc-longitudinal_quality.json")
            found.append(Onto(session, "T1w", path, quality))
    return found


def _reference(participant: Participant) -> Session | None:
    """Return the session that the others are registered to: the one that is not itself moved."""
    for session in participant.sessions:
        if session.t1w and not session.find("anat", "desc-preproc_T1w.nii.gz", "individual"):
            return session
    return None


def _mask(session: Session) -> Volume | None:
    path = session.find("anat", "desc-brain_mask.nii.gz")
    return load_volume(path) if path else None


def _overlay(fixed: Session, moving: list[Onto]) -> Picture:
    """Show images on the T1w of a session."""
    assert fixed.t1w is not None
    grid, mask = load_volume(fixed.t1w), _mask(fixed)
    cuts = _overview_cuts(grid, mask)
    volumes = [grid, *(load_volume(onto.image) for onto in moving)]
    rows = [[panel(v, cut, grey_window(v, mask)) for cut in cuts] for v in volumes]
    if mask is not None:
        brains = [np.asarray(turn(np.take(mask.data > 0, i, axis)), bool) for axis, i in cuts]
        rows[0] = [replace(p, outline=brain) for p, brain in zip(rows[0], brains, strict=True)]
        frames = [brain_box(mask, axis) for axis, _ in cuts]
        rows = [[crop(p, box) for p, box in zip(row, frames, strict=True)] for row in rows]
    between = moving[0].name == "T1w"
    names = [onto.session.name if between else onto.name for onto in moving]
    figure = registration_overlay(rows, [fixed.name if between else "T1w", *names])
    title = f"{fixed.name}: {' and '.join(names)} on the T1w"
    if between:
        title = f"{', '.join(names)}: T1w on that of {fixed.name}"
    stem = f"{fixed.stem}_desc-{'longitudinal' if between else 'coreg'}"
    alt = f"{title}: three axial, a coronal and a sagittal slice of each."
    return Picture(stem, figure, alt, "", heading=title, form="png")


def _overview_cuts(volume: Volume, mask: Volume | None) -> list[Cut]:
    """Choose three axial slices, a coronal and a sagittal one through the brain."""
    inside = mask.data > 0 if mask is not None and mask.same_grid(volume) else volume.data > 0
    bounds = []
    for axis in range(3):
        where = np.flatnonzero(inside.any(axis=tuple(i for i in range(3) if i != axis)))
        bounds.append((where[0], where[-1]) if len(where) else (0, volume.data.shape[axis] - 1))
    places = [(2, 0.35), (2, 0.55), (2, 0.75), (1, 0.5), (0, 0.4)]
    return [(axis, round(float(np.interp(at, (0, 1), bounds[axis])))) for axis, at in places]


def _quality_table(moving: list[Onto]) -> Table:
    """Tabulate what each registration did, and how it ended."""
    rows = []
    for onto in moving:
        quality = read_json(onto.quality) if onto.quality else {}
        numbers = [
            f"{float(quality[key]):.{digits}f}" if quality.get(key) is not None else "not recorded"
            for key, digits in _QUALITY.values()
        ]
        method = ", ".join(str(quality[k]) for k in ("metric", "engine") if quality.get(k))
        rows.append([f"{onto.session.name}: {onto.name}", *numbers, method or "not recorded"])
    caption = "What each registration did to the image"
    text = frozenset({len(_QUALITY) + 1})
    return Table(caption, ["Image", *_QUALITY, "Metric and engine"], rows, text=text)


def maps(participant: Participant) -> list[Block]:
    """Show each lesion's maps, a row per session."""
    rows = {session: _session_panels(session) for session in participant.sessions}
    blocks: list[Block] = []
    for lesion in participant.lesion_names:
        seen = {session: panels[lesion] for session, panels in rows.items() if lesion in panels}
        if not seen:
            continue
        columns = [c for c in COLUMNS if any(c in panels for panels in seen.values())]
        figure = lesion_maps(
            [[panels.get(c) for c in columns] for panels in seen.values()],
            [session.name for session in seen],
            [_HEADINGS.get(c, c) for c in columns],
        )
        shown = ", ".join(c for c in columns if c in DISPLAY) or "no maps"
        title = participant.title(lesion)
        alt = f"{title} in {', '.join(s.name for s in seen)}: anatomy and {shown}."
        gone = [s.name for s in participant.sessions if s not in seen]
        caption = f"No outline of this lesion in: {', '.join(gone)}." if gone else ""
        stem = f"{participant.label}_desc-lesion{lesion}maps"
        blocks.append(Picture(stem, figure, alt, caption, heading=title, form="png"))
    return blocks


def _session_panels(session: Session) -> dict[int, dict[str, Panel]]:
    """Cut the panels of every lesion in a session; each map is loaded once."""
    if session.t1w is not None:
        return _grid_panels(session, session.t1w, list(MAPS), "anat")
    panels: dict[int, dict[str, Panel]] = {}
    for datatype, reference in REFERENCES.items():
        names = [name for name, (folder, _) in MAPS.items() if folder == datatype]
        path = session.find(datatype, reference) or session.find(datatype, MAPS[names[0]][1])
        if path is not None:
            for lesion, found in _grid_panels(session, path, names, datatype).items():
                panels[lesion] = found | panels.get(lesion, {})
    return panels


def _grid_panels(
    session: Session, anatomy: Path, names: list[str], datatype: str
) -> dict[int, dict[str, Panel]]:
    """Cut the lesions drawn on one grid out of its anatomy and its maps."""
    background = load_volume(anatomy)
    labels = session.lesions(background, datatype)
    if labels is None:
        return {}
    window, axis = grey_window(background, _mask(session)), background.slice_axis
    panels: dict[int, dict[str, Panel]] = {}
    frames = {}
    for lesion in (int(n) for n in np.unique(labels) if n > 0):
        cut = lesion_cut(labels, lesion, axis)
        outline = np.asarray(turn(np.take(labels, cut[1], axis) == lesion), bool)
        whole = replace(panel(background, cut, window), outline=outline)
        box = detail_box(outline, whole.spacing)
        panels[lesion] = {"slice": replace(whole, box=box), "T1w": crop(whole, box)}
        frames[lesion] = whole, cut, box
    for name in names:
        path = session.image(*MAPS[name])
        values = load_volume(path) if path else None
        if values is None or not values.same_grid(background):
            continue
        for lesion, (whole, (_, index), box) in frames.items():
            plane = np.asarray(turn(np.take(values.data, index, axis)), float)
            panels[lesion][name] = crop(replace(whole, values=plane), box)
    return panels
