"""A reference region in normal-appearing white matter: the centrum semiovale far from lesions."""

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from bidsapp.errors import BadInput
from bidsapp.imaging.masks import grow
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import Matrix, apply, compose, invert, translation
from bidsapp.lesions.regions import Array, voxel_ml

Mask = NDArray[np.bool_]
Side = Literal["left", "right", "both"]

LESION_MARGIN = 15.0
"""Least distance of the region from a lesion, mm; oedema may surround the lesion."""
CERTAIN_WHITE = 0.9
"""Least probability of white matter in the template."""
EDGE_MARGIN = 1.5
"""Least distance of the region from voxels whose intensity is not that of white matter, mm."""
INTENSITY_RANGE = 3.0
"""Accepted difference of the T1w from the median of white matter, in standard deviations."""
LEAST_ML = 1.0
"""Smallest volume of a region."""
LEAST_KEPT = 0.5
"""Share of the region of an earlier visit below which what is measured may be other tissue."""
SEARCHED = np.array([(8.0, 36.0), (-50.0, 30.0), (24.0, 46.0)])
"""Centrum semiovale in the template: |x|, y and z, mm."""
CLOSE = 40.0
"""Distance from the centrum semiovale within which lesions decide the side, mm."""
SEMI_AXES = np.array([7.0, 14.0, 6.0])
"""Semi-axes of the region along x, y and z of the template, mm: 2.5 ml if it is complete."""
_STEP = 2.0
"""Distance between the centres that are tried, mm."""
_FULL = 0.9
"""Share of the most voxels that any place holds with which a more central place is preferred."""
_ONE_SIDE = 0.9
"""Share of a drawn region that lies on the side that is named."""
_ROBUST_SD = 1.4826
"""Standard deviation of a normal distribution relative to its median absolute deviation."""


@dataclass(frozen=True)
class ReferenceRegion:
    """A reference region: its mask, and where it is.

    Attributes
    ----------
    mask : (X, Y, Z) array of bool
    side : "left", "right" or "both"
        The patient's side.
    ml : float
        Its volume.
    contralateral : bool
        Whether its side has no more lesion volume close to it than the other.
    kept : float
        Share of the region of an earlier visit that it is; 0 if it is another one, NaN if none was
        given.
    """

    mask: Mask
    side: Side
    ml: float
    contralateral: bool
    kept: float = np.nan

    @property
    def followed(self) -> bool:
        """Whether it is the region of an earlier visit."""
        return self.kept > 0

    def record(self) -> dict[str, Any]:
        """Return where the region is, for a JSON file, with a warning for each doubt."""
        known = {"Side": self.side, "VolumeMl": round(self.ml, 3), "OfBaseline": self.followed}
        texts = []
        if not self.contralateral:
            texts.append(
                f"the reference region is on the {self.side}, where most of the lesion volume is"
            )
        if self.kept == 0:
            texts.append(
                "the reference region of the baseline is no longer normal white matter: another "
                "one is measured, so that its values are not those of the same tissue"
            )
        elif self.kept < LEAST_KEPT:
            texts.append(
                f"{100 * self.kept:.0f} % of the reference region of the baseline are measured: "
                "the rest is lesion or no longer of the intensity of that region"
            )
        return known | ({"Warnings": texts} if texts else {})


@dataclass(frozen=True)
class _Candidates:
    """Voxels that may be in the region: their indices, and their points in the template, mm."""

    voxels: NDArray[np.intp]
    points: Array

    def where(self, there: NDArray[Any]) -> "_Candidates":
        """Return some of them, by a mask or by their positions in the list."""
        return _Candidates(self.voxels[there], self.points[there])

    def on(self, side: Side) -> "_Candidates":
        """Return those on one side."""
        return self.where(self.points[:, 0] > 0 if side == "right" else self.points[:, 0] < 0)

    def inside(self, mask: Mask) -> "_Candidates":
        """Return those inside a mask."""
        return self.where(mask[tuple(self.voxels.T)])


def find_reference(
    t1w: NDArray[Any],
    affine: ArrayLike,
    lesions: NDArray[Any],
    white: NDArray[Any],
    white_affine: ArrayLike,
    template_to_image: ArrayLike,
    earlier: NDArray[Any] | None = None,
) -> ReferenceRegion:
    r"""Find a compact region of normal-appearing white matter, if possible contralateral.

    Parameters
    ----------
    t1w : (X, Y, Z) array
    affine : (4, 4) array
        Its voxels to RAS mm.
    lesions : (X, Y, Z) array
        All lesions; not zero inside.
    white : (I, J, K) array
        Probability of white matter in a template in MNI space, 0 to 1.
    white_affine : (4, 4) array
        Its voxels to RAS mm.
    template_to_image : (4, 4) array
        Points of the template to points of the image, RAS mm.
    earlier : (X, Y, Z) array or None
        The region of another visit, on the grid of this image. If enough of it is still
        normal-appearing white matter, that part is the region, so that visits are compared in the
        same tissue.

    Returns
    -------
    ReferenceRegion

    Raises
    ------
    BadInput
        If no side has `LEAST_ML` of such tissue.

    Notes
    -----
    Candidates are voxels of the centrum semiovale that are white matter with a probability of
    `CERTAIN_WHITE` in the template and have the intensity of white matter in the image: the median
    of such voxels of their side away from lesions, plus or minus three standard deviations,
    estimated from the median absolute deviation. Vessels and enhancing tissue are brighter; grey
    matter, cerebrospinal fluid, oedema and old lesions are darker. Voxels next to other intensities
    and within 15 mm of a lesion are left out. The region consists of the candidates in an ellipsoid
    that is nearly full of them, on the side with less lesion volume within 40 mm of the centrum
    semiovale (or anywhere, if there is none) if that holds enough.

    The maps are not used: a region that is chosen by its ADC could not serve to check the ADC.

    Examples
    --------
    >>> grid = np.diag([2.0, 2.0, 2.0, 1.0]); grid[:3, 3] = -50, -60, 10
    >>> head = np.full((51, 51, 25), 100.0); lesions = np.zeros(head.shape)
    >>> lesions[5, 20, 12] = 1  # on the left
    >>> found = find_reference(head, grid, lesions, np.ones(head.shape), grid, np.eye(4))
    >>> found.side, found.contralateral, 2 < found.ml < 3
    ('right', True, True)
    """
    drawn, to_template = np.asarray(lesions) > 0, invert(template_to_image)
    sides = _sides(apply(to_template, apply(np.asarray(affine, float), np.argwhere(drawn))))
    box = _searched_voxels(template_to_image, affine, drawn.shape)
    grid = np.asarray(affine, float) @ translation([s.start for s in box])
    image, drawn = np.asarray(t1w, float)[box], drawn[box]
    probable = resample(white, white_affine, to_template, image.shape, grid, cval=0)
    certain = np.isfinite(image) & (image > 0) & (probable >= CERTAIN_WHITE)
    far = certain & ~grow(drawn, grid, LESION_MARGIN)
    candidates = _central(np.argwhere(certain), grid, to_template)
    before = np.zeros(far.shape, bool) if earlier is None else np.asarray(earlier)[box] > 0
    usable = {side: _usable(candidates.on(side), image, far, certain, grid) for side in sides}
    # The tissue of an earlier visit precedes any other, also if lesions have changed sides.
    same = [(side, found.inside(before)) for side, found in usable.items()]
    anew = [(side, _compact_part(found)) for side, found in usable.items()]
    volumes = [len(found.voxels) * voxel_ml(grid) for _, found in (*same, *anew)]
    for i, (side, found) in enumerate((*same, *anew)):
        if volumes[i] >= LEAST_ML:
            mask = np.zeros(np.shape(t1w), bool)
            mask[box][tuple(found.voxels.T)] = True
            kept = len(found.voxels) / before.sum() * (i < len(same)) if before.any() else np.nan
            return ReferenceRegion(mask, side, volumes[i], side == sides[0], float(kept))
    lacks = (f"{side} {ml:.1f} ml" for side, ml in zip(sides, volumes[len(same) :], strict=True))
    raise BadInput(
        f"no reference region: the centrum semiovale has less than {LEAST_ML:g} ml of compact "
        f"normal-appearing white matter {LESION_MARGIN:g} mm from all lesions "
        f"({', '.join(lacks)}); draw a region as label-reference_mask"
    )


def follow_region(
    region: NDArray[Any],
    t1w: NDArray[Any],
    affine: ArrayLike,
    lesions: NDArray[Any],
    template_to_image: ArrayLike,
) -> ReferenceRegion:
    """Return a region that was drawn at another visit, without what is no longer the same tissue.

    Parameters
    ----------
    region : (X, Y, Z) array
        On the grid of this image; not zero inside.
    t1w : (X, Y, Z) array
    affine : (4, 4) array
        Its voxels to RAS mm.
    lesions : (X, Y, Z) array
        All lesions; not zero inside.
    template_to_image : (4, 4) array
        Points of the template to points of the image, RAS mm.

    Returns
    -------
    ReferenceRegion
        The voxels of the region that are in no lesion, and whose intensity is within
        `INTENSITY_RANGE` robust standard deviations of the median of the region. It may be
        anywhere: it was drawn where its reader wants it.

    Raises
    ------
    BadInput
        If nothing of it remains.

    Examples
    --------
    >>> region = np.zeros((20, 4, 4)); region[2:12] = 1
    >>> lesion = np.zeros(region.shape); lesion[:4] = 1
    >>> grid = np.diag([2.0, 2.0, 2.0, 1.0])
    >>> found = follow_region(region, np.ones(region.shape), grid, lesion, np.eye(4))
    >>> found.side, found.kept, round(found.ml, 3)
    ('right', 0.8, 1.024)
    """
    drawn, image = np.asarray(region) > 0, np.asarray(t1w, float)
    inside = drawn & ~(np.asarray(lesions) > 0) & np.isfinite(image)
    if inside.any():
        middle = float(np.median(image[inside]))
        spread = _ROBUST_SD * float(np.median(np.abs(image[inside] - middle)))
        inside &= np.abs(image - middle) <= INTENSITY_RANGE * spread
    if not inside.any():
        raise BadInput(
            "no reference region: nothing of the label-reference_mask of the baseline is outside "
            "of all lesions here; draw one at this session"
        )
    points = apply(invert(template_to_image), apply(np.asarray(affine, float), np.argwhere(inside)))
    right = float((points[:, 0] > 0).mean())
    side: Side = "right" if right > _ONE_SIDE else "left" if right < 1 - _ONE_SIDE else "both"
    ml = int(inside.sum()) * voxel_ml(affine)
    return ReferenceRegion(inside, side, ml, True, float(inside.sum() / drawn.sum()))


def _sides(lesions: Array) -> tuple[Side, Side]:
    """Return the sides, that with less lesion volume close to it first, from template points."""
    low, high = SEARCHED.T
    folded = _fold(lesions)
    apart = np.linalg.norm(np.maximum(np.maximum(low - folded, folded - high), 0), axis=1)
    close = lesions[apart < CLOSE] if (apart < CLOSE).any() else lesions
    right = int((close[:, 0] > 0).sum())
    return ("left", "right") if 2 * right >= len(close) else ("right", "left")


def _searched_voxels(
    template_to_image: ArrayLike, affine: ArrayLike, shape: tuple[int, ...]
) -> tuple[slice, ...]:
    """Return the part of an image that holds the centrum semiovale and lesions close to it."""
    (_, lateral), y, z = SEARCHED
    ends = [
        (low - LESION_MARGIN, high + LESION_MARGIN) for low, high in ((-lateral, lateral), y, z)
    ]
    to_voxel = compose(template_to_image, invert(affine))
    corners = apply(to_voxel, np.array(list(product(*ends))))
    low = np.clip(np.floor(corners.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, low, shape).astype(int)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _fold(points: Array) -> Array:
    """Return points of the template with the left side reflected onto the right one."""
    return np.column_stack([np.abs(points[:, 0]), points[:, 1:]])


def _central(voxels: NDArray[np.intp], grid: Matrix, to_template: Matrix) -> _Candidates:
    """Return the voxels in the part of the template that is searched."""
    points = apply(to_template, apply(grid, voxels))
    low, high = SEARCHED.T
    inside = ((_fold(points) >= low) & (_fold(points) <= high)).all(axis=1)
    return _Candidates(voxels, points).where(inside)


def _usable(
    found: _Candidates, image: Array, far: Mask, certain: Mask, grid: Matrix
) -> _Candidates:
    """Return the candidates of one side that are far from lesions and from other intensities."""
    away = found.inside(far)
    intensities = image[tuple(away.voxels.T)]
    if not len(intensities):
        return away
    middle = float(np.median(intensities))
    spread = _ROBUST_SD * float(np.median(np.abs(intensities - middle)))
    other = certain & (np.abs(image - middle) > INTENSITY_RANGE * spread)
    return away.inside(~grow(other, grid, EDGE_MARGIN))


def _compact_part(usable: _Candidates) -> _Candidates:
    """Return the candidates in the most central ellipsoid of those that hold the most."""
    if not len(usable.voxels):
        return usable
    centres = np.unique(np.round(usable.points / _STEP), axis=0) * _STEP
    tree = cKDTree(usable.points / SEMI_AXES)
    held = tree.query_ball_point(centres / SEMI_AXES, 1.0, return_length=True)
    centres = centres[held >= _FULL * held.max()]
    off = np.linalg.norm((_fold(centres) - SEARCHED.mean(axis=1)) / SEMI_AXES, axis=1)
    best = centres[np.argmin(off)]
    return usable.where(np.array(tree.query_ball_point(best / SEMI_AXES, 1.0)))
