"""What a model is, and what a fit gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Values = dict[str, Array]


class Status(IntEnum):
    """What became of one voxel."""

    OK = 0
    AT_BOUND = 1
    """A parameter lies on or beyond the limit of what is physical."""
    NOT_IDENTIFIABLE = 2
    """The data say nothing about at least one parameter, which is NaN."""
    BAD_INPUT = 3
    """The signal cannot be fitted (not finite, or not positive where it must be): all NaN."""


@dataclass(frozen=True)
class Parameter:
    """One named parameter of a model: its BIDS ``param-`` label, its unit and its range."""

    name: str
    unit: str
    lower: float
    upper: float
    description: str


@dataclass(frozen=True)
class Estimate:
    """Parameters of a block of voxels: values and standard errors (V,), and a status (V,)."""

    values: Values
    stderr: Values
    status: NDArray[np.int8]


@dataclass(frozen=True)
class Model:
    """One row of the table of models.

    Attributes
    ----------
    name
        What the user types, for example ``extended-tofts``.
    label
        The BIDS ``model-`` label, for example ``etofts``.
    title
        The model in words.
    parameters
        What it estimates, in the order of the tables.
    design
        Names of the keyword arguments that it needs.
    options
        Names of the keyword arguments that it also takes.
    estimate
        ``estimate(signal, **design) -> Estimate`` with signal (V, N).
    predict
        ``predict(values, **design) -> signal`` (..., N).
    formula
        The signal as a formula.
    doi
        Where the model was published.
    """

    name: str
    label: str
    title: str
    parameters: tuple[Parameter, ...]
    design: tuple[str, ...]
    options: tuple[str, ...]
    estimate: Callable[..., Estimate]
    predict: Callable[..., Array]
    formula: str
    doi: str

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of that name."""
        return next(p for p in self.parameters if p.name == name)


@dataclass(frozen=True)
class Fit:
    """A model fitted to an array of voxels of any shape (...).

    Attributes
    ----------
    model
        The row of the table.
    values, stderr
        One array (...) a parameter, in the parameter's unit; NaN where the voxel failed.
    rmse
        Root mean square residual (...), in the signal's unit.
    rsquared
        Coefficient of determination (...).
    status
        `Status` (...) as int8.
    design
        The keyword arguments of the fit.
    """

    model: Model
    values: Values
    stderr: Values
    rmse: Array
    rsquared: Array
    status: NDArray[np.int8]
    design: Mapping[str, Any]

    def predict(self, **design: Any) -> Array:
        """Return the model's signal (..., N), for the fit's design or another one."""
        return self.model.predict(self.values, **{**self.design, **design})
