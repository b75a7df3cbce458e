"""Quality measures of a registration, the limits of acceptance, and the reasons for a rejection."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.masks import centroid
from bidsapp.imaging.transforms import Vector, apply, compose, decompose, invert

DETERMINANT = (0.8, 1.25)
"""Accepted ratio of volumes: gradient calibration differs between scanners, heads do not."""
ROTATION_DEGREES = 30.0
"""Largest accepted rotation."""
OVERLAP = 0.6
"""Smallest accepted fraction of the brain in the moving field of view."""
ERROR_MM = (0.6, 2.0)
"""Expected error above which a registration is doubtful, and above which it has failed."""
AMBIGUITY = (0.3, 0.5)
"""Likewise for the relative cost of a different solution."""
DISAGREEMENT_MM = (1.0, 2.0)
"""Likewise for the distance to an independent solution."""
MIRROR = 1.0
"""Largest accepted relative cost of the solution with left and right exchanged. Heads give 0.2 to
0.6, and 2 to 6 if one image is mirrored."""
_SAMPLE = 20_000


class Verdict(StrEnum):
    """Whether a registration may be used."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    FAILED = "failed"


@dataclass(frozen=True)
class Quality:
    """Quality measures of a registration; NaN if not measured.

    Attributes
    ----------
    determinant : float
        Ratio of volumes, moving to fixed.
    rotation_degrees : float
        Angle of the rotation.
    translation_mm : float
        Displacement of the fixed brain's centroid.
    overlap : float
        Fraction of the fixed brain inside the moving field of view, relative to the largest
        fraction that a field of view of this size can cover: 1 for a slab inside the brain.
    expected_error_mm : float
        Standard error of the position of a point in the brain, from the disagreement between
        blocks of the image; NaN if the engine does not estimate it.
    ambiguity : float
        Relative cost of the best different solution: 0 no better than chance, 1 as good as this
        one; NaN without a global search.
    mirror : float
        Relative cost of the solution with left and right of the head exchanged: above 1 it is
        better than this one; NaN without a global search.
    round_trip_mm : float
        Mean distance between the forward solution and the inverse of the backward one; NaN if only
        one direction was registered.
    disagreement_mm : float
        Mean distance to the solution of an independent engine; NaN if none was run.
    fallback : str
        What was done in place of a registration that failed, and why it failed; it makes the
        verdict at best doubtful. Empty if nothing failed.
    """

    determinant: float
    rotation_degrees: float
    translation_mm: float
    overlap: float
    expected_error_mm: float = float("nan")
    ambiguity: float = float("nan")
    mirror: float = float("nan")
    round_trip_mm: float = float("nan")
    disagreement_mm: float = float("nan")
    fallback: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the registration may be used."""
        if self._complaints(worse=True):
            return Verdict.FAILED
        return Verdict.DOUBTFUL if self._complaints(worse=False) else Verdict.GOOD

    @property
    def reason(self) -> str:
        """Why the verdict is not good, as text; empty if it is."""
        return ", ".join(self._complaints(worse=True) or self._complaints(worse=False))

    def as_dict(self) -> dict[str, Any]:
        """Return the measures by name (None if NaN or infinite), verdict and reason."""
        measures = {
            name: value if isinstance(value, str) or np.isfinite(value) else None
            for name, value in asdict(self).items()
        }
        return measures | {"verdict": self.verdict.value, "reason": self.reason}

    def _complaints(self, *, worse: bool) -> list[str]:
        """Return the measures beyond the limits of failure (`worse`) or of doubt, as text."""
        doubts = self._doubts(worse=worse)
        if worse and self.disagreement_mm <= DISAGREEMENT_MM[0]:
            doubts = []  # two independent engines agree
        found = self.implausible_measures() + doubts
        # A fallback is a reason for doubt, and explains a failure that has other reasons.
        return [*found, self.fallback] if self.fallback and (found or not worse) else found

    @property
    def looks_mirrored(self) -> bool:
        """Whether left and right are exchanged, in a solution that is credible otherwise."""
        # Where the images determine no solution, comparing two of them means nothing.
        determined = not self.expected_error_mm > ERROR_MM[1]
        return self.mirror > MIRROR and determined and not self._impossible_pose()

    def implausible_measures(self) -> list[str]:
        """Return the measures that are impossible for one head in two scans, as text."""
        found = self._impossible_pose()
        if self.looks_mirrored:
            return [
                f"{self.mirror:.1f} times as good with left and right exchanged: is one of the "
                "two images mirrored?"
            ]
        if self.mirror > MIRROR and not found:
            return ["no better than with left and right exchanged"]
        return found

    def _impossible_pose(self) -> list[str]:
        """Return the measures of the pose beyond their limits, as text."""
        low, high = DETERMINANT
        turned = f"{self.rotation_degrees:.0f} degrees"
        checks = (
            (
                low <= self.determinant <= high,
                f"ratio of volumes {self.determinant:.3f} (accepted: {low:g} to {high:g})",
            ),
            (
                self.rotation_degrees <= ROTATION_DEGREES,
                f"rotation of {turned} (accepted: up to {ROTATION_DEGREES:g})",
            ),
            (
                self.overlap >= OVERLAP,
                f"overlap of {self.overlap:.0%} (accepted: at least {OVERLAP:.0%})",
            ),
        )
        return [text for met, text in checks if not met]

    def _doubts(self, *, worse: bool) -> list[str]:
        """Return the measures beyond a limit, as text; NaN is never beyond one."""
        limits = {
            "expected_error_mm": (ERROR_MM, "expected error of {:.1f} mm (accepted: up to {:g})"),
            "round_trip_mm": (
                DISAGREEMENT_MM,
                "{:.1f} mm from the backward registration (accepted: up to {:g})",
            ),
            "disagreement_mm": (
                DISAGREEMENT_MM,
                "{:.1f} mm from the other engine (accepted: up to {:g})",
            ),
            "ambiguity": (AMBIGUITY, "another solution {:.0%} as good (accepted: up to {:.0%})"),
        }
        return [
            text.format(getattr(self, name), limit[worse])
            for name, (limit, text) in limits.items()
            if getattr(self, name) > limit[worse]
        ]


def overlap(
    matrix: ArrayLike,
    mask: NDArray[Any],
    affine: ArrayLike,
    moving_shape: Sequence[int],
    moving_affine: ArrayLike,
) -> float:
    """Return the fraction of the fixed brain in the moving field of view, of the largest possible.

    Parameters
    ----------
    matrix : (4, 4) array
        Fixed points to moving points, RAS mm.
    mask : (X, Y, Z) array
        The brain on the fixed grid.
    affine : (4, 4) array
        The fixed voxels to RAS mm.
    moving_shape : three ints
    moving_affine : (4, 4) array
        The moving voxels to RAS mm.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    BadInput
        If the mask is empty.

    Examples
    --------
    >>> brain = np.ones((10, 10, 10))
    >>> slab = (10, 10, 2)
    >>> overlap(np.eye(4), brain, np.eye(4), slab, np.eye(4))
    1.0
    >>> raised = np.eye(4); raised[2, 3] = 1
    >>> overlap(raised, brain, np.eye(4), slab, np.eye(4))
    0.5
    """
    voxels = np.argwhere(np.asarray(mask) > 0)
    if not len(voxels):
        raise BadInput("the brain mask of the fixed image is empty")
    voxels = voxels[:: max(1, len(voxels) // _SAMPLE)]
    found = apply(compose(affine, matrix, invert(moving_affine)), voxels)
    size = np.array(moving_shape[:3])
    # A slab thinner than the brain can never hold all of it: normalise by the most that an interval
    # of its extent along each voxel axis can hold.
    inside = ((found >= -0.5) & (found < size - 0.5)).all(axis=1).mean()
    possible = min(_largest_share(found[:, i], int(size[i])) for i in range(3))
    return float(min(inside / possible, 1.0))


def _largest_share(positions: Vector, length: float) -> float:
    """Return the largest fraction of positions within any interval of a given length."""
    # It suffices to try the intervals that begin at a position.
    ordered = np.sort(positions)
    counts = np.searchsorted(ordered, ordered + length, side="left") - np.arange(len(ordered))
    return float(counts.max() / len(ordered))


def assess(
    matrix: ArrayLike,
    mask: NDArray[Any],
    affine: ArrayLike,
    moving_shape: Sequence[int],
    moving_affine: ArrayLike,
    **measures: Any,
) -> Quality:
    """Return the quality of a registration.

    Parameters
    ----------
    matrix : (4, 4) array
        Fixed points to moving points, RAS mm.
    mask : (X, Y, Z) array
        The brain on the fixed grid.
    affine : (4, 4) array
        The fixed voxels to RAS mm.
    moving_shape : three ints
    moving_affine : (4, 4) array
        The moving voxels to RAS mm.
    **measures : float
        Further attributes of `Quality`.

    Returns
    -------
    Quality

    Raises
    ------
    BadInput
        If the mask is empty or the matrix is not affine.

    Examples
    --------
    >>> brain = np.ones((10, 10, 10))
    >>> moved = np.eye(4) + 3 * np.eye(4, k=3)
    >>> assess(moved, brain, np.eye(4), (20, 10, 10), np.eye(4)).translation_mm
    3.0
    """
    parts = decompose(matrix, centroid(mask, affine))
    pose = Quality(
        determinant=parts.determinant,
        rotation_degrees=parts.rotation_degrees,
        translation_mm=float(np.linalg.norm(parts.translation)),
        overlap=overlap(matrix, mask, affine, moving_shape, moving_affine),
    )
    return replace(pose, **measures)


def require_success(quality: Quality, what: str) -> None:
    """Raise an error for a registration that failed.

    Parameters
    ----------
    quality : Quality
    what : str
        The two images, for the error message.

    Raises
    ------
    RegistrationError
        If the verdict is ``failed``.

    Examples
    --------
    >>> require_success(Quality(1.0, 5.0, 8.0, 0.95), "b0 on T1w")
    >>> require_success(Quality(1.0, 80.0, 8.0, 0.95), "b0 on T1w")
    Traceback (most recent call last):
    bidsapp.errors.RegistrationError: b0 on T1w: the registration failed: rotation of 80 degrees ...
    """
    if quality.verdict is Verdict.FAILED:
        raise RegistrationError(
            f"{what}: the registration failed: {quality.reason}; inspect both images, and check "
            "that their headers agree on the position of the head"
        )
