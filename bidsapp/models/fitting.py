"""Fit any model of the table to an array of any shape."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import FitError
from bidsapp.models.result import Fit
from bidsapp.models.solver.base import Array, Model, Prepared, Status, Values
from bidsapp.models.solver.design import as_real_array, check_counts, check_design, varies_by_voxel
from bidsapp.models.solver.parallel import empty, for_each, shared_empty
from bidsapp.models.table import MODELS

CHUNK = 8192

Selector = slice | NDArray[np.intp]


def fit(
    model: str | Model, signal: ArrayLike, *, chunk: int = CHUNK, n_jobs: int = 1, **design: Any
) -> Fit:
    """Fit a model to every voxel of an array.

    Parameters
    ----------
    model
        A name or a row of `MODELS`.
    signal : (..., N) array
        In the unit that the model's design implies: any for diffusion, mM for kinetics.
    chunk
        Number of voxels fitted at once, which limits the memory.
    n_jobs
        Number of processes that share the chunks. The result does not depend on it.
    **design
        The arguments that the model requires (``bvalues`` (N,) s/mm2; ``time`` (N,) min and
        ``plasma`` mM, (N,) or voxel by voxel (..., N); ``flip_angles`` (N,) rad and
        ``repetition_time`` s) and its options: ``bounds``, a mapping from a searched parameter's
        name to (low, high); ``weights`` (N,) of the squared residuals, 0 to leave a sample out; and
        the options in the model's row.

    Returns
    -------
    Fit
        Values, standard errors, residuals and a status, each of shape (...).

    Raises
    ------
    FitError
        If the model is unknown, or the design is incomplete or does not have the length of the
        signal.

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
    data = as_real_array("the signal", signal)
    if not data.ndim:
        raise FitError("the signal is one number; its last axis must hold the samples")
    check_counts(chunk=chunk, n_jobs=n_jobs)
    shape, samples = data.shape[:-1], data.shape[-1]
    checked = check_design(row, shape, samples, design)
    voxels = data.reshape(-1, samples)
    if row.learn is not None:
        checked |= row.learn(voxels, **checked)
    # Options with one value per voxel are passed along with the signals. A design that varies by
    # voxel is prepared once per distinct design: see `_group_by_design`.
    single = {k: checked[k].ravel() for k in row.per_voxel if np.ndim(checked.get(k, 0))}
    maps = _Maps(row, len(voxels), empty if n_jobs == 1 else shared_empty)
    for members, shared in _group_by_design(row, checked, len(voxels)):
        prepared = row.prepare(**shared)
        maps.samples = int(prepared.used.sum())
        if maps.samples < row.free:
            raise FitError(
                f"{row.name} has {row.free} free parameters; {maps.samples} samples are too few"
            )

        def run(
            part: Selector, prepared: Prepared = prepared, shared: dict[str, Any] = shared
        ) -> None:
            own = {k: v[part] for k, v in single.items()}
            maps.put(part, prepared, voxels[part], own, shared.get("weights"))

        for_each(run, list(_chunks(members, chunk)), n_jobs)
    return maps.fit(shape, checked)


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
    row, data = _row(model), as_real_array("the signal", signal)
    if mask is None:
        return fit(row, data, **design)
    inside = np.asarray(mask, bool)
    if inside.shape != data.shape[:-1]:
        raise FitError(f"the mask has shape {inside.shape}, the data {data.shape[:-1]}")
    maps = {k: np.asarray(v) for k, v in design.items() if varies_by_voxel(row, k, v, inside.shape)}
    found = fit(row, data[inside], **design | {k: v[inside] for k, v in maps.items()})
    return replace(
        found,
        design={**found.design, **maps},
        values={k: _unmask(v, inside) for k, v in found.values.items()},
        stderr={k: _unmask(v, inside) for k, v in found.stderr.items()},
        fitted={k: _unmask(v, inside) for k, v in found.fitted.items()},
        rmse=_unmask(found.rmse, inside),
        rsquared=_unmask(found.rsquared, inside),
        status=_unmask(found.status, inside, Status.BAD_INPUT).astype(np.int8),
    )


def _row(model: str | Model) -> Model:
    if isinstance(model, Model):
        return model
    if not isinstance(model, str) or model not in MODELS:
        raise FitError(f"there is no model {model!r}; choose one of {', '.join(MODELS)}")
    return MODELS[model]


def _group_by_design(
    row: Model, design: dict[str, Any], count: int
) -> Iterator[tuple[Selector, dict[str, Any]]]:
    """Yield the voxels that share a design, with that design."""
    shared = {k: v for k, v in design.items() if k not in row.per_voxel or not np.ndim(v)}
    varying = [k for k, v in shared.items() if isinstance(v, np.ndarray) and v.ndim > 1]
    if not varying:
        yield slice(0, count), shared
        return
    # A design that varies by voxel (a plasma curve each, say) is prepared once for each one that
    # occurs, and all voxels that share it are fitted together.
    rows = np.concatenate([shared[k].reshape(count, -1) for k in varying], axis=1)
    distinct, member = np.unique(rows, axis=0, return_inverse=True)
    order = np.argsort(member.ravel(), kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(member.ravel()))[:-1])
    for values, members in zip(distinct, groups, strict=True):
        yield members, shared | dict(zip(varying, np.split(values, len(varying)), strict=True))


def _chunks(members: Selector, chunk: int) -> Iterator[Selector]:
    """Yield the selection in chunks."""
    if isinstance(members, slice):
        for i in range(members.start, members.stop, chunk):
            yield slice(i, min(i + chunk, members.stop))
    else:
        yield from (members[i : i + chunk] for i in range(0, len(members), chunk))


class _Maps:
    """The maps of a fit, flattened and filled part by part."""

    def __init__(self, row: Model, count: int, empty: Callable[..., NDArray[Any]]) -> None:
        def blank() -> Array:
            array = empty(count)
            array.fill(np.nan)
            return array

        self._row = row
        self.samples = 0
        self._values = {p.name: blank() for p in row.parameters}
        self._stderr = {p.name: blank() for p in row.parameters}
        self._fitted = {name: blank() for name in row.fitted}
        self._goodness = {k: blank() for k in ("rmse", "rsquared")}
        self._status = empty(count, np.int8)
        self._status.fill(Status.BAD_INPUT)

    def put(
        self,
        part: Selector,
        prepared: Prepared,
        signal: NDArray[Any],
        single: dict[str, Array],
        weights: Array | None,
    ) -> None:
        """Fit the usable voxels of one part; the others stay NaN with status ``BAD_INPUT``."""
        block = np.asarray(signal, float)
        used = block if prepared.used.all() else block[:, prepared.used]
        # One sum finds both kinds of unusable signals: those that are zero everywhere and those
        # with a NaN or an infinite value.
        total = np.einsum("vn,vn->v", used, used)
        usable = np.isfinite(total) & (total > 0)
        for value in single.values():
            usable &= np.isfinite(value)
        if not usable.all():
            block, used = block[usable], used[usable]
            single = {k: v[usable] for k, v in single.items()}
        if not len(block):
            return
        found = prepared.estimate(block, **single)
        cost = np.where(found.status == Status.BAD_INPUT, np.nan, found.cost)
        share = None if weights is None else weights[prepared.used]
        for target, source in (
            (self._values, found.values),
            (self._stderr, found.stderr),
            (self._fitted, found.fitted),
            (self._goodness, _goodness(used, cost, share)),
        ):
            for name, array in source.items():
                _write_usable(target[name], part, usable, array)
        _write_usable(self._status, part, usable, found.status)

    def fit(self, shape: tuple[int, ...], design: dict[str, Any]) -> Fit:
        """Return the maps in their shape."""

        def reshape_all(maps: dict[str, Array]) -> dict[str, Array]:
            return {k: v.reshape(shape) for k, v in maps.items()}

        return Fit(
            model=self._row,
            values=reshape_all(self._values),
            stderr=reshape_all(self._stderr),
            fitted=reshape_all(self._fitted),
            **reshape_all(self._goodness),
            status=self._status.reshape(shape),
            samples=self.samples,
            design=design,
        )


def _goodness(signal: Array, cost: Array, weights: Array | None) -> Values:
    """Return RMSE and R2 (V,) of signals (V, N), both weighted where the cost is."""
    # R2 compares with the weighted mean; a signal that does not vary has none.
    share = np.ones(signal.shape[1]) if weights is None else weights
    size = share.sum()
    total = np.einsum("vn,vn,n->v", signal, signal, share)
    varied = total - np.square(signal @ share) / size
    varied[varied <= 1e-12 * total] = np.nan
    return {"rmse": np.sqrt(cost / size), "rsquared": 1 - cost / varied}


def _write_usable(
    target: NDArray[Any], part: Selector, usable: NDArray[np.bool_], values: NDArray[Any]
) -> None:
    """Write the values of the usable voxels of a part."""
    if usable.all():
        target[part] = values
    elif isinstance(part, slice):
        target[part][usable] = values
    else:
        target[part[usable]] = values


def _unmask(values: NDArray[Any], mask: NDArray[np.bool_], fill: float = np.nan) -> Array:
    full = np.full(mask.shape, fill, float)
    full[mask] = values
    return full
