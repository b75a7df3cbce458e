"""Fit any model of the table to an array of any shape."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import FitError
from bidsapp.models.base import Array, Estimate, Fit, Model, Status
from bidsapp.models.table import MODELS

CHUNK = 8192


def fit(model: str | Model, signal: ArrayLike, *, chunk: int = CHUNK, **design: Any) -> Fit:
    """Fit a model to every voxel of an array.

    Parameters
    ----------
    model
        A name or a row of `MODELS`.
    signal : (..., N) array
        In the unit that the model's design implies: any for diffusion, mM for kinetics.
    chunk
        How many voxels are fitted at once; bounds the memory.
    **design
        What the model needs (``bvalues`` (N,) s/mm2; ``time`` (N,) min and ``plasma`` (N,) mM;
        ``flip_angles`` (N,) rad and ``repetition_time`` s) and its options.

    Returns
    -------
    Fit
        Values, standard errors, residuals and a status, each of shape (...).

    Raises
    ------
    FitError
        If the model is unknown, the design incomplete, or its length not that of the signal.

    References
    ----------
    Golub and Pereyra, Inverse Problems 2003, doi:10.1088/0266-5611/19/2/201.

    Examples
    --------
    >>> import numpy as np
    >>> b = np.array([0, 500, 1000.0])
    >>> found = fit("adc", 200 * np.exp(-b * 8e-4), bvalues=b)
    >>> float(found.values["ADC"].round(9))
    0.0008
    """
    row = _row(model)
    data = np.asarray(signal, float)
    checked = _check_design(row, data.shape[-1] if data.ndim else 0, design)
    voxels = data.reshape(-1, data.shape[-1])
    usable = np.isfinite(voxels).all(axis=1) & (voxels != 0).any(axis=1)
    blocks = [
        _fit_block(row, voxels[i : i + chunk], usable[i : i + chunk], checked)
        for i in range(0, max(len(voxels), 1), chunk)
    ]
    shape = data.shape[:-1]
    names = [p.name for p in row.parameters]
    return Fit(
        model=row,
        values={k: _join([b[0].values[k] for b in blocks], shape) for k in names},
        stderr={k: _join([b[0].stderr[k] for b in blocks], shape) for k in names},
        rmse=_join([b[1] for b in blocks], shape),
        rsquared=_join([b[2] for b in blocks], shape),
        status=np.concatenate([b[0].status for b in blocks]).reshape(shape),
        design=checked,
    )


def fit_masked(model: str | Model, signal: ArrayLike, mask: ArrayLike | None, **design: Any) -> Fit:
    """Fit the voxels of a mask; outside it the maps are NaN and the status is ``BAD_INPUT``.

    Parameters
    ----------
    model, **design
        As for `fit`.
    signal : (..., N) array
    mask : (...) array of bool, or None for all

    Returns
    -------
    Fit

    Examples
    --------
    >>> import numpy as np
    >>> b = np.array([0, 500, 1000.0])
    >>> maps = fit_masked("adc", np.exp(-b * np.full((2, 1), 1e-3)), [True, False], bvalues=b)
    >>> maps.values["ADC"].round(6)
    array([0.001,   nan])
    """
    data = np.asarray(signal, float)
    if mask is None:
        return fit(model, data, **design)
    inside = np.asarray(mask, bool)
    if inside.shape != data.shape[:-1]:
        raise FitError(f"the mask has shape {inside.shape}, the data {data.shape[:-1]}")
    found = fit(model, data[inside], **design)
    return Fit(
        model=found.model,
        values={k: _unmask(v, inside) for k, v in found.values.items()},
        stderr={k: _unmask(v, inside) for k, v in found.stderr.items()},
        rmse=_unmask(found.rmse, inside),
        rsquared=_unmask(found.rsquared, inside),
        status=_unmask(found.status, inside, Status.BAD_INPUT).astype(np.int8),
        design=found.design,
    )


def _row(model: str | Model) -> Model:
    if isinstance(model, Model):
        return model
    if model not in MODELS:
        raise FitError(f"there is no model {model!r}; choose one of {', '.join(MODELS)}")
    return MODELS[model]


def _check_design(row: Model, samples: int, design: dict[str, Any]) -> dict[str, Any]:
    """Make arrays of the design; complain about what is missing, unknown or of another length."""
    for name in design:
        if name not in (*row.design, *row.options):
            raise FitError(f"{row.name} takes no {name!r}; it takes {row.design + row.options}")
    for name in row.design:
        if name not in design:
            raise FitError(f"{row.name} needs {name!r}")
    given = {k: v for k, v in design.items() if v is not None}
    checked = {k: v if np.ndim(v) == 0 else np.asarray(v, float) for k, v in given.items()}
    for name, value in checked.items():
        if np.ndim(value) and np.shape(value)[-1] != samples:
            raise FitError(f"{name} has {np.shape(value)[-1]} values, the signal {samples}")
        if np.ndim(value) and not np.isfinite(value).all():
            raise FitError(f"{name} holds values that are not finite")
    return checked


def _fit_block(
    row: Model, signal: Array, usable: NDArray[np.bool_], design: dict[str, Any]
) -> tuple[Estimate, Array, Array]:
    """Fit the usable voxels of one block; the others are NaN with status ``BAD_INPUT``."""
    found = row.estimate(signal[usable], **design)
    estimate = Estimate(
        {k: _unmask(v, usable) for k, v in found.values.items()},
        {k: _unmask(v, usable) for k, v in found.stderr.items()},
        _unmask(found.status, usable, Status.BAD_INPUT).astype(np.int8),
    )
    predicted = row.predict(found.values, **design)
    rmse, rsquared = _goodness(signal[usable], predicted)
    return estimate, _unmask(rmse, usable), _unmask(rsquared, usable)


def _goodness(signal: Array, predicted: Array) -> tuple[Array, Array]:
    """Return RMSE and R2 over the samples that the model speaks of (it is NaN elsewhere)."""
    count = np.isfinite(predicted).sum(axis=1)
    spoken = np.where(np.isfinite(predicted), signal, np.nan)
    safe = np.maximum(count, 1)
    residual = np.nansum((spoken - predicted) ** 2, axis=1)
    mean = np.nansum(spoken, axis=1) / safe
    total = np.nansum((spoken - mean[:, None]) ** 2, axis=1)
    rmse = np.where(count > 0, np.sqrt(residual / safe), np.nan)
    varied = (count > 0) & (total > 0)
    return rmse, np.where(varied, 1 - residual / np.where(varied, total, 1.0), np.nan)


def _unmask(values: NDArray[Any], mask: NDArray[np.bool_], fill: float = np.nan) -> Array:
    full = np.full(mask.shape, fill, float)
    full[mask] = values
    return full


def _join(blocks: list[Array], shape: tuple[int, ...]) -> Array:
    return np.concatenate(blocks).reshape(shape)
