"""Viewer of the maps of a session on its T1w: a separate page with NiiVue and the images."""

import base64
import gzip
import json
from dataclasses import asdict, dataclass
from functools import partial
from importlib.resources import files

import nibabel as nib
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from bidsapp.bids import outputs
from bidsapp.models.parameters import DISPLAY, MAPPED
from bidsapp.reports.figures.layout import Array
from bidsapp.reports.page.blocks import Page
from bidsapp.reports.page.render import render, script
from bidsapp.reports.participant.records import (
    ParticipantOutputs,
    SessionOutputs,
    Volume,
    load_volume,
)
from bidsapp.reports.participant.slices import grey_window

LEVELS = 250
"""Number of steps between zero and the upper limit of a map, to which values are rounded."""

MARGIN_MM = 10.0
"""Margin around the brain, mm."""


@dataclass(frozen=True)
class Layer:
    """One volume of the viewer: a compressed NIfTI file in base64, and its display settings."""

    name: str
    title: str
    colormap: str
    low: float
    high: float
    decimals: int
    data: str


def viewer_pages(participant: ParticipantOutputs) -> list[Page]:
    """Return the viewer of every session that has maps in the space of its T1w.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    pages : list of Page
        Their volumes are read only when the page is rendered.
    """
    return [
        Page(
            f"{session.stem}_viewer",
            partial(build_viewer, participant, session),
            f"Open the viewer of {session.heading}",
            "maps on the T1w in three orthogonal planes, with the values at the crosshair",
        )
        for session in participant.sessions
        if session.t1w and any(session.map(folder, name) for name, folder in MAPPED.items())
    ]


def build_viewer(participant: ParticipantOutputs, session: SessionOutputs) -> str:
    """Return the viewer of a session.

    Parameters
    ----------
    participant : ParticipantOutputs
    session : SessionOutputs
        With a T1w.

    Returns
    -------
    html : str
        Self-contained.
    """
    assert session.t1w is not None
    anatomy = load_volume(session.t1w)
    labels = session.lesions(anatomy, "anat")
    box = _box(session, anatomy)
    low, high = grey_window(anatomy)
    layers = [Layer("T1w", "T1w", "gray", low, high, 0, _pack_volume(anatomy, box, high))]
    for name, datatype in MAPPED.items():
        path = session.map(datatype, name)
        values = load_volume(path) if path else None
        if values is not None and values.same_grid(anatomy):
            layers.append(_map_layer(name, values, box))
    lesions: list[dict[str, object]] = []
    if labels is not None:
        drawn = Volume(np.where(labels > 0, labels, np.nan), anatomy.affine)
        layers.append(
            Layer("lesions", "Lesions", "actc", 0.5, 8, 0, _pack_volume(drawn, box, LEVELS))
        )
        lesions = [
            {"title": participant.title(n), "mm": _lesion_centre(labels == n, anatomy)}
            for n in (int(n) for n in np.unique(labels) if n > 0)
        ]
    engine = (files("bidsapp") / "data" / "niivue.umd.js").read_text(encoding="utf-8")
    return render(
        "viewer.html.j2",
        title=f"{participant.label}, {session.heading}",
        back=f"../../{participant.label}.html",
        niivue=Markup(engine.replace("</script", "<\\/script")),  # noqa: S704 (ours to ship)
        code=script("viewer.js"),
        layers=_as_json([asdict(layer) for layer in layers]),
        lesions=_as_json(lesions),
    )


def _as_json(value: object) -> Markup:
    """Return JSON for a script element that no text in it can close."""
    return Markup(json.dumps(value).replace("<", "\\u003c"))  # noqa: S704 (no tag is left)


def _map_layer(name: str, values: Volume, box: tuple[slice, ...]) -> Layer:
    """Return the layer of a map, in the unit used in all figures."""
    form = DISPLAY[name]
    shown = Volume(values.data * form.scale, values.affine)
    packed = _pack_volume(shown, box, form.limits[1])
    return Layer(name, form.title, form.colormap, *form.limits, form.digits, packed)


def _box(session: SessionOutputs, anatomy: Volume) -> tuple[slice, ...]:
    """Return the box around the brain with a margin; the whole volume without a mask."""
    path = session.find(outputs.BRAIN_MASK)
    mask = load_volume(path) if path else None
    if mask is None or not mask.same_grid(anatomy) or not mask.data.any():
        return tuple(slice(0, n) for n in anatomy.data.shape)
    where = np.argwhere(mask.data > 0)
    margin = np.ceil(MARGIN_MM / np.array(anatomy.zooms)).astype(int)
    low = np.maximum(where.min(axis=0) - margin, 0)
    high = np.minimum(where.max(axis=0) + 1 + margin, anatomy.data.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _pack_volume(volume: Volume, box: tuple[slice, ...], top: float) -> str:
    """Return a part of a volume as int16, base64-encoded; missing values are far below zero."""
    step = top / LEVELS
    numbers = np.clip(np.rint(volume.data[box] / step), -32000, 32000)
    coded = np.where(np.isfinite(volume.data[box]), numbers, -32768).astype(np.int16)
    affine = volume.affine.copy()
    affine[:3, 3] = volume.affine[:3, :3] @ [s.start for s in box] + volume.affine[:3, 3]
    image = nib.Nifti1Image(coded, affine)
    image.header.set_slope_inter(step, 0)
    return base64.b64encode(gzip.compress(image.to_bytes(), 6, mtime=0)).decode()


def _lesion_centre(inside: NDArray[np.bool_], volume: Volume) -> list[float]:
    """Return the centre of a lesion, mm."""
    centre: Array = np.argwhere(inside).mean(axis=0)
    return [float(x) for x in volume.affine[:3, :3] @ centre + volume.affine[:3, 3]]
