"""Writing of images and transforms as reproducible files."""

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
    """Write a compressed NIfTI image without name and date, and its JSON sidecar.

    Parameters
    ----------
    path : Path
        Path with the extension ``.nii.gz``.
    data : (I, J, K) or (I, J, K, N) array
        Stored with its data type.
    affine : (4, 4) array
    sidecar : mapping
    time_step : float, s, optional
        Time between volumes.

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
    """Write the JSON sidecar of an image, table or transform."""
    stem = path.name.removesuffix(".nii.gz").removesuffix(".txt").removesuffix(".tsv")
    write_bytes(path.with_name(stem + ".json"), to_json(content))


def write_transform(path: Path, matrix: Matrix) -> None:
    """Write the matrix from fixed to moving points (RAS, mm) as an ITK text file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "transform.txt")
        Affine(matrix).to_filename(str(file), fmt="itk")
        write_bytes(path, file.read_bytes())
