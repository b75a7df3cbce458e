"""Whether an image is what its header says: whole, of a believable size, somewhere in space."""

import gzip
import math
import warnings
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from bidsapp.bids.text_files import check_available
from bidsapp.errors import BadInput

UNREADABLE = (OSError, EOFError, ValueError, ImageFileError, HeaderDataError, zlib.error)
"""What nibabel raises at files that are no image, or not a whole one."""
_MOST_VOXELS = 2**31
"""More than any series has: 512 x 512 x 200 voxels at 40 times."""
_DEFLATE = 1032
"""How often a byte of gzip can stand for, at most."""
_SMALLEST, _LARGEST = 0.05, 100.0
"""Plausible voxel sizes, mm."""
_APART = 1.0
"""Distance between two orientations of one image that draws a warning, mm."""


def check_image(path: Path, dimensions: int) -> None:
    """Complain unless an image's header and its size on disk can be true; reads no voxels.

    Parameters
    ----------
    path
        Of the image.
    dimensions
        That it must have; a fourth of length one is none.

    Raises
    ------
    BadInput
        In one line: the file, what was found, what to do.
    """
    check_available(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = nib.load(path)
            affine = np.asarray(image.affine, float)
    except UNREADABLE as error:
        raise BadInput(f"{path}: cannot be read as NIfTI ({error})") from error
    _check_shape(path, image.shape, dimensions)
    kind = image.get_data_dtype()
    if kind.kind not in "iuf":
        raise BadInput(f"{path}: its voxels are {kind}; plain numbers (magnitude) are needed")
    _check_affine(path, affine)
    needed = int(image.dataobj.offset) + math.prod(image.shape) * kind.itemsize
    has = _available_bytes(path, needed)
    if has < needed:
        raise BadInput(
            f"{path}: is cut short: its header promises {needed} bytes, there are {has}; "
            "copy or convert it again"
        )


def _check_shape(path: Path, shape: tuple[int, ...], dimensions: int) -> None:
    single = dimensions == 3 and len(shape) == 4 and shape[3] == 1
    if len(shape) != dimensions and not single:
        raise BadInput(f"{path}: has shape {shape}, but {dimensions} dimensions are needed")
    if min(shape) < 1:
        raise BadInput(f"{path}: has shape {shape}: it holds no voxel")
    if math.prod(shape) > _MOST_VOXELS:
        raise BadInput(
            f"{path}: its header promises {math.prod(shape)} voxels {shape}, more than any image "
            "has; convert it again"
        )


def _check_affine(path: Path, affine: NDArray[np.float64]) -> None:
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise BadInput(
            f"{path}: its orientation (sform, qform) is no place in space; convert it again"
        )
    sizes = voxel_sizes(affine)
    if not ((sizes >= _SMALLEST) & (sizes <= _LARGEST)).all():
        raise BadInput(
            f"{path}: its voxels measure {' x '.join(f'{s:.3g}' for s in sizes)} mm, outside "
            f"{_SMALLEST:g} to {_LARGEST:g}; is the header in mm?"
        )


def _available_bytes(path: Path, needed: int) -> int:
    """Return how many bytes a file has unpacked; no more are counted than are needed."""
    size = path.stat().st_size
    if path.suffix != ".gz":
        return size
    if needed > _DEFLATE * size:  # a small file with a huge header is not unpacked to see
        return _DEFLATE * size
    with path.open("rb") as stream:
        stream.seek(-4, 2)
        if int.from_bytes(stream.read(4), "little") == needed % 2**32:
            return needed
    return _count_unpacked_bytes(path, needed)


def _count_unpacked_bytes(path: Path, most: int) -> int:
    """Unpack a file and count; stop at the end, at damage, or when it is enough."""
    count = 0
    try:
        with gzip.open(path) as stream:
            while count < most and (chunk := stream.read(min(1 << 20, most - count))):
                count += len(chunk)
    except (EOFError, OSError, zlib.error):
        pass  # what came before the damage is what there is
    return count


def check_contents(path: Path) -> NDArray[np.float32]:
    """Read an image whole, and complain if it is damaged or says nothing.

    Parameters
    ----------
    path
        Of an image that `check_image` has passed.

    Returns
    -------
    array
        Its data.

    Raises
    ------
    BadInput
        If a checksum fails, no voxel is finite, or all have one value.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:  # nibabel stops before the checksum
                while stream.read(1 << 20):
                    pass
        data: NDArray[np.float32] = np.asanyarray(nib.load(path).dataobj, np.float32)
    except UNREADABLE as error:
        raise BadInput(f"{path}: is damaged ({error}); copy or convert it again") from error
    known = data[np.isfinite(data)]
    if not known.size:
        raise BadInput(f"{path}: no voxel has a finite value")
    if known.min() == known.max():
        raise BadInput(f"{path}: all voxels have the value {known.flat[0]:g}")
    return data


def orientation_warning(path: Path) -> str | None:
    """Return why the place of an image in space is in doubt, or None.

    Parameters
    ----------
    path
        Of an image that `check_image` has passed.
    """
    header: Any = nib.load(path).header
    codes = int(header["sform_code"]), int(header["qform_code"])
    if codes == (0, 0):
        return (
            f"{path.name}: stores no orientation (sform and qform code 0): where left and right "
            "are is a guess"
        )
    if 0 in codes:
        return None
    corners = np.array(list(product(*[(0, n - 1) for n in header.get_data_shape()[:3]])))
    sform, qform = header.get_sform(), header.get_qform()
    apart = np.linalg.norm(apply_affine(sform, corners) - apply_affine(qform, corners), axis=1)
    if apart.max() <= _APART:
        return None
    return (
        f"{path.name}: sform and qform disagree by up to {apart.max():.1f} mm; the sform is taken"
    )
