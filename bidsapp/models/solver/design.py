"""Checks of the arguments of a fit, with clearer error messages than those of numpy."""

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidsapp.errors import FitError
from bidsapp.models.solver.base import Model

_ONE_NUMBER = ("repetition_time", "b_min", "b_max", "sigma", "delay", "blood_signal", "arrival")
"""Arguments that are a single number in every model; `Model.numbers` lists further ones."""
_OF_SAMPLES = ("weights", "averages")
_NEVER_NEGATIVE = ("bvalues", "weights")


def as_real_array(name: str, value: Any) -> NDArray[Any]:
    """Return an array of real numbers.

    Raises
    ------
    FitError
        If it contains anything else, such as complex numbers or text.

    Examples
    --------
    >>> as_real_array("b_max", 800)
    array(800)
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise FitError(f"{name} is not an array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise FitError(f"{name} must hold real numbers, got {array.dtype}")
    return array


def check_counts(**counts: Any) -> None:
    """Raise an error for a count that is not an integer >= 1."""
    for name, count in counts.items():
        if not isinstance(count, Integral) or count < 1:
            raise FitError(f"{name} must be an integer >= 1, got {count!r}")


def check_design(
    row: Model, shape: tuple[int, ...], samples: int, design: dict[str, Any]
) -> dict[str, Any]:
    """Return the design as arrays; raise an error for missing, unknown or mis-sized ones."""
    for name, value in design.items():
        if value is not None and name not in (*row.design, *row.options):
            raise FitError(f"{row.name} takes no {name!r}; it takes {row.design + row.options}")
    for name in row.design:
        if design.get(name) is None:
            raise FitError(f"{row.name} needs {name!r}")
    # None is the same as not given.
    provided = {k: v for k, v in design.items() if v is not None}
    return {k: _check_one(row, k, v, shape, samples) for k, v in provided.items()}


def varies_by_voxel(row: Model, name: str, value: Any, shape: tuple[int, ...]) -> bool:
    """Return whether an argument has a value for each voxel of that shape."""
    # Such an argument has the axes of the maps first; one without them holds for all voxels.
    axes = len(shape) + _of_samples(row, name)
    known = name in row.per_voxel or _of_samples(row, name)
    return (
        known and bool(shape) and np.ndim(value) == axes and np.shape(value)[: len(shape)] == shape
    )


def _of_samples(row: Model, name: str) -> bool:
    """Return whether an argument has a value for each sample."""
    return name in _OF_SAMPLES or (name in row.design and not _is_one_number(row, name))


def _is_one_number(row: Model, name: str) -> bool:
    """Return whether an argument is one number for all voxels and samples."""
    return name in _ONE_NUMBER or name in row.numbers


def _check_one(row: Model, name: str, value: Any, shape: tuple[int, ...], samples: int) -> Any:
    if _is_one_number(row, name):
        return _one_number(name, value)
    if _of_samples(row, name):
        return _of_each_sample(name, as_real_array(name, value).astype(float), shape, samples)
    if name in row.per_voxel:
        array = as_real_array(name, value).astype(float)
        if array.ndim and array.shape != shape:
            raise FitError(f"{name} has shape {array.shape}, the maps {shape}")
        return array if array.ndim else float(array)
    return value


def _one_number(name: str, value: Any) -> float:
    array = as_real_array(name, value)
    if array.ndim:
        raise FitError(f"{name} must be one number, got an array of shape {array.shape}")
    if np.isnan(array):
        raise FitError(f"{name} is not a number")
    return float(array)


def _of_each_sample(
    name: str, array: NDArray[np.float64], shape: tuple[int, ...], samples: int
) -> NDArray[np.float64]:
    if array.shape not in ((samples,), (*shape, samples)):
        if array.ndim < 2:
            raise FitError(f"{name} has {array.size} values, the signal {samples}")
        raise FitError(f"{name} has shape {array.shape}, the signal {(*shape, samples)}")
    if not np.isfinite(array).all():
        raise FitError(f"{name} holds values that are not finite")
    if name in _NEVER_NEGATIVE and not (array >= 0).all():
        raise FitError(f"{name} must not be negative, got {array.min():g}")
    if name == "averages" and not (array > 0).all():
        raise FitError(f"averages must be positive, got {array.min():g}")
    return array
