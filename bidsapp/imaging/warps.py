"""Shifts along one axis of a grid, as in EPI distortion, alone or chained with matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import Matrix, Vector, apply, compose, invert, read_itk

Points = NDArray[np.float64]
Values = NDArray[np.float32]

_ROUNDS = 30
"""Iterations that invert a shift; each scales the error by the slope of the shift."""


@dataclass(frozen=True)
class Shift:
    """Displacement of each point of a grid along one of its axes.

    Attributes
    ----------
    data : (X, Y, Z) array, mm
        Positive towards higher voxel indices. Linear between the voxels, constant beyond the edge.
    affine : (4, 4) array
        Voxels to RAS mm.
    axis : int
        0, 1 or 2.

    Examples
    --------
    >>> there = Shift(np.full((4, 4, 4), 3.0, np.float32), np.diag([2, 2, 2, 1.0]), 1)
    >>> there(np.array([[2.0, 2.0, 2.0]])).tolist()
    [[2.0, 5.0, 2.0]]
    """

    data: Values
    affine: Matrix
    axis: int

    @property
    def spacing(self) -> float:
        """Size of a voxel along the axis, mm."""
        return float(np.linalg.norm(self.affine[:3, self.axis]))

    @property
    def direction(self) -> Vector:
        """Unit vector of the axis, RAS."""
        vector: Vector = self.affine[:3, self.axis] / self.spacing
        return vector

    def __call__(self, points: Points) -> Points:
        """Return points (..., 3) in mm, moved."""
        voxels = np.moveaxis(apply(invert(self.affine), points), -1, 0)
        found = ndimage.map_coordinates(self.data, voxels, order=1, mode="nearest")
        return np.asarray(points + found[..., None] * self.direction)

    def inverse(self) -> "Shift":
        """Return the inverse shift, on the same grid."""
        # The inverse shift u satisfies u(y) = -s(y + u(y)). Iterating this converges where the
        # slope of s is below one in size.
        places = np.indices(self.data.shape, np.float32)
        back = np.zeros_like(self.data)
        for _ in range(_ROUNDS):
            moved = places.copy()
            moved[self.axis] += back / np.float32(self.spacing)
            back = -ndimage.map_coordinates(self.data, moved, order=1, mode="nearest")
        return replace(self, data=back)

    def jacobian(self) -> Values:
        """Return the factor by which a line along the axis is stretched at each voxel, (X, Y, Z).

        The acquired signal at the moved point, times this factor, is the signal of the undistorted
        voxel, so that the total signal is preserved.
        """
        slope: Values = np.gradient(self.data, self.spacing, axis=self.axis).astype(np.float32)
        return 1 + slope


@dataclass(frozen=True)
class Warp:
    """A sequence of (4, 4) matrices and shifts, of which the first is applied first."""

    steps: tuple[Matrix | Shift, ...]

    def __call__(self, points: ArrayLike) -> Points:
        """Return points (..., 3) in mm, moved."""
        found = np.asarray(points, float)
        for step in self.steps:
            found = step(found) if isinstance(step, Shift) else apply(step, found)
        return found


Mapping = Matrix | Warp
"""From points of the target to points of the image, RAS mm."""


def chain(*steps: ArrayLike | Shift | Warp) -> Mapping:
    """Join several steps, the first one first; into one matrix if all of them are matrices.

    Parameters
    ----------
    *steps : (4, 4) array, Shift or Warp

    Returns
    -------
    (4, 4) array or Warp

    Examples
    --------
    >>> chain(np.diag([2, 2, 2, 1]), np.eye(4)).diagonal().tolist()
    [2.0, 2.0, 2.0, 1.0]
    >>> still = Shift(np.zeros((2, 2, 2), np.float32), np.eye(4), 0)
    >>> len(chain(np.eye(4), np.eye(4), still, np.eye(4)).steps)
    3
    """
    flat = [s for step in steps for s in (step.steps if isinstance(step, Warp) else (step,))]
    joined: list[Matrix | Shift] = []
    for step in flat:
        if isinstance(step, Shift):
            joined.append(step)
        elif joined and not isinstance(joined[-1], Shift):
            joined[-1] = compose(joined[-1], step)
        else:
            joined.append(compose(step))
    if len(joined) == 1 and not isinstance(joined[0], Shift):
        return joined[0]
    return Warp(tuple(joined)) if joined else np.eye(4)


def voxel_mapping(
    affine: ArrayLike, mapping: ArrayLike | Warp, target_affine: ArrayLike
) -> Mapping:
    """Return the mapping from voxels of the target grid to voxels of an image.

    Parameters
    ----------
    affine : (4, 4) array
        Voxels of the (moving) image to RAS mm.
    mapping : (4, 4) array or Warp
        Points of the target (fixed) to points of the image, RAS mm.
    target_affine : (4, 4) array
        Voxels of the target to RAS mm.

    Returns
    -------
    (4, 4) array or Warp

    Examples
    --------
    >>> voxel_mapping(np.diag([2, 2, 2, 1]), np.eye(4), np.eye(4)).diagonal().tolist()
    [0.5, 0.5, 0.5, 1.0]
    """
    return chain(target_affine, mapping, invert(affine))


def map_centres(to_voxel: Warp, shape: Sequence[int]) -> Values:
    """Return the mapped positions of the centres of a grid's voxels, (3,) + shape."""
    found = np.empty((3, *shape), np.float32)
    # Plane by plane, since points are in double precision and the result in single.
    plane = np.indices((1, *shape[1:])).astype(float)
    for i in range(shape[0]):
        plane[0] = i
        found[:, i : i + 1] = np.moveaxis(to_voxel(np.moveaxis(plane, 0, -1)), -1, 0)
    return found


def write_shift(shift: Shift, path: Path) -> str:
    """Write a shift as an image in mm; its header names the axis as that of phase encoding.

    Parameters
    ----------
    shift : Shift
    path : Path
        Ends in ``.nii``.

    Returns
    -------
    str
        The path.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> shift = Shift(np.ones((2, 3, 4), np.float32), np.eye(4), 2)
    >>> path = write_shift(shift, Path(mkdtemp(), "shift.nii"))
    >>> read_shift(path).axis
    2
    """
    image = nib.Nifti1Image(shift.data.astype(np.float32), shift.affine)
    image.header.set_dim_info(phase=shift.axis)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return str(path)


def read_shift(path: Path | str) -> Shift:
    """Read what `write_shift` wrote.

    Raises
    ------
    BadInput
        If the header does not name the axis.
    """
    image: Any = nib.load(path)
    axis = image.header.get_dim_info()[1]
    if axis is None or image.ndim != 3:
        raise BadInput(
            f"{path}: is not a shift, which is a 3D image whose header names the phase axis"
        )
    return Shift(np.asarray(image.dataobj, np.float32), image.affine, int(axis))


def read_mapping(paths: Sequence[Path | str]) -> Mapping:
    """Read steps, the first one first: ITK text files of matrices, images of shifts.

    Parameters
    ----------
    paths : sequence of path

    Returns
    -------
    (4, 4) array or Warp

    Raises
    ------
    BadInput
        If a file is neither.
    """
    return chain(*(read_itk(p) if str(p).endswith(".txt") else read_shift(p) for p in paths))
