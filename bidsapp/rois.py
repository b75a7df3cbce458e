"""Maps and lesion labels in, a tidy table of lesion values out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    "space": "Grid whose voxels were counted: T1w, dwi or dce. Where the ROI was drawn on another "
    "one, each voxel has the weight of its fraction inside the ROI; else all weigh the same",
    "n_voxels": "Voxels in the ROI, or in part in it, on that grid",
    "n_valid": "Voxels with a value",
    "n_failed": "Voxels without one: the fit failed there, or the map does not reach so far",
    "measured_ml": "Volume of the ROI that has a value, ml: the valid voxels, each by its weight",
    "mean": "Mean over the valid voxels; for a volume, the volume",
    "std": "Standard deviation over the valid voxels (n - 1; with weights w, "
    "sum(w) - sum(w^2)/sum(w))",
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
    """The values of one map in one lesion; `weight` is the sum of the valid voxels' weights."""

    n_voxels: int
    n_valid: int
    weight: float
    mean: float
    std: float
    median: float
    percentiles: tuple[float, ...]

    @property
    def n_failed(self) -> int:
        """Voxels without a value."""
        return self.n_voxels - self.n_valid

    def row(self, voxel_ml: float) -> dict[str, float | int]:
        """Return the statistics under the names of `COLUMNS`, for voxels of so many ml."""
        names = [f"p{p:02d}" for p in PERCENTILES]
        return {
            "n_voxels": self.n_voxels,
            "n_valid": self.n_valid,
            "n_failed": self.n_failed,
            "measured_ml": self.weight * voxel_ml,
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
        return _nothing(len(region))
    return Summary(
        n_voxels=len(region),
        n_valid=len(valid),
        weight=float(len(valid)),
        mean=float(valid.mean()),
        std=float(valid.std(ddof=1)) if len(valid) > 1 else np.nan,
        median=float(np.median(valid)),
        percentiles=tuple(float(p) for p in np.percentile(valid, PERCENTILES)),
    )


def _nothing(n_voxels: int) -> Summary:
    """Return the summary of voxels of which none has a value."""
    return Summary(n_voxels, 0, 0.0, np.nan, np.nan, np.nan, (np.nan,) * len(PERCENTILES))


def summarise_weighted(values: ArrayLike, weights: ArrayLike) -> Summary:
    r"""Summarise a map in a region that fills a part of each voxel.

    Parameters
    ----------
    values : (...) array
    weights : (...) array
        Fraction of each voxel inside the region; 0 outside. Equal weights give what `summarise`
        gives.

    Returns
    -------
    Summary
        Voxels that are not finite count as failed, whatever their weight; NaN where there is
        nothing to summarise.

    Notes
    -----
    With :math:`W = \sum w_i` the mean is :math:`m = \sum w_i x_i / W` and the variance
    :math:`\sum w_i (x_i - m)^2 / (W - \sum w_i^2 / W)`, which is not biased for voxels of equal
    variance. Quantiles are those of Akinshin, whose sample size is Kish's
    :math:`W^2 / \sum w_i^2`: a voxel of hardly any weight hardly counts.

    References
    ----------
    Akinshin, Weighted quantile estimators, 2023, doi:10.48550/arXiv.2304.07265.

    Examples
    --------
    >>> found = summarise_weighted([1.0, 4.0, np.nan, 9.0], [1.0, 0.5, 0.25, 0.0])
    >>> found.mean, found.weight, found.n_voxels, found.n_failed
    (2.0, 1.5, 3, 1)
    """
    share = np.asarray(weights, float)
    x, w = np.asarray(values, float)[share > 0], share[share > 0]
    valid = np.isfinite(x)
    if not valid.any():
        return _nothing(len(x))
    x, w = x[valid], w[valid]
    total, squares = float(w.sum()), float(np.square(w).sum())
    mean = float(w @ x) / total
    variance = float(w @ np.square(x - mean)) / (total - squares / total) if len(x) > 1 else np.nan
    median, *percentiles = _weighted_quantiles(x, w, (50, *PERCENTILES))
    return Summary(
        n_voxels=len(valid),
        n_valid=len(x),
        weight=total,
        mean=mean,
        std=float(np.sqrt(variance)),
        median=median,
        percentiles=tuple(percentiles),
    )


def _weighted_quantiles(values: Array, weights: Array, percents: Sequence[float]) -> list[float]:
    """Return quantiles that with equal weights are those of linear interpolation (type 7)."""
    order = np.argsort(values)
    size = float(weights.sum() ** 2 / np.square(weights).sum())
    reached = np.concatenate([[0.0], np.cumsum(weights[order])])
    reached /= reached[-1]
    found = []
    for percent in percents:
        low = (size - 1) * percent / 100 / size
        share = np.diff(np.clip((reached - low) * size, 0, 1))
        found.append(float(share @ values[order]))
    return found


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


def voxel_ml(affine: ArrayLike) -> float:
    """Return the volume of a voxel.

    Parameters
    ----------
    affine : (4, 4) array, mm

    Returns
    -------
    float, ml

    Examples
    --------
    >>> round(voxel_ml(np.diag([2, 2, 8, 1])), 6)
    0.032
    """
    return abs(float(np.linalg.det(np.asarray(affine, float)[:3, :3]))) / 1000


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
    return int(np.count_nonzero(np.asarray(labels) == lesion)) * voxel_ml(affine)


def lesion_series(
    series: ArrayLike,
    series_affine: ArrayLike,
    labels: NDArray[np.int32],
    labels_affine: ArrayLike,
    to_series: ArrayLike | Callable[[Array], Array],
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
    to_series : (4, 4) array, or function of (N, 3) arrays, mm
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
    data = np.asarray(series)
    there, back = np.asarray(labels_affine, float), np.linalg.inv(np.asarray(series_affine, float))

    def to_voxels(voxels: NDArray[np.intp]) -> Array:
        points = _moved(there, voxels)
        reached = to_series(points) if callable(to_series) else _moved(to_series, points)
        return _moved(back, reached).T

    return {n: _mean_course(data, to_voxels(np.argwhere(labels == n))) for n in lesions}


def _moved(matrix: ArrayLike, points: ArrayLike) -> Array:
    given = np.asarray(matrix, float)
    moved: Array = np.asarray(points, float) @ given[:3, :3].T + given[:3, 3]
    return moved


def weighted_course(series: ArrayLike, weights: ArrayLike) -> Array:
    """Return the mean time or b-value course of a lesion that fills a part of each voxel.

    Parameters
    ----------
    series : (..., N) array
    weights : (...) array
        Fraction of each voxel inside the lesion.

    Returns
    -------
    (N,) array
        Voxels where the course is not finite are left out; NaN where nothing is left.

    Examples
    --------
    >>> weighted_course([[1.0, 2.0], [4.0, 8.0], [9.0, 9.0]], [1.0, 0.5, 0.0])
    array([2., 4.])
    """
    share = np.asarray(weights, float)
    courses, share = np.asarray(np.asarray(series)[share > 0], float), share[share > 0]
    complete = np.isfinite(courses).all(axis=-1)
    if not complete.any():
        return np.full(courses.shape[-1], np.nan)
    mean: Array = share[complete] @ courses[complete] / share[complete].sum()
    return mean


def _mean_course(data: NDArray[Any], points: Array) -> Array:
    """Interpolate a series at points (3, N) in its voxels, and average."""
    low = np.maximum(np.floor(points.min(axis=1, initial=0)).astype(int) - 1, 0)
    high = np.ceil(points.max(axis=1, initial=0)).astype(int) + 2
    block = data[tuple(slice(a, max(b, a)) for a, b in zip(low, high, strict=True))]
    if not points.size or 0 in block.shape:
        return np.full(data.shape[-1], np.nan)
    local = points - low[:, None]
    sampled = np.stack(
        [
            ndimage.map_coordinates(block[..., i].astype(float), local, order=1, cval=np.nan)
            for i in range(block.shape[-1])
        ],
        axis=-1,
    )
    complete = sampled[np.isfinite(sampled).all(axis=-1)]
    return complete.mean(axis=0) if len(complete) else np.full(data.shape[-1], np.nan)
