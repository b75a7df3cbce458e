"""Counts of what is done, and an estimate of the time left."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain


@dataclass
class Tally:
    """Counts of what is done, and an estimate of the time left.

    A step that has not run yet is expected to last as long as the same step did in other sessions
    and participants, or else as long as the mean of all steps; a participant that has not begun,
    as long as the mean of those that have.

    Attributes
    ----------
    participants : int
        Number of participants of the run.
    clock : callable
        Returns seconds since an arbitrary origin.

    Examples
    --------
    >>> time = iter([0.0, 0.0, 10.0, 10.0])
    >>> tally = Tally(1, lambda: next(time))
    >>> tally.start_participant("sub-01")
    >>> tally.set_steps(["ses_a.dwi.fit", "ses_b.dwi.fit"])
    >>> tally.start_step("sub_01.ses_a.dwi.fit")
    >>> tally.end_step("sub_01.ses_a.dwi.fit")
    10.0
    >>> tally.seconds_left()
    10.0
    """

    participants: int
    clock: Callable[[], float] = time.monotonic
    number: int = 0
    name: str = ""
    waiting: set[str] = field(default_factory=set)
    total: int = 0
    running: dict[str, float] = field(default_factory=dict)
    sessions: list[str] = field(default_factory=list)
    _durations: dict[str, list[float]] = field(default_factory=dict)
    _work: list[float] = field(default_factory=list)
    _start: float = 0.0

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def steps_ended(self) -> int:
        """Number of steps of this participant that have ended."""
        return self.total - len(self.waiting)

    @property
    def sessions_ended(self) -> int:
        """Number of sessions of this participant without a step left."""
        return len(self.sessions) - len({session_of(name) for name in self.waiting})

    def start_participant(self, name: str) -> None:
        """Begin the next participant; steps that are left of the previous one are dropped."""
        self.number, self.name = self.number + 1, name
        self.total, self.sessions = 0, []
        self.waiting.clear()
        self.running.clear()

    def set_steps(self, names: Iterable[str]) -> None:
        """Take the names of all steps of this participant, as ``session.branch.step``."""
        self.waiting = set(names)
        self.total = len(self.waiting)
        self.sessions = sorted({session_of(name) for name in self.waiting})
        self._work.append(0.0)

    def start_step(self, fullname: str) -> None:
        """Record the start of a step, named with its participant."""
        self.running[_drop_first(fullname)] = self.clock()

    def end_step(self, fullname: str) -> float:
        """Record the end of a step; return its duration, s, 0 if it never started."""
        name = _drop_first(fullname)
        self.waiting.discard(name)
        if name not in self.running:
            return 0.0
        seconds = self.clock() - self.running.pop(name)
        self._durations.setdefault(_drop_first(name), []).append(seconds)
        self._work[-1] += seconds
        return seconds

    def seconds_passed(self) -> float:
        """Return the seconds since the run began."""
        return self.clock() - self._start

    def seconds_left(self) -> float:
        """Return the estimated seconds left, NaN until a step has ended."""
        done = sum(self._work)
        if not done:
            return math.nan
        here = sum(self._expected_duration(name) for name in self.waiting)
        typical = (done + here) / len(self._work)
        left = here + typical * (self.participants - self.number)
        return left * self.seconds_passed() / done

    def _expected_duration(self, name: str) -> float:
        """Return the expected duration of a step, s."""
        durations = self._durations.get(_drop_first(name)) or [*chain(*self._durations.values())]
        return sum(durations) / len(durations)


def session_of(name: str) -> str:
    """Return the session of a step.

    Examples
    --------
    >>> session_of("ses_1week.dwi.fit")
    'ses_1week'
    """
    return name.split(".")[0]


def _drop_first(name: str) -> str:
    """Return the name of a step without its first part, the participant or the session."""
    return name.split(".", 1)[-1]
