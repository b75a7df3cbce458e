"""Warnings of the acquired signal in the voxels of each lesion."""

from collections.abc import Iterator

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bidsapp.bids import outputs
from bidsapp.bids.images import check_contents
from bidsapp.bids.records import Diffusion, Dynamic, Rois, Session, Space
from bidsapp.checks.lesion_voxels import check_lesion_voxels
from bidsapp.config import Config
from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import apply, read_itk
from bidsapp.issues import Issue
from bidsapp.lesions.regions import as_labels


def signal_warnings(session: Session, config: Config) -> Iterator[Issue]:
    """Yield a warning for each lesion with voxels whose acquired signal is cut off or missing.

    The series is read as acquired, since motion correction blurs what is cut off. Of a lesion on
    the T1w the voxels are those that the registration reaches, without correction of distortion.

    Parameters
    ----------
    session
        A session whose graph has run.
    config
        Configuration of the run.
    """
    series: tuple[tuple[Space, Diffusion | Dynamic | None], ...] = (
        ("dwi", session.diffusion),
        ("dce", session.dynamic),
    )
    for space, record in series:
        rois = session.rois("enhancing", space) or session.rois("enhancing", "T1w")
        if record is None or rois is None:
            continue
        try:
            yield from _series_warnings(session, config, space, record, rois)
        except BadInput as error:
            text = f"{record.image.name}: voxels of the lesions were not examined: {error}"
            yield Issue("warning", text, "DoubtfulInput")


def _series_warnings(
    session: Session, config: Config, space: Space, series: Diffusion | Dynamic, rois: Rois
) -> Iterator[Issue]:
    to_series = np.eye(4)
    if rois.space != space:
        path = outputs.TO_T1W.path(session, outputs.DATATYPES[space], from_=space, to="T1w")
        if not (config.output_dir / path).is_file():
            return
        to_series = read_itk(config.output_dir / path)
    data = check_contents(series.image)
    present = np.delete(data, series.left_out, axis=3) if series.left_out else data
    bvalues = np.array(series.bvalues) if isinstance(series, Diffusion) else None
    image = nib.load(series.image)
    labels = nib.load(rois.image)
    numbers = as_labels(np.asanyarray(labels.dataobj), str(rois.image))
    to_voxel = np.linalg.inv(image.affine) @ to_series @ labels.affine
    for lesion in rois.lesions:
        inside = _reached(numbers == lesion.index, to_voxel, data.shape[:3])
        for text in check_lesion_voxels(present, inside, bvalues):
            place = f"lesion {lesion.index}: {series.image.name}"
            yield Issue("warning", f"{place}: {text}", "DoubtfulSignal", lesion=str(lesion.index))


def _reached(
    inside: NDArray[np.bool_], to_voxel: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return the voxels of a grid that contain the centre of a voxel of a mask."""
    voxels = np.rint(apply(to_voxel, np.argwhere(inside))).astype(int)
    voxels = voxels[((voxels >= 0) & (voxels < shape)).all(axis=1)]
    reached = np.zeros(shape, bool)
    reached[tuple(voxels.T)] = True
    return reached
