"""What is believed of a registration, and in which words it is refused."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.masks import centroid
from bidsapp.imaging.transforms import Vector, apply, compose, decompose, invert

DETERMINANT = (0.8, 1.25)
"""Ratio of volumes that is believed: the scale of two scanners' gradients, not of two heads."""
ROTATION_DEGREES = 30.0
"""Largest rotation that is believed."""
OVERLAP = 0.6
"""Smallest share of the brain in the moving field of view that is believed."""
ERROR_MM = (0.6, 2.0)
"""Expected error from which on a registration is doubtful, and from which on it has failed."""
AMBIGUITY = (0.3, 0.5)
"""Likewise, how close another answer comes."""
DISAGREEMENT_MM = (1.0, 2.0)
"""Likewise, how far another answer to the same question is."""
MIRROR = 1.0
"""How close the answer with left and right exchanged may come. Heads give 0.2 to 0.6, and 2 to 6
where one image is mirrored."""
_SAMPLE = 20_000


class Verdict(StrEnum):
    """Whether a registration is to be used."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    FAILED = "failed"


@dataclass(frozen=True)
class Quality:
    """What is known of a registration.

    Attributes
    ----------
    determinant : float
        Ratio of volumes, moving to fixed.
    rotation_degrees : float
        Angle of the rotation.
    translation_mm : float
        Displacement of the fixed brain's centroid.
    overlap : float
        Share of the fixed brain inside the moving field of view, relative to the largest share
        that a field of view of this size can hold: 1 for a slab that lies inside the brain.
    expected_error_mm : float
        Standard error of where a point of the brain comes to lie, from how much the blocks of the
        image disagree; NaN where the engine does not tell.
    ambiguity : float
        How close the best other answer comes: 0 no better than chance, 1 as good as this one; NaN
        where none was sought.
    mirror : float
        How close the answer comes in which left and right of the head are exchanged: above 1 it
        is better than this one; NaN where it was not sought.
    round_trip_mm : float
        Mean distance between the answer and the one from exchanged roles; NaN where only one was
        sought.
    disagreement_mm : float
        Mean distance from the answer of an independent engine; NaN where none was asked.
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

    @property
    def verdict(self) -> Verdict:
        """Whether it is to be used."""
        if self._complaints(worse=True):
            return Verdict.FAILED
        return Verdict.DOUBTFUL if self._complaints(worse=False) else Verdict.GOOD

    @property
    def reason(self) -> str:
        """Why it is not good, in words; empty where it is."""
        return ", ".join(self._complaints(worse=True) or self._complaints(worse=False))

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers by name, None where not known or infinite, verdict and reason."""
        numbers = {k: v if np.isfinite(v) else None for k, v in asdict(self).items()}
        return numbers | {"verdict": self.verdict.value, "reason": self.reason}

    def _complaints(self, *, worse: bool) -> list[str]:
        """Return what lies beyond the limits of failure, or of doubt."""
        doubts = self._doubts(worse=worse)
        if worse and self.disagreement_mm <= DISAGREEMENT_MM[0]:
            doubts = []  # two engines, one answer
        return self.impossible() + doubts

    def impossible(self) -> list[str]:
        """Return what no head does between two scans."""
        low, high = DETERMINANT
        turned = f"{self.rotation_degrees:.0f} degrees"
        checks = (
            (
                low <= self.determinant <= high,
                f"ratio of volumes {self.determinant:.3f} (believed: {low:g} to {high:g})",
            ),
            (
                self.rotation_degrees <= ROTATION_DEGREES,
                f"rotation of {turned} (believed: up to {ROTATION_DEGREES:g})",
            ),
            (
                self.overlap >= OVERLAP,
                f"overlap of {self.overlap:.0%} (believed: at least {OVERLAP:.0%})",
            ),
            (
                not self.mirror > MIRROR,
                f"{self.mirror:.1f} times as good with left and right exchanged: is one of the "
                "two images mirrored?",
            ),
        )
        return [text for met, text in checks if not met]

    def _doubts(self, *, worse: bool) -> list[str]:
        """Return what speaks against the answer; what is not known does not."""
        limits = {
            "expected_error_mm": (ERROR_MM, "expected error of {:.1f} mm (believed: up to {:g})"),
            "round_trip_mm": (
                DISAGREEMENT_MM,
                "{:.1f} mm from the way back (believed: up to {:g})",
            ),
            "disagreement_mm": (
                DISAGREEMENT_MM,
                "{:.1f} mm from the other engine (believed: up to {:g})",
            ),
            "ambiguity": (AMBIGUITY, "another answer {:.0%} as good (believed: up to {:.0%})"),
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
    """Return how much of the fixed brain the moving field of view holds, of what it could hold.

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
    inside = ((found >= -0.5) & (found < size - 0.5)).all(axis=1).mean()
    possible = min(_largest_share(found[:, i], int(size[i])) for i in range(3))
    return float(min(inside / possible, 1.0))


def _largest_share(positions: Vector, length: float) -> float:
    """Return the largest share of positions that an interval of a length holds."""
    ordered = np.sort(positions)
    counts = np.searchsorted(ordered, ordered + length, side="left") - np.arange(len(ordered))
    return float(counts.max() / len(ordered))


def assess(
    matrix: ArrayLike,
    mask: NDArray[Any],
    affine: ArrayLike,
    moving_shape: Sequence[int],
    moving_affine: ArrayLike,
    **told: float,
) -> Quality:
    """Return what a registration did, for the report and for `accept`.

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
    **told : float
        Other attributes of `Quality`, as far as they are known.

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
    return Quality(
        determinant=parts.determinant,
        rotation_degrees=parts.rotation_degrees,
        translation_mm=float(np.linalg.norm(parts.translation)),
        overlap=overlap(matrix, mask, affine, moving_shape, moving_affine),
        **told,
    )


def accept(quality: Quality, what: str) -> None:
    """Refuse a registration that cannot be right.

    Parameters
    ----------
    quality : Quality
    what : str
        The two images, for the message.

    Raises
    ------
    RegistrationError
        If its verdict is that it failed.

    Examples
    --------
    >>> accept(Quality(1.0, 5.0, 8.0, 0.95), "b0 on T1w")
    >>> accept(Quality(1.0, 80.0, 8.0, 0.95), "b0 on T1w")
    Traceback (most recent call last):
    bidsapp.errors.RegistrationError: b0 on T1w: the registration failed: rotation of 80 degrees ...
    """
    if quality.verdict is Verdict.FAILED:
        raise RegistrationError(
            f"{what}: the registration failed: {quality.reason}; look at both images, and check "
            "that their headers agree on where the head is"
        )
