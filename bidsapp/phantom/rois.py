"""Regions on the grids of the images: lesions on the T1w, artery on the DCE, true maps."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bidsapp.phantom import physics
from bidsapp.phantom.acquisition import ImageGrid, pair_means, sample
from bidsapp.phantom.anatomy import Anatomy, TissuePart
from bidsapp.phantom.lesions import SimulatedLesion
from bidsapp.phantom.physics import Tissue
from bidsapp.phantom.scene import Scene, dominant_tissues
from bidsapp.phantom.template import FloatVolume, Matrix

LEAST_VOXELS = 3
"""Minimum number of voxels of a lesion, even if none is half filled."""
ARTERY_VOXELS = 10
"""Maximum number of voxels of the arterial mask."""
ARTERY_SHARE = 0.97
"""Minimum arterial fraction of the voxels of the mask, relative to the maximum."""

Labels = NDArray[np.uint8]


def label_lesions(
    anatomy: Anatomy,
    lesions: Mapping[int, SimulatedLesion],
    grid: ImageGrid,
    pose: Matrix,
    points: tuple[int, int, int],
) -> dict[str, Labels]:
    """Return the label images that a reader would draw: ``enhancing`` and ``whole``.

    Parameters
    ----------
    anatomy : Anatomy
    lesions : mapping of int to Lesion
    grid : Grid
    pose : (4, 4) array
        From head to scanner.
    points : tuple of int
        Points per voxel along each axis.

    Returns
    -------
    dict of (I, J, K) array
        Voxels have the number of the lesion that fills more than half of them.
    """
    labels = {name: np.zeros(grid.shape, np.uint8) for name in ("enhancing", "whole")}
    for number, lesion in lesions.items():
        rim, offset = sample_part(anatomy, lesion.rim, grid, pose, points, margin=lesion.core)
        core, _ = sample_part(anatomy, lesion.core, grid, pose, points, margin=lesion.rim)
        for name, cover in (("enhancing", rim), ("whole", rim + core)):
            box = tuple(slice(o, o + n) for o, n in zip(offset, cover.shape, strict=True))
            labels[name][box][_filled_voxels(cover)] = number
    return labels


def _filled_voxels(cover: FloatVolume) -> NDArray[np.bool_]:
    half = cover > 0.5
    if half.sum() >= LEAST_VOXELS:
        return half
    least = np.sort(cover, axis=None)[-LEAST_VOXELS]
    return np.asarray((cover >= least) & (cover > 0))


def sample_part(
    anatomy: Anatomy,
    part: TissuePart,
    grid: ImageGrid,
    pose: Matrix,
    points: tuple[int, int, int],
    margin: TissuePart,
) -> tuple[FloatVolume, tuple[int, int, int]]:
    """Return the coverage of the voxels of a grid by a tissue, in a box around it and `margin`.

    Returns
    -------
    cover : (i, j, k) array
    offset : tuple of int
        First voxel of the box in the grid.
    """
    both = np.concatenate([part.index, margin.index])
    voxels = np.array(np.unravel_index(both, anatomy.shape))
    low, high = voxels.min(axis=1) - 2, voxels.max(axis=1) + 3
    volume = np.zeros(high - low, np.float32)
    volume[tuple(voxels[:, : len(part.index)] - low[:, None])] = part.fraction
    shift = np.eye(4)
    shift[:3, 3] = low
    affine = anatomy.affine @ shift
    ends = np.array(np.meshgrid(*zip(low - low, high - low, strict=True), indexing="ij"))
    corners = np.vstack([ends.reshape(3, -1), np.ones(8)])
    on_grid = (np.linalg.inv(grid.affine) @ pose @ affine @ corners)[:3]
    begin = np.clip(np.floor(on_grid.min(axis=1)).astype(int), 0, grid.shape)
    end = np.clip(np.ceil(on_grid.max(axis=1)).astype(int) + 1, begin + 1, grid.shape)
    move = np.eye(4)
    move[:3, 3] = begin
    i, j, k = (int(n) for n in end - begin)
    box = ImageGrid((i, j, k), grid.affine @ move)
    return sample(volume, affine, box, pose, points), (int(begin[0]), int(begin[1]), int(begin[2]))


def artery_mask(
    scene: Scene, grid: ImageGrid, pose: Matrix, points: tuple[int, int, int]
) -> Labels:
    """Return the mask of the voxels with the highest arterial fraction.

    Parameters
    ----------
    scene : Scene
    grid : Grid
    pose : (4, 4) array
        From head to scanner.
    points : tuple of int
        Points per voxel along each axis.

    Returns
    -------
    (I, J, K) array of uint8
    """
    share = sample(*pair_means(scene.fraction("artery"), scene.affine), grid, pose, points)
    order = np.argsort(share, axis=None, kind="stable")[::-1][:ARTERY_VOXELS]
    chosen = order[share.flat[order] >= ARTERY_SHARE * share.max()]
    mask = np.zeros(grid.shape, np.uint8)
    mask.flat[chosen] = 1
    return mask


def tissue_labels(
    scene: Scene,
    grid: ImageGrid,
    pose: Matrix,
    rois: Mapping[str, Labels],
) -> NDArray[np.uint16]:
    """Return the tissue of each voxel: its position in `scene.tissues` plus 1, or 0 for air.

    Inside the ROI of a lesion, it is the core, or the part of the rim that is nearest to the centre
    of the voxel; elsewhere, the dominant tissue of the scene there.
    """
    labels = np.zeros(grid.shape, np.uint16)
    to_scene = np.linalg.inv(pose @ scene.affine) @ grid.affine
    i, j, k = np.ogrid[tuple(slice(n) for n in grid.shape)]
    index = [np.rint(r[0] * i + r[1] * j + r[2] * k + r[3]).astype(np.int32) for r in to_scene[:3]]
    ranges = zip(index, scene.shape, strict=True)
    inside = np.logical_and.reduce([(x >= 0) & (x < n) for x, n in ranges])
    labels[inside] = dominant_tissues(scene)[tuple(x[inside] for x in index)]
    for number in np.unique(rois["whole"])[1:]:
        core = (rois["whole"] == number) & (rois["enhancing"] != number)
        if f"lesion-{number}_core" in scene.tissues:
            labels[core] = scene.tissues.index(f"lesion-{number}_core") + 1
        rim = np.argwhere(rois["enhancing"] == number)
        places = rim @ to_scene[:3, :3].T + to_scene[:3, 3]
        labels[tuple(rim.T)] = _nearest_tissue(scene, places, f"lesion-{number}_rim")
    return labels


def _nearest_tissue(scene: Scene, places: NDArray[np.float64], prefix: str) -> NDArray[np.uint16]:
    """Return the position plus 1 of the nearest tissue whose name begins with a prefix.

    `places` (N, 3) are in voxels of the scene.
    """
    columns = [n for n, name in enumerate(scene.tissues) if name.startswith(prefix)]
    rows = [scene.column(n)[0] for n in columns]
    voxels = np.array(np.unravel_index(np.concatenate(rows), scene.shape)).T
    label = np.repeat(np.array(columns, np.uint16) + np.uint16(1), [len(r) for r in rows])
    return np.asarray(label[cKDTree(voxels).query(places)[1]])


def true_parameters(tissue: Tissue) -> dict[str, float]:
    """Return all true parameters of a tissue; NaN for those that are undefined.

    Examples
    --------
    >>> true_parameters(physics.TISSUES["grey"])["T1"]
    1.6
    """
    vessel, exchanging = bool(tissue.blood), tissue.Ktrans > 0
    return {
        "f": tissue.f,
        "D": tissue.mean_diffusivity,
        "Dstar": physics.DSTAR if tissue.f > 0 else np.nan,
        "ADC": physics.adc_of(tissue.diffusivity, tissue.f),
        "Ktrans": np.nan if vessel else tissue.Ktrans,
        "ve": tissue.ve if exchanging and not vessel else np.nan,
        "vp": np.nan if vessel else tissue.vp,
        "T1": tissue.t1,
    }
