"""Whether each volume of a diffusion series has the signal that its b-value implies.

The logarithm of the signal falls by ``b D`` in every voxel, so that two volumes differ in
proportion to D and to the distance of their true b-values. A map, or a volume with the b-value of
another, is recognised by that, whatever the contrast of the images and their scale.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.checks.decay import steady_background, unsmooth_decay
from bidsapp.checks.diffusion_slices import MOST_LEFT_OUT, check_diffusion_slices
from bidsapp.checks.finding import Finding, list_volumes
from bidsapp.checks.head import FEWEST, Array, log_signals
from bidsapp.models.diffusion.adc import find_shells
from bidsapp.models.diffusion.decay import B_ZERO

_HIGHEST = 1500.0
"""b-value above which the signal of tissue is no longer close to mono-exponential, s/mm2."""
_B_TOLERANCE = (25.0, 0.10)
"""Accepted difference between the b-value of a volume and that of its signal: s/mm2, and share."""
_SCALE_TOLERANCE = (0.06, 0.12)
"""Accepted difference of the logarithm of the signal: at b = 0, and more per 1000 s/mm2."""
_SPREAD, _FEWEST_MEMBERS = 4.5, 5
"""Accepted scale relative to the median difference of the others (3 SD), if they are five."""
_RELEVANT = 0.05
"""Logarithm of a ratio of signals that a wrong b-value causes at least, if it matters."""
_MAP = 300.0
"""How far below 0 the b-value of a map appears, s/mm2; of images only by chance and by less."""
_TISSUE = (0.3, 0.5)
"""Quantiles of the diffusivity: that of brain tissue, and the highest one with little fluid."""
_DIFFUSIVITY = (0.55e-3, 1.3e-3)
"""Plausible diffusivity of brain tissue, mm2/s; in sound series 0.76e-3 to 0.80e-3."""
_PLAUSIBLE = (0.1e-3, 4e-3)
"""Plausible diffusivity of a voxel, mm2/s: dense tissue to free water at 37 degrees and flow."""
_RISE = 0.05
"""Logarithm of a ratio by which the signal may rise from one b-value to the next higher one."""
_ALIKE = 0.9
"""Correlation of two volumes that are images of one kind."""
_BINS = 10


def check_diffusion_signal(data: NDArray[np.float32], bvalues: Sequence[float]) -> list[Finding]:
    """Find volumes whose signal is not that of their b-value.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        The series as acquired.
    bvalues : (N,) sequence, s/mm2

    Returns
    -------
    list of Finding
        Empty if all volumes agree with their b-values.

    Notes
    -----
    With ``L`` the logarithm of the signal, two volumes of one b-value have the same ``L`` in every
    voxel but for directions and noise. If the true b-value of one is higher by ``B``, its ``L`` is
    lower by ``B D``: ``B`` is the slope of the difference over ``-D``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> d = rng.uniform(0.5e-3, 1.2e-3, (20, 20, 10, 1))
    >>> b = np.array([0, 0, 500, 1000])
    >>> data = rng.uniform(500, 900, (20, 20, 10, 1)) * np.exp(-b * d)
    >>> check_diffusion_signal(data, b)
    []
    >>> check_diffusion_signal(data, [0, 0, 1000, 500])[0].text.split(":")[0]
    'the signal is higher at b = 1000 than at b = 500 s/mm2'
    """
    values = np.asarray(bvalues, float)
    slices = check_diffusion_slices(data, values)
    spoilt = [v for found in slices for v in found.volumes]
    series = _Series.sample(np.delete(data, spoilt, axis=3), np.delete(values, spoilt))
    if len(series.logarithms) < FEWEST or any(found.fatal for found in slices):
        return slices
    return slices + _check_volumes(data, values, series.numbered_without(spoilt))


def _check_volumes(data: NDArray[np.float32], values: Array, series: "_Series") -> list[Finding]:
    """Find whole volumes whose signal is not that of their b-value."""
    wrong = series.inconsistent_volumes()
    if len(wrong) > MOST_LEFT_OUT * len(values):
        text = (
            f"the signal of {list_volumes(list(wrong))} is not that of their b-values; compare the "
            "b-values with the protocol"
        )
        return [Finding(text, fatal=True)]
    sound = series.without(list(wrong))
    typical = sound.typical_diffusivity()
    findings = [
        Finding(_describe(i, values[i], typical, *found), (i,)) for i, found in wrong.items()
    ]
    present = data if len(sound.numbers) == len(values) else data[..., sound.numbers]
    if found_air := steady_background(present, sound.bvalues):
        return [*findings, found_air]  # The curve cannot be judged with a constant in it.
    return findings + list(sound.implausible_decay())


def _describe(volume: int, bvalue: float, typical: float, excess: float, scale: float) -> str:
    """Return what is wrong with a volume, in words."""
    # The slope tells what is wrong, but noise of D makes it too flat: the medians tell by how much.
    apparent = bvalue - scale / typical
    what = f"{list_volumes([volume])} is listed as b = {bvalue:g} s/mm2, but its signal is "
    if bvalue + excess < -_MAP:
        what += "higher where water diffuses faster, as in an ADC map of the scanner"
    elif _wrong_b(excess, scale, typical, bvalue) > 1:
        what += f"that of b = {max(apparent, 0):.0f}"
    else:
        what += f"{100 * np.expm1(scale):+.0f} % off that of the other volumes with this b-value"
    return f"{what}; it is left out: correct its b-value or remove it"


def _wrong_b(excess: float, scale: float, typical: float, bvalue: float) -> float:
    """Return how much the b-value is wrong relative to the tolerance, as far as all agree on it.

    Directions also change the slope where diffusion is anisotropic, and another scale changes the
    median; only a wrong b-value changes both as it does.
    """
    tolerance = _tolerance(_B_TOLERANCE, bvalue)
    apparent = -scale / typical
    if excess * apparent <= 0:
        return 0.0
    return min(abs(excess) / tolerance, abs(apparent) / tolerance, abs(scale) / _RELEVANT)


def _tolerance(pair: tuple[float, float], bvalue: float, unit: float = 1.0) -> float:
    return pair[0] + pair[1] * bvalue / unit


@dataclass(frozen=True)
class _Series:
    """Logarithms of the signal (V, N) of voxels of the head, the b-values, and volume numbers."""

    logarithms: Array
    bvalues: Array
    numbers: NDArray[np.int_]

    @classmethod
    def sample(cls, data: NDArray[np.float32], bvalues: Array) -> "_Series":
        """Take voxels of the head that are bright at the lowest b-value."""
        logarithms = log_signals(data, np.flatnonzero(find_shells(bvalues)[0]))
        return cls(logarithms, bvalues, np.arange(len(bvalues)))

    def numbered_without(self, left_out: Sequence[int]) -> "_Series":
        """Return the series with the numbers of a file of which volumes were left out before."""
        every = np.arange(len(self.numbers) + len(left_out))
        return _Series(self.logarithms, self.bvalues, np.setdiff1d(every, left_out))

    def without(self, numbers: Sequence[int]) -> "_Series":
        """Return the series without some volumes."""
        kept = ~np.isin(self.numbers, numbers)
        return _Series(self.logarithms[:, kept], self.bvalues[kept], self.numbers[kept])

    def shells(self) -> list[NDArray[np.int_]]:
        """Return the positions of the volumes of each b-value, in ascending order."""
        return [np.flatnonzero(members) for members in find_shells(self.bvalues)]

    def decay(self) -> tuple[Array, Array]:
        """Return b-value (S,) and mean logarithm (V, S) of each shell up to the highest used."""
        shells = self.shells()
        means = np.array([self.bvalues[members].mean() for members in shells])
        logs = np.stack([self.logarithms[:, members].mean(axis=1) for members in shells], axis=1)
        used = means <= max(_HIGHEST, *means[:2])
        return means[used], logs[:, used]

    def diffusivity(self) -> Array | None:
        """Return the slope of the logarithm (V,), mm2/s; None with a single b-value."""
        bvalues, logs = self.decay()
        if len(bvalues) < 2:
            return None
        centred = bvalues - bvalues.mean()
        slopes: Array = -(logs @ centred) / (centred @ centred)
        return slopes

    def typical_diffusivity(self) -> float:
        """Return the median diffusivity, mm2/s; NaN with a single b-value."""
        diffusivity = self.diffusivity()
        return float("nan") if diffusivity is None else float(np.median(diffusivity))

    def inconsistent_volumes(self) -> dict[int, tuple[float, float]]:
        """Return volumes that differ from others of their b-value: by s/mm2, and in scale.

        The worst is taken out first, since it distorts what the others are compared with.
        """
        wrong: dict[int, tuple[float, float]] = {}
        series = self
        while len(series.numbers) > 2 and (worst := series.worst_volume()):
            number, found = worst
            wrong[number] = found
            series = series.without([number])
        return dict(sorted(wrong.items()))

    def worst_volume(self) -> tuple[int, tuple[float, float]] | None:
        """Return the volume that differs most from the others of its b-value, or None."""
        diffusivity = self.diffusivity()
        if diffusivity is None:
            return None
        suspects = []
        for members in self.shells():
            if len(members) == 2:
                suspects += self._wrong_of_two(members, diffusivity)
            elif len(members) > 2:
                suspects += [self._compare(i, members, diffusivity) for i in members]
        excessive = [suspect for suspect in suspects if suspect[0] > 1]
        if not excessive:
            return None
        _, position, excess, scale = max(excessive)
        return int(self.numbers[position]), (excess, scale)

    def _compare(
        self, position: int, members: NDArray[np.int_], diffusivity: Array
    ) -> tuple[float, int, float, float]:
        """Compare a volume with others of its b-value: size relative to the tolerance, and how."""
        others = members[members != position]
        reference = np.median(self.logarithms[:, others], axis=1)
        difference = self.logarithms[:, position] - reference
        excess = _slope(difference, -diffusivity)
        scale = float(np.median(difference))
        bvalue = float(self.bvalues[members].mean())
        centres = np.median(self.logarithms[:, others] - reference[:, None], axis=0)
        # A few members are too few to tell their spread, and one that is wrong would dominate it.
        spread = np.median(np.abs(centres)) if len(others) >= _FEWEST_MEMBERS else 0.0
        size = max(
            -(bvalue + excess) / _MAP,
            _wrong_b(excess, scale, float(np.median(diffusivity)), bvalue),
            abs(scale) / max(_tolerance(_SCALE_TOLERANCE, bvalue, 1000.0), _SPREAD * spread),
        )
        return size, position, excess, scale

    def _wrong_of_two(
        self, members: NDArray[np.int_], diffusivity: Array
    ) -> list[tuple[float, int, float, float]]:
        """Return which of two volumes of one b-value is wrong, if they differ.

        It is the one without which the rest fits better; of two similar images at the lowest
        b-value, the darker one.
        """
        pair = [self._compare(i, members, diffusivity) for i in members]
        if max(size for size, *_ in pair) <= 1:
            return []
        likeness = float(np.corrcoef(*self.logarithms[:, members].T)[0, 1])
        if likeness > _ALIKE and self.bvalues[members].max() <= self.bvalues.min() + B_ZERO:
            return [min(pair, key=lambda suspect: suspect[3])]
        misfits = [self.without([int(self.numbers[i])]).misfit() for i in members]
        return [pair[int(np.argmin(misfits))]]

    def misfit(self) -> float:
        """Return how little the shells look like one decay: high for a map among images.

        The share of implausible diffusivities; then how the signal at the lowest b-value deviates
        from the line through the others, or without enough of them, whether it is anticorrelated.
        """
        bvalues, logs = self.decay()
        diffusivity = self.diffusivity()
        if diffusivity is None:
            return np.inf
        low, high = _PLAUSIBLE
        implausible = float(np.mean((diffusivity < low) | (diffusivity > high)))
        if len(bvalues) > 2:
            centred = bvalues[1:] - bvalues[1:].mean()
            means = logs[:, 1:].mean(axis=1)
            slope = (logs[:, 1:] @ centred) / (centred @ centred)
            predicted = means + slope * (bvalues[0] - bvalues[1:].mean())
            return implausible + float(np.median(np.abs(logs[:, 0] - predicted)))
        likeness = float(np.corrcoef(logs[:, 0], logs[:, 1])[0, 1])
        return implausible + max(0.0, -likeness)

    def implausible_decay(self) -> Iterator[Finding]:
        """Yield where the signal does not fall with b, or not as in a head."""
        bvalues, logs = self.decay()
        diffusivity = self.diffusivity()
        if diffusivity is None:
            return
        tissue = diffusivity <= np.quantile(diffusivity, _TISSUE[1])
        course = np.median((logs - logs[:, :1])[tissue], axis=0)
        for i in np.flatnonzero(np.diff(course) > _RISE):
            yield Finding(
                f"the signal is higher at b = {bvalues[i + 1]:g} than at b = {bvalues[i]:g} s/mm2: "
                "are the b-values in the order of the volumes?"
            )
            return
        typical, (low, high) = float(np.quantile(diffusivity, _TISSUE[0])), _DIFFUSIVITY
        if low <= typical <= high:
            yield from unsmooth_decay(bvalues, course)
            return
        yield Finding(
            f"the signal falls with b as for a diffusivity of {1e3 * typical:.2g}e-3 mm2/s in "
            f"tissue, where {1e3 * low:g}e-3 to {1e3 * high:g}e-3 are plausible in the brain: are "
            "the b-values in s/mm2, and those of this series?"
        )


def _slope(y: Array, x: Array) -> float:
    """Return the slope of y over x by the medians of bins of x, which outliers do not move."""
    edges = np.quantile(x, np.linspace(0, 1, _BINS + 1)[1:-1])
    bins = np.searchsorted(edges, x)
    middle = [
        (np.median(x[inside]), np.median(y[inside]))
        for inside in (bins == number for number in range(_BINS))
        if inside.any()
    ]
    points = np.array(middle)
    if np.ptp(points[:, 0]) == 0:
        return 0.0
    return float(np.polyfit(points[:, 0], points[:, 1], 1)[0])
