"""A head with its lesions, as a sparse matrix of voxels by tissues."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bidsapp.phantom.anatomy import Anatomy, TissuePart
from bidsapp.phantom.lesions import SimulatedLesion
from bidsapp.phantom.template import FloatVolume, Matrix


@dataclass(frozen=True)
class Scene:
    """The object to be imaged.

    Attributes
    ----------
    affine : (4, 4) array
        From voxels to mm in the head.
    shape : tuple of int
    tissues : tuple of str
        One for each column of `weights`.
    weights : (voxels, tissues) sparse array
        Fraction of the voxel times its proton density relative to that of the tissue.
    """

    affine: Matrix
    shape: tuple[int, int, int]
    tissues: tuple[str, ...]
    weights: sparse.csc_array

    def image(self, signals: ArrayLike) -> FloatVolume:
        """Return the image for given signals of the tissues."""
        result: FloatVolume = self.weights @ np.asarray(signals, np.float32)
        return result.reshape(self.shape)

    def column(self, number: int) -> tuple[NDArray[np.int32], FloatVolume]:
        """Return the voxels (flat indices) that contain a tissue, and their weights."""
        span = slice(self.weights.indptr[number], self.weights.indptr[number + 1])
        return self.weights.indices[span], self.weights.data[span]

    def fraction(self, *tissues: str) -> FloatVolume:
        """Return the fraction of each voxel that the tissues fill, weighted by proton density."""
        chosen = np.isin(self.tissues, tissues).astype(np.float32)
        total = self.image(np.ones(len(self.tissues)))
        return np.divide(self.image(chosen), total, out=np.zeros_like(total), where=total > 0.05)


def build_scene(anatomy: Anatomy, lesions: Mapping[int, SimulatedLesion]) -> Scene:
    """Return the scene of an anatomy with lesions.

    Parameters
    ----------
    anatomy : Anatomy
    lesions : mapping of int to Lesion

    Returns
    -------
    Scene
        Tissues are named as in the anatomy, and ``lesion-1_rim``, ``lesion-1_core`` and so on, by
        the `parts` of the lesions.
    """
    left = np.ones(int(np.prod(anatomy.shape)), np.float32)
    added: dict[str, TissuePart] = {}
    for number, lesion in lesions.items():
        for kind, part in lesion.parts.items():
            added[f"lesion-{number}_{kind}"] = part
            left[part.index] -= part.fraction
    left = np.clip(left, 0, 1)
    kept = {n: TissuePart(p.index, p.fraction * left[p.index]) for n, p in anatomy.parts.items()}
    texture = anatomy.texture.ravel()
    parts = {
        n: TissuePart(p.index, p.fraction * texture[p.index]) for n, p in (kept | added).items()
    }
    return Scene(anatomy.affine, anatomy.shape, tuple(parts), _matrix(parts, len(left)))


def coarsen(scene: Scene, factor: int) -> Scene:
    """Return the scene on blocks of `factor` voxels per side, with exact partial volumes."""
    shape = tuple(-(-n // factor) for n in scene.shape)
    axes = [np.arange(n) // factor for n in scene.shape]
    block = ((axes[0][:, None, None] * shape[1] + axes[1][:, None]) * shape[2] + axes[2]).ravel()
    size = int(np.prod(shape))
    parts = {}
    for column, name in enumerate(scene.tissues):
        rows, values = scene.column(column)
        total = np.bincount(block[rows], values / factor**3, size)
        some = total.nonzero()[0]
        parts[name] = TissuePart(some.astype(np.int32), total[some].astype(np.float32))
    affine = scene.affine @ np.diag([factor, factor, factor, 1.0])
    affine[:3, 3] = (scene.affine @ np.array([*[(factor - 1) / 2] * 3, 1.0]))[:3]
    return Scene(affine, (shape[0], shape[1], shape[2]), scene.tissues, _matrix(parts, size))


def dominant_tissues(scene: Scene) -> NDArray[np.uint16]:
    """Return the tissue that fills most of each voxel: its column plus 1, or 0 for air."""
    most = np.full(int(np.prod(scene.shape)), 0.3, np.float32)
    label = np.zeros(len(most), np.uint16)
    for column in range(len(scene.tissues)):
        rows, values = scene.column(column)
        more = values > most[rows]
        most[rows[more]] = values[more]
        label[rows[more]] = column + 1
    return label.reshape(scene.shape)


def _matrix(parts: Mapping[str, TissuePart], voxels: int) -> sparse.csc_array:
    ends = np.cumsum([0, *(len(part.index) for part in parts.values())])
    index = np.concatenate([part.index for part in parts.values()])
    values = np.concatenate([part.fraction for part in parts.values()])
    return sparse.csc_array((values, index, ends), shape=(voxels, len(parts)))
