"""The point spread of an image along its axes: where the signal of a voxel comes from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Kernel = Callable[[Array], Array]


def mean_over_voxel(distance: ArrayLike) -> Array:
    """Return the weight of points for the mean over a voxel.

    Parameters
    ----------
    distance : array, voxels
        Distance of the points from the centre of the voxel.

    Returns
    -------
    array
        Weights per voxel; their integral is 1.
    """
    return np.where(np.abs(np.asarray(distance, float)) < 0.5, 1.0, 0.0)


def raised_cosine(roll_off: float) -> Kernel:
    r"""Return the point spread of a Fourier image whose high frequencies are attenuated.

    Parameters
    ----------
    roll_off : float
        0: all frequencies up to the Nyquist frequency have the same weight; 1: a Hann filter.

    Returns
    -------
    function
        From distances (voxels) to weights per voxel, whose integral is 1.

    Notes
    -----
    The weight of frequencies is 1 up to :math:`(1-\beta)/2T`, falls like a cosine, and is 0 from
    the Nyquist frequency :math:`(1+\beta)/2T = 1/2` on, so that :math:`T = 1 + \beta` and

    .. math:: h(x) = \frac{1}{T} \operatorname{sinc}\frac{x}{T}
       \frac{\cos(\pi \beta x / T)}{1 - (2 \beta x / T)^2} .

    Examples
    --------
    >>> x = np.arange(-200, 200.01, 0.01)
    >>> [round(float(0.01 * raised_cosine(beta)(x).sum()), 2) for beta in (0, 0.5, 1)]
    [1.0, 1.0, 1.0]
    """
    width = 1 + roll_off

    def kernel(distance: Array) -> Array:
        place = np.asarray(distance, float) / width
        below = 1 - np.square(2 * roll_off * place)
        pole = np.abs(below) < 1e-6
        cosine = np.cos(np.pi * roll_off * place) / np.where(pole, 1, below)
        return np.asarray(np.sinc(place) * np.where(pole, np.pi / 4, cosine) / width)

    return kernel


KERNELS: Mapping[str, Kernel] = {
    "box": mean_over_voxel,
    "fourier": raised_cosine(0.0),
    "filtered": raised_cosine(1 / 3),
    "hann": raised_cosine(1.0),
}
"""Point spreads along one axis, from sharp to smooth."""


@dataclass(frozen=True)
class PointSpread:
    """The point spread in the plane of the slices, and across them.

    Attributes
    ----------
    in_plane, across : mapping of str to float
        Weights of `KERNELS`, together 1.

    Examples
    --------
    >>> str(PointSpread({"box": 0.7, "fourier": 0.3}, {"box": 1.0}))
    '0.7 box + 0.3 fourier in plane, box across'
    """

    in_plane: Mapping[str, float]
    across: Mapping[str, float]

    def __str__(self) -> str:
        return f"{_describe(self.in_plane)} in plane, {_describe(self.across)} across"

    def apply(self, fine: NDArray[Any], points: ArrayLike, spacing: ArrayLike) -> Array:
        """Return the signal of the voxels of an image from samples of what is imaged.

        Parameters
        ----------
        fine : (X, Y, Z) array
            Samples at the centres of equal parts of the voxels; nothing lies outside.
        points : (3,) array of int
            Samples of a voxel along each axis.
        spacing : (3,) array, mm
            Of the voxels.

        Returns
        -------
        array
            With as many voxels along each axis as `fine` has groups of `points`.

        Examples
        --------
        >>> fine = np.zeros((6, 6, 6))
        >>> fine[2:4, 2:4, 2:4] = 1
        >>> image = VOXEL_MEAN.apply(fine, (2, 2, 2), (1, 1, 1))
        >>> image.shape, float(image[1, 1, 1]), float(image.sum())
        ((3, 3, 3), 1.0, 1.0)
        """
        found = np.asarray(fine, float)
        counts = np.asarray(points, int)
        for axis, across in enumerate(_across_slices(np.asarray(spacing, float))):
            weights, n = self.across if across else self.in_plane, int(counts[axis])
            size = found.shape[axis] // n
            matrix = sum(w * _matrix(KERNELS[name], size, n) for name, w in weights.items())
            found = np.moveaxis(np.tensordot(matrix, found, (1, axis)), 0, axis)
        return found


VOXEL_MEAN = PointSpread({"box": 1.0}, {"box": 1.0})
"""Fractions of signals are fractions of volume."""
CANDIDATES = tuple(PointSpread({a: 1.0}, {b: 1.0}) for a, b in product(KERNELS, repeat=2))
"""All point spreads of one kernel along each axis."""
LOG_PRIOR = np.array(
    [-3.0 * ("hann" in s.in_plane) - 3.0 * ("hann" in s.across) for s in CANDIDATES]
)
"""Logarithms of their prior probabilities, up to a constant.

Strong filters are rare: a lesion that is too small to show the point spread has a sharp one.
"""


def average(weights: Sequence[float]) -> PointSpread:
    """Return the mean of `CANDIDATES` with weights that add up to 1, separately along each axis.

    Examples
    --------
    >>> str(average([0.5, 0.5, *[0] * 14]))
    'box in plane, 0.5 box + 0.5 fourier across'
    """
    in_plane, across = dict.fromkeys(KERNELS, 0.0), dict.fromkeys(KERNELS, 0.0)
    for weight, (a, b) in zip(weights, product(KERNELS, repeat=2), strict=True):
        in_plane[a] += weight
        across[b] += weight
    return PointSpread(in_plane, across)


def _describe(weights: Mapping[str, float]) -> str:
    """Return the kernels that have at least 5 % of the weight, the first one first."""
    rounded = {name: round(w, 1) for name, w in weights.items() if w >= 0.05}
    order = sorted(rounded, key=lambda name: -rounded[name])
    return order[0] if len(order) == 1 else " + ".join(f"{rounded[n]:g} {n}" for n in order)


def _across_slices(spacing: Array) -> NDArray[np.bool_]:
    """Return which axis lies across the slices: that of the thickest voxels, if there is one."""
    return np.asarray((spacing > 1.5 * spacing.min()) & (spacing == spacing.max()))


def _matrix(kernel: Kernel, voxels: int, points: int) -> Array:
    """Return the weights (voxels, samples) of samples along an axis."""
    samples = (np.arange(voxels * points) + 0.5) / points - 0.5
    return kernel(np.arange(voxels)[:, None] - samples) / points
