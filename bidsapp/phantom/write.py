"""Images and transforms as files, the same bytes every time."""

import gzip
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy.typing as npt
from nitransforms.linear import Affine

from bidsapp.bids.derivatives import to_json, write_bytes
from bidsapp.phantom.template import Matrix


def write_image(
    path: Path,
    data: npt.NDArray[Any],
    affine: Matrix,
    sidecar: Mapping[str, Any],
    *,
    time_step: float | None = None,
) -> None:
    """Write a NIfTI image, compressed without name or date, and the JSON file beside it.

    Parameters
    ----------
    path : Path
        Ends in ``.nii.gz``.
    data : (I, J, K) or (I, J, K, N) array
        Stored in its own type.
    affine : (4, 4) array
    sidecar : mapping
    time_step : float, s, optional
        Between volumes.

    Raises
    ------
    NotWritable
        If a file cannot be written.
    """
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm", "sec")
    if time_step is not None:
        image.header.set_zooms((*image.header.get_zooms()[:3], time_step))
    write_bytes(path, gzip.compress(image.to_bytes(), 1, mtime=0))
    write_sidecar(path, sidecar)


def write_sidecar(path: Path, content: Mapping[str, Any]) -> None:
    """Write the JSON file that belongs to an image, a table or a transform."""
    stem = path.name.removesuffix(".nii.gz").removesuffix(".txt").removesuffix(".tsv")
    write_bytes(path.with_name(stem + ".json"), to_json(content))


def write_transform(path: Path, matrix: Matrix) -> None:
    """Write the matrix that takes fixed points to moving points (RAS mm) as an ITK text file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "transform.txt")
        Affine(matrix).to_filename(str(file), fmt="itk")
        write_bytes(path, file.read_bytes())
