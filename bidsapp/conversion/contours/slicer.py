"""Segments of a 3D Slicer segmentation, ``.seg.nrrd``, and label maps in NRRD files."""

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidsapp.conversion.contours.drawing import Drawing, Region, VoxelMask
from bidsapp.conversion.contours.label_checks import check_labels
from bidsapp.conversion.optional import load_package
from bidsapp.errors import BadInput
from bidsapp.lesions import as_labels

FORMAT = "NRRD"
_SIGNS = {"left-posterior-superior": (-1, -1, 1), "right-anterior-superior": (1, 1, 1)}
_SHORT = {"lps": "left-posterior-superior", "ras": "right-anterior-superior"}


def read_nrrd(path: Path) -> Drawing:
    """Return the segments of a NRRD file; without names, one region per label.

    Parameters
    ----------
    path
        ``.seg.nrrd`` of 3D Slicer, whose segments may share layers, or a label map.

    Raises
    ------
    BadInput
        If it cannot be read, or its place in space is not stated.
    UsageError
        If pynrrd is not installed.
    """
    nrrd = load_package("nrrd", "NRRD files")
    damaged = (OSError, EOFError, ValueError, TypeError, LookupError, zlib.error, nrrd.NRRDError)
    try:
        data, header = nrrd.read(str(path))
        affine, spatial = _affine(header)
        others = [axis for axis in range(data.ndim) if axis not in spatial]
        layers = np.moveaxis(data, others, range(len(others)))
        labels = as_labels(layers.reshape(-1, *layers.shape[-3:]), path.name)
        segments = _segments(header, labels)
        regions = [_region(n, key, labels[layer] == v, affine) for n, key, layer, v in segments]
    except damaged as error:
        raise BadInput(f"cannot be read as NRRD ({error})") from error
    return Drawing(FORMAT, tuple(regions))


def _region(name: str, key: str, inside: NDArray[np.bool_], affine: NDArray[np.float64]) -> Region:
    """Return a segment as a region."""
    empty = "" if inside.any() else "has no voxels"
    return Region(name, key, None if empty else VoxelMask(inside, affine), empty, empty=bool(empty))


def _segments(
    header: Mapping[str, Any], layers: NDArray[np.int32]
) -> list[tuple[str, str, int, int]]:
    """Return name, key, layer and label of each segment.

    The key is the label; where segments in several layers share labels, ``layer:label``.
    """
    numbers = sorted(int(m[1]) for m in (re.fullmatch(r"Segment(\d+)_ID", k) for k in header) if m)
    if numbers:
        names = [" ".join(str(header.get(f"Segment{n}_Name", "")).split()) for n in numbers]
        places = [
            (int(header.get(f"Segment{n}_Layer", 0)), int(header.get(f"Segment{n}_LabelValue", 1)))
            for n in numbers
        ]
        if len(set(places)) < len(places):
            raise BadInput("two of its segments have the same layer and label; save it again")
        shared = len({label for _, label in places}) < len(places)
        return [
            (name or f"segment {n}", f"{layer}:{label}" if shared else str(label), layer, label)
            for n, name, (layer, label) in zip(numbers, names, places, strict=True)
        ]
    check_labels(layers)
    values = np.unique(layers[layers > 0]).tolist()
    return [(str(value), str(value), 0, value) for value in values]


def _affine(header: Mapping[str, Any]) -> tuple[NDArray[np.float64], list[int]]:
    """Return the affine, RAS, and the axes of the array that are those of space."""
    space = str(header.get("space", "")).lower()
    signs = _SIGNS.get(_SHORT.get(space, space))
    directions, origin = header.get("space directions"), header.get("space origin")
    if signs is None or directions is None or origin is None:
        raise BadInput(
            "its place in space is not stated (space, space directions, space origin); save it "
            "with 3D Slicer as .seg.nrrd"
        )
    rows = [np.full(3, np.nan) if row is None else np.asarray(row, float) for row in directions]
    spatial = [i for i, row in enumerate(rows) if np.isfinite(row).all()]
    if len(spatial) != 3:
        raise BadInput(f"has {len(spatial)} axes in space; three are required")
    affine = np.eye(4)
    affine[:3, :3] = np.array([rows[i] for i in spatial]).T
    affine[:3, 3] = origin
    return np.diag([*signs, 1.0]) @ affine, spatial
