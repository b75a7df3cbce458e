"""From a map and a region to a row of the lesion table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.lesions.regions import Array

PERCENTILES = (5, 10, 25, 75, 90, 95)
ROI_FROM = "Session from which the ROI was carried, if it was not drawn (--propagate-rois)"
COLUMNS: Mapping[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session",
    "lesion": "Number of the lesion, the same in every session: its index in the ROI table; of "
    "other regions the label, and 1 for the reference",
    "roi": "Which ROI: enhancing (the part that enhances) or whole (the whole lesion); with --rois "
    "also ring (brain within 5 mm of the lesion), mirror (the lesion reflected into the other "
    "hemisphere), reference (normal-appearing white matter), or a label image of the user",
    "model": "BIDS model- label of the fit; n/a for a volume or diameter",
    "parameter": "The parameter",
    "unit": "Its unit",
    "space": "Grid whose voxels were counted: T1w, dwi or dce. If the ROI was drawn on another "
    "grid, each voxel is weighted by its fraction inside the ROI; otherwise all weights are equal",
    "n_voxels": "Voxels that are in the ROI, wholly or partly, on that grid",
    "n_valid": "Voxels with a value",
    "n_failed": "Voxels without a value: the fit failed, or they are outside the map",
    "measured_ml": "Volume of the part of the ROI with a value, ml: the valid voxels, weighted",
    "mean": "Mean over the valid voxels; for a volume, a diameter or a number of slices, that",
    "standard_error": "Standard error of the mean from the fits: that of a typical voxel divided "
    "by the square root of the number of voxels of the series, assumed to be independent. It "
    "reflects noise alone, not the other differences between two scans",
    "std": "Standard deviation over the valid voxels (n - 1; with weights w, "
    "sum(w) - sum(w^2)/sum(w))",
    "median": "Median over the valid voxels",
    "p05": "5th percentile",
    "p10": "10th percentile",
    "p25": "25th percentile",
    "p75": "75th percentile",
    "p90": "90th percentile",
    "p95": "95th percentile",
    "excluded": "1 if the ROI table marks the lesion as excluded",
    "roi_from": ROI_FROM,
}
"""The columns of ``*_roistats.tsv`` and what they mean."""


@dataclass(frozen=True)
class MapSummary:
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
        """Return the statistics by the names of `COLUMNS`, for voxels of a given volume."""
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


def summarise(values: ArrayLike, inside: ArrayLike) -> MapSummary:
    """Summarise a map inside a region; voxels that are not finite count as failed.

    Parameters
    ----------
    values : (...) array
    inside : (...) array of bool

    Returns
    -------
    MapSummary
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
        return _empty_summary(len(region))
    return MapSummary(
        n_voxels=len(region),
        n_valid=len(valid),
        weight=float(len(valid)),
        mean=float(valid.mean()),
        std=float(valid.std(ddof=1)) if len(valid) > 1 else np.nan,
        median=float(np.median(valid)),
        percentiles=tuple(float(p) for p in np.percentile(valid, PERCENTILES)),
    )


def _empty_summary(n_voxels: int) -> MapSummary:
    """Return the summary of voxels without any value."""
    return MapSummary(n_voxels, 0, 0.0, np.nan, np.nan, np.nan, (np.nan,) * len(PERCENTILES))


def summarise_weighted(values: ArrayLike, weights: ArrayLike) -> MapSummary:
    r"""Summarise a map in a region that may fill only part of a voxel.

    Parameters
    ----------
    values : (...) array
    weights : (...) array
        Fraction of each voxel inside the region; 0 outside. Equal weights give what `summarise`
        gives.

    Returns
    -------
    MapSummary
        Voxels that are not finite count as failed, whatever their weight; NaN where there is
        nothing to summarise.

    Notes
    -----
    With :math:`W = \sum w_i` the mean is :math:`m = \sum w_i x_i / W` and the variance :math:`\sum
    w_i (x_i - m)^2 / (W - \sum w_i^2 / W)`, which is not biased for voxels of equal variance.
    Quantiles are those of Akinshin, whose sample size is Kish's :math:`W^2 / \sum w_i^2`: a voxel
    of negligible weight has a negligible influence.

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
        return _empty_summary(len(x))
    x, w = x[valid], w[valid]
    total, squares = float(w.sum()), float(np.square(w).sum())
    mean = float(w @ x) / total
    variance = float(w @ np.square(x - mean)) / (total - squares / total) if len(x) > 1 else np.nan
    median, *percentiles = _weighted_quantiles(x, w, (50, *PERCENTILES))
    return MapSummary(
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
    # Type 7 as a mean of the step-wise quantile function over an interval of width 1 / n*, with the
    # effective size n*, which begins at (n* - 1) p / n* (Akinshin 2023). The share of a value is
    # the part of the interval that its weight covers.
    found = []
    for percent in percents:
        low = (size - 1) * percent / 100 / size
        share = np.diff(np.clip((reached - low) * size, 0, 1))
        found.append(float(share @ values[order]))
    return found


def standard_error_of_mean(
    errors: ArrayLike, share: ArrayLike, own_ml: float, series_ml: float
) -> float:
    r"""Return the standard error of a lesion's mean from the standard errors of its voxels.

    Parameters
    ----------
    errors : (...) array
        Standard error of each voxel of the map; NaN where there is no value.
    share : (...) array
        Fraction of each voxel inside the lesion.
    own_ml, series_ml : float
        Volume of a voxel of the map, and of the series that was fitted, ml.

    Returns
    -------
    float
        NaN if no voxel has a standard error.

    Notes
    -----
    .. math:: \operatorname{median}_w(\sigma_i) / \sqrt{n}

    The median is used, not the root mean square: where a parameter is poorly determined, such as ve
    where hardly any contrast agent leaks, the linearised error of one voxel can exceed the whole
    range of the parameter, and would dominate the result.

    Voxels of the map that stem from one voxel of the series share its noise: n is the volume of the
    lesion in voxels of the series, but at least one.

    Examples
    --------
    >>> standard_error_of_mean([2.0, 2.0, 2.0, 2.0, 9.0], [1, 1, 1, 1, 0], 0.001, 0.001)
    1.0
    >>> standard_error_of_mean([2.0, 2.0, 2.0, 2.0], [1, 1, 1, 1], 0.001, 0.004)
    2.0
    """
    weights = np.asarray(share, float)
    sigma, weights = np.asarray(errors, float)[weights > 0], weights[weights > 0]
    known = np.isfinite(sigma)
    if not known.any():
        return np.nan
    total = float(weights[known].sum())
    # Voxels of the series that the lesion fills, no more than voxels of the map that have an error.
    voxels = max(1.0, min(int(known.sum()), total * own_ml / series_ml))
    (typical,) = _weighted_quantiles(sigma[known], weights[known], (50,))
    return typical / float(np.sqrt(voxels))
