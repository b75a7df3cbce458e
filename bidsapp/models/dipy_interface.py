"""Estimators with the interface of dipy's reconstruction models, over a gradient table."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.models.diffusion.adc import combine_directions
from bidsapp.models.fitting import fit_masked
from bidsapp.models.result import Fit
from bidsapp.models.solver.base import Array
from bidsapp.models.table import MODELS


class GradientTable(Protocol):
    """The required attributes of a gradient table, as in dipy's ``GradientTable``."""

    @property
    def bvals(self) -> Any:
        """b-values (M,), s/mm2."""


class DiffusionModel:
    """Any diffusion model of the table over a gradient table.

    Parameters
    ----------
    gtab : dipy GradientTable
        Its ``bvals`` (M,), s/mm2; directions of one b-value are combined by the geometric mean.
    name : str
        The model's name in the table, for example ``adc``.
    **options
        Options of that fit, for example ``b_min``.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> gtab = SimpleNamespace(bvals=np.array([0, 1000, 1000.0]))
    >>> maps = DiffusionModel(gtab, "adc").fit(np.exp(-gtab.bvals * 8e-4))
    >>> float(maps.values["ADC"].round(9))
    0.0008
    """

    def __init__(self, gtab: GradientTable, name: str, **options: Any) -> None:
        self.gtab = gtab
        self.name = name
        self.options = options

    def fit(self, data: ArrayLike, mask: ArrayLike | None = None) -> Fit:
        """Fit (..., M) data inside a mask (...); the maps are NaN outside."""
        combined, design = combine_for_model(self.name, data, self.gtab.bvals)
        return fit_masked(self.name, combined, mask, **design | self.options)


def combine_for_model(
    model: str, data: ArrayLike, bvalues: ArrayLike
) -> tuple[Array, dict[str, Array]]:
    """Return the series that a diffusion model is fitted to, and its design.

    Parameters
    ----------
    model
        The model's name in the table.
    data : (..., M) array
    bvalues : (M,) array, s/mm2

    Returns
    -------
    combined : (..., N) array
        Geometric mean of the directions of each b-value.
    design
        ``bvalues`` (N,), and ``averages`` (N,) if the model takes them.

    Examples
    --------
    >>> combined, design = combine_for_model("adc", [8.0, 1.0, 4.0], [0, 1000, 1005])
    >>> design["bvalues"], design["averages"]
    (array([   0. , 1002.5]), array([1., 2.]))
    """
    shells, combined = combine_directions(data, bvalues)
    takes = "averages" in MODELS[model].options
    counts = {"averages": count_directions(bvalues)} if takes else {}
    return combined, {"bvalues": shells} | counts


def count_directions(bvalues: ArrayLike) -> Array:
    """Return the number of volumes in the geometric mean of each shell of `combine_directions`.

    Parameters
    ----------
    bvalues : (M,) array, s/mm2

    Returns
    -------
    (N,) array

    Examples
    --------
    >>> count_directions([0, 1000, 1005, 1000])
    array([1., 3.])
    """
    values = np.asarray(bvalues, float)
    # Row i is a series that is e in volume i and 1 elsewhere. The logarithm of its geometric mean
    # is 1/n in the shell of volume i, which has n volumes, and 0 in the others.
    shares = np.log(combine_directions(np.exp(np.eye(len(values))), values)[1])
    counts: Array = np.round(1 / shares.max(axis=0))
    return counts


class IvimModel:
    """IVIM over a gradient table, in place of dipy's own ``IvimModel``.

    Parameters
    ----------
    gtab : dipy GradientTable
        Its ``bvals`` (M,), s/mm2; directions of one b-value are combined by the geometric mean.
    method : str
        The model's name in the table without ``ivim-``, such as ``asymptotic`` or
        ``biexponential``.
    **options
        Options of that fit, for example ``b_min``.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> gtab = SimpleNamespace(bvals=np.array([0, 200, 400, 600, 800, 1000.0]))
    >>> signal = 100 * np.where(gtab.bvals > 0, 0.9, 1.0) * np.exp(-gtab.bvals * 1e-3)
    >>> fit = IvimModel(gtab).fit(signal)
    >>> float(fit.perfusion_fraction.round(6)), float(fit.D.round(9))
    (0.1, 0.001)
    """

    def __init__(self, gtab: GradientTable, method: str = "asymptotic", **options: Any) -> None:
        self.model = DiffusionModel(gtab, f"ivim-{method}", **options)

    def fit(self, data: ArrayLike, mask: ArrayLike | None = None) -> "IvimFit":
        """Fit (..., M) data inside a mask (...); the maps are NaN outside."""
        return IvimFit(self.model.fit(data, mask))


class IvimFit:
    """The maps of an IVIM fit under dipy's names, all (...)."""

    def __init__(self, result: Fit) -> None:
        self.result = result

    @property
    def perfusion_fraction(self) -> Array:
        """Perfusion fraction f."""
        return self.result.values["f"]

    @property
    def D(self) -> Array:
        """Diffusion coefficient, mm2/s."""
        return self.result.values["D"]

    @property
    def D_star(self) -> Array:
        """Pseudo-diffusion coefficient, mm2/s; NaN where the fit does not estimate it."""
        return self.result.values.get("Dstar", np.full_like(self.D, np.nan))

    @property
    def S0(self) -> Array:
        """Signal at b = 0."""
        return self.result.values["S0"]

    @property
    def S0_predicted(self) -> Array:
        """Signal at b = 0, under the name that dipy uses."""
        return self.S0

    def predict(self, gtab: GradientTable) -> Array:
        """Return the signal (..., M) for a gradient table."""
        return self.result.predict(bvalues=np.asarray(gtab.bvals, float))
