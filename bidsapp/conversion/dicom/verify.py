"""Whether voxels of a converted image lie where the headers of DICOM place them."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bidsapp.conversion.dicom.headers import Lookup, frames_of
from bidsapp.conversion.dicom.records import Series, Slice
from bidsapp.conversion.optional import load_package
from bidsapp.errors import BadInput

_LIKE = 0.999
"""Correlation of a slice with itself, after any linear scaling."""
_OFF_GRID = 0.05
"""Distance from the centre of a voxel, in voxels, that rounding explains."""
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def check_placement(image: Path, series: Series, *, in_time: bool) -> str:
    """Compare two slices of DICOM with the image: one quarter into the slices, and three quarters.

    They are of the first and of the last volume. A converter that stores slices in another order,
    or volumes, is found by it.

    Parameters
    ----------
    image
        The converted image.
    series
        Its series.
    in_time
        Whether the volumes must be in the order of time.

    Returns
    -------
    str
        Why the slices could not be compared, or nothing.

    Raises
    ------
    BadInput
        If a slice is not where its header places it.
    """
    if series.mosaic:
        return "the files are mosaics"
    loaded = nib.load(image)
    data = np.asanyarray(loaded.dataobj)
    volumes = data if data.ndim == 4 else data[..., np.newaxis]
    places = sorted(series.places)
    for share, rank in ((0.25, 0), (0.75, -1)):
        one = series.places[places[int(share * (len(places) - 1) + 0.5)]][rank]
        try:
            pixels, affine = _read_slice(one)
        except (NotImplementedError, RuntimeError, ImportError) as error:
            return f"its compression is not decoded ({str(error).splitlines()[0]})"
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise BadInput(f"{one.path}: is damaged ({error}); export it again") from error
        wanted = [volumes.shape[3] - 1 if rank else 0] if in_time else range(volumes.shape[3])
        found = _sample(volumes, np.linalg.inv(loaded.affine) @ affine, pixels.shape)
        if not any(_is_like(found[..., v], pixels) for v in wanted):
            raise BadInput(
                "the image that dcm2niix makes is not the one of the headers: slices or volumes "
                "are in another order, or mirrored; export the series again as classic DICOM (one "
                "file per slice)"
            )
    return ""


def _read_slice(one: Slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixels of a slice by column and row, and their affine (RAS, mm)."""
    pydicom = load_package("pydicom", "DICOM files")
    dataset = pydicom.dcmread(one.path)
    pixels = np.asarray(dataset.pixel_array, float)
    if pixels.ndim > 2:
        pixels = pixels[one.frame]
    fields = Lookup(next(f for n, f in enumerate(frames_of(dataset)) if n == one.frame))
    return pixels.T, _slice_affine(fields)


def _slice_affine(fields: Lookup) -> NDArray[np.float64]:
    """Return the affine from column, row, 0 to RAS mm."""
    orientation = np.asarray(fields.get("ImageOrientationPatient"), float)
    rows, columns = np.asarray(fields.get("PixelSpacing"), float)
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * columns
    affine[:3, 1] = orientation[3:] * rows
    affine[:3, 2] = np.cross(orientation[:3], orientation[3:])
    affine[:3, 3] = np.asarray(fields.get("ImagePositionPatient"), float)
    return np.asarray(_TO_RAS @ affine)


def _sample(
    volumes: NDArray[Any], matrix: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Return the voxels at the pixels of a slice; NaN if these are not at voxels."""
    columns, rows = np.indices(shape)
    points = np.stack([columns, rows, 0 * rows, 0 * rows + 1]).reshape(4, -1)
    voxels = (matrix @ points)[:3]
    nearest = np.rint(voxels)
    size = np.array(volumes.shape[:3])[:, np.newaxis]
    missing = np.full((*shape, volumes.shape[3]), np.nan)
    if np.abs(voxels - nearest).max() > _OFF_GRID or ((nearest < 0) | (nearest >= size)).any():
        return missing
    i, j, k = nearest.astype(int)
    found: NDArray[Any] = volumes[i, j, k].reshape(*shape, volumes.shape[3])
    return found


def _is_like(found: NDArray[Any], pixels: NDArray[np.float64]) -> bool:
    """Return whether two slices are the same up to a linear scale."""
    one, other = np.asarray(found, float).ravel(), pixels.ravel()
    if not np.isfinite(one).all():
        return False
    if np.ptp(other) == 0 or np.ptp(one) == 0:
        return bool(np.ptp(other) == np.ptp(one))
    return float(np.corrcoef(one, other)[0, 1]) > _LIKE
