"""Segments of a DICOM segmentation object."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidsapp.conversion.contours.drawing import Drawing, Region, VoxelMask
from bidsapp.conversion.contours.references import image_series
from bidsapp.errors import BadInput

FORMAT = "DICOM SEG"
_UNEVEN = 0.05
"""Largest distance of a frame from the even grid of slices, relative to their distance."""


def read_segmentation(dataset: Any) -> Drawing:
    """Return the segments of a segmentation: binary, fractional or label map.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Of SOP class Segmentation Storage or Label Map Segmentation Storage.

    Returns
    -------
    Drawing
        All segments on one grid. A fractional segment is where it reaches one half.

    Raises
    ------
    BadInput
        If its frames are not slices of one even grid.
    """
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    if not frames:
        raise BadInput("has no frames")
    orientations = [_group(f, shared, "PlaneOrientationSequence") for f in frames]
    directions = np.array([o.ImageOrientationPatient for o in orientations], float)
    if np.abs(directions - directions[0]).max() > 1e-3:
        raise BadInput("its frames have different orientations")
    positions = np.array(
        [_group(f, shared, "PlanePositionSequence").ImagePositionPatient for f in frames], float
    )
    slices, affine = _grid(
        positions, directions[0], _group(frames[0], shared, "PixelMeasuresSequence")
    )
    pixels = np.asarray(dataset.pixel_array)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    kind = str(dataset.get("SegmentationType") or "BINARY")
    half = float(dataset.get("MaximumFractionalValue") or 1) / 2 if kind == "FRACTIONAL" else 0.5
    numbers = _numbers(frames, shared, kind)
    regions = []
    for segment in dataset.SegmentSequence:
        number = int(segment.SegmentNumber)
        inside = np.zeros((int(slices.max()) + 1, *pixels.shape[1:]), bool)
        for frame, plane, own in zip(pixels, slices, numbers, strict=True):
            if own == number or own is None:
                inside[plane] |= frame == number if own is None else frame >= half
        # Pixels are stored by row and column; the voxels of an image by column, row and slice.
        mask = VoxelMask(inside.transpose(2, 1, 0), affine)
        name = " ".join(str(segment.get("SegmentLabel") or "").split()) or f"segment {number}"
        empty = "" if inside.any() else "has no voxels"
        regions.append(Region(name, str(number), None if empty else mask, empty))
    images = tuple(
        image_series(series, "ReferencedInstanceSequence")
        for series in dataset.get("ReferencedSeriesSequence") or ()
    )
    frame_of_reference = str(dataset.get("FrameOfReferenceUID") or "")
    return Drawing(FORMAT, tuple(regions), frame_of_reference, images)


def _group(frame: Any, shared: Any, name: str) -> Any:
    """Return a functional group of a frame: its own, or the one that all frames share."""
    found = frame.get(name) or shared.get(name)
    if not found:
        raise BadInput(f"{name} is missing, which places its frames in space")
    return found[0]


def _numbers(frames: Iterable[Any], shared: Any, kind: str) -> list[int | None]:
    """Return the segment of each frame; None where the pixels state it."""
    if kind == "LABELMAP":
        return [None for _ in frames]
    found = [_group(frame, shared, "SegmentIdentificationSequence") for frame in frames]
    return [int(one.ReferencedSegmentNumber) for one in found]


def _grid(
    positions: NDArray[np.float64], directions: Sequence[float], measures: Any
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Return the slice of each frame, and the affine of the slices, RAS."""
    along_row, along_column = np.asarray(directions[:3], float), np.asarray(directions[3:], float)
    normal = np.cross(along_row, along_column)
    heights = positions @ normal
    distinct = np.unique(np.round(heights, 3))
    gaps = np.diff(distinct)
    stated = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    step = float(gaps.min()) if len(gaps) else float(stated or 0)
    if not step > 0:
        raise BadInput("the distance of its slices is not stated")
    places = (heights - heights.min()) / step
    slices = np.rint(places).astype(int)
    if np.abs(places - slices).max() > _UNEVEN * max(1, slices.max()):
        raise BadInput("its frames are not slices at one distance")
    row_spacing, column_spacing = (float(v) for v in measures.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * column_spacing, along_column * row_spacing
    affine[:3, 2], affine[:3, 3] = normal * step, positions[int(np.argmin(heights))]
    return slices, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
