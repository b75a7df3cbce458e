"""Slices of volumes in radiological convention: the patient's right is on the left."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidsapp.reports.figures.images import Panel
from bidsapp.reports.participant.records import Volume

DETAIL = 60.0
"""Side of the square detail around a lesion, mm; larger if the lesion requires it."""

MARGIN = 8.0
"""Smallest margin around a lesion or the brain, mm."""

PanelBox = tuple[int, int, int, int]
Cut = tuple[int, int]
"""An axis and the index of a slice along it."""


def grey_window(volume: Volume, mask: Volume | None = None) -> tuple[float, float]:
    """Return grey-scale limits that show the tissue: percentiles 1 and 99.5 inside the mask.

    Parameters
    ----------
    volume : Volume
    mask : Volume, optional
        On the same grid; default: all voxels above zero.

    Returns
    -------
    low, high : float

    Examples
    --------
    >>> grey_window(Volume(np.zeros((2, 2, 2)), np.eye(4)))
    (0.0, 1.0)
    """
    inside = mask.data > 0 if mask is not None and mask.same_grid(volume) else volume.data > 0
    tissue = volume.data[inside & np.isfinite(volume.data)]
    if tissue.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(tissue, (1, 99.5))
    return float(low), float(max(high, low + 1e-9))


def turn(plane: NDArray[Any]) -> NDArray[Any]:
    """Orient a slice of a right-anterior-superior volume for radiological display.

    Parameters
    ----------
    plane : (M, N) array

    Returns
    -------
    plane : (N, M) array

    Examples
    --------
    >>> turn(np.array([[1, 2], [3, 4]]))
    array([[4, 2],
           [3, 1]])
    """
    return plane.T[::-1, ::-1]


def spacing(volume: Volume, axis: int) -> tuple[float, float]:
    """Return the size of a row and a column of the displayed slices along an axis, mm.

    Parameters
    ----------
    volume : Volume
    axis : int

    Returns
    -------
    row, column : float

    Examples
    --------
    >>> spacing(Volume(np.zeros((2, 2, 2)), np.diag([1.0, 2, 3, 1])), 0)
    (3.0, 2.0)
    """
    column, row = (size for i, size in enumerate(volume.zooms) if i != axis)
    return row, column


def cut_panel(volume: Volume, cut: Cut, window: tuple[float, float]) -> Panel:
    """Return a slice of a volume for display.

    Parameters
    ----------
    volume : Volume
    cut : (int, int)
        Axis and index.
    window : (float, float)
        Grey limits.

    Returns
    -------
    panel : Panel

    Examples
    --------
    >>> cut_panel(Volume(np.zeros((2, 3, 4)), np.eye(4)), (2, 0), (0, 1)).background.shape
    (3, 2)
    """
    axis, index = cut
    plane = turn(np.nan_to_num(np.take(volume.data, index, axis)))
    return Panel(np.asarray(plane, float), spacing(volume, axis), window)


def lesion_cut(labels: NDArray[np.int64], lesion: int, axis: int) -> Cut:
    """Return the slice in which a lesion is largest.

    Parameters
    ----------
    labels : (X, Y, Z) int64 array
    lesion : int
    axis : int

    Returns
    -------
    axis, index : int

    Examples
    --------
    >>> lesion_cut(np.eye(3, dtype=np.int64)[:, :, None] * [[[0, 1, 1]]], 1, 2)
    (2, 1)
    """
    others = tuple(i for i in range(3) if i != axis)
    return axis, int(np.argmax((labels == lesion).sum(axis=others)))


def detail_box(
    mask: NDArray[np.bool_], size: tuple[float, float], least: float = DETAIL
) -> PanelBox:
    """Return a square box around a lesion, inside the slice if possible.

    Parameters
    ----------
    mask : (M, N) bool array
        Not empty.
    size : (float, float)
        Of a row and a column, mm.
    least : float, mm
        Side of the square, unless the lesion requires more.

    Returns
    -------
    row, column, rows, columns : int

    Examples
    --------
    >>> mask = np.zeros((200, 200), bool)
    >>> mask[100, 10] = True
    >>> detail_box(mask, (1, 1))
    (70, 0, 60, 60)
    """
    where = np.argwhere(mask)
    low, high = where.min(axis=0), where.max(axis=0) + 1
    side = max(least, float(np.max((high - low) * size)) + 2 * MARGIN)
    extent = np.minimum(np.round(side / np.asarray(size)).astype(int), mask.shape)
    start = np.clip((low + high - extent) // 2, 0, np.asarray(mask.shape) - extent)
    return int(start[0]), int(start[1]), int(extent[0]), int(extent[1])


def brain_box(mask: Volume, axis: int) -> PanelBox:
    """Return a box around the brain, with a margin, in the slices along an axis.

    Parameters
    ----------
    mask : Volume
    axis : int

    Returns
    -------
    row, column, rows, columns : int

    Examples
    --------
    >>> data = np.zeros((40, 50, 30))
    >>> data[15:20, 20:30, 10:12] = 1
    >>> brain_box(Volume(data, np.eye(4)), 2)
    (12, 12, 26, 21)
    """
    seen = turn(mask.data.max(axis=axis)) > 0
    where = np.argwhere(seen if seen.any() else seen == 0)
    margin = np.ceil(MARGIN / np.asarray(spacing(mask, axis))).astype(int)
    low = np.maximum(where.min(axis=0) - margin, 0)
    high = np.minimum(where.max(axis=0) + 1 + margin, seen.shape)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def crop_panel(whole: Panel, box: PanelBox) -> Panel:
    """Return the detail of a panel.

    Parameters
    ----------
    whole : Panel
    box : (int, int, int, int)
        Row, column, rows, columns.

    Returns
    -------
    detail : Panel

    Examples
    --------
    >>> crop_panel(Panel(np.eye(4), (1, 1), (0, 1)), (0, 0, 2, 2)).background.shape
    (2, 2)
    """
    row, column, rows, columns = box
    part = np.s_[row : row + rows, column : column + columns]
    return replace(
        whole,
        background=whole.background[part],
        outline=None if whole.outline is None else whole.outline[part],
        values=None if whole.values is None else whole.values[part],
        box=None,
    )
