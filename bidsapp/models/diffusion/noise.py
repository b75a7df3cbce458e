"""The noise floor of magnitude images, and how to fit without its bias.

The mean of a magnitude exceeds the true signal by a factor that is known for a given noise level. A
fit is repeated on signals divided by that factor at the fitted signal, until both agree; then the
residuals of the fit have mean zero, and the noise floor does not bias it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import gammaincinv, gammaln, hyp1f1

from bidsapp.errors import FitError
from bidsapp.models.diffusion.decay import B_ZERO, NOISE_LEVEL_SHELLS, decay_curves
from bidsapp.models.parameters import DSTAR, D
from bidsapp.models.solver.base import Array, Estimate, Prepared
from bidsapp.models.solver.varpro import Solver

_ROUNDS = 30
_SETTLED = 1e-3  # relative change of a corrected signal at which a voxel has converged
_LEVELS = np.geomspace(1e-3, 30, 600)  # signal-to-noise ratios at which the gain is tabulated
_VOXELS = 20000
_VANISHED = 3.0  # b D* at which a component has decayed to 5 %

OPTIONS = ("noise", "sigma", "averages")
"""Options of every diffusion model that describe the noise of its signal."""


def floor_gain(snr: Array, power: float) -> Array:
    """Return the factor by which the noise floor raises the average magnitude.

    Parameters
    ----------
    snr : (...) array
        True signal over the noise's standard deviation (of one channel).
    power : float
        Which average: ``E[M^p]^(1/p)``; 1 for the mean, and 1/n for the mean of geometric means
        of n magnitudes.

    Returns
    -------
    (...) array
        The average divided by the true signal, at least 1.

    Notes
    -----
    ``E[M^p] = (2 s^2)^(p/2) Gamma(1 + p/2) 1F1(-p/2; 1; -A^2 / (2 s^2))`` for a signal A in
    Rician noise s.

    References
    ----------
    Koay and Basser, J Magn Reson 2006, doi:10.1016/j.jmr.2006.01.016.

    Examples
    --------
    >>> float(floor_gain(np.array(3.0), 1).round(3))
    1.058
    """
    # E[M^p]^(1/p) / A of the note, with A = snr and s = 1.
    half = np.square(np.asarray(snr, float)) / 2
    p = power / 2
    moment = hyp1f1(-p, 1, -half)
    result: Array = np.exp((p * np.log(2) + gammaln(1 + p)) / power) * moment ** (1 / power)
    return result / np.asarray(snr)


def with_noise_floor(
    gaussian: Callable[..., Prepared],
    rician: Callable[..., Prepared],
    predict: Callable[..., Array],
) -> Callable[..., Prepared]:
    """Return a model's preparation that also takes ``noise``, ``sigma`` and ``averages``.

    Parameters
    ----------
    gaussian, rician
        The model's preparations for either noise; that for rician noise must fit the signal
        itself, not its logarithm, whose noise is skewed where it is strong.
    predict
        Of the model.

    Notes
    -----
    ``noise`` is gaussian (no correction) or rician; ``sigma`` the noise's standard deviation in
    one magnitude; ``averages`` (N,) how many of them each signal is the geometric mean of.
    """

    def prepare(
        *,
        bvalues: Array,
        noise: str = "gaussian",
        sigma: float | None = None,
        averages: Array | None = None,
        **options: Any,
    ) -> Prepared:
        if noise == "gaussian":
            return gaussian(bvalues=bvalues, **options)
        if noise != "rician" or sigma is None or not sigma > 0:
            raise FitError(f"noise is gaussian, or rician with sigma > 0; got {noise!r}, {sigma}")
        plain = rician(bvalues=bvalues, **options)
        gains = _gain_tables(np.ones(len(bvalues)) if averages is None else averages)

        def estimate(signal: Array) -> Estimate:
            return _iterate_correction(
                plain, signal, lambda v: predict(v, bvalues=bvalues, **options) / sigma, gains
            )

        return Prepared(estimate, plain.used)

    return prepare


def _gain_tables(averages: Array) -> list[Array]:
    """Return the logarithm of the floor's gain at the tabulated levels, one array per sample."""
    # The confluent hypergeometric function is slow: it is tabulated once and then interpolated, in
    # logarithms of both the level and the gain.
    tables = {n: np.log(floor_gain(_LEVELS, 1 / n)) for n in np.unique(averages)}
    return [tables[n] for n in averages]


def _iterate_correction(
    plain: Prepared, signal: Array, level: Callable[[dict[str, Array]], Array], gains: list[Array]
) -> Estimate:
    """Fit, divide by the floor's gain at the fitted level, and repeat until convergence."""
    # A fixed-point iteration: signal / gain(fitted signal). Only voxels that still change are
    # fitted again; a voxel without a finite fit keeps its signal.
    found = plain.estimate(signal)
    divided = signal.copy()
    active = np.arange(len(signal))
    for _ in range(_ROUNDS):
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(level({k: v[active] for k, v in found.values.items()}))
        gain = np.stack(
            [np.interp(x, np.log(_LEVELS), g) for x, g in zip(logs.T, gains, strict=True)], axis=1
        )
        after = np.where(np.isfinite(gain), signal[active] * np.exp(-gain), signal[active])
        moved = np.abs(after / divided[active] - 1)[:, plain.used].max(axis=1)
        divided[active] = after
        going = moved > _SETTLED
        active = active[going]
        if not len(active):
            break
        _overwrite(found, active, plain.estimate(after[going]))
    return found


def _overwrite(found: Estimate, part: Array, new: Estimate) -> None:
    """Overwrite the estimates of some voxels."""
    for name, value in new.values.items():
        found.values[name][part] = value
        found.stderr[name][part] = new.stderr[name]
    for name, value in new.fitted.items():
        found.fitted[name][part] = value
    found.status[part] = new.status
    found.cost[part] = new.cost


def noise_level(signal: Array, bvalues: Array, averages: Array | None = None) -> float:
    """Return the noise's standard deviation, estimated from the residuals of many voxels.

    Parameters
    ----------
    signal : (V, N) array
        At most 20,000 voxels, evenly selected, are used.
    bvalues : (N,) array, s/mm2
    averages : (N,) array, optional
        How many magnitudes each signal is the geometric mean of.

    Returns
    -------
    float
        Of one magnitude image, in the signal's unit.

    Raises
    ------
    FitError
        If there are fewer than five b-values, or no voxel to fit.

    Notes
    -----
    The median over voxels of the residual sum of squares about a bi-exponential decay, which fits
    any tissue, divided by the median of the chi-squared distribution with as many degrees of
    freedom; a component that is absent uses none, nor does a D* whose component has decayed at the
    first b-value. Residuals shrink where the signal reaches the noise floor: if a hundred voxels
    have every signal above three noise levels, only these are used.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> b = np.arange(0, 1001, 100.0)
    >>> noisy = np.exp(-b * 1e-3) + rng.normal(0, 0.02, (3000, 11))
    >>> round(noise_level(noisy, b), 3)
    0.02
    """
    if len(bvalues) < NOISE_LEVEL_SHELLS:
        raise FitError(
            f"the noise level needs five b-values to be estimated, got {len(bvalues)}; give sigma"
        )
    voxels = signal[:: max(len(signal) // _VOXELS, 1)]
    voxels = np.asarray(voxels[np.isfinite(voxels).all(axis=1) & (voxels > 0).any(axis=1)], float)
    if not len(voxels):
        raise FitError("the noise level cannot be estimated: no voxel has a signal")
    # The geometric mean of n magnitudes has about 1/n of the variance of one.
    weights = np.ones(len(bvalues)) if averages is None else averages
    solver = Solver([decay_curves(bvalues, D), decay_curves(bvalues, DSTAR)], [24, 12], weights)
    found = solver.solve(voxels)
    # Degrees of freedom: one for each amplitude that is not zero, one for D, and one for D* where
    # its component is still there at the lowest b-value above zero.
    slow, fast = found.amplitudes > 0
    seen = found.rates[1] * bvalues[bvalues >= B_ZERO].min() < _VANISHED
    freedom = len(bvalues) - 2 * slow - fast * (1 + seen)
    variance = found.cost / (2 * gammaincinv(freedom / 2, 0.5))  # chi-squared's median
    sigma = float(np.sqrt(np.median(variance)))
    clear = (voxels > 3 * sigma).all(axis=1)
    return float(np.sqrt(np.median(variance[clear]))) if clear.sum() >= 100 else sigma


def learn_noise(
    signal: Array,
    *,
    bvalues: Array,
    noise: str = "gaussian",
    sigma: float | None = None,
    averages: Array | None = None,
    **_: Any,
) -> dict[str, Any]:
    """Return the noise level if a fit needs it and it is not given."""
    if noise != "rician" or sigma is not None:
        return {}
    return {"sigma": noise_level(signal, bvalues, averages)}
