"""Counts of what is done, and an estimate of the time left."""

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import numpy as np

_RECENT = 5
"""Number of the last steps of a kind from which the next one is expected."""
_PRIOR = 1.0
"""Weight of the assumption that images are of middle size, s."""
_FOUND = 0.1
"""Fraction of the expected duration below which a step was found in the work folder, not run."""


Typical = tuple[float, float]
"""Duration of a kind of step with coarse images and with fine ones, s."""


@cache
def step_durations() -> dict[str, Typical]:
    """Return the duration of each kind of step in two measured runs."""
    text = (files("bidsapp.data") / "step_durations.json").read_text(encoding="utf-8")
    return {kind: (coarse, fine) for kind, (coarse, fine) in json.loads(text)["seconds"].items()}


@dataclass
class Steps:
    """Steps of a participant that is being analysed.

    Attributes
    ----------
    name : str
        Of the participant.
    number : int
        Position of the participant in the run, from 1.
    total : int
        Number of steps.
    known : bool
        Whether the steps are known.
    waiting : set of str
        Steps that have not ended, as ``session.branch.step``.
    running : dict of str to float
        Time at which each running step started, s.
    work : float, s
        Sum of the durations of steps that have ended.
    """

    name: str
    number: int
    total: int = 0
    known: bool = False
    sessions: tuple[str, ...] = ()
    waiting: set[str] = field(default_factory=set)
    running: dict[str, float] = field(default_factory=dict)
    work: float = 0.0

    @property
    def ended(self) -> int:
        """Number of steps that have ended."""
        return self.total - len(self.waiting)

    @property
    def sessions_ended(self) -> int:
        """Number of sessions without a step left."""
        return len(self.sessions) - len(_sessions(self.waiting))


@dataclass
class Tally:
    """Counts of what is done, and an estimate of the time left.

    A step is expected to last as long as the last ones of its kind. A kind that has not run yet is
    expected to last as in the measured runs, according to the speed of this one and the size of its
    images, which the kinds that have run show; a participant that has not begun, as long as the
    mean of those that have.

    Attributes
    ----------
    participants : int
        Number of participants of the run.
    clock : callable
        Returns seconds since an arbitrary origin.
    typical : dict of str to (float, float)
        Duration of each kind of step in runs with coarse and with fine images, s.

    Examples
    --------
    >>> time = iter([0.0, 0.0, 10.0, 10.0, 10.0])
    >>> tally = Tally(1, lambda: next(time), {})
    >>> tally.start_participant("sub-01")
    >>> tally.set_steps("sub-01", ["ses_a.dwi.fit", "ses_b.dwi.fit"])
    >>> tally.start_step("sub-01", "ses_a.dwi.fit")
    >>> tally.end_step("sub-01", "ses_a.dwi.fit")
    10.0
    >>> tally.seconds_left()
    10.0
    """

    participants: int
    clock: Callable[[], float] = time.monotonic
    typical: dict[str, Typical] = field(default_factory=step_durations)
    started: int = 0
    current: dict[str, Steps] = field(default_factory=dict)
    _durations: dict[str, list[float]] = field(default_factory=dict)
    _ended: list[float] = field(default_factory=list)
    _start: float = 0.0

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def participants_ended(self) -> int:
        """Number of participants that have ended."""
        return self.started - len(self.current)

    def start_participant(self, name: str) -> None:
        """Begin a participant."""
        self.started += 1
        self.current[name] = Steps(name, self.started)

    def end_participant(self, name: str) -> None:
        """End a participant; steps that are left of it are dropped."""
        steps = self.current.pop(name)
        if steps.known:
            self._ended.append(steps.work)

    def set_steps(self, participant: str, names: Iterable[str]) -> None:
        """Take the names of all steps of a participant, as ``session.branch.step``."""
        steps = self.current[participant]
        steps.waiting = set(names)
        steps.total, steps.known = len(steps.waiting), True
        steps.sessions = tuple(sorted(_sessions(steps.waiting)))

    def start_step(self, participant: str, name: str) -> None:
        """Record the start of a step."""
        self.current[participant].running[name] = self.clock()

    def end_step(self, participant: str, name: str) -> float:
        """Record the end of a step; return its duration, s, 0 if it never started."""
        steps = self.current[participant]
        steps.waiting.discard(name)
        if name not in steps.running:
            return 0.0
        seconds = self.clock() - steps.running.pop(name)
        self._durations.setdefault(_kind(name), []).append(seconds)
        steps.work += seconds
        return seconds

    def seconds_passed(self) -> float:
        """Return the seconds since the run began."""
        return self.clock() - self._start

    def seconds_left(self) -> float:
        """Return the estimated seconds left, NaN until a step has ended."""
        now = self.clock()
        known = [steps for steps in self.current.values() if steps.known]
        done = sum(self._ended) + sum(steps.work for steps in known)
        if not done:
            return math.nan
        lefts = [self._work_left(steps, now) for steps in known]
        begun = sum(min(now - t, self._expected(n)) for s in known for n, t in s.running.items())
        works = self._ended + [s.work + left for s, left in zip(known, lefts, strict=True)]
        unknown = self.participants - len(works)
        left = sum(lefts) - begun + unknown * sum(works) / len(works)
        return max(left, 0.0) * (now - self._start) / (done + begun)

    def _work_left(self, steps: Steps, now: float) -> float:
        """Return the expected duration of the steps that have not ended, s."""
        running = {name: now - start for name, start in steps.running.items()}
        return sum(max(self._expected(name), running.get(name, 0)) for name in steps.waiting)

    def _expected(self, name: str) -> float:
        """Return the expected duration of a step, s."""
        kind = _kind(name)
        if kind in self._durations:
            return _mean(self._durations[kind][-_RECENT:])
        ran = {k: _mean(v) for k, v in self._durations.items() if self._was_run(k)}
        compared = ran.keys() & self.typical.keys()
        if kind not in self.typical or not compared:
            return _mean([*ran.values()])
        speed, size = _compare([ran[k] for k in compared], [self.typical[k] for k in compared])
        coarse, fine = self.typical[kind]
        return float(speed * coarse * (fine / coarse) ** size)

    def _was_run(self, kind: str) -> bool:
        """Return whether steps of a kind lasted long enough to have been run."""
        return _mean(self._durations[kind]) >= _FOUND * min(self.typical.get(kind, (0.0, 0.0)))


def _compare(ran: Sequence[float], typical: Sequence[Typical]) -> tuple[float, float]:
    """Return by which factor steps lasted longer than typical, and the size of their images.

    A size of 0 is that of the coarse images, 1 that of the fine ones: a kind is expected to last
    speed * coarse * (fine / coarse)^size. Least squares on logarithms, weighted by the durations,
    as if one step of `_PRIOR` s had a size of 1/2.
    """
    coarse, fine = np.array(typical).T
    weight, ratio, growth = np.array(ran), np.log(ran / coarse), np.log(fine / coarse)
    centre = np.average(growth, weights=weight)
    offset = growth - centre
    slope = weight @ (offset * ratio) + _PRIOR * 0.5
    size = float(np.clip(slope / (weight @ offset**2 + _PRIOR), 0, 1.5))
    return float(np.exp(np.average(ratio, weights=weight) - size * centre)), size


def _mean(durations: list[float]) -> float:
    return sum(durations) / len(durations) if durations else 0.0


def _kind(name: str) -> str:
    """Return the kind of a step, the same in all sessions."""
    return name.split(".", 1)[-1]


def _sessions(names: Iterable[str]) -> set[str]:
    """Return the sessions of steps; some steps concern the participant as a whole."""
    return {name.split(".")[0] for name in names if name.startswith("ses_")}
