"""A smooth shift along an axis of a grid: a sum of cubic B-splines, and the way down its cost."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from bidsapp.imaging.registration.sampling import Image, Values

Coefficients = NDArray[np.float64]
Cost = Callable[[Values, Values], tuple[float, Values, Values]]
"""Shift in mm and its slope along the axis -> cost, and its slopes by both."""


@dataclass(frozen=True)
class Splines:
    """The B-splines at the voxels of a grid.

    Attributes
    ----------
    bases : three (N, K) arrays
        Value of each spline at each voxel, along each axis of the grid.
    slopes : three (N, K) arrays
        Their slopes, 1/mm.
    axis : int
        Along which the shift is.
    """

    bases: tuple[Values, Values, Values]
    slopes: tuple[Values, Values, Values]
    axis: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many splines there are along each axis."""
        i, j, k = (basis.shape[1] for basis in self.bases)
        return i, j, k

    def values(self, coefficients: Coefficients, axis: int | None = None) -> Values:
        """Return the sum of the splines at each voxel, mm; or its slope along an axis."""
        found = np.asarray(coefficients, np.float32).reshape(self.shape)
        for i, basis in enumerate(self._along(axis)):
            found = np.moveaxis(np.tensordot(basis, found, (1, i)), 0, i)
        return found

    def back(self, by_value: Values, axis: int | None = None) -> Coefficients:
        """Return the slopes by the coefficients, of slopes by what `values` returns."""
        found = by_value
        for i, basis in enumerate(self._along(axis)):
            found = np.moveaxis(np.tensordot(basis, found, (0, i)), 0, i)
        return found.astype(np.float64).ravel()

    def _along(self, axis: int | None) -> list[Values]:
        pairs = zip(self.bases, self.slopes, strict=True)
        return [slope if i == axis else basis for i, (basis, slope) in enumerate(pairs)]


def make_splines(image: Image, extent: NDArray[np.float64], spacing: float, axis: int) -> Splines:
    """Return the splines of a box, at the voxels of an image whose first voxel is the box's corner.

    Parameters
    ----------
    image : Image
    extent : (3,) array, mm
        Of the box.
    spacing : float, mm
        Between the splines.
    axis : int

    Returns
    -------
    Splines
    """
    bases, slopes = [], []
    for n, zoom, length in zip(image.data.shape, image.zooms, extent, strict=True):
        knots = np.arange(-1, np.ceil(length / spacing) + 2)
        far = np.arange(n)[:, None] * zoom / spacing - knots
        bases.append(_cubic_bspline(far).astype(np.float32))
        slopes.append(
            ((_cubic_bspline(far + 1e-3) - _cubic_bspline(far - 1e-3)) / (2e-3 * spacing)).astype(
                np.float32
            )
        )
    return Splines((bases[0], bases[1], bases[2]), (slopes[0], slopes[1], slopes[2]), axis)


def _cubic_bspline(far: NDArray[np.float64]) -> NDArray[np.float64]:
    near = np.abs(far)
    inner, outer = 2 / 3 - near**2 + near**3 / 2, np.maximum(2 - near, 0) ** 3 / 6
    return np.where(near < 1, inner, outer)


def fit_smooth_shift(
    splines: Splines, cost: Cost, start: Coefficients, stiffness: float, steps: int
) -> Coefficients:
    """Go down a cost and the mean squared gradient of the shift, from a start.

    Parameters
    ----------
    splines : Splines
    cost : Cost
    start : (K,) array
    stiffness : float
        Price of the mean squared gradient.
    steps : int
        At most.

    Returns
    -------
    (K,) array
    """

    def evaluate(coefficients: Coefficients) -> tuple[float, Coefficients]:
        shift = splines.values(coefficients)
        gradient = [splines.values(coefficients, i) for i in range(3)]
        found, by_shift, by_slope = cost(shift, gradient[splines.axis])
        slope = splines.back(by_shift) + splines.back(by_slope, splines.axis)
        for i, part in enumerate(gradient):
            found += stiffness * float((part * part).mean())
            slope += splines.back(part * np.float32(2 * stiffness / part.size), i)
        return found, slope

    found = optimize.minimize(
        evaluate,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 12, "ftol": 1e-7, "gtol": 1e-9},
    )
    return np.asarray(found.x)
