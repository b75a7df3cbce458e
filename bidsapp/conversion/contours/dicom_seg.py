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
_SAME = 0.01
"""Largest distance of frames of one slice, mm: positions are rounded."""
_SHIFTED = 0.5
"""Largest shift of frames within their planes, in pixels."""
_REPEATED = 3
"""Number of equal smallest gaps that show the distance of the slices."""


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
        shape = None if empty else mask
        regions.append(Region(name, str(number), shape, empty, empty=bool(empty)))
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
    slices, start, step = _fit_slices(heights, measures)
    row_spacing, column_spacing = (float(v) for v in measures.PixelSpacing)
    first = positions[int(np.argmin(heights))]
    shifts = (positions - first) @ np.stack([along_row, along_column]).T
    if (np.abs(shifts) > _SHIFTED * np.array([column_spacing, row_spacing])).any():
        raise BadInput("its frames are shifted within their planes against one another")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_row * column_spacing, along_column * row_spacing
    affine[:3, 2], affine[:3, 3] = normal * step, first + normal * (start - heights.min())
    return slices, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _fit_slices(
    heights: NDArray[np.float64], measures: Any
) -> tuple[NDArray[np.int_], float, float]:
    """Return the slice of each frame, the position of the first slice, and their distance, mm.

    Slices without voxels may have no frame, so that the distance is the stated one where all gaps
    are multiples of it, or else the smallest gap. A stated thickness, which may be less than the
    distance, is not used where the smallest gap is repeated as in a region of several slices.
    """
    order = np.argsort(heights)
    gaps = np.diff(heights[order], prepend=heights.min())
    apart = gaps[gaps > _SAME]
    smallest = float(apart.min()) if len(apart) else 0.0
    repeated = np.count_nonzero(apart < (1 + _UNEVEN) * smallest + _SAME) >= _REPEATED
    thickness = float(measures.get("SliceThickness") or 0)
    steps = [float(measures.get("SpacingBetweenSlices") or 0), 0 if repeated else thickness]
    steps = [step for step in (*steps, smallest) if step > 0]
    if not steps:
        raise BadInput("the distance of its slices is not stated")
    slices = np.zeros(len(heights), int)
    for step in steps:
        slices[order] = np.cumsum(np.rint(np.where(gaps > _SAME, gaps, 0) / step)).astype(int)
        if not slices.any():
            return slices, float(heights.mean()), step
        fitted, start = np.polyfit(slices, heights, 1)
        worst = np.abs(heights - start - fitted * slices).max()
        if max(worst, abs(fitted - step)) <= _UNEVEN * step:
            return slices, float(start), float(fitted)
    raise BadInput("its frames are not slices at one distance")
