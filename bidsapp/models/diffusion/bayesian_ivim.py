"""IVIM with a population prior: each voxel is shrunk towards the distribution in its region.

The posterior is integrated numerically on a grid: there is no random sampling, and the result is
reproducible.

Notes
-----
The comments below refer to these equations, with a unit vector u(p) along the curve of a point p.

1. Likelihood: ``exp(-|y - S0 s(p)|^2 / (2 sigma^2))`` for a curve s(p) of S0 = 1.
2. With a flat prior the integral over S0 is ``exp((y'u)^2 / (2 sigma^2)) / |s(p)|``, up to a factor
   that no point changes.
3. Posterior weight of a point of the grid: (2) times the prior density times the volume that the
   point stands for.
4. Expectation maximisation: mean and covariance of the prior from the posterior moments of (3).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import FitError
from bidsapp.models.diffusion import noise
from bidsapp.models.diffusion.adc import DecayLine
from bidsapp.models.diffusion.decay import in_range, line_needs, mixture_needs, noise_needs
from bidsapp.models.diffusion.ivim import can_identify_dstar, predict_mixture
from bidsapp.models.parameters import DSTAR, S0, D, F
from bidsapp.models.solver.base import Array, Estimate, Model, Need, Prepared, Status

_ROOT_F = np.linspace(0.01, 0.95, 28)  # the grid of f is finer where f is small
_DSTAR_GRID = np.linspace(np.log(DSTAR.lower), np.log(DSTAR.upper), 12)
_D_OFFSETS = np.linspace(-0.5, 0.5, 28)  # of ln D, about the line's D
_D_GROUP = 0.1  # voxels whose ln D of the straight line agree to this share a grid
_LEARN_VOXELS = 1500
_ROUNDS = 20
_FINEST = 0.005  # least noise level relative to the signal: the grid resolves no narrower posterior
_BLOCK = 128  # voxels at once: voxels times points of the grid, twice, in single precision

# The broad prior of (f, ln D, ln D*): mean, covariance, and the number of voxels it counts as.
_HYPER_MEAN = np.array([0.1, np.log(1e-3), np.log(20e-3)])
_HYPER_VARIANCE = np.diag([0.1, 0.5, 0.5]) ** 2
_HYPER_VOXELS = 10.0

Single = NDArray[np.float32]


@dataclass(frozen=True)
class Prior:
    """Distribution of a region's voxels: mean (3,) and covariance (3, 3) of (f, ln D, ln D*).

    D and D* are in mm2/s.
    """

    mean: Array
    covariance: Array

    def log_density(self, points: Array) -> Array:
        """Return the logarithm of the density at points (G, 3), up to a constant."""
        apart = points - self.mean
        solved = np.linalg.solve(self.covariance, apart.T).T
        density: Array = -0.5 * np.einsum("gi,gi->g", apart, solved)
        return density


class _Grid:
    """Grid of points (f, ln D, ln D*) around one D: unit vectors of their curves, and weights."""

    def __init__(self, bvalues: Array, log_d: float) -> None:
        axes = np.meshgrid(_ROOT_F**2, log_d + _D_OFFSETS, _DSTAR_GRID, indexing="ij")
        self.points = np.stack([a.ravel() for a in axes], axis=1)
        f = self.points[:, :1]
        slow, fast = (np.exp(-bvalues * np.exp(self.points[:, i : i + 1])) for i in (1, 2))
        curves = f * fast + (1 - f) * slow
        # Equation 3 without prior and data, as a logarithm: df = 2 sqrt(f) d(sqrt f) is the volume
        # of a grid that is even in sqrt(f), and 1 / size is from (2). All curves are nearly
        # parallel, so unit vectors are stored as their mean and the deviations from it.
        size = np.linalg.norm(curves, axis=1)
        unit = (curves / size[:, None]).T
        self.centre = unit.mean(axis=1)
        self.apart = (unit - self.centre[:, None]).astype(np.float32)
        self.volume = 0.5 * np.log(f[:, 0]) - np.log(size)
        # First and second moments: of (f, D, D*) for the estimate, of the points for the prior.
        natural = np.concatenate([f, np.exp(self.points[:, 1:])], axis=1)
        self.natural = np.concatenate([natural, natural**2], axis=1)
        products = self.points[:, [0, 0, 0, 1, 1, 2]] * self.points[:, [0, 1, 2, 1, 2, 2]]
        self.moments = np.concatenate([self.points, products], axis=1)

    def expect(self, signal: Array, sigma: float, prior: Prior, functions: Array) -> Array:
        """Return the posterior means (V, M) of functions (G, M) for signals (V, N)."""
        # The last column of ones gives the integral that normalises the others. The signal is
        # divided by sqrt(2) sigma, so that (2) is exp of a square.
        weight = (prior.log_density(self.points) + self.volume).astype(np.float32)
        exact = signal / (np.sqrt(2) * sigma)
        scaled, level = exact.astype(np.float32), (exact @ self.centre).astype(np.float32)
        wanted = np.concatenate([functions, np.ones((len(functions), 1))], axis=1)
        wanted = wanted.astype(np.float32)
        space = np.empty((2, min(_BLOCK, len(scaled)), len(weight)), np.float32)
        blocks = [slice(i, i + _BLOCK) for i in range(0, len(scaled), _BLOCK)]
        result = np.concatenate(
            [_weighted_sums(scaled[b], level[b], self.apart, weight, wanted, space) for b in blocks]
        )
        means: Array = result[:, :-1] / result[:, -1:]
        return means


def _weighted_sums(
    scaled: Single, level: Single, apart: Single, weight: Single, wanted: Single, space: Single
) -> Array:
    """Return sums of functions over the grid, weighted by likelihood and prior.

    A curve explains ``(y'c + y'(u - c))^2`` of a signal, with the centre c of all curves. The part
    ``(y'c)^2``, which they share, is left out: next to it, single precision would lose the
    differences between curves. Space (2, V, G) is overwritten.
    """
    # With q = y'(u - c) and l = y'c: (y'u)^2 - l^2 = q (q + 2 l). A y'u below zero would need an S0
    # below zero; its point counts as y'u = 0, that is q = -l. The largest exponent is
    # subtracted before exp, which cancels in the ratio of two sums.
    density, factor = space[:, : len(scaled)]
    least = level[:, None]
    np.matmul(scaled, apart, out=density)
    np.maximum(density, -least, out=density)
    density *= np.add(density, 2 * least, out=factor)
    density += weight
    density -= density.max(axis=1, keepdims=True)
    np.exp(density, out=density)
    sums: Array = (density @ wanted).astype(float)
    return sums


def learn_prior(
    signal: Array,
    *,
    bvalues: Array,
    b_min: float = 200.0,
    b_max: float = np.inf,
    sigma: float | None = None,
    averages: Array | None = None,
    region: Array | None = None,
    prior: Mapping[int, Prior] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Return the noise level and each region's prior where they are not given.

    Notes
    -----
    Expectation maximisation over at most 1500 evenly selected voxels per region: mean and
    covariance of (f, ln D, ln D*) over the voxels' posteriors, repeated with that prior; a broad
    prior (f about 0.1, D 1e-3, D* 0.02 mm2/s) counts as ten voxels, for regions with little data.
    Where the b-values cannot identify D*, its prior remains the broad one.

    References
    ----------
    Orton et al., Magn Reson Med 2014, doi:10.1002/mrm.24649.
    """
    good = np.isfinite(signal).all(axis=1) & (signal > 0).any(axis=1)
    if sigma is not None and not sigma > 0:
        raise FitError(f"sigma is the noise's standard deviation, above 0, got {sigma:g}")
    level = noise.noise_level(signal, bvalues, averages) if sigma is None else float(sigma)
    # At least `_FINEST` of the brightest signal of a typical voxel.
    if good.any():
        level = max(level, _FINEST * float(np.median(signal[good].max(axis=1))))
    good &= np.isfinite(0 if region is None else np.ravel(region))
    labels = _labels(region, len(signal))
    if prior is not None:
        _check_prior(prior, np.unique(labels[good]))
        return {"sigma": level}
    priors = {}
    for label in np.unique(labels[good]):
        members = np.flatnonzero(good & (labels == label))
        chosen = members[:: max(len(members) // _LEARN_VOXELS, 1)]
        voxels = np.asarray(signal[chosen], float)
        priors[int(label)] = _learn_region(voxels, bvalues, b_min, b_max, level)
    return {"sigma": level, "prior": priors}


def _check_prior(prior: Mapping[int, Prior], regions: NDArray[np.intp]) -> None:
    if not isinstance(prior, Mapping):
        raise FitError(f"prior maps each region's number to a Prior, got {type(prior).__name__}")
    missing = [int(r) for r in regions if int(r) not in prior]
    if missing:
        raise FitError(f"prior has nothing for the regions {missing}, only for {sorted(prior)}")


def _labels(region: ArrayLike | None, count: int) -> NDArray[np.intp]:
    """Return the region (V,) of each voxel from one per voxel, one for all, or none."""
    flat = np.nan_to_num(np.ravel(0 if region is None else region)).astype(np.intp)
    return np.broadcast_to(flat, count)


def _learn_region(signal: Array, bvalues: Array, b_min: float, b_max: float, sigma: float) -> Prior:
    used = in_range(bvalues, 0, b_max)
    # The grids depend on D and the b-values alone, and are kept; from round to round only the prior
    # changes.
    groups = list(_group_by_d(signal, bvalues, b_min, b_max, used))
    prior = Prior(_HYPER_MEAN, _HYPER_VARIANCE)
    for _ in range(_ROUNDS):
        moments = np.concatenate(
            [grid.expect(signal[m][:, used], sigma, prior, grid.moments) for m, grid in groups]
        )
        prior = _updated_prior(moments, can_identify_dstar(bvalues[used]))
    return prior


def _updated_prior(moments: Array, seen: bool) -> Prior:
    """Return mean and covariance over the voxels' posteriors and the broad prior's voxels."""
    # Equation 4, with the broad prior as further voxels of known moments.
    count = len(moments)
    mean = (moments[:, :3].sum(axis=0) + _HYPER_VOXELS * _HYPER_MEAN) / (count + _HYPER_VOXELS)
    second = np.empty((3, 3))
    rows, columns = np.triu_indices(3)
    second[rows, columns] = second[columns, rows] = moments[:, 3:].sum(axis=0)
    broad = _HYPER_VARIANCE + np.outer(_HYPER_MEAN, _HYPER_MEAN)
    total = (second + _HYPER_VOXELS * broad) / (count + _HYPER_VOXELS)
    covariance = total - np.outer(mean, mean)
    if not seen:  # D* keeps the broad prior, independent of f and D
        mean[2], covariance[2], covariance[:, 2] = _HYPER_MEAN[2], 0.0, 0.0
        covariance[2, 2] = _HYPER_VARIANCE[2, 2]
    return Prior(mean, covariance)


def _group_by_d(
    signal: Array, bvalues: Array, b_min: float, b_max: float, used: NDArray[np.bool_]
) -> Any:
    """Yield voxels of similar D, as a straight line estimates it, and the grid about it."""
    # D is determined well enough to centre its axis of the grid on it; rounding ln D to steps lets
    # many voxels share one grid.
    line = DecayLine(bvalues, in_range(bvalues, b_min, b_max), None).fit(signal)
    log_d = np.log(np.nan_to_num(line.coefficients[1], nan=1e-3))
    centre = np.round(log_d / _D_GROUP) * _D_GROUP
    for value in np.unique(centre):
        yield np.flatnonzero(centre == value), _Grid(bvalues[used], float(value))


def _prepare(
    *,
    bvalues: Array,
    sigma: float,
    prior: Mapping[int, Prior],
    b_min: float = 200.0,
    b_max: float = np.inf,
    region: float | None = None,
    averages: Array | None = None,
) -> Prepared:
    """Prepare posterior means and standard deviations."""
    used = in_range(bvalues, 0, b_max)
    if len(np.unique(bvalues[used])) < 4:
        raise FitError(f"ivim-bayesian needs four b-values, got {bvalues[used].tolist()} s/mm2")
    seen = can_identify_dstar(bvalues[used])
    everywhere = region

    def estimate(signal: Array, region: Array | None = None) -> Estimate:
        labels = _labels(everywhere if region is None else region, len(signal))
        natural = np.full((len(signal), 6), np.nan)
        for members, grid in _group_by_d(signal, bvalues, b_min, b_max, used):
            for label in np.unique(labels[members]):
                part = members[labels[members] == label]
                natural[part] = grid.expect(
                    signal[part][:, used], sigma, prior[int(label)], grid.natural
                )
        return _posterior_estimate(natural.T, signal[:, used], bvalues[used], sigma, seen)

    return Prepared(estimate, used)


def _posterior_estimate(
    natural: Array, signal: Array, bvalues: Array, sigma: float, seen: bool
) -> Estimate:
    """Return posterior means and standard deviations, the S0 that fits them, and the residual."""
    # S0 is the least-squares amplitude of the curve of the posterior means.
    # Rows 0 to 2 hold E[x] of f, D and D*, rows 3 to 5 E[x^2]: the variance is E[x^2] - E[x]^2.
    f, d, dstar = natural[:3]
    spread = np.sqrt(np.maximum(natural[3:] - natural[:3] ** 2, 0))
    values = {"f": f, "D": d, "Dstar": dstar, "S0": np.ones_like(f)}
    curve = predict_mixture(values, bvalues=bvalues)
    power = np.einsum("vn,vn->v", curve, curve)
    values["S0"] = np.einsum("vn,vn->v", curve, signal) / power
    residual = signal - values["S0"][:, None] * curve
    stderr = dict(zip(("f", "D", "Dstar"), spread, strict=True))
    stderr["S0"] = sigma / np.sqrt(power)
    fitted = {"Dstar": dstar}
    status = np.zeros(len(f), np.int8)
    status[(d < D.lower) | (d > D.upper)] = Status.AT_BOUND
    if not seen:
        status[:] = Status.NOT_IDENTIFIABLE
        values["Dstar"], stderr["Dstar"] = np.full((2, len(f)), np.nan)
    lost = values["S0"] <= 0
    status[lost] = Status.BAD_INPUT
    for array in (*values.values(), *stderr.values()):
        array[lost] = np.nan
    return Estimate(values, stderr, status, np.einsum("vn,vn->v", residual, residual), fitted)


def _needs(
    *, bvalues: Array, b_min: float = 200.0, b_max: float = np.inf, **_: object
) -> Iterator[Need]:
    yield from mixture_needs(bvalues, b_max)
    yield from line_needs(bvalues, b_min, b_max)
    yield from noise_needs(bvalues, "rician")  # its likelihood needs the noise level in any case


BAYESIAN = Model(
    name="ivim-bayesian",
    label="bayes",
    title="IVIM, Bayesian shrinkage",
    parameters=(F, D, DSTAR, S0),
    free=4,
    design=("bvalues",),
    options=("b_min", "b_max", "sigma", "averages", "region", "prior"),
    numbers=("sigma",),
    per_voxel=("region",),
    prepare=_prepare,
    predict=predict_mixture,
    formula="S(b) = S0 (f exp(-b Dstar) + (1 - f) exp(-b D)); (f, ln D, ln Dstar) normal "
    "over the voxels of a region",
    doi="10.1002/mrm.24649",
    learn=learn_prior,
    fitted=("Dstar",),
    requires=_needs,
)
MODELS = (BAYESIAN,)
