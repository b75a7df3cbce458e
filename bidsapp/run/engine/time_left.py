"""What has been done of what there is, and how long the rest may take."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Tally:
    """What has been done of what there is, and how long the rest may take.

    The time left is an estimate: a step that has not run yet is taken to last as long as its like
    did in another session or participant, or else as long as the mean of all steps; a participant
    to come is taken to be like those that were seen.

    Attributes
    ----------
    participants : int
        How many there are in all.
    clock : callable
        Seconds from any origin.

    Examples
    --------
    >>> time = iter([0.0, 0.0, 10.0, 10.0])
    >>> tally = Tally(1, lambda: next(time))
    >>> tally.participant("sub-01")
    >>> tally.steps(["ses_a.dwi.fit", "ses_b.dwi.fit"])
    >>> tally.start("sub_01.ses_a.dwi.fit")
    >>> tally.end("sub_01.ses_a.dwi.fit")
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
    _took: dict[str, list[float]] = field(default_factory=dict)
    _work: list[float] = field(default_factory=list)
    _began: float = 0.0

    def __post_init__(self) -> None:
        self._began = self.clock()

    @property
    def ended(self) -> int:
        """Steps of this participant that have ended."""
        return self.total - len(self.waiting)

    @property
    def sessions_ended(self) -> int:
        """Sessions of this participant that have no step left."""
        return len(self.sessions) - len({session_of(name) for name in self.waiting})

    def participant(self, name: str) -> None:
        """Go on to the next participant; that of before is finished, whatever is left of it."""
        self.number, self.name = self.number + 1, name
        self.total, self.sessions = 0, []
        self.waiting.clear()
        self.running.clear()

    def steps(self, names: Iterable[str]) -> None:
        """Take the names of all steps of this participant, as ``session.branch.step``."""
        self.waiting = set(names)
        self.total = len(self.waiting)
        self.sessions = sorted({session_of(name) for name in self.waiting})
        self._work.append(0.0)

    def start(self, fullname: str) -> None:
        """Note that a step, named with its participant, begins."""
        self.running[_own(fullname)] = self.clock()

    def end(self, fullname: str) -> float:
        """Note that a step has ended; return how long it took, 0 if it never began."""
        name = _own(fullname)
        self.waiting.discard(name)
        if name not in self.running:
            return 0.0
        seconds = self.clock() - self.running.pop(name)
        self._took.setdefault(_kind(name), []).append(seconds)
        self._work[-1] += seconds
        return seconds

    def seconds_passed(self) -> float:
        """Seconds since the first participant."""
        return self.clock() - self._began

    def seconds_left(self) -> float:
        """Estimate the seconds that are left; NaN before anything has ended."""
        done = sum(self._work)
        if not done:
            return math.nan
        here = sum(self._expected(name) for name in self.waiting)
        typical = (done + here) / len(self._work)
        left = here + typical * (self.participants - self.number)
        return left * self.seconds_passed() / done

    def _expected(self, name: str) -> float:
        """Seconds that a step is expected to take."""
        took = self._took.get(_kind(name)) or [t for some in self._took.values() for t in some]
        return sum(took) / len(took)


def session_of(name: str) -> str:
    """Return the session of a step.

    Examples
    --------
    >>> session_of("ses_1week.dwi.fit")
    'ses_1week'
    """
    return name.split(".")[0]


def _own(fullname: str) -> str:
    """Leave the participant out of a step's name."""
    return fullname.split(".", 1)[-1]


def _kind(name: str) -> str:
    """What a step has in common with its like in other sessions."""
    return name.split(".", 1)[-1]
