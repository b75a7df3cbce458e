"""Input and output of the nodes: load images, save arrays as images."""

import gzip
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import File, TraitedSpec, isdefined
from numpy.typing import ArrayLike, NDArray

from bidsapp.bids.derivatives import COMPRESSION, to_json, to_tsv
from bidsapp.bids.images import as_series
from bidsapp.errors import BadInput
from bidsapp.lesions import as_labels

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIGNIFICANT_BITS = 14
"""Binary digits of the values of maps: a relative error of at most 0.006 %, far below noise."""


def load(path: str) -> tuple[Float, nib.Nifti1Image]:
    """Return the data of an image as float32, and the image.

    Parameters
    ----------
    path
        Path of a NIfTI image; a fourth or fifth axis of length one is dropped.
    """
    image = nib.load(path)
    data = as_series(np.asanyarray(image.dataobj, dtype=np.float32))
    return (data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data), image


def as_list(paths: Any) -> list[str]:
    """Return the paths of an input with several files; an empty list if it is not set."""
    return list(paths) if isdefined(paths) else []


class TableOutput(TraitedSpec):
    """The outputs of a node that saves a table by `save_table`."""

    out_file = File(exists=True, desc="TSV table")
    dictionary = File(exists=True, desc="JSON that describes the columns")


def save_table(
    columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]], path: Path
) -> dict[str, str]:
    """Save a table and the descriptions of its columns; return the values of `TableOutput`."""
    path.write_bytes(to_tsv(list(columns), rows))
    dictionary = path.with_suffix(".json")
    dictionary.write_bytes(to_json({name: {"Description": v} for name, v in columns.items()}))
    return {"out_file": str(path), "dictionary": str(dictionary)}


def load_mask(path: str | None) -> Mask | None:
    """Return the mask of voxels above zero, or None without an image."""
    return load(path)[0] > 0 if path else None


def save_array(array: ArrayLike, like: nib.Nifti1Image, path: Path) -> str:
    """Save an array on the grid of another image, as integers or float32.

    Parameters
    ----------
    array : (X, Y, Z) or (X, Y, Z, N) array
    like
        Image with the affine and its code.
    path
        Path of the file.

    Returns
    -------
    str
        The path.
    """
    data = np.asarray(array)
    kept = data if data.dtype.kind in "iu" else data.astype(np.float32)
    nib.save(_on_grid(kept, like), path)
    return str(path)


def save_map(array: ArrayLike, like: nib.Nifti1Image, path: Path) -> str:
    """Save an array on the grid of another image, compressed, floats with `SIGNIFICANT_BITS`.

    Parameters
    ----------
    array : (X, Y, Z) or (X, Y, Z, N) array
    like
        Image with the affine and its code.
    path
        Path of the file, with the extension ``.nii.gz``.

    Returns
    -------
    str
        The path.
    """
    data = np.asarray(array)
    kept = data if data.dtype.kind in "iu" else round_values(data)
    path.write_bytes(gzip.compress(_on_grid(kept, like).to_bytes(), COMPRESSION, mtime=0))
    return str(path)


def round_values(values: ArrayLike) -> Float:
    """Return values in single precision, rounded to `SIGNIFICANT_BITS` binary digits.

    The digits left out are noise, which cannot be compressed.

    Examples
    --------
    >>> found = round_values([1 / 3, 1e-9, np.nan, np.inf])
    >>> [float(f"{x:.4g}") for x in found]
    [0.3333, 1e-09, nan, inf]
    """
    given = np.array(values, np.float32)
    left_out = 24 - SIGNIFICANT_BITS  # of the 24 binary digits of single precision
    half, kept = np.uint32(1 << (left_out - 1)), np.uint32(2**32 - (1 << left_out))
    rounded = ((given.view(np.uint32) + half) & kept).view(np.float32)
    return np.where(np.isfinite(given), rounded, given)


def create(path: Path, shape: Sequence[int], like: nib.Nifti1Image) -> Float:
    """Create an image on disk that can be filled in parts, if it is too large for memory.

    Parameters
    ----------
    path
        Path of the file, with the extension ``.nii``.
    shape
        Three or four numbers.
    like
        Image with the affine and its code.

    Returns
    -------
    array of that shape
        Memory-mapped to the file, initially zero.
    """
    header = _on_grid(np.broadcast_to(np.float32(0), shape), like).header
    header.set_data_offset(header.single_vox_offset)
    with path.open("wb") as stream:
        header.write_to(stream)
        stream.flush()  # reserve the space now, because a full disk would kill the process later
        os.posix_fallocate(stream.fileno(), 0, header.single_vox_offset + 4 * math.prod(shape))
    return np.memmap(path, np.float32, "r+", header.single_vox_offset, tuple(shape), order="F")


def _on_grid(data: NDArray[Any], like: nib.Nifti1Image) -> nib.Nifti1Image:
    image = nib.Nifti1Image(data, like.affine)
    image.set_sform(like.affine, int(like.header["sform_code"]) or 1)
    image.set_qform(like.affine, int(like.header["qform_code"]) or 1)
    image.header.set_xyzt_units("mm")
    return image


def load_labels(path: str, like: str | None = None) -> tuple[Any, nib.Nifti1Image]:
    """Return the labels of an ROI image, and the image; optionally check its grid.

    Raises
    ------
    BadInput
        If its labels are not integers, or its grid differs from that of the other image.
    """
    data, image = load(path)
    if like is not None:
        other = nib.load(like)
        same = data.shape == other.shape[:3] and np.allclose(image.affine, other.affine, atol=1e-2)
        if not same:
            raise BadInput(
                f"{path}: its grid {data.shape} is not that of {Path(like).name} "
                f"{other.shape[:3]}; resample the ROI to that grid, or specify its space"
            )
    return as_labels(data, path), image
