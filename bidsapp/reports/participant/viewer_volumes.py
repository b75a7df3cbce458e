"""Volumes of the viewer: maps as integers, coarse in the brain and complete near the lesions."""

import base64
import gzip
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.bids import outputs
from bidsapp.imaging.transforms import invert
from bidsapp.models.parameters import DISPLAY, MAPPED
from bidsapp.reports.participant.lesion_panels import brain_mask, lesion_numbers
from bidsapp.reports.participant.records import Array, SessionOutputs, Volume, load_volume
from bidsapp.reports.participant.slices import grey_window

LEVELS = 250
"""Steps of the range of a colour scale: values are rounded to half a step, 0.2 % of the range."""

BRAIN_MARGIN, LESION_MARGIN = 10.0, 5.0
"""Of the boxes around the brain and around each lesion, mm."""

ANATOMY_LEVELS = 100
"""Steps of the grey scale of the T1w, which is rounded to 0.5 % of its range."""

Part = tuple[slice, ...]


@dataclass(frozen=True)
class Stored:
    """A volume as unsigned integers: value = low + (code - 1) * step; code 0 is a missing value.

    ``inverse`` maps points of the T1w in mm to voxels; ``data`` holds the low bytes of all voxels,
    then the high bytes, compressed by gzip, in base64; the first axis is the fastest.
    """

    shape: list[int]
    inverse: list[list[float]]
    low: float
    step: float
    data: str


@dataclass(frozen=True)
class Layer:
    """An image of the viewer: its display, its parts, the most detailed first, and the errors."""

    name: str
    title: str
    unit: str
    colormap: str
    low: float
    high: float
    digits: int
    parts: list[Stored]
    errors: list[Stored] = field(default_factory=list)


def store_volume(volume: Volume, part: Part, low: float, step: float) -> Stored:
    """Store a part of a volume.

    Parameters
    ----------
    volume : Volume
        NaN where there is no value.
    part : tuple of slice
        May have strides.
    low, step : float
        The smallest value that can be stored, and the distance of two values.

    Examples
    --------
    >>> stored = store_volume(Volume(np.eye(2)[..., None], np.eye(4)), (slice(None),) * 3, 0, 0.1)
    >>> gzip.decompress(base64.b64decode(stored.data)).hex()
    '0b01010b00000000'
    """
    data = volume.data[part]
    codes = np.clip(np.rint((data - low) / step) + 1, 1, 2**16 - 1)
    coded = np.where(np.isfinite(data), codes, 0).astype(np.uint16)
    affine = volume.affine.copy()
    starts = [s.indices(n)[0] for s, n in zip(part, volume.data.shape, strict=True)]
    strides = [s.indices(n)[2] for s, n in zip(part, volume.data.shape, strict=True)]
    affine[:3, 3] += affine[:3, :3] @ starts
    affine[:3, :3] = affine[:3, :3] * strides
    flat = coded.ravel(order="F")
    planes = (flat & 255).astype(np.uint8).tobytes() + (flat >> 8).astype(np.uint8).tobytes()
    return Stored(list(data.shape), invert(affine).tolist(), low, step, pack(planes))


def pack(data: bytes) -> str:
    """Return bytes compressed, as text."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode("ascii")


def session_layers(session: SessionOutputs) -> list[Layer]:
    """Return the T1w of a session, its maps with their standard errors, and its lesions.

    Parameters
    ----------
    session : SessionOutputs
        With a T1w.

    Returns
    -------
    layers : list of Layer
        ``T1w`` first, ``lesions`` last if there is any ROI.
    """
    assert session.t1w is not None
    anatomy = load_volume(session.t1w)
    mask = brain_mask(session)
    brain = _brain_box(anatomy, mask)
    labels = session.lesions(anatomy, "anat")
    boxes = [] if labels is None else [
        box_around(labels == n, anatomy, LESION_MARGIN) for n in lesion_numbers(labels)
    ]  # fmt: skip
    low, high = grey_window(anatomy, mask)
    grey = [store_volume(_head(anatomy, mask), brain, 0.0, max(high, 1e-9) / ANATOMY_LEVELS)]
    layers = [Layer("T1w", "T1w", "", "gray", low, high, 0, grey)]
    for name, datatype in MAPPED.items():
        path = session.map(datatype, name)
        values = load_volume(path) if path else None
        if values is not None and values.same_grid(anatomy):
            coarse = _coarse(session, datatype, brain, anatomy)
            layers.append(_map_layer(session, name, values, (coarse, boxes)))
    if labels is not None:
        whole = Volume(np.where(labels > 0, labels, np.nan), anatomy.affine)
        stored = store_volume(whole, brain, 0.0, 1.0)
        layers.append(Layer("lesions", "Lesions", "", "gray", 0, 1, 0, [stored]))
    return layers


def _head(anatomy: Volume, mask: Volume | None) -> Volume:
    """Return the anatomy in and near the brain, at most twice as bright as its grey scale."""
    high = 2 * grey_window(anatomy, mask)[1]
    data = np.clip(anatomy.data, 0, high)
    if mask is not None and mask.same_grid(anatomy) and mask.data.any():
        far = ndimage.distance_transform_edt(mask.data == 0, sampling=mask.zooms) > BRAIN_MARGIN
        data = np.where(far, 0.0, data)
    return Volume(data, anatomy.affine)


def _map_layer(
    session: SessionOutputs, name: str, values: Volume, where: tuple[Part, list[Part]]
) -> Layer:
    """Return a map in the unit in which it is shown, and its standard errors near the lesions."""
    form, (coarse, boxes) = DISPLAY[name], where
    shown = replace(values, data=values.data * form.scale)
    step = (form.limits[1] - form.limits[0]) / LEVELS
    low = _lowest(shown.data, form.limits, step)
    parts = [store_volume(shown, part, low, step) for part in (*boxes, coarse)]
    path = session.map(MAPPED[name], f"{name}_stderr")
    errors: list[Stored] = []
    if path is not None:
        found = load_volume(path)
        scaled = replace(found, data=found.data * form.scale)
        step = DISPLAY[f"{name}_stderr"].limits[1] / LEVELS
        errors = [store_volume(scaled, part, 0.0, step) for part in boxes]
    label = form.label
    return Layer(name, label, form.unit, form.colormap, *form.limits, form.digits, parts, errors)


def _lowest(data: Array, limits: tuple[float, float], step: float) -> float:
    """Return the smallest value that is stored: zero, or a negative multiple of the step."""
    lowest = float(np.nanmin(data, initial=min(0.0, limits[0])))
    return float(np.floor(max(lowest, -(2**15) * step) / step) * step)


def _coarse(session: SessionOutputs, datatype: str, brain: Part, anatomy: Volume) -> Part:
    """Return the brain with as many voxels along the slices of a series as its slices need."""
    path = session.find(outputs.MEAN_IMAGE[datatype])
    if path is None:
        return brain
    native = load_volume(path)
    axis = native.slice_axis
    stride = max(1, int(native.zooms[axis] / anatomy.zooms[axis]))
    return tuple(slice(s.start, s.stop, stride) if i == axis else s for i, s in enumerate(brain))


def _brain_box(anatomy: Volume, mask: Volume | None) -> Part:
    """Return the box around the brain with a margin; the whole volume without a mask."""
    if mask is None or not mask.same_grid(anatomy) or not mask.data.any():
        return tuple(slice(0, n) for n in anatomy.data.shape)
    return box_around(mask.data > 0, anatomy, BRAIN_MARGIN)


def box_around(inside: NDArray[np.bool_], grid: Volume, margin: float) -> Part:
    """Return the box around a region of a grid, with a margin in mm.

    Examples
    --------
    >>> inside = np.zeros((9, 9, 9), bool)
    >>> inside[4, 4, 1] = True
    >>> box_around(inside, Volume(np.zeros((9, 9, 9)), np.eye(4)), 2)
    (slice(2, 7, None), slice(2, 7, None), slice(0, 4, None))
    """
    where = np.argwhere(inside)
    width = np.ceil(margin / np.array(grid.zooms)).astype(int)
    low = np.maximum(where.min(axis=0) - width, 0)
    high = np.minimum(where.max(axis=0) + 1 + width, inside.shape)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def as_records(layers: list[Layer]) -> list[dict[str, Any]]:
    """Return layers for JSON."""
    return [asdict(layer) for layer in layers]
