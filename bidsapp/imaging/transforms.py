"""Linear transforms as 4x4 matrices in RAS mm, and as ITK text files.

A matrix maps points of the *fixed* image to points of the *moving* image: the direction that is
needed to resample the moving image on the fixed grid, and that ANTs and ITK write.
"""

from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from nitransforms.linear import Affine
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from bidsapp.errors import BadInput

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Decomposition:
    """Decomposition of a matrix about a point.

    Attributes
    ----------
    translation : (3,) array, mm
        Displacement of the point.
    rotation_degrees : float
        Angle of the rotation.
    rotations : (3,) array, degrees
        Axis of the rotation times the angle.
    scales : (3,) array
        Along x, y, z, before the rotation.
    shears : (3,) array
        xy, xz, yz.
    determinant : float
        Ratio of the volumes; negative for a mirror image.
    """

    translation: Vector
    rotation_degrees: float
    rotations: Vector
    scales: Vector
    shears: Vector
    determinant: float


def translation(vector: ArrayLike) -> Matrix:
    """Return the matrix that adds a vector.

    Parameters
    ----------
    vector : (3,) array, mm

    Returns
    -------
    (4, 4) array

    Examples
    --------
    >>> translation([1, 2, 3])[:, 3]
    array([1., 2., 3., 1.])
    """
    matrix = np.eye(4)
    matrix[:3, 3] = vector
    return matrix


def compose(*matrices: ArrayLike) -> Matrix:
    """Return the matrix that applies several matrices, the first one first.

    Parameters
    ----------
    *matrices : (4, 4) array
        Such as baseline to session, session to series: the result maps points of the baseline
        to points of the series.

    Returns
    -------
    (4, 4) array

    Examples
    --------
    >>> compose(np.diag([2, 2, 2, 1]), translation([1, 0, 0])) @ [1, 1, 1, 1]
    array([3., 2., 2., 1.])
    """
    return reduce(lambda before, then: np.asarray(then, float) @ before, matrices, np.eye(4))


def invert(matrix: ArrayLike) -> Matrix:
    """Return the inverse of an affine matrix, with an exact last row.

    Parameters
    ----------
    matrix : (4, 4) array

    Returns
    -------
    (4, 4) array

    Raises
    ------
    BadInput
        If it is not an invertible affine matrix.

    Examples
    --------
    >>> invert(translation([1, -2, 0]))[:3, 3]
    array([-1.,  2.,  0.])
    """
    given = as_affine(matrix)
    inverse = np.eye(4)
    inverse[:3, :3] = np.linalg.inv(given[:3, :3])
    inverse[:3, 3] = -inverse[:3, :3] @ given[:3, 3]
    return inverse


def apply(matrix: Matrix, points: ArrayLike) -> NDArray[np.float64]:
    """Return points moved by a matrix.

    Parameters
    ----------
    matrix : (4, 4) array
    points : (..., 3) array, mm

    Returns
    -------
    (..., 3) array, mm

    Examples
    --------
    >>> apply(translation([1, 0, 0]), [[0, 0, 0], [1, 2, 3]])
    array([[1., 0., 0.],
           [2., 2., 3.]])
    """
    moved: NDArray[np.float64] = np.asarray(points, float) @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def decompose(matrix: ArrayLike, centre: ArrayLike = (0, 0, 0)) -> Decomposition:
    r"""Return translation, rotation, scales and shears of a matrix about a point.

    Parameters
    ----------
    matrix : (4, 4) array
    centre : (3,) array, mm
        The point whose displacement is the translation.

    Returns
    -------
    Decomposition

    Raises
    ------
    BadInput
        If it is not an invertible affine matrix.

    Notes
    -----
    The linear part is :math:`L = R\,Z\,S` with a rotation R, scales on the diagonal of Z and a unit
    upper triangle S of shears: its QR decomposition. A reflection appears as a negative scale of x.

    Examples
    --------
    >>> turned = np.array([[0.0, -2, 0, 5], [2, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    >>> found = decompose(turned)
    >>> round(found.rotation_degrees), found.scales.round(6).tolist(), round(found.determinant)
    (90, [2.0, 2.0, 2.0], 8)
    """
    given = as_affine(matrix)
    rotation, upper = np.linalg.qr(given[:3, :3])
    # QR is unique up to the signs of the rows of R. They are chosen for a proper rotation and
    # positive scales, but for that of x in a mirror image.
    signs = np.sign(np.diag(upper))
    signs[0] *= np.sign(np.linalg.det(rotation * signs))
    rotation, upper = rotation * signs, upper * signs[:, None]
    scales = np.diag(upper)
    unit = upper / scales[:, None]
    middle = np.asarray(centre, float)
    return Decomposition(
        translation=apply(given, middle) - middle,
        # The trace of a rotation by an angle is 1 + 2 cos(angle).
        rotation_degrees=float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))),
        rotations=Rotation.from_matrix(rotation).as_rotvec(degrees=True),
        scales=scales,
        shears=unit[[0, 0, 1], [1, 2, 2]],
        determinant=float(np.linalg.det(given[:3, :3])),
    )


def nearest_rigid(matrix: ArrayLike, centre: ArrayLike) -> Matrix:
    """Return the rigid matrix closest to a matrix, which moves a point to the same place.

    Parameters
    ----------
    matrix : (4, 4) array
    centre : (3,) array, mm
        The point, such as the centroid of the brain.

    Returns
    -------
    (4, 4) array

    Raises
    ------
    BadInput
        If it is not an invertible affine matrix.

    References
    ----------
    Schoenemann, Psychometrika 1966, doi:10.1007/BF02289451 (orthogonal Procrustes problem).

    Examples
    --------
    >>> nearest_rigid(np.diag([1.1, 0.9, 1, 1]), [0, 0, 0]).round(6).tolist() == np.eye(4).tolist()
    True
    """
    given = as_affine(matrix)
    # For L = U S V^T the nearest rotation is U V^T, with the last singular vector reversed if that
    # is a reflection.
    left, _, right = np.linalg.svd(given[:3, :3])
    rigid = np.eye(4)
    rigid[:3, :3] = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    middle = np.asarray(centre, float)
    rigid[:3, 3] = apply(given, middle) - rigid[:3, :3] @ middle
    return rigid


def write_itk(matrix: ArrayLike, path: Path) -> Path:
    """Write a matrix as an ITK text file, which ANTs, SimpleITK and nitransforms read.

    Parameters
    ----------
    matrix : (4, 4) array
        Fixed points to moving points, RAS mm. The file resamples the moving image on the fixed
        grid; ITK's axes are LPS, so it holds diag(-1, -1, 1, 1) M diag(-1, -1, 1, 1).
    path : Path
        Ends in ``.txt``.

    Returns
    -------
    Path

    Raises
    ------
    BadInput
        If it is not an invertible affine matrix.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = write_itk(translation([1, 2, 3]), Path(mkdtemp(), "moved.txt"))
    >>> read_itk(path)[:3, 3].tolist()
    [1.0, 2.0, 3.0]
    """
    Affine(as_affine(matrix)).to_filename(str(path), fmt="itk")
    return path


def read_itk(path: Path | str) -> Matrix:
    """Read an ITK text file.

    Parameters
    ----------
    path : path

    Returns
    -------
    (4, 4) array
        Fixed points to moving points, RAS mm.

    Raises
    ------
    BadInput
        If the file is not an affine ITK transform.
    """
    try:
        return as_affine(Affine.from_filename(str(path), fmt="itk").matrix)
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise BadInput(
            f"{path}: not one affine ITK transform in a text file ({error}); write it as "
            "AffineTransform_double_3_3"
        ) from error
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def as_affine(matrix: ArrayLike) -> Matrix:
    """Return a checked copy of an affine matrix.

    Parameters
    ----------
    matrix : (4, 4) array

    Returns
    -------
    (4, 4) array

    Raises
    ------
    BadInput
        If it is not an invertible affine matrix.

    Examples
    --------
    >>> as_affine(np.diag([2, 2, 2, 1])).dtype
    dtype('float64')
    """
    given = np.array(matrix, dtype=np.float64)
    if given.shape != (4, 4) or not np.isfinite(given).all():
        raise BadInput(f"a transform is a finite 4x4 matrix, not one of shape {given.shape}")
    if not np.allclose(given[3], [0, 0, 0, 1]):
        raise BadInput(f"an affine matrix ends with the row 0 0 0 1, not {given[3].tolist()}")
    if abs(np.linalg.det(given[:3, :3])) < 1e-9:
        raise BadInput("the transform is singular: its determinant is zero")
    return given
