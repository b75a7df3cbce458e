"""Uneven enhancement of a lesion: its rim in levels of perfusion, with exact means."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.phantom.anatomy import TissuePart
from bidsapp.phantom.template import FloatVolume

LEVELS = 5
"""Number of parts of equal volume into which a rim is divided."""
OUTER = 1.6
"""Perfusion at the outer edge relative to that at the inner edge, without patches."""
PATCH_SD = 0.25
"""Standard deviation of the logarithm of perfusion between patches."""
PATCH_LENGTH = 5.0
"""Correlation length of the patches, mm."""
EXPONENTS = {"Ktrans": 1.0, "vp": 1.0, "f": 1.0, "ve": 0.4, "ADC": -0.3}
"""Every parameter varies as this power of perfusion: less for ve, and in the opposite direction for
ADC, because well perfused tumour is rich in cells."""


@dataclass(frozen=True)
class Level:
    """A part of a rim, and its perfusion relative to an arbitrary unit of the lesion."""

    part: TissuePart
    perfusion: float

    @property
    def volume(self) -> float:
        """Volume in ml."""
        return float(self.part.fraction.sum(dtype=np.float64)) / 1000


def perfusion_pattern(
    distance: FloatVolume, inner: float, outer: float, patches: FloatVolume
) -> FloatVolume:
    """Return the relative perfusion of a rim: a gradient outwards times smooth patches.

    Parameters
    ----------
    distance : (...) array, mm
        Distance from the centre of the lesion.
    inner, outer : float, mm
        Distance of the edges of the rim.
    patches : (...) array
        A smooth random field with standard deviation 1.

    Returns
    -------
    (...) array

    Notes
    -----
    ``(1 + (OUTER - 1) t) exp(PATCH_SD patches)``, where t increases from 0 to 1 across the rim.

    Examples
    --------
    >>> import numpy as np
    >>> perfusion_pattern(np.array([2.0, 6.0, 10.0]), 2.0, 10.0, np.zeros(3)).tolist()
    [1.0, 1.3, 1.6]
    """
    across = np.clip((distance - max(inner, 0)) / max(outer - max(inner, 0), 1e-3), 0, 1)
    result: FloatVolume = (1 + (OUTER - 1) * across) * np.exp(PATCH_SD * patches)
    return result


def split_rim(rim: TissuePart, perfusion: FloatVolume) -> tuple[Level, ...]:
    """Divide a rim into levels of about equal volume, in order of increasing perfusion.

    Parameters
    ----------
    rim : TissuePart
    perfusion : (M,) array
        For each voxel of the rim.

    Returns
    -------
    tuple of Level
        `LEVELS` of them, or fewer in a lesion of few voxels. Every voxel belongs to one level, and
        the perfusion of a level is the mean over its volume.
    """
    order = np.argsort(perfusion, kind="stable")
    filled = rim.fraction[order].astype(np.float64)
    middle = filled.cumsum() - filled / 2
    level = np.minimum(LEVELS * middle / filled.sum(), LEVELS - 1).astype(int)
    found = []
    for n in np.unique(level):
        chosen = np.sort(order[level == n])
        part = TissuePart(rim.index[chosen], rim.fraction[chosen])
        weights = part.fraction.astype(np.float64)
        found.append(Level(part, float(np.average(perfusion[chosen], weights=weights))))
    return tuple(found)


def level_factors(levels: Sequence[Level], contrast: float = 1.0) -> dict[str, NDArray[np.float64]]:
    """Return the parameters of every level, relative to their means over the rim.

    Parameters
    ----------
    levels : sequence of Level
    contrast : float
        1 for the full variation, 0 for none.

    Returns
    -------
    dict of (levels,) array
        By the name of the parameter; the mean weighted by volume is exactly 1.

    Examples
    --------
    >>> half = TissuePart(np.zeros(1, np.int32), np.ones(1, np.float32))
    >>> level_factors([Level(half, 1.0), Level(half, 3.0)])["Ktrans"].tolist()
    [0.5, 1.5]
    """
    volumes = [level.volume for level in levels]
    perfusion = np.array([level.perfusion for level in levels])
    factors = {}
    for name, exponent in EXPONENTS.items():
        power = perfusion**exponent
        factors[name] = 1 + contrast * (power / np.average(power, weights=volumes) - 1)
    return factors
