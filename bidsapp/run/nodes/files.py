"""Files of the nodes: load an image, save an array with its affine."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import isdefined
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput
from bidsapp.lesions import as_labels

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]


def load(path: str) -> tuple[Float, nib.Nifti1Image]:
    """Return an image's data as float32, with the image for its affine.

    Parameters
    ----------
    path
        Of a NIfTI image; a last axis of length one is dropped from 4D.
    """
    image = nib.load(path)
    data = np.asanyarray(image.dataobj, dtype=np.float32)
    return (data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data), image


def as_list(paths: Any) -> list[str]:
    """Return the paths of an input that takes several, in order; none if it is not set."""
    return list(paths) if isdefined(paths) else []


def load_mask(path: str | None) -> Mask | None:
    """Return where an image is above zero, or None without one."""
    return load(path)[0] > 0 if path else None


def save_array(array: ArrayLike, like: nib.Nifti1Image, path: Path) -> str:
    """Save an array on another image's grid; integers stay integers, the rest is float32.

    Parameters
    ----------
    array : (X, Y, Z) or (X, Y, Z, N) array
    like
        Gives the affine and its code.
    path
        Where to.

    Returns
    -------
    str
        The path.
    """
    data = np.asarray(array)
    kept = data if data.dtype.kind in "iu" else data.astype(np.float32)
    nib.save(_on_grid(kept, like), path)
    return str(path)


def create(path: Path, shape: Sequence[int], like: nib.Nifti1Image) -> Float:
    """Create an image on disk, to be filled part by part: for one that is too large for memory.

    Parameters
    ----------
    path
        Ends in ``.nii``.
    shape
        Three or four numbers.
    like
        Gives the affine and its code.

    Returns
    -------
    array of that shape
        Zero; what is written into it is in the file.
    """
    header = _on_grid(np.broadcast_to(np.float32(0), shape), like).header
    header.set_data_offset(header.single_vox_offset)
    with path.open("wb") as stream:
        header.write_to(stream)
        stream.flush()  # reserves the space: a disk that fills up later would kill the process
        os.posix_fallocate(stream.fileno(), 0, header.single_vox_offset + 4 * math.prod(shape))
    return np.memmap(path, np.float32, "r+", header.single_vox_offset, tuple(shape), order="F")


def _on_grid(data: NDArray[Any], like: nib.Nifti1Image) -> nib.Nifti1Image:
    image = nib.Nifti1Image(data, like.affine)
    image.set_sform(like.affine, int(like.header["sform_code"]) or 1)
    image.set_qform(like.affine, int(like.header["qform_code"]) or 1)
    image.header.set_xyzt_units("mm")
    return image


def load_labels(path: str, like: str | None = None) -> tuple[Any, nib.Nifti1Image]:
    """Return the labels of an ROI image, and the image; check that it is on another one's grid.

    Raises
    ------
    BadInput
        If its labels are not integers, or its grid is not the other image's.
    """
    data, image = load(path)
    if like is not None:
        other = nib.load(like)
        same = data.shape == other.shape[:3] and np.allclose(image.affine, other.affine, atol=1e-2)
        if not same:
            raise BadInput(
                f"{path}: its grid {data.shape} is not that of {Path(like).name} "
                f"{other.shape[:3]}; resample the ROI on it, or name its space"
            )
    return as_labels(data, path), image
