"""The result of a fit: parameter maps that predict the signal and can be compared and pickled."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidsapp.models.solver.base import Array, Model, Status, Values
from bidsapp.models.table import MODELS


@dataclass(frozen=True, repr=False, eq=False)
class Fit:
    """A model fitted to an array of voxels of any shape (...).

    Two fits are equal if all their maps and designs are; NaN equals NaN.

    Attributes
    ----------
    model
        The row of the table.
    values, stderr
        One array (...) per parameter, in the parameter's unit; NaN where the fit failed.
    rmse
        Root mean square residual (...), in the signal's unit; a weighted mean where there are
        weights.
    rsquared
        Coefficient of determination (...), weighted likewise.
    status
        `Status` (...) as int8.
    samples
        Number of samples of each signal that the fit uses.
    design
        The keyword arguments of the fit.
    fitted
        One array (...) for each name in `Model.fitted`: what `predict` uses in place of values
        that were withheld as not identifiable.

    Examples
    --------
    >>> from bidsapp.models import fit
    >>> b = np.array([0, 500, 1000.0])
    >>> fit("adc", np.exp(-b * [[8e-4], [np.nan]]), bvalues=b)
    Fit(adc, shape (2,): 1 OK, 1 BAD_INPUT)
    """

    model: Model
    values: Values
    stderr: Values
    rmse: Array
    rsquared: Array
    status: NDArray[np.int8]
    samples: int
    design: Mapping[str, Any]
    fitted: Values = field(default_factory=dict)

    def __repr__(self) -> str:
        counts = sorted(Counter(self.status.ravel().tolist()).items())
        outcome = ", ".join(f"{count} {Status(status).name}" for status, count in counts)
        return f"Fit({self.model.name}, shape {self.status.shape}: {outcome or 'no voxel'})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fit) and _equal(vars(self), vars(other))

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields; a row of the table by its name, as its functions do not pickle."""
        name = self.model.name
        known = MODELS.get(name) is self.model
        return vars(self) | ({"model": name} if known else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        model = state["model"]
        vars(self).update(state, model=MODELS[model] if isinstance(model, str) else model)

    @property
    def aicc(self) -> Array:
        """Akaike's criterion for small samples (...), NaN where there are too few.

        Among models fitted to the same signal, that with the lowest value is best supported.

        Notes
        -----
        ``N ln(RMSE^2) + 2 k + 2 k (k + 1) / (N - k - 1)`` for N samples and k parameters, the
        noise among them.

        References
        ----------
        Hurvich and Tsai, Biometrika 1989, doi:10.1093/biomet/76.2.297.
        """
        count, free = self.samples, self.model.free + 1
        spare = count - free - 1
        penalty = 2 * free + 2 * free * (free + 1) / spare if spare > 0 else np.nan
        # 2 N ln(RMSE) is N ln(RMSE^2); it is minus infinity for a perfect fit.
        with np.errstate(divide="ignore"):
            criterion: Array = 2 * count * np.log(self.rmse) + penalty
        return criterion

    def predict(self, **design: Any) -> Array:
        """Return the fitted signal (..., N), for the fit's design or another one.

        The fitted signal is returned also where a parameter is NaN because it is not identifiable.

        Examples
        --------
        >>> from bidsapp.models import fit
        >>> b = np.array([0, 200, 400, 600, 800, 1000.0])
        >>> found = fit("ivim-biexponential", 9 * np.exp(-b / 1000) + np.exp(-b / 50), bvalues=b)
        >>> found.values["Dstar"], found.predict(bvalues=np.array([50.0])).round(2)
        (array(nan), array([8.93]))
        """
        return self.model.predict(self.values | self.fitted, **{**self.design, **design})


def _equal(first: Any, second: Any) -> bool:
    """Return whether two fields are equal: containers by their content, NaN equal to NaN."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(_equal(v, second[k]) for k, v in first.items())
    if is_dataclass(first) and not isinstance(first, Model):
        return type(first) is type(second) and _equal(vars(first), vars(second))
    if isinstance(first, float | np.ndarray):
        return np.array_equal(first, second, equal_nan=np.asarray(first).dtype.kind == "f")
    return bool(first == second)
