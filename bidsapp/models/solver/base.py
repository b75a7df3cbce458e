"""The definition of a model, and the result of fitting a block of voxels."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidsapp.errors import FitError
from bidsapp.models.parameters import Parameter

Array = NDArray[np.float64]
Values = dict[str, Array]
Bounds = Mapping[str, tuple[float, float]]
"""Name of a searched parameter -> its lowest and highest value."""

_ROUNDING = 1e-6  # of a rate that is clipped at a limit on the axis of the search, relative


class Status(IntEnum):
    """Outcome of the fit in one voxel."""

    OK = 0
    AT_BOUND = 1
    """A parameter is at or beyond its physical limit."""
    NOT_IDENTIFIABLE = 2
    """The data do not determine at least one parameter, which is NaN."""
    BAD_INPUT = 3
    """The signal cannot be fitted (not finite, or not positive where it must be): all NaN."""


@dataclass(frozen=True)
class Estimate:
    """Parameters of a block of V voxels.

    Attributes
    ----------
    values, stderr
        One array (V,) per parameter.
    status
        `Status` (V,).
    cost
        Residual sum of squares (V,) over the samples in use, weighted where there are weights.
    fitted
        Values from which `Model.predict` computes the fitted signal even where a parameter is
        withheld as not identifiable: one array (V,) per name in `Model.fitted`.
    """

    values: Values
    stderr: Values
    status: NDArray[np.int8]
    cost: Array
    fitted: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A model prepared for one design: whatever depends on the design alone has been computed.

    Attributes
    ----------
    estimate
        ``estimate(signal (V, N)) -> Estimate``; the options in `Model.per_voxel` are passed as
        further keyword arguments (V,).
    used
        Samples (N,) that the fit uses.
    """

    estimate: Callable[..., Estimate]
    used: NDArray[np.bool_]


@dataclass(frozen=True)
class Need:
    """A requirement of a model, in words, and whether the design meets it."""

    text: str
    met: bool


@dataclass(frozen=True)
class Model:
    """One row of the table of models.

    Attributes
    ----------
    name
        Its name for users, for example ``extended-tofts``.
    label
        The BIDS ``model-`` label, for example ``etofts``.
    title
        Its full name.
    parameters
        The estimated parameters, in the order of the tables.
    free
        Number of free parameters; the others follow from these.
    design
        Names of the required keyword arguments.
    options
        Names of the optional keyword arguments. The command line sets those that are named like one
        of its options (``b_min``, ``b_max``, ``noise``).
    prepare
        ``prepare(**design) -> Prepared``.
    predict
        ``predict(values, **design) -> signal`` (..., N).
    formula
        The signal as a formula.
    doi
        Publication of the model.
    per_voxel
        Options that may be given voxel by voxel, as arrays of the shape of the maps.
    learn
        ``learn(signal (V, N), **design) -> options`` that are estimated from all voxels together,
        such as the noise level.
    fitted
        Names of quantities that a fit stores besides the values, for models that withhold
        parameters as not identifiable; `predict` prefers them to the values of the same name.
    numbers
        Options that are a single number, which the command line sets by ``--model-options``.
    in_auto
        Whether ``--dce-model auto`` fits the model too, to compare it with the others.
    requires
        ``requires(**design) -> needs``: the conditions under which the fit is possible.
    linear
        Whether the fit is linear least squares, without rates that must be searched.
    """

    name: str
    label: str
    title: str
    parameters: tuple[Parameter, ...]
    free: int
    design: tuple[str, ...]
    options: tuple[str, ...]
    prepare: Callable[..., Prepared]
    predict: Callable[..., Array]
    formula: str
    doi: str
    per_voxel: tuple[str, ...] = ()
    learn: Callable[..., dict[str, Any]] | None = None
    fitted: tuple[str, ...] = ()
    requires: Callable[..., Iterable[Need]] | None = None
    numbers: tuple[str, ...] = ()
    in_auto: bool = True
    linear: bool = False

    def needs(self, **design: Any) -> list[Need]:
        """Return the model's requirements on a design (its keyword arguments), met or not."""
        return list(self.requires(**design)) if self.requires else []

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of that name."""
        return next(p for p in self.parameters if p.name == name)


def check_interval(name: str, given: Any, unit: str, least: float = -np.inf) -> tuple[float, float]:
    """Check a range given by the user.

    Raises
    ------
    FitError
        If it is not a pair (low, high) of finite, ascending numbers that are at least ``least``.

    Examples
    --------
    >>> check_interval("delay_range", [0, 0.2], "min")
    (0.0, 0.2)
    """
    try:
        low, high = (float(x) for x in given)
    except (TypeError, ValueError):
        # Not two numbers: NaN fails the comparison below.
        low = high = np.nan
    if not (least <= low < high < np.inf and low > -np.inf):
        start = f"{least:g} <= " if np.isfinite(least) else ""
        raise FitError(
            f"{name} must be (low, high) with {start}low < high in {unit}, got {given!r}"
        )
    return low, high


def at_limits(values: Array, parameter: Parameter) -> NDArray[np.bool_]:
    """Return where a searched parameter has reached a limit of its range, up to rounding.

    Examples
    --------
    >>> at_limits(np.array([0.0, 5.0, 10.0]), Parameter("kep", "1/min", 0.0, 10.0, "rate"))
    array([ True, False,  True])
    """
    low, high = parameter.lower * (1 + _ROUNDING), parameter.upper * (1 - _ROUNDING)
    return np.asarray((values <= low) | (values >= high))


def apply_bounds(
    model: str, searched: tuple[Parameter, ...], bounds: Bounds | None
) -> tuple[Parameter, ...]:
    """Return the searched parameters with the user's bounds in place of the table's.

    Raises
    ------
    FitError
        If a bound is set on a parameter that is not searched, or is not a range of numbers that are
        not negative.

    Examples
    --------
    >>> kep = Parameter("kep", "1/min", 0.0, 10.0, "rate constant")
    >>> apply_bounds("tofts", (kep,), {"kep": (0.1, 5)})[0].upper
    5.0
    """
    if not isinstance(bounds or {}, Mapping):
        raise FitError(f"bounds map a parameter's name to (low, high), got {bounds!r}")
    given = dict(bounds or {})
    result = []
    for row in searched:
        low, high = check_interval(
            f"bounds of {row.name}", given.pop(row.name, (row.lower, row.upper)), row.unit, least=0
        )
        result.append(replace(row, lower=low, upper=high))
    if given:
        names = ", ".join(row.name for row in searched) or "nothing"
        raise FitError(
            f"{model} takes no bounds for {', '.join(given)}: it searches {names}; "
            "amplitudes are never negative, and other parameters follow from these"
        )
    return tuple(result)
