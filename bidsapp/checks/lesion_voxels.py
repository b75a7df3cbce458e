"""Whether the voxels of a lesion hold a signal that can be that of tissue."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bidsapp.checks.finding import list_volumes
from bidsapp.checks.head import Array
from bidsapp.models.contrast.aif_checks import check_clipping
from bidsapp.models.diffusion.adc import find_shells

_SHARE = 0.1
"""Share of the voxels of a lesion that is reported."""
_DARKER = 0.8
"""Signal at the lowest b-value relative to that at a higher one, below which it is no decay."""
_FALLS, _FIRST = 0.5, 3
"""Signal of a frame relative to the first frames, below which it is lost, and their number."""


def check_lesion_voxels(
    data: NDArray[np.float32], inside: NDArray[np.bool_], bvalues: Array | None = None
) -> list[str]:
    """Describe in which voxels of a lesion the signal is cut off, missing or wrapped around.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        The series as acquired, without interpolation.
    inside : (X, Y, Z) array of bool
        The voxels of the lesion.
    bvalues : (N,) array, s/mm2
        Of a diffusion series.

    Returns
    -------
    list of str
        Empty unless more than a tenth of the voxels are concerned.

    Examples
    --------
    >>> signal = np.random.default_rng(0).uniform(50, 90, (6, 6, 6, 4)).astype(np.float32)
    >>> lesion = signal[..., 0] > 60
    >>> check_lesion_voxels(signal, lesion)
    []
    >>> check_lesion_voxels(np.minimum(signal, 60), lesion)[0][:63]
    '100 % of its voxels reach 60, the largest value of the image, i'
    """
    if not inside.any():
        return []
    courses = data[inside].astype(float)
    lost = _empty_voxels(courses) or _wrapped_voxels(courses, bvalues)
    return [*_cut_off_voxels(data, inside, courses), *lost]


def _cut_off_voxels(
    data: NDArray[np.float32], inside: NDArray[np.bool_], courses: Array
) -> Iterator[str]:
    top = float(np.nanmax(data))
    reached = courses == top
    share = float(reached.any(axis=1).mean())
    if share > _SHARE and check_clipping(data, inside):
        volumes = np.flatnonzero(reached.any(axis=0)).tolist()
        yield (
            f"{100 * share:.0f} % of its voxels reach {top:g}, the largest value of the image, in "
            f"{list_volumes(volumes)}: the signal is cut off, so that its values are wrong by an "
            "unknown amount; use images on another scale"
        )


def _empty_voxels(courses: Array) -> list[str]:
    empty = courses == 0
    volumes = np.flatnonzero(empty.mean(axis=0) > _SHARE).tolist()
    if not volumes:
        return []
    share = float(empty.mean(axis=0).max())
    return [
        f"up to {100 * share:.0f} % of its voxels are 0 in {list_volumes(volumes)}: signal is "
        "missing there; repair or leave out these volumes"
    ]


def _wrapped_voxels(courses: Array, bvalues: Array | None) -> list[str]:
    """Describe voxels that are dark where tissue is bright."""
    if bvalues is None:
        dark = courses < _FALLS * np.median(courses[:, :_FIRST], axis=1, keepdims=True)
        what = f"fall below {_FALLS:g} of their first signal"
        concerned = np.flatnonzero(dark.mean(axis=0) > _SHARE).tolist()
        where = f"in {list_volumes(concerned)}" if concerned else ""
        share = float(dark.mean(axis=0).max())
    else:
        shells = find_shells(bvalues)
        means = np.stack([courses[:, shell].mean(axis=1) for shell in shells], axis=1)
        share = float((means[:, 0] < _DARKER * means[:, 1:].max(axis=1, initial=0)).mean())
        what = "are darker by a fifth than at a higher one"
        where = f"at b = {bvalues[shells[0]].mean():g} s/mm2"
    if share <= _SHARE:
        return []
    return [
        f"{100 * share:.0f} % of its voxels {what} {where}: is the signal lost, or has it wrapped "
        "around at the end of its range? Use images on another scale"
    ]
