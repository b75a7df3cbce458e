"""A head of real anatomy at 3 mm: a T1w, a b = 0 image of opposite contrast, a sagittal DCE."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bidsapp.imaging.masks import template_path
from bidsapp.imaging.transforms import apply, compose, invert, translation

STEP = 3
CENTRE = np.array([0.0, -18.0, 8.0])
"""Near the middle of the brain, mm."""
FIELD = 225.0
"""Of view, mm."""


@dataclass(frozen=True)
class Head:
    """Intensities of a head on one grid; `brain` is its mask."""

    affine: np.ndarray
    brain: np.ndarray
    t1w: np.ndarray
    b0: np.ndarray
    dce: np.ndarray
    lesion: np.ndarray


@lru_cache(maxsize=1)
def head() -> Head:
    """Return the ICBM152 brain, with skull, scalp and an enhancing lesion."""
    t1, grey, white = (_map(name) for name in ("t1", "gm", "wm"))
    affine = np.array(nib.load(template_path()).affine) @ np.diag([STEP, STEP, STEP, 1.0])
    pad = 10
    t1, grey, white = (np.pad(a, pad) for a in (t1, grey, white))
    affine = compose(translation([-pad] * 3), affine)
    brain = ndimage.binary_fill_holes(ndimage.binary_closing(t1 > 0, iterations=2))
    far = STEP * ndimage.distance_transform_edt(~brain)
    fluid = np.clip(1 - grey - white, 0, 1) * brain
    skull, scalp = (far > 0) & (far <= 6), (far > 6) & (far <= 13)
    points = np.moveaxis(np.indices(t1.shape), 0, -1)
    lesion = np.linalg.norm(apply(affine, points) - [30, -10, 25], axis=-1) < 9
    images = [
        np.where(lesion, inside, csf * fluid + gm * grey + wm * white + bone * skull + skin * scalp)
        for inside, csf, gm, wm, bone, skin in (
            (260, 40, 110, 150, 25, 210),
            (170, 300, 130, 85, 5, 20),
            (220, 60, 100, 115, 20, 170),
        )
    ]
    return Head(affine, brain, *images, lesion)


def _map(name: str) -> np.ndarray:
    """Return one map of the template, averaged over blocks; fractions of tissue are 0 to 1."""
    path = template_path().with_name(template_path().name.replace("_t1_", f"_{name}_"))
    data = ndimage.uniform_filter(nib.load(path).get_fdata(dtype=np.float32), STEP)
    return data[::STEP, ::STEP, ::STEP] / (1 if name == "t1" else 255)


def pose(rotation=(0, 0, 0), shift=(0, 0, 0), about=CENTRE) -> np.ndarray:
    """Return a rigid matrix: rotations about x, y, z (degrees) through a point, and a shift."""
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix()
    about = np.asarray(about, float)
    return compose(translation(-about), turned, translation(about + np.asarray(shift, float)))


def grid(zooms, axes=(0, 1, 2), oblique=(0, 0, 0)) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return affine and shape of a field of view around the head; axis i runs along axes[i]."""
    shape = tuple(round(FIELD / z) for z in zooms)
    affine = np.eye(4)
    turned = Rotation.from_euler("xyz", oblique, degrees=True).as_matrix()
    affine[:3, :3] = turned[:, list(axes)] * zooms
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine, shape


def scan(kind, where, matrix=None, *, noise=0.0, seed=0) -> np.ndarray:
    """Return what a scanner sees of the head on a grid.

    ``matrix`` maps points of the head to points of the scanner.
    """
    affine, shape = where
    source = head()
    voxel = invert(source.affine) @ invert(np.eye(4) if matrix is None else matrix) @ affine
    data = np.asarray(getattr(source, kind), np.float32)
    thick = np.linalg.norm(voxel[:3, :3], axis=0)
    offsets = np.linspace(-0.5, 0.5, 2 * max(1, round(thick.max())) + 1)[1::2]
    total = np.zeros(shape, np.float32)
    for offset in offsets:
        moved = voxel[:3, 3] + voxel[:3, int(thick.argmax())] * offset
        total += ndimage.affine_transform(data, voxel[:3, :3], moved, shape, order=1)
    rng = np.random.default_rng(seed)
    return np.abs(total / len(offsets) + noise * rng.standard_normal(shape)).astype(np.float32)


def write(path: Path, data: np.ndarray, affine: np.ndarray) -> str:
    """Write an image."""
    nib.save(nib.Nifti1Image(data, affine), path)
    return str(path)


def brain_points() -> np.ndarray:
    """Return points all over the brain of the unmoved head, mm."""
    return apply(head().affine, np.argwhere(head().brain)[::23])


def error(found: np.ndarray, truth: np.ndarray, points: np.ndarray) -> float:
    """Return the mean distance between where two matrices take the points, mm."""
    return float(np.linalg.norm(apply(found, points) - apply(truth, points), axis=1).mean())
