"""The common anatomy: the ICBM152 template included in nilearn."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.errors import BadInput

FloatVolume = NDArray[np.float32]
Matrix = NDArray[np.float64]

COARSE = 2
"""Voxel size of the coarse maps (distances and fibre directions), mm."""
MARGIN = ((0, 0), (0, 10), (28, 0))
"""Voxels of 1 mm added around the template, for scalp, face and neck."""
CLOSING = 6.0
"""Radius of the morphological closing that yields the smooth hull of the brain, mm."""


@dataclass(frozen=True)
class Template:
    """Maps of the average head in a common space.

    Attributes
    ----------
    affine : (4, 4) array
        From voxels of the maps of 1 mm to RAS coordinates in mm.
    grey, white, brain, texture : (I, J, K) arrays
        Fractions of grey matter, white matter and brain, and the relative intensity of the
        T1-weighted template that these fractions do not explain.
    coarse_affine : (4, 4) array
        From voxels of the coarse maps to mm.
    fibres : (3, i, j, k) array
        Squared components of the white-matter fibre direction along x, y and z; the sum is 1.
    hull : (i, j, k) array
        Signed distance to the hull of the brain, mm, positive outside.
    """

    affine: Matrix
    grey: FloatVolume
    white: FloatVolume
    brain: FloatVolume
    texture: FloatVolume
    coarse_affine: Matrix
    fibres: FloatVolume
    hull: FloatVolume


@lru_cache(maxsize=1)
def load_template() -> Template:
    """Return the common anatomy; computed once per process.

    Raises
    ------
    BadInput
        If nilearn does not include the template.

    References
    ----------
    Fonov et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.07.033.

    Examples
    --------
    >>> template = load_template()
    >>> template.grey.shape == template.brain.shape
    True
    """
    t1, grey, white = (_pad(_read(name)) for name in ("t1", "gm", "wm"))
    affine = np.array(nib.load(_path("t1")).affine)
    affine[:3, 3] -= [before for before, _ in MARGIN]
    brain = t1 > 0
    grey, white = _sharpen(grey * brain, white * brain, brain)
    coarse_affine = affine @ np.diag([COARSE, COARSE, COARSE, 1.0])
    coarse_affine[:3, 3] = affine[:3, 3] + (COARSE - 1) / 2
    return Template(
        affine=affine,
        grey=grey,
        white=white,
        brain=brain.astype(np.float32),
        texture=_texture(t1, grey, white, brain),
        coarse_affine=coarse_affine,
        fibres=_fibres(block_mean(white)),
        hull=_hull(block_mean(brain.astype(np.float32)) > 0.5),
    )


def _path(name: str) -> Path:
    """Return the path of a template file of nilearn, without importing nilearn."""
    spec = find_spec("nilearn")
    if spec is None or spec.origin is None:
        raise BadInput("the phantom needs the ICBM152 template of nilearn: install nilearn")
    folder = Path(spec.origin).parent / "datasets" / "data"
    path = folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    if not path.is_file():
        raise BadInput(f"nilearn has no {path.name} in {folder}: install nilearn 0.12 or later")
    return path


def _read(name: str) -> FloatVolume:
    return np.asarray(nib.load(_path(name)).dataobj, np.float32)


def _pad(volume: FloatVolume) -> FloatVolume:
    """Pad with air, but extend the spinal cord below."""
    sides, below = (MARGIN[0], MARGIN[1], (0, MARGIN[2][1])), (MARGIN[2][0], 0)
    return np.pad(np.pad(volume, sides), ((0, 0), (0, 0), below), mode="edge")


def _sharpen(
    grey: FloatVolume, white: FloatVolume, brain: NDArray[np.bool_]
) -> tuple[FloatVolume, FloatVolume]:
    """Reduce the blur of the average of 152 brains by squaring probabilities (0 to 255)."""
    fluid = np.where(brain, np.clip(255 - grey - white, 0, None), 0)
    total = np.maximum(grey**2 + white**2 + fluid**2, 1)
    return grey**2 / total, white**2 / total


def _texture(
    t1: FloatVolume, grey: FloatVolume, white: FloatVolume, brain: NDArray[np.bool_]
) -> FloatVolume:
    expected = 165 * grey + 224 * white + 66 * (1 - grey - white)
    ratio = np.where(brain, t1 / expected, 1)
    return np.clip(ndimage.gaussian_filter(ratio, 1), 0.85, 1.15)


def block_mean(volume: FloatVolume, size: int = COARSE) -> FloatVolume:
    """Return the means over blocks of `size` voxels per side; incomplete blocks are dropped.

    Examples
    --------
    >>> import numpy as np
    >>> block_mean(np.arange(8, dtype=np.float32).reshape(2, 2, 2)).item()
    3.5
    """
    i, j, k = (n // size for n in volume.shape)
    trimmed = volume[: i * size, : j * size, : k * size]
    result: FloatVolume = trimmed.reshape(i, size, j, size, k, size).mean(axis=(1, 3, 5))
    return result


def _fibres(white: FloatVolume) -> FloatVolume:
    """Return squared fibre directions, along which the white-matter map changes least."""
    smooth = ndimage.gaussian_filter(white, 1)
    slope = np.array(np.gradient(smooth), np.float32)
    tensor = [[ndimage.gaussian_filter(slope[i] * slope[j], 2) for j in range(3)] for i in range(3)]
    inside = smooth > 0.05
    tensors = np.array(tensor, np.float64)[:, :, inside].transpose(2, 0, 1)
    direction = np.linalg.eigh(tensors)[1][:, :, 0]
    fibres = np.full((3, *white.shape), 1 / 3, np.float32)
    fibres[:, inside] = (direction**2).T
    smoothed = np.stack([ndimage.gaussian_filter(part, 1) for part in fibres])
    return np.asarray(smoothed / smoothed.sum(axis=0), np.float32)


def _hull(brain: NDArray[np.bool_]) -> FloatVolume:
    """Return the signed distance to the hull of the brain, mm."""
    grown = ndimage.distance_transform_edt(~brain) * COARSE <= CLOSING
    closed = ndimage.distance_transform_edt(grown) * COARSE > CLOSING
    closed |= brain
    signed = ndimage.distance_transform_edt(~closed) - ndimage.distance_transform_edt(closed)
    smooth: FloatVolume = ndimage.gaussian_filter(signed.astype(np.float32) * COARSE, 1)
    return smooth
