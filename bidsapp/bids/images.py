"""Checks of an image against its header: completeness, voxel size and orientation."""

import gzip
import math
import warnings
import zlib
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from bidsapp.bids.records import FRAME_RANGE
from bidsapp.bids.text_files import check_available
from bidsapp.errors import BadInput

UNREADABLE = (OSError, EOFError, ValueError, ImageFileError, HeaderDataError, zlib.error)
"""Errors that nibabel raises for files that are not images, or damaged."""
_MOST_VOXELS = 2**31
"""Upper limit of the number of voxels: 512 x 512 x 200 at 40 times."""
_DEFLATE = 1032
"""Maximum compression ratio of gzip."""
_SMALLEST, _LARGEST = 0.05, 100.0
"""Plausible voxel sizes, mm."""
_SECONDS = {"msec": 1e-3, "usec": 1e-6}
"""Units of time of NIfTI, s; without one it is read as s."""
_SHORTEST_INTERVAL = 0.1
"""Shortest plausible time between the volumes of a series, s."""
_APART = 1.0
"""Distance between sform and qform above which there is a warning, mm."""


def open_image(path: Path) -> Any:
    """Return an image without its voxels, for reading only.

    The header is read once, as long as size and time of the file stay the same.
    """
    status = path.stat()
    return _open_image(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _open_image(path: Path, time: int, size: int) -> Any:
    return nib.load(path)


def check_image(path: Path, dimensions: int) -> None:
    """Raise an error if the header or the file size of an image is invalid; no voxels are read.

    Parameters
    ----------
    path
        Path of the image.
    dimensions
        Required number of dimensions; a fourth or fifth one of length one is ignored.

    Raises
    ------
    BadInput
        With the file, the problem and what to do, in one line.
    """
    check_available(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_image(path)
            affine = np.asarray(image.affine, float)
    except UNREADABLE as error:
        why = str(error).replace(str(path), path.name)
        raise BadInput(f"{path}: cannot be read as NIfTI ({why})") from error
    _check_shape(path, image.shape, dimensions)
    kind = image.get_data_dtype()
    if kind.kind not in "iuf":
        raise BadInput(f"{path}: its voxels are {kind}; real numbers (magnitude) are required")
    _check_affine(path, affine)
    needed = int(image.dataobj.offset) + math.prod(image.shape) * kind.itemsize
    has = _available_bytes(path, needed)
    if has < needed:
        raise BadInput(
            f"{path}: is truncated: {needed} bytes are expected from the header, but there are "
            f"{has}; copy or convert it again"
        )


def series_shape(path: Path) -> tuple[int, int, int, int]:
    """Return the shape of a series accepted by `check_image`: three axes and the volumes."""
    shape = open_image(path).shape
    return (*shape[:3], math.prod(shape[3:]))


def stated_interval(path: Path) -> float | None:
    """Return the time between the volumes that the header of a series states, s.

    Parameters
    ----------
    path
        Path of a series accepted by `check_image`.

    Returns
    -------
    float or None
        None where the header has 1, which programs write that do not know the time, or a number
        that cannot be the duration of a volume, such as the time between two excitations.
    """
    header = open_image(path).header
    axis = header.get_data_shape()
    if len(axis) < 4:
        return None
    # The volumes are along the last axis that is longer than one.
    place = max((i for i in range(3, len(axis)) if axis[i] > 1), default=3)
    unit = header.get_xyzt_units()[1]
    interval = float(header["pixdim"][1 + place]) * _SECONDS.get(unit, 1.0)
    if interval == 1 or not _SHORTEST_INTERVAL <= interval <= FRAME_RANGE[1]:
        return None
    return interval


def has_fifth_axis(path: Path) -> bool:
    """Return whether an image is stored with five axes, one of which has the length one."""
    return len(open_image(path).shape) > 4


def as_series(data: NDArray[Any]) -> NDArray[Any]:
    """Return data with four axes at most; a fourth or fifth one of length one is dropped.

    Examples
    --------
    >>> as_series(np.zeros((4, 4, 3, 1, 20))).shape, as_series(np.zeros((4, 4, 3))).shape
    ((4, 4, 3, 20), (4, 4, 3))
    """
    return data if data.ndim < 5 else data.reshape((*data.shape[:3], -1))


def _check_shape(path: Path, shape: tuple[int, ...], dimensions: int) -> None:
    single = dimensions == 3 and len(shape) == 4 and shape[3] == 1
    fifth = dimensions == 4 and len(shape) == 5 and 1 in shape[3:]
    if len(shape) != dimensions and not single and not fifth:
        remedy = ""
        if dimensions == 4:
            remedy = (
                "; join its volumes in order of time into one 4D image"
                if len(shape) == 3
                else "; write one 4D image for each echo or part"
            )
        raise BadInput(
            f"{path}: has shape {shape}, but {dimensions} dimensions are required{remedy}"
        )
    if min(shape) < 1:
        raise BadInput(f"{path}: has shape {shape}, so there are no voxels")
    if math.prod(shape) > _MOST_VOXELS:
        raise BadInput(
            f"{path}: the header specifies {math.prod(shape)} voxels {shape}, which is "
            "implausible; convert it again"
        )


def _check_affine(path: Path, affine: NDArray[np.float64]) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BadInput(f"{path}: its orientation (sform, qform) is invalid; convert it again")
    sizes = voxel_sizes(affine)
    if not ((sizes >= _SMALLEST) & (sizes <= _LARGEST)).all():
        raise BadInput(
            f"{path}: its voxels measure {' x '.join(f'{s:.3g}' for s in sizes)} mm, outside "
            f"{_SMALLEST:g} to {_LARGEST:g}; is the header in mm?"
        )


def _available_bytes(path: Path, needed: int) -> int:
    """Return the uncompressed size of a file, in bytes, counted up to the size that is needed."""
    size = path.stat().st_size
    if path.suffix != ".gz":
        return size
    if needed > _DEFLATE * size:  # do not unpack a small file that claims a huge size
        return _DEFLATE * size
    with path.open("rb") as stream:
        stream.seek(-4, 2)
        if int.from_bytes(stream.read(4), "little") == needed % 2**32:
            return needed
    return _count_unpacked_bytes(path, needed)


def _count_unpacked_bytes(path: Path, most: int) -> int:
    """Unpack a file and count bytes, up to a maximum or until the file is damaged."""
    count = 0
    try:
        with gzip.open(path) as stream:
            while count < most and (chunk := stream.read(min(1 << 20, most - count))):
                count += len(chunk)
    except (EOFError, OSError, zlib.error):
        pass  # count what precedes the damage
    return count


def check_contents(path: Path) -> NDArray[np.float32]:
    """Read an image completely, and raise an error if it is damaged or constant.

    Parameters
    ----------
    path
        Path of an image accepted by `check_image`.

    Returns
    -------
    array
        Its data.

    Raises
    ------
    BadInput
        If the checksum is wrong, no voxel is finite, or all have the same value.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:  # nibabel stops before the checksum
                while stream.read(1 << 20):
                    pass
        data: NDArray[np.float32] = as_series(np.asanyarray(nib.load(path).dataobj, np.float32))
    except UNREADABLE as error:
        raise BadInput(f"{path}: is damaged ({error}); copy or convert it again") from error
    known = data[np.isfinite(data)]
    if not known.size:
        raise BadInput(f"{path}: no voxel has a finite value")
    if known.min() == known.max():
        raise BadInput(f"{path}: all voxels have the value {known.flat[0]:g}")
    return data


def has_orientation(path: Path) -> bool:
    """Return whether the header of an image accepted by `check_image` states its orientation."""
    header = open_image(path).header
    return bool(int(header["sform_code"]) or int(header["qform_code"]))


def orientation_warning(path: Path) -> str | None:
    """Return a warning if the orientation of an image is uncertain, or None.

    Parameters
    ----------
    path
        Path of an image accepted by `check_image`.
    """
    header = open_image(path).header
    codes = int(header["sform_code"]), int(header["qform_code"])
    if not has_orientation(path):
        return (
            f"{path.name}: has no orientation (sform and qform code 0): left and right are "
            "uncertain"
        )
    if 0 in codes:
        return None
    corners = np.array(list(product(*[(0, n - 1) for n in header.get_data_shape()[:3]])))
    sform, qform = header.get_sform(), header.get_qform()
    apart = np.linalg.norm(apply_affine(sform, corners) - apply_affine(qform, corners), axis=1)
    if apart.max() <= _APART:
        return None
    return f"{path.name}: sform and qform disagree by up to {apart.max():.1f} mm; the sform is used"
