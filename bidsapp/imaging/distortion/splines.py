"""A smooth shift along an axis of a grid as a sum of cubic B-splines, and its optimisation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from bidsapp.imaging.registration.sampling import Image, Values

Coefficients = NDArray[np.float64]
Cost = Callable[[Values, Values], tuple[float, Values, Values]]
"""Shift in mm and its derivative along the axis -> cost, and its gradients by both."""


@dataclass(frozen=True)
class Splines:
    """The B-splines at the voxels of a grid.

    Attributes
    ----------
    bases : three (N, K) arrays
        Values of the splines at the voxels, along each axis of the grid.
    slopes : three (N, K) arrays
        Their slopes, 1/mm.
    axis : int
        Axis of the shift.
    """

    bases: tuple[Values, Values, Values]
    slopes: tuple[Values, Values, Values]
    axis: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of splines along each axis."""
        i, j, k = (basis.shape[1] for basis in self.bases)
        return i, j, k

    def values(self, coefficients: Coefficients, axis: int | None = None) -> Values:
        """Return the sum of the splines at each voxel, mm; or its derivative along an axis."""
        # A tensor product is summed one axis at a time: three small matrix products instead of one
        # with a row per voxel and a column per spline.
        found = np.asarray(coefficients, np.float32).reshape(self.shape)
        for i, basis in enumerate(self._along(axis)):
            found = np.moveaxis(np.tensordot(basis, found, (1, i)), 0, i)
        return found

    def transpose(self, by_value: Values, axis: int | None = None) -> Coefficients:
        """Return the gradient by the coefficients from the gradient by the result of `values`."""
        found = by_value
        for i, basis in enumerate(self._along(axis)):
            found = np.moveaxis(np.tensordot(basis, found, (0, i)), 0, i)
        return found.astype(np.float64).ravel()

    def _along(self, axis: int | None) -> list[Values]:
        pairs = zip(self.bases, self.slopes, strict=True)
        return [slope if i == axis else basis for i, (basis, slope) in enumerate(pairs)]


def make_splines(image: Image, extent: NDArray[np.float64], spacing: float, axis: int) -> Splines:
    """Return the splines of a box at the voxels of an image that starts at its corner.

    Parameters
    ----------
    image : Image
    extent : (3,) array, mm
        Size of the box.
    spacing : float, mm
        Distance of the splines.
    axis : int

    Returns
    -------
    Splines
    """
    bases, slopes = [], []
    for n, zoom, length in zip(image.data.shape, image.zooms, extent, strict=True):
        # One spline more at either end: four overlap at every point of the box.
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
    # Cubic B-spline with unit knots: 2/3 - t^2 + t^3/2 for t < 1, (2 - t)^3 / 6 for t < 2.
    near = np.abs(far)
    inner, outer = 2 / 3 - near**2 + near**3 / 2, np.maximum(2 - near, 0) ** 3 / 6
    return np.where(near < 1, inner, outer)


def fit_smooth_shift(
    splines: Splines, cost: Cost, start: Coefficients, stiffness: float, steps: int
) -> Coefficients:
    """Minimise a cost plus the weighted mean squared gradient of the shift.

    Parameters
    ----------
    splines : Splines
    cost : Cost
    start : (K,) array
    stiffness : float
        Weight of the mean squared gradient.
    steps : int
        Maximum number of iterations.

    Returns
    -------
    (K,) array
    """

    def evaluate(coefficients: Coefficients) -> tuple[float, Coefficients]:
        shift = splines.values(coefficients)
        gradient = [splines.values(coefficients, i) for i in range(3)]
        found, by_shift, by_slope = cost(shift, gradient[splines.axis])
        # The cost depends on the coefficients through the shift and through its derivative
        # (the Jacobian); both are linear, so their gradients are transposed products.
        slope = splines.transpose(by_shift) + splines.transpose(by_slope, splines.axis)
        for i, part in enumerate(gradient):
            found += stiffness * float((part * part).mean())
            slope += splines.transpose(part * np.float32(2 * stiffness / part.size), i)
        return found, slope

    found = optimize.minimize(
        evaluate,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 12, "ftol": 1e-7, "gtol": 1e-9},
    )
    return np.asarray(found.x)
