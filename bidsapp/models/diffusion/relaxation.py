"""Correction of the perfusion fraction for the relaxation of blood and tissue."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from bidsapp.errors import FitError
from bidsapp.models.parameters import FT2
from bidsapp.models.solver.base import Array, Estimate, Model, Prepared, Status, Values


def spin_echo_weight(repetition_time: float, echo_time: float, t1: float, t2: float) -> float:
    """Return the signal of a spin echo relative to its proton density.

    Parameters
    ----------
    repetition_time, echo_time, t1, t2 : float, s

    Notes
    -----
    ``w = (1 - exp(-TR / T1)) exp(-TE / T2)``, for an echo time that is short compared with TR.

    Examples
    --------
    >>> round(spin_echo_weight(4.0, 0.08, 1.6, 0.1), 4)
    0.4124
    """
    return float((1 - np.exp(-repetition_time / t1)) * np.exp(-echo_time / t2))


def correct_fraction(f: Array, blood_signal: float) -> Array:
    r"""Return the fraction of blood among the protons, from its fraction of the signal.

    Parameters
    ----------
    f : (...) array
        Fraction of the signal at b = 0 that comes from blood.
    blood_signal : float
        Signal of blood relative to that of tissue, for equal numbers of protons: the ratio r of
        their `spin_echo_weight`.

    Returns
    -------
    (...) array
        NaN for an f so negative that no fraction corresponds to it.

    Notes
    -----
    With a fraction F of the protons in blood, :math:`f = F w_b / (F w_b + (1 - F) w_t)`, hence
    :math:`F = f w_t / (f w_t + (1 - f) w_b) = f / (f + (1 - f) r)`, :math:`r = w_b / w_t`.

    References
    ----------
    Lemke et al., Magn Reson Med 2010, doi:10.1002/mrm.22565.

    Examples
    --------
    >>> correct_fraction(np.array([0.0, 0.1, 1.0]), 1.5).round(3).tolist()
    [0.0, 0.069, 1.0]
    """
    total = f + (1 - f) * blood_signal
    return np.where(total > 0, f / np.where(total > 0, total, 1.0), np.nan)


def with_blood_signal(model: Model) -> Model:
    """Return an IVIM model that also gives f corrected for relaxation, as ``fT2``.

    Its further argument is ``blood_signal``: see `correct_fraction`. The standard error of ``fT2``
    is that of f times the derivative ``r / (f + (1 - f) r)^2``; the ratio r counts as known.
    """

    def prepare(*, blood_signal: float, **design: Any) -> Prepared:
        if not 0 < blood_signal < np.inf:
            raise FitError(
                f"blood_signal of {model.name}-t2 must be above 0, got {blood_signal:g}: it is the "
                "signal of blood relative to that of tissue"
            )
        plain = model.prepare(**design)

        def estimate(signal: Array, **own: Array) -> Estimate:
            return _add_corrected(plain.estimate(signal, **own), blood_signal)

        return replace(plain, estimate=estimate)

    def predict(values: Values, *, blood_signal: float | None = None, **design: Any) -> Array:
        return model.predict(values, **design)

    return replace(
        model,
        name=f"{model.name}-t2",
        label=f"{model.label}t2",
        title=f"{model.title}, with f also corrected for relaxation",
        parameters=(*model.parameters, FT2),
        design=(*model.design, "blood_signal"),
        prepare=prepare,
        predict=predict,
        formula=f"{model.formula}; fT2 = f / (f + (1 - f) blood_signal)",
        learn=_learner(model.learn),
    )


def _add_corrected(found: Estimate, blood_signal: float) -> Estimate:
    """Return the estimate with the corrected fraction."""
    f = found.values["f"]
    corrected = correct_fraction(f, blood_signal)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = blood_signal / np.square(f + (1 - f) * blood_signal)
    error = np.where(np.isfinite(corrected), slope * found.stderr["f"], np.nan)
    status = found.status.copy()
    status[np.isnan(corrected) & (status != Status.BAD_INPUT)] = Status.NOT_IDENTIFIABLE
    values, stderr = found.values | {"fT2": corrected}, found.stderr | {"fT2": error}
    return replace(found, values=values, stderr=stderr, status=status)


def _learner(
    learn: Callable[..., dict[str, Any]] | None,
) -> Callable[..., dict[str, Any]] | None:
    """Return what a model learns from all voxels together, which ignores the correction."""
    if learn is None:
        return None
    wanted = learn

    def without_blood_signal(
        signal: Array, *, blood_signal: float, **design: Any
    ) -> dict[str, Any]:
        return wanted(signal, **design)

    return without_blood_signal
