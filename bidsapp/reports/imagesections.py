"""The sections of the participant page that show images: registration and maps."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bidsapp.reports.blocks import Block, Picture
from bidsapp.reports.figures import DISPLAY
from bidsapp.reports.images import Panel, lesion_maps, registration_overlay
from bidsapp.reports.records import (
    Participant,
    Session,
    Volume,
    load_volume,
    read_json,
)
from bidsapp.reports.slices import Cut, crop, detail_box, grey_window, lesion_cut, panel, turn

MAPS = {
    "f": ("dwi", "param-f_dwimap.nii.gz"),
    "D": ("dwi", "param-D_dwimap.nii.gz"),
    "ADC": ("dwi", "ADC.nii.gz"),
    "Ktrans": ("perf", "param-Ktrans_dcemap.nii.gz"),
    "ve": ("perf", "param-ve_dcemap.nii.gz"),
    "vp": ("perf", "param-vp_dcemap.nii.gz"),
}
"""Where each map of the mosaic is."""

REFERENCES = {"dwi": "b0_dwiref.nii.gz", "perf": "mean_dceref.nii.gz"}
"""The average image of each series."""

COLUMNS = ("slice", "T1w", *MAPS)

_HEADINGS = {"T1w": "anatomy"}


def registration(participant: Participant) -> list[Block]:
    """Show every image that was brought onto another, with the edges of that other."""
    blocks: list[Block] = []
    reference = _reference(participant)
    for session in participant.sessions:
        if session.t1w is None:
            continue
        fixed, mask = load_volume(session.t1w), _mask(session)
        for datatype, name in (("dwi", "DWI (b0)"), ("perf", "DCE (mean)")):
            path = session.find(datatype, REFERENCES[datatype], "T1w")
            quality = session.find(datatype, "desc-coreg_quality.json")
            if path:
                title = f"{session.name}: {name} on T1w"
                stem = f"{session.stem}_desc-{datatype}coreg"
                names = "T1w", name
                blocks.append(_overlay(stem, title, fixed, mask, path, quality, names))
        path = session.find("anat", "desc-preproc_T1w.nii.gz", "individual")
        if path and reference is not None and reference.t1w is not None:
            quality = session.find("anat", "desc-longitudinal_quality.json")
            title = f"{session.name}: T1w on the T1w of {reference.name}"
            stem = f"{session.stem}_desc-longitudinal"
            names = reference.name, session.name
            base = load_volume(reference.t1w)
            blocks.append(_overlay(stem, title, base, _mask(reference), path, quality, names))
    return blocks


def _reference(participant: Participant) -> Session | None:
    """Return the session that the others are registered to: the one that is not itself moved."""
    for session in participant.sessions:
        if session.t1w and not session.find("anat", "desc-preproc_T1w.nii.gz", "individual"):
            return session
    return None


def _mask(session: Session) -> Volume | None:
    path = session.find("anat", "desc-brain_mask.nii.gz")
    return load_volume(path) if path else None


def _overlay(
    stem: str,
    title: str,
    fixed: Volume,
    mask: Volume | None,
    moving_path: Path,
    quality: Path | None,
    names: tuple[str, str],
) -> Picture:
    moving = load_volume(moving_path)
    cuts = _overview_cuts(fixed, mask)
    below = [panel(fixed, cut, grey_window(fixed, mask)) for cut in cuts]
    above = [panel(moving, cut, grey_window(moving, mask)) for cut in cuts]
    figure = registration_overlay(below, above, names)
    caption = (
        _in_words(quality) if quality else "The quality of this registration was not recorded."
    )
    alt = f"{title}: three axial, a coronal and a sagittal slice of both. {caption}"
    return Picture(stem, figure, alt, caption, heading=title, form="png")


def _overview_cuts(volume: Volume, mask: Volume | None) -> list[Cut]:
    """Choose three axial slices, a coronal and a sagittal one through the brain."""
    inside = mask.data > 0 if mask is not None and mask.same_grid(volume) else volume.data > 0
    bounds = []
    for axis in range(3):
        where = np.flatnonzero(inside.any(axis=tuple(i for i in range(3) if i != axis)))
        bounds.append((where[0], where[-1]) if len(where) else (0, volume.data.shape[axis] - 1))
    places = [(2, 0.35), (2, 0.55), (2, 0.75), (1, 0.5), (0, 0.4)]
    return [(axis, round(float(np.interp(at, (0, 1), bounds[axis])))) for axis, at in places]


def _in_words(path: Path) -> str:
    """Say a registration's numbers."""
    quality = read_json(path)
    said = [
        ("translation_mm", "moved by {:.1f} mm"),
        ("rotation_degrees", "turned by {:.1f}°"),
        ("determinant", "volume scaled by {:.3f}"),
        ("overlap", "brains overlap by {:.2f}"),
        ("cost", "cost {:.3f}"),
    ]
    words = [form.format(float(quality[k])) for k, form in said if quality.get(k) is not None]
    names = [str(quality[k]) for k in ("metric", "engine") if quality.get(k)]
    text = ", ".join(words) + (f" ({', '.join(names)})" if names else "") + "."
    return text[:1].upper() + text[1:]


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
        title = f"Lesion {lesion}"
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
