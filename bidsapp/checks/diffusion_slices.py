"""Slices of a diffusion series that lost signal, are of another scale, or are out of order."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bidsapp.checks.finding import Finding, list_volumes
from bidsapp.checks.head import Array
from bidsapp.checks.slices import (
    SliceSignals,
    abrupt_run,
    empty_slices,
    list_slices,
    sample_slices,
    shuffled_series,
    shuffled_slices,
    shuffled_volumes,
    small_images,
    verb,
)
from bidsapp.models.diffusion.adc import find_shells

_DIFFERS, _JUMP = 0.12, 0.10
"""Logarithm of the ratio of a slice to the same slice of its shell, and its change from one slice
to the next, that are too large; up to 0.17 and 0.06 in sound series with motion."""
_RELEVANT = 0.04
"""The same for the mean of the shell, that changes f or D by about a tenth."""
_UNEVEN = 0.08
"""Difference of a slice from the mean of its neighbours in the deviation of a shell from the line
through the other shells that is too large; up to 0.05 in sound series."""
_BRIGHT = 3
"""Volumes of the lowest b-values by which the head is found."""
_LINEAR = 1500.0
"""b-value up to which the logarithm of the signal is nearly a line, s/mm2."""
MOST_LEFT_OUT = 0.25
"""Share of the volumes that may be left out; with more, the b-values are wrong as a whole."""


def check_diffusion_slices(
    data: NDArray[np.float32], bvalues: Sequence[float] | Array
) -> list[Finding]:
    """Find slices whose signal is not that of the same slice in the other volumes.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        The series as acquired.
    bvalues : (N,) sequence, s/mm2

    Returns
    -------
    list of Finding
        Empty if all slices agree.

    Notes
    -----
    A pulse during which the head moves, or a lost package, changes whole slices of one volume.
    Directions and motion change a slice as well, but little more than its neighbours.
    """
    values = np.asarray(bvalues, float)
    # Several volumes, so that a slice that is empty in one of them belongs to the head.
    signals = sample_slices(data, np.argsort(values, kind="stable")[:_BRIGHT])
    if len(signals.numbers) < 3:
        return []
    images = small_images(data)
    if order := shuffled_series(images):
        return [shuffled_slices(order)]
    bad: dict[int, tuple[list[int], str]] = {}
    for v, order in shuffled_volumes(images).items():
        bad[v] = list(range(data.shape[2])), f"are stored {order}"
    for v, slices in empty_slices(data, signals.numbers).items():
        bad.setdefault(v, (slices, f"{verb(slices)} empty"))
    bad = {**_odd_volumes(signals, values, list(bad)), **bad}
    left_out = _removable(list(bad), values)
    kept = np.delete(np.arange(len(values)), list(bad))
    return [
        *(_describe(v, *bad[v], left_out=v in left_out) for v in sorted(bad)),
        *_uneven_shell(signals.without(list(bad)), values[kept]),
    ]


def _describe(volume: int, slices: list[int], what: str, *, left_out: bool) -> Finding:
    """Return the finding of one volume."""
    if left_out:
        rest = "the volume is left out"
        return Finding(f"{list_volumes([volume])}: {list_slices(slices)} {what}; {rest}", (volume,))
    return Finding(
        f"{list_volumes([volume])}: {list_slices(slices)} {what}; the volume cannot be left out "
        "because too few of its b-value would remain: values of lesions in these slices are wrong"
    )


def _removable(volumes: list[int], bvalues: Array) -> list[int]:
    """Return the volumes that can be left out: some of every b-value must remain."""
    if len(volumes) > MOST_LEFT_OUT * len(bvalues):
        return []
    removable = []
    for members in find_shells(bvalues):
        inside = [v for v in volumes if members[v]]
        if len(inside) < members.sum():
            removable += inside
    return removable


def _odd_volumes(
    signals: SliceSignals, bvalues: Array, known: list[int]
) -> dict[int, tuple[list[int], str]]:
    """Return the volumes with slices of another signal than the others of their b-value."""
    found = {}
    for shell in find_shells(bvalues):
        members = [int(v) for v in np.flatnonzero(shell) if v not in known]
        # The worst is taken out first, since it distorts what the others are compared with.
        while len(members) > 1 and (worst := _worst_member(signals, members)):
            volume, slices, size = worst
            members.remove(volume)
            what = f"by up to {size:+.0f} % from the others of its b-value"
            found[volume] = slices, f"{verb(slices, 'differ', 'differs')} {what}"
    return found


def _worst_member(signals: SliceSignals, members: list[int]) -> tuple[int, list[int], float] | None:
    """Return the volume of a shell whose slices differ most from the others, and by how much."""
    least = max(_DIFFERS, _RELEVANT * len(members))
    suspects = []
    for v, difference in zip(members, _differences(signals, members), strict=True):
        levels = difference - np.median(difference)
        # Of two volumes that differ, the darker one has lost signal.
        odd = abrupt_run(levels if len(members) > 2 else np.minimum(levels, 0), least, _JUMP)
        if odd.any():
            size = float(levels[odd][np.argmax(np.abs(levels[odd]))])
            suspects.append((abs(size), v, [int(z) for z in signals.numbers[odd]], size))
    if not suspects:
        return None
    _, volume, slices, size = max(suspects)
    return volume, slices, 100 * float(np.expm1(size))


def _differences(signals: SliceSignals, members: list[int]) -> Array:
    """Return the logarithm of the ratio of each volume to the others of its shell, by slice."""
    return np.array(
        [
            [
                np.median(logs[:, v] - np.median(logs[:, [o for o in members if o != v]], axis=1))
                for logs in signals.logarithms
            ]
            for v in members
        ]
    )


def _uneven_shell(signals: SliceSignals, bvalues: Array) -> Iterator[Finding]:
    """Yield the shell whose deviation from the other shells is least even over the slices."""
    shells = [shell for shell in find_shells(bvalues) if bvalues[shell].mean() <= _LINEAR]
    if len(shells) < 3:
        return
    values = np.array([bvalues[shell].mean() for shell in shells])
    means = [np.stack([logs[:, s].mean(axis=1) for s in shells], axis=1)
             for logs in signals.logarithms]  # fmt: skip
    profiles = [_profile(means, values, k) for k in range(len(shells))]
    bends = [np.abs(p[1:-1] - (p[2:] + p[:-2]) / 2) for p in profiles]
    worst = int(np.argmax([bend.max() / _sd_of_line(values, k) for k, bend in enumerate(bends)]))
    bend, profile = bends[worst], profiles[worst]
    if bend.max() < _UNEVEN:
        return
    odd = np.flatnonzero(bend > max(_UNEVEN, bend.max() / 2)) + 1
    level = profile - np.median(profile)
    size = 100 * np.expm1(level[odd][np.argmax(np.abs(level[odd]))])
    slices = [int(z) for z in signals.numbers[odd]]
    yield Finding(
        f"the signal at b = {values[worst]:g} s/mm2 differs from the curve through the other "
        f"b-values by up to {size:+.0f} % at {list_slices(slices)}, unlike in the slices beside "
        "them: were slices scaled one by one, or is signal lost? f and D are wrong there"
    )


def _profile(means: list[Array], bvalues: Array, shell: int) -> Array:
    """Return the deviation of a shell from the line through the others, by slice."""
    line = _line_weights(bvalues, shell)
    others = [i for i in range(len(bvalues)) if i != shell]
    profile: Array = np.array(
        [np.median(logs[:, shell] - logs[:, others] @ line) for logs in means]
    )
    return profile


def _line_weights(bvalues: Array, shell: int) -> Array:
    """Return the weights of the other shells in the line through them, at the b-value of one."""
    others = np.delete(bvalues, shell)
    centred = others - others.mean()
    weights: Array = 1 / len(others) + centred * (bvalues[shell] - others.mean()) / (
        centred @ centred
    )
    return weights


def _sd_of_line(bvalues: Array, shell: int) -> float:
    """Return the SD of a deviation, in that of a shell, if all shells have the same error."""
    return float(np.sqrt(1 + np.square(_line_weights(bvalues, shell)).sum()))
