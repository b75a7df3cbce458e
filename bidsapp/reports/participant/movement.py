"""Effect of a registration on an image, in words and as images before and after."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from bidsapp.imaging.transforms import apply, decompose, invert, read_itk
from bidsapp.reports.figures.images import Panel, slice_strip
from bidsapp.reports.page.blocks import Flicker
from bidsapp.reports.page.numbers import format_number
from bidsapp.reports.participant.records import Volume
from bidsapp.reports.participant.slices import Cut, PanelBox, crop_panel, grey_window, spacing, turn

_MOVES = (("right", "left"), ("forward", "back"), ("up", "down"))
_TURNS = (
    ("nose up", "nose down"),
    ("tilted right", "tilted left"),
    ("turned left", "turned right"),
)
_SMALL_MM, _SMALL_DEGREES, _SMALL_SCALE = 0.05, 0.05, 0.0005


def describe_transform(path: Path, centre: ArrayLike) -> str:
    """Describe in words how a transform displaces the moving image.

    Parameters
    ----------
    path : pathlib.Path
        ITK text file: fixed points to moving points.
    centre : (3,) array, mm
        Point of the fixed image for which the translation is described, such as the brain centre.

    Returns
    -------
    text : str
        Translations, rotations and scaling that are large enough to be visible.

    Examples
    --------
    >>> import tempfile
    >>> from bidsapp.imaging.transforms import translation, write_itk
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     describe_transform(write_itk(translation([2, -1, 0]), Path(folder, "x.txt")), [0, 0, 0])
    'moved 2.0 mm left, 1.0 mm forward'
    """
    matrix = read_itk(path)
    parts = decompose(invert(matrix), apply(matrix, centre))
    moved = _describe_components(parts.translation, _MOVES, _SMALL_MM, " mm")
    turned = _describe_components(parts.rotations, _TURNS, _SMALL_DEGREES, "°")
    texts = [f"moved {moved}"] if moved else []
    texts += [turned] if turned else []
    if np.abs(parts.scales - 1).max() > _SMALL_SCALE:
        texts.append("scaled by " + " × ".join(format_number(s, 3) for s in parts.scales))
    return "; ".join(texts) or "not moved"


def _describe_components(
    values: ArrayLike, names: tuple[tuple[str, str], ...], least: float, unit: str
) -> str:
    """Return each component that is large enough, with the name of its direction."""
    found = [
        f"{abs(value):.1f}{unit} {plus if value > 0 else minus}"
        for value, (plus, minus) in zip(np.asarray(values, float), names, strict=True)
        if abs(value) >= least
    ]
    return ", ".join(found)


def resample_panel(moving: Volume, fixed: Volume, cut: Cut, window: tuple[float, float]) -> Panel:
    """Return a slice of an image resampled to the grid of another, by their headers alone.

    Parameters
    ----------
    moving, fixed : Volume
    cut : (int, int)
        Axis and index on the fixed grid.
    window : (float, float)
        Grey limits.

    Returns
    -------
    panel : Panel

    Examples
    --------
    >>> image = Volume(np.arange(27.0).reshape(3, 3, 3), np.eye(4))
    >>> resample_panel(image, image, (2, 1), (0, 1)).background[0, 0]
    np.float64(25.0)
    """
    axis, index = cut
    shape = [1 if i == axis else n for i, n in enumerate(fixed.data.shape)]
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    voxels[..., axis] = index
    points = apply(fixed.affine, voxels)
    there = apply(invert(moving.affine), points)
    values = ndimage.map_coordinates(
        np.nan_to_num(moving.data), np.moveaxis(there, -1, 0), order=1, cval=0.0
    )
    return Panel(turn(np.squeeze(values, axis=axis)), spacing(fixed, axis), window)


def build_flicker(
    name: str,
    heading: str,
    fixed: list[Panel],
    after: list[Panel],
    moving: Volume,
    onto: tuple[Volume, list[Cut], list[PanelBox] | None],
    names: tuple[str, str],
) -> Flicker:
    """Return the fixed image, and the moving one before and after registration, as one block.

    Parameters
    ----------
    name, heading : str
        Of the block.
    fixed, after : list of Panel
        The same slices of the fixed and of the registered image.
    moving : Volume
        The image as it was acquired.
    onto : (Volume, list of Cut, list of Box or None)
        The fixed image, its slices, and the part of each slice that is shown.
    names : (str, str)
        Of the fixed and of the moving image.

    Returns
    -------
    block : Flicker
    """
    grid, cuts, frames = onto
    window = grey_window(moving)
    before = [resample_panel(moving, grid, cut, window) for cut in cuts]
    if frames:
        before = [crop_panel(panel, box) for panel, box in zip(before, frames, strict=True)]
    layers = [
        (names[0], slice_strip(fixed)),
        (f"{names[1]} before registration", slice_strip(before)),
        (f"{names[1]} after registration", slice_strip(after)),
    ]
    alt = f"{names[0]}, and {names[1]} before and after registration to it"
    return Flicker(name, layers, alt, heading)
