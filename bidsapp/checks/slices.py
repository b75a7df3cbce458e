"""Whether single slices of a series are empty, out of order, or of another scale than the rest.

Only the third axis is examined, along which nearly all series are acquired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.checks.finding import Finding
from bidsapp.checks.head import FEWEST, Array, log_signals_of, mask_head

_LEAST = 0.15
"""Voxels of the head in a slice, relative to the largest slice, from which it is judged."""
_MOST = 1500
"""Voxels of a slice that are looked at: enough for a median to 1 %."""
_BLOCKS = 16
"""Blocks along each axis of the small images by which slices are compared."""
_FEWEST_SLICES = 8
"""Slices from which their order shows."""
_BETTER = 0.1
"""Gain in correlation, or share of the differences between neighbours, of another order."""


@dataclass(frozen=True)
class SliceSignals:
    """Logarithms of the signal of voxels of the head, slice by slice.

    Attributes
    ----------
    numbers : (S,) array of int
        Slices with enough of the head, from 0.
    logarithms : list of (V, N) arrays
        Voxels of each of them.
    """

    numbers: NDArray[np.intp]
    logarithms: list[Array]

    def without(self, volumes: Sequence[int]) -> "SliceSignals":
        """Return the signals without some volumes."""
        return SliceSignals(
            self.numbers, [np.delete(logs, volumes, axis=1) for logs in self.logarithms]
        )


def sample_slices(data: NDArray[np.float32], reference: NDArray[np.intp]) -> SliceSignals:
    """Return the signals of the slices that contain enough of the head.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        A series of images.
    reference : (K,) array of int
        Volumes in which the head is bright.
    """
    inside, bright = mask_head(data, reference)
    counts = inside.sum(axis=(0, 1))
    numbers = np.flatnonzero(counts >= max(FEWEST, _LEAST * counts.max(initial=0)))
    logarithms = []
    for z in numbers:
        voxels = data[:, :, z][inside[:, :, z]]
        step = max(1, len(voxels) // _MOST)
        logarithms.append(log_signals_of(voxels[::step], bright))
    return SliceSignals(numbers, logarithms)


def empty_slices(data: NDArray[np.float32], numbers: NDArray[np.intp]) -> dict[int, list[int]]:
    """Return the slices of each volume that hold a single value, by volume.

    Parameters
    ----------
    data : (X, Y, Z, N) array
    numbers : (S,) array of int
        Slices that contain the head.
    """
    judged = data[:, :, numbers]
    single = judged.max(axis=(0, 1)) == judged.min(axis=(0, 1))
    volumes = np.flatnonzero(single.any(axis=0))
    return {int(v): [int(z) for z in numbers[single[:, v]]] for v in volumes}


def list_slices(numbers: Sequence[int]) -> str:
    """Return slices as text, counted from 1.

    Examples
    --------
    >>> list_slices([3, 4, 5, 9])
    'slices 4 to 10, 4 in all'
    >>> list_slices([3, 4, 5]), list_slices([0])
    ('slices 4 to 6', 'slice 1')
    """
    first, last, count = min(numbers) + 1, max(numbers) + 1, len(set(numbers))
    if count == 1:
        return f"slice {first}"
    gaps = f", {count} in all" if last - first + 1 > count else ""
    return f"slices {first} to {last}{gaps}"


def verb(numbers: Sequence[int], several: str = "are", one: str = "is") -> str:
    """Return the form of a verb for so many slices."""
    return one if len(set(numbers)) == 1 else several


def abrupt_run(levels: Array, least: float, jump: float) -> NDArray[np.bool_]:
    """Return which slices differ by more than `least`, if they begin or end abruptly.

    Parameters
    ----------
    levels : (S,) array
        Difference of each slice, as the logarithm of a ratio.
    least : float
        Difference that matters.
    jump : float
        Change between neighbours that neither motion nor anatomy explains.

    Examples
    --------
    >>> abrupt_run(np.array([0, 0, 0.3, 0.3, 0]), 0.1, 0.1).tolist()
    [False, False, True, True, False]
    >>> abrupt_run(np.array([0, 0.05, 0.1, 0.15, 0.2]), 0.1, 0.1).any()
    np.False_
    """
    differs = np.abs(levels) > least
    edges = np.flatnonzero(np.diff(differs.astype(int)))
    abrupt = np.zeros(len(levels), bool)
    for run in np.split(np.arange(len(levels)), edges + 1):
        sides = [i for i in (run[0] - 1, run[-1]) if 0 <= i < len(levels) - 1]
        if differs[run[0]] and any(abs(levels[i + 1] - levels[i]) > jump for i in sides):
            abrupt[run] = True
    return abrupt


def small_images(data: NDArray[np.float32]) -> Array:
    """Return each slice as an image of few blocks, relative to the mean of its volume.

    Parameters
    ----------
    data : (X, Y, Z, N) array

    Returns
    -------
    (N, Z, B) array
    """
    x, y = (np.linspace(0, n, min(_BLOCKS, n) + 1)[:-1].astype(int) for n in data.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(np.nan_to_num(data), x, axis=0), y, axis=1)
    images = np.moveaxis(sums.reshape(-1, *data.shape[2:]), -1, 0).swapaxes(1, 2).astype(float)
    means: Array = images / np.maximum(images.mean(axis=(1, 2), keepdims=True), 1e-30)
    return means


def _orders(count: int) -> dict[str, list[int]]:
    """Return orders in which slices are stored by mistake: position of each true slice."""
    interleaved = {
        f"in the order of an interleaved acquisition ({listed})": order
        for listed, order in (
            ("1, 3, 5, ... 2, 4, 6, ...", [*range(0, count, 2), *range(1, count, 2)]),
            ("2, 4, 6, ... 1, 3, 5, ...", [*range(1, count, 2), *range(0, count, 2)]),
            ("1, 4, 7, ...", [z for first in range(3) for z in range(first, count, 3)]),
        )
    }
    return interleaved | {"in reverse": list(range(count))[::-1]}


def shuffled_series(images: Array) -> str:
    """Return how the slices of all volumes are shuffled; empty if they are in order.

    Parameters
    ----------
    images : (N, Z, B) array
        From `small_images`.
    """
    mean = np.median(images, axis=0)
    if len(mean) < _FEWEST_SLICES:
        return ""
    stored = float(np.abs(np.diff(mean, axis=0)).sum())
    for name, order in _orders(len(mean)).items():
        # The stored slice i is the true slice order[i].
        if np.abs(np.diff(mean[np.argsort(order)], axis=0)).sum() < (1 - 2 * _BETTER) * stored:
            return name
    return ""


def shuffled_slices(order: str) -> Finding:
    """Return the finding that all volumes have their slices in a wrong order."""
    return Finding(
        f"the slices of the series are stored {order}, not in that of their positions: convert it "
        "again, with slices sorted by position",
        fatal=True,
    )


def shuffled_volumes(images: Array) -> dict[int, str]:
    """Return the volumes whose slices are in another order than in the other volumes, and how.

    Parameters
    ----------
    images : (N, Z, B) array
        From `small_images`.
    """
    if images.shape[1] < _FEWEST_SLICES:
        return {}
    reference = np.median(images, axis=0)
    orders = _orders(len(reference))
    found = {}
    for v, image in enumerate(images):
        stored = _likeness(image, reference)
        better = {name: _likeness(image[np.argsort(order)], reference) - stored
                  for name, order in orders.items()}  # fmt: skip
        name = max(better, key=lambda key: better[key])
        if better[name] > _BETTER:
            found[v] = name
    return found


def _likeness(image: Array, reference: Array) -> float:
    """Return the correlation of two images of few blocks; 0 if one of them is constant."""
    if not (image.std() > 0 and reference.std() > 0):
        return 0.0
    return float(np.corrcoef(image.ravel(), reference.ravel())[0, 1])
