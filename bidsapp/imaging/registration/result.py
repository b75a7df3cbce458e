"""The result of a registration: its matrix, to resample images or to save, and its quality."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp.imaging.registration.quality import Quality
from bidsapp.imaging.registration.similarity import Metric
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import Matrix, write_itk


@dataclass(frozen=True)
class Stage:
    """Result at one resolution: costs of the different solutions, lowest first."""

    name: str
    costs: tuple[float, ...]
    evaluations: int


@dataclass(frozen=True, repr=False, eq=False)
class Registration:
    """The result of `register`.

    Two registrations are equal if all their attributes are; NaN equals NaN.

    Attributes
    ----------
    matrix : (4, 4) array
        Points of the fixed image to points of the moving one, RAS mm.
    cost : float
        At the finest resolution; lower is better.
    history : tuple of Stage
        From coarse to fine.
    quality : Quality
        Measures of its quality, with a verdict.
    shape : three ints
        Of the fixed image.
    affine : (4, 4) array
        Voxels of the fixed image to RAS mm.
    metric : str
        Of the cost.
    stripped : tuple of str
        Which of ``fixed`` and ``moving`` is skull-stripped, its background missing data; ``lpc``
        only.
    """

    matrix: Matrix
    cost: float
    history: tuple[Stage, ...]
    quality: Quality
    shape: tuple[int, int, int]
    affine: Matrix
    metric: Metric
    stripped: tuple[str, ...] = ()

    def __repr__(self) -> str:
        numbers = self.quality
        return (
            f"Registration({numbers.verdict.value}: {numbers.translation_mm:.1f} mm, "
            f"{numbers.rotation_degrees:.1f} degrees, "
            f"expected error {numbers.expected_error_mm:.2f} mm)"
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Registration)
            and np.array_equal(self.matrix, other.matrix)
            and np.array_equal(self.affine, other.affine)
            and self.quality.as_dict() == other.quality.as_dict()
            and (self.cost, self.history, self.shape) == (other.cost, other.history, other.shape)
            and (self.metric, self.stripped) == (other.metric, other.stripped)
        )

    def resample(self, image: nib.Nifti1Image, *, order: int = 1) -> nib.Nifti1Image:
        """Return an image in the moving space resampled to the grid of the fixed image.

        Parameters
        ----------
        image : (X, Y, Z) or (X, Y, Z, N) Nifti1Image
            The moving image, or any image aligned with it, on any grid.
        order : int
            Of the spline: 1 is linear, 3 is cubic.

        Returns
        -------
        Nifti1Image
            float32, on the grid of the fixed image; NaN outside the field of view of the image.

        Raises
        ------
        BadInput
            If the image is neither 3D nor 4D.

        See Also
        --------
        bidsapp.imaging.labels.resample_labels : for images of labels.

        Examples
        --------
        >>> from bidsapp.imaging import register
        >>> rng = np.random.default_rng(0)
        >>> from scipy.ndimage import gaussian_filter
        >>> data = gaussian_filter(rng.random((24, 24, 24)), 2)
        >>> head = nib.Nifti1Image(data, np.diag([4, 4, 4, 1]))
        >>> moved = nib.Nifti1Image(head.get_fdata(), head.affine + np.eye(4, k=3) * 5)
        >>> found = register(moved, head, transform="rigid", metric="lpp")
        >>> found.resample(moved).shape
        (24, 24, 24)
        """
        data = np.asanyarray(image.dataobj)
        found = resample(data, image.affine, self.matrix, self.shape, self.affine, order=order)
        return nib.Nifti1Image(found, self.affine)

    def save(self, path: Path | str) -> Path:
        """Write the matrix as an ITK text file, which ANTs, SimpleITK and nitransforms read.

        The file maps points of the fixed image to points of the moving image, as ITK expects for
        resampling the moving image to the fixed grid. For the opposite direction, points of the
        moving image to points of the fixed image, write the inverse:
        ``write_itk(invert(found.matrix), path)`` (`bidsapp.imaging.transforms`).

        Parameters
        ----------
        path : path
            Ends in ``.txt``.

        Returns
        -------
        Path

        Raises
        ------
        BadInput
            If the matrix cannot be inverted.

        Examples
        --------
        >>> from tempfile import mkdtemp
        >>> from bidsapp.imaging.transforms import read_itk
        >>> from bidsapp.imaging import register
        >>> rng = np.random.default_rng(0)
        >>> from scipy.ndimage import gaussian_filter
        >>> data = gaussian_filter(rng.random((24, 24, 24)), 2)
        >>> head = nib.Nifti1Image(data, np.diag([4, 4, 4, 1]))
        >>> found = register(head, head, transform="rigid", metric="lpp", initial=np.eye(4))
        >>> path = found.save(Path(mkdtemp(), "moving_to_fixed.txt"))
        >>> bool(np.allclose(read_itk(path), found.matrix))
        True
        """
        return write_itk(self.matrix, Path(path))
