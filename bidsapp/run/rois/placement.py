"""Where contours lie on the T1w: by frame of reference, by its slices, or by a registration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bidsapp.bids.images import check_image
from bidsapp.bids.inheritance import metadata
from bidsapp.bids.pseudonyms import FRAME_PSEUDONYM, is_pseudonym_of
from bidsapp.conversion.contours.drawing import Contours, Drawing, VoxelMask
from bidsapp.conversion.contours.rasterise import lies_on_grid
from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import Matrix
from bidsapp.run.nodes.rigid import register_rigidly

_HOUNSFIELD_AIR = -500.0
"""Values below this are those of air in CT."""
_DARK = 0.1
"""Signal of tissue in the T1w relative to its bright voxels, at least."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of an image: path, shape, and affine to RAS mm."""

    image: Path
    shape: tuple[int, int, int]
    affine: Matrix


@dataclass(frozen=True, eq=False)
class Placement:
    """Points of the T1w to points of a drawing (RAS mm), why so, and what is doubtful.

    `assumed`: that both have the same coordinates is not stated anywhere.
    """

    matrix: Matrix
    basis: str
    warnings: tuple[str, ...] = ()
    assumed: bool = False


def read_grid(image: Path) -> Grid:
    """Return the grid of an image.

    Raises
    ------
    BadInput
        If it is not a 3D or 4D image.
    """
    loaded = nib.load(image)
    x, y, z = (int(n) for n in loaded.shape[:3])
    return Grid(image, (x, y, z), np.asarray(loaded.affine, float))


Shapes = Sequence[Contours | VoxelMask]


def is_drawn_on(shapes: Shapes, grid: Grid) -> bool:
    """Return whether regions lie on the voxels or slices of an image."""
    return all(lies_on_grid(shape, grid.shape, grid.affine) for shape in shapes)


def place(
    drawing: Drawing, shapes: Shapes, t1w: Grid, bids_dir: Path, *, aligned: bool
) -> Placement:
    """Return how a file with contours lies on the T1w without any registration.

    Parameters
    ----------
    drawing
        The file.
    shapes
        Those of its regions that are used.
    t1w
        The T1w of the visit.
    bids_dir
        The data set, whose sidecars may state frame of reference and series.
    aligned
        Whether the user states that the coordinates are those of the T1w.

    Raises
    ------
    BadInput
        If the frame of reference is another one, or nothing shows that it is that of the T1w.
    """
    stated = metadata(t1w.image, bids_dir)
    frame = str(stated.get("FrameOfReferenceUID") or "")
    hidden = str(stated.get(FRAME_PSEUDONYM) or "")
    if (frame or hidden) and drawing.frame:
        if frame == drawing.frame or is_pseudonym_of(hidden, drawing.frame):
            return Placement(np.eye(4), "same frame of reference as the T1w")
        if not aligned:
            raise BadInput(
                f"its frame of reference is not that of {t1w.image.name}: it was drawn on another "
                "image; name that image with --drawn-on"
            )
    if str(stated.get("SeriesInstanceUID") or "-") in {series.uid for series in drawing.images}:
        return Placement(np.eye(4), "drawn on the series of the T1w")
    if aligned:
        return Placement(np.eye(4), "in coordinates of the T1w, by --aligned", assumed=True)
    if reason := _drawn_elsewhere(drawing, shapes, t1w):
        raise BadInput(
            f"it was not drawn on {t1w.image.name}: {reason}; name the image it was drawn on with "
            "--drawn-on, or state with --aligned that both have the same coordinates"
        )
    what = "slices" if isinstance(shapes[0], Contours) else "voxels"
    basis = (
        f"on the {what} of the T1w, assumed to have been drawn on it (no sidecar states the frame)"
    )
    return Placement(np.eye(4), basis, assumed=True)


def _drawn_elsewhere(drawing: Drawing, shapes: Shapes, t1w: Grid) -> str:
    """Return what shows that regions were drawn on another image than the T1w; empty if nothing."""
    for series in drawing.images:
        if series.modality:
            return f"it refers to a series of {series.modality}"
        if series.count > max(t1w.shape):
            return f"it refers to {series.count} images, more than the T1w has slices"
    if not shapes:
        return "nothing states that their frame of reference is the same"
    if not is_drawn_on(shapes, t1w):
        return f"its {_geometry(shapes)} are not those of that image"
    return ""


def _geometry(shapes: Shapes) -> str:
    """Return what regions have in place of a grid."""
    masks = any(isinstance(shape, VoxelMask) for shape in shapes)
    return "voxels" if masks else "planes"


def check_in_head(t1w: Grid, inside: Sequence[tuple[str, Any]]) -> list[str]:
    """Return an error text for each region that lies in the dark background of the T1w.

    Parameters
    ----------
    t1w
        The T1w.
    inside
        Name and fractions of each region.
    """
    data = np.asanyarray(nib.load(t1w.image).dataobj, dtype=np.float32).reshape(t1w.shape)
    bright = float(np.percentile(data[np.isfinite(data)], 99))
    texts = []
    for name, part in inside:
        level = float(np.average(np.nan_to_num(data[part.box]), weights=part.values))
        if level < _DARK * bright:
            texts.append(
                f"{name!r} lies in the dark background of {t1w.image.name} (its mean signal is "
                f"{max(level / bright, 0):.0%} of the bright voxels): the coordinates are those of "
                "another image; name it with --drawn-on"
            )
    return texts


def register_drawn_on(shapes: Shapes, image: Path, t1w: Grid) -> Placement:
    """Return how regions lie on the T1w, by a rigid registration of the image it was drawn on.

    Raises
    ------
    BadInput
        If the regions were not drawn on that image.
    RegistrationError
        If the registration failed.
    """
    check_image(image, 3)
    grid = read_grid(image)
    if not is_drawn_on(shapes, grid):
        raise BadInput(
            f"it was not drawn on {image.name}: its {_geometry(shapes)} are not those of that image"
        )
    low = float(np.min(nib.load(image).dataobj))
    metric = "nmi" if low < _HOUNSFIELD_AIR else "lpa"
    moved = register_rigidly(image, t1w.image, metric)
    return Placement(
        moved.matrix, f"image that was drawn on registered: {moved.basis}", moved.warnings
    )
