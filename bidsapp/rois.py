"""Maps and lesion labels in, a tidy table of lesion values out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import BadInput

Array = NDArray[np.float64]

PERCENTILES = (5, 25, 75, 95)
COLUMNS: Mapping[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session",
    "lesion": "Number of the lesion, the same in every session: its index in the ROI table",
    "roi": "Which ROI: enhancing (the part that enhances) or whole (the whole lesion)",
    "model": "BIDS model- label of the fit; n/a for a volume",
    "parameter": "The parameter",
    "unit": "Its unit",
    "n_voxels": "Voxels in the ROI, on the grid where it was drawn",
    "n_valid": "Voxels with a value",
    "n_failed": "Voxels without one: the fit failed there, or the map does not reach so far",
    "mean": "Mean over the valid voxels; for a volume, the volume",
    "std": "Standard deviation over the valid voxels (n - 1)",
    "median": "Median over the valid voxels",
    "p05": "5th percentile",
    "p25": "25th percentile",
    "p75": "75th percentile",
    "p95": "95th percentile",
    "excluded": "1 if the ROI table marks the lesion as excluded",
}
"""The columns of ``*_roistats.tsv`` and what they mean."""


@dataclass(frozen=True)
class Summary:
    """The values of one map in one lesion."""

    n_voxels: int
    n_valid: int
    mean: float
    std: float
    median: float
    percentiles: tuple[float, ...]

    @property
    def n_failed(self) -> int:
        """Voxels without a value."""
        return self.n_voxels - self.n_valid

    def row(self) -> dict[str, float | int]:
        """Return the statistics under the names of `COLUMNS`."""
        names = [f"p{p:02d}" for p in PERCENTILES]
        return {
            "n_voxels": self.n_voxels,
            "n_valid": self.n_valid,
            "n_failed": self.n_failed,
            "mean": self.mean,
            "std": self.std,
            "median": self.median,
            **dict(zip(names, self.percentiles, strict=True)),
        }


def summarise(values: ArrayLike, inside: ArrayLike) -> Summary:
    """Summarise a map inside a region; voxels that are not finite count as failed.

    Parameters
    ----------
    values : (...) array
    inside : (...) array of bool

    Returns
    -------
    Summary
        NaN where there is nothing to summarise.

    Examples
    --------
    >>> found = summarise([1.0, 3.0, np.nan, 9.0], [True, True, True, False])
    >>> found.mean, found.n_voxels, found.n_failed
    (2.0, 3, 1)
    """
    region = np.asarray(values, float)[np.asarray(inside, bool)]
    valid = region[np.isfinite(region)]
    if not len(valid):
        nothing = (np.nan,) * len(PERCENTILES)
        return Summary(len(region), 0, np.nan, np.nan, np.nan, nothing)
    return Summary(
        n_voxels=len(region),
        n_valid=len(valid),
        mean=float(valid.mean()),
        std=float(valid.std(ddof=1)) if len(valid) > 1 else np.nan,
        median=float(np.median(valid)),
        percentiles=tuple(float(p) for p in np.percentile(valid, PERCENTILES)),
    )


def as_labels(values: ArrayLike, name: str) -> NDArray[np.int32]:
    """Return whole-number labels of an ROI image.

    Parameters
    ----------
    values : (...) array
        Whole numbers; or one other value, as a scale slope makes of a mask, which becomes 1.
    name
        Of the image, for the message.

    Returns
    -------
    (...) array of int

    Raises
    ------
    BadInput
        If there are several values that are not whole numbers, or negative ones.

    Examples
    --------
    >>> as_labels([0.0, 1.686, 1.686], "mask").tolist()
    [0, 1, 1]
    """
    array = np.nan_to_num(np.asarray(values, float))
    labels = np.rint(array)
    if not np.allclose(labels, array, atol=1e-3):
        found = np.unique(array[array != 0])
        if len(found) > 1:
            raise BadInput(
                f"{name}: labels must be whole numbers; it holds {found[:5].tolist()} ..."
            )
        labels = (array != 0).astype(float)
    if (labels < 0).any():
        raise BadInput(f"{name}: labels must not be negative; it holds {labels.min():g}")
    whole: NDArray[np.int32] = labels.astype(np.int32)
    return whole


def volume_ml(labels: ArrayLike, lesion: int, affine: ArrayLike) -> float:
    """Return a lesion's volume from its voxels.

    Parameters
    ----------
    labels : (X, Y, Z) array of int
    lesion
        The label.
    affine : (4, 4) array, mm

    Returns
    -------
    float, ml

    Examples
    --------
    >>> volume_ml(np.ones((10, 10, 10)), 1, np.eye(4))
    1.0
    """
    voxel = abs(float(np.linalg.det(np.asarray(affine, float)[:3, :3])))
    return int(np.count_nonzero(np.asarray(labels) == lesion)) * voxel / 1000


def lesion_series(
    series: ArrayLike,
    series_affine: ArrayLike,
    labels: NDArray[np.int32],
    labels_affine: ArrayLike,
    to_series: ArrayLike,
    lesions: Iterable[int],
) -> dict[int, Array]:
    """Return the mean time or b-value course of each lesion, sampled at the lesion's voxels.

    Parameters
    ----------
    series : (X, Y, Z, N) array
    series_affine : (4, 4) array, mm
    labels : (I, J, K) array of int
        On a grid of their own.
    labels_affine : (4, 4) array, mm
    to_series : (4, 4) array, mm
        From points of the labels' space to points of the series' space.
    lesions
        Labels to sample.

    Returns
    -------
    dict of (N,) arrays
        Linear interpolation; voxels where the course is not finite are left out. NaN where
        nothing is left.

    Examples
    --------
    >>> grid = np.eye(4)
    >>> course = np.ones((4, 4, 4, 2)) * [1.0, 2.0]
    >>> labels = np.zeros((4, 4, 4), np.int32); labels[1, 1, 1] = 7
    >>> lesion_series(course, grid, labels, grid, grid, [7])
    {7: array([1., 2.])}
    """
    data = np.asarray(series, float)
    matrix = np.linalg.inv(np.asarray(series_affine)) @ to_series @ np.asarray(labels_affine)
    return {n: _mean_course(data, np.argwhere(labels == n), matrix) for n in lesions}


def _mean_course(data: Array, voxels: NDArray[np.intp], matrix: Array) -> Array:
    """Interpolate a series at voxels brought over by a matrix, and average."""
    points = matrix[:3, :3] @ voxels.T + matrix[:3, 3:]
    low = np.maximum(np.floor(points.min(axis=1, initial=0)).astype(int) - 1, 0)
    high = np.ceil(points.max(axis=1, initial=0)).astype(int) + 2
    block = data[tuple(slice(a, max(b, a)) for a, b in zip(low, high, strict=True))]
    if not len(voxels) or 0 in block.shape:
        return np.full(data.shape[-1], np.nan)
    local = points - low[:, None]
    sampled = np.stack(
        [
            ndimage.map_coordinates(block[..., i], local, order=1, cval=np.nan)
            for i in range(block.shape[-1])
        ],
        axis=-1,
    )
    complete = sampled[np.isfinite(sampled).all(axis=-1)]
    return complete.mean(axis=0) if len(complete) else np.full(data.shape[-1], np.nan)
