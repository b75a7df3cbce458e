"""Lines that tell how participants go on: logged ones, and living ones on a terminal."""

import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from bidsapp.run.engine.time_left import Tally

_SLOW = 2.0
"""Shortest step that has a log line, seconds."""

_REDRAWN = 0.5
"""Between two drawings, seconds."""

_SHOWN = 3
"""Running steps that are named; the others are counted."""


class Lines:
    """Tells by log lines: each participant, every step that took its time, and what failed.

    Parameters
    ----------
    tally : Tally
    report : callable
        Takes a line.

    Examples
    --------
    >>> lines = Lines(Tally(2), print)
    >>> lines.participant("sub-01")
    sub-01 (1 of 2)
    """

    def __init__(self, tally: Tally, report: Callable[[str], None]) -> None:
        self.tally, self.report = tally, report
        self._lock = threading.RLock()  # never held while something is reported

    def participant(self, name: str) -> None:
        """Go on to the next participant."""
        with self._lock:
            self.tally.participant(name)
        self.report(f"{name} ({self.tally.number} of {self.tally.participants})")

    def steps(self, names: Iterable[str]) -> None:
        """Take the names of all steps of this participant, as ``session.branch.step``."""
        with self._lock:
            self.tally.steps(names)

    def __call__(self, node: Any, status: str, *_: Any) -> None:
        """Take one change of a node's state from nipype."""
        name = str(node.fullname)
        with self._lock:
            if status == "start":
                self.tally.start(name)
                return
            seconds = self.tally.end(name)
            line = f"[{self.tally.ended}/{self.tally.total}] {_words(name)}"
        if status == "exception":
            self.report(f"{line}: failed")
        elif seconds >= _SLOW:
            self.told(f"{line} ({seconds:.0f} s)")

    def told(self, line: str) -> None:
        """Tell of a step that took its time."""
        self.report(line)


class Screen(Lines):
    """Draws a few lines at the bottom of a terminal again and again; what is written goes above.

    Use it as a context: at its end, whatever the reason, the lines are gone and the cursor is at
    the beginning of an empty line.

    Parameters
    ----------
    tally : Tally
    report : callable
        Takes a line that stays; it must write to this screen, as a stream.
    terminal : text stream
    colour : bool
        Whether letters may be bold.
    """

    def __init__(
        self, tally: Tally, report: Callable[[str], None], terminal: TextIO, colour: bool = True
    ) -> None:
        super().__init__(tally, report)
        self.terminal, self.colour = terminal, colour
        self._drawn: list[str] = []
        self._stopped = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._process = os.getpid()

    def __enter__(self) -> "Screen":
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._ticker.join()
        with self._lock:
            self._put(self._erasing())
            self._drawn = []

    def participant(self, name: str) -> None:
        """Go on to the next participant."""
        with self._lock:
            self.tally.participant(name)
        self.draw()

    def steps(self, names: Iterable[str]) -> None:
        """Take the names of all steps of this participant."""
        super().steps(names)
        self.draw()

    def __call__(self, node: Any, status: str, *_: Any) -> None:
        """Take one change of a node's state from nipype."""
        super().__call__(node, status)
        self.draw()

    def told(self, line: str) -> None:
        """Leave out what the living lines have shown."""

    def write(self, text: str) -> int:
        """Write lines that stay, above those that live."""
        if os.getpid() != self._process:  # a worker has the terminal, but not the lines
            return self.terminal.write(text)
        with self._lock:
            self._put(self._erasing() + text)
            self._drawn = []
            if text.endswith("\n") and not self._stopped.is_set():
                self.draw()
        return len(text)

    def flush(self) -> None:
        """Flush the terminal."""
        self.terminal.flush()

    def draw(self) -> None:
        """Draw the lines as they are now, in place of those that were."""
        with self._lock:
            width = self._width()
            lines = [line[: width - 1] for line in drawn(self.tally, width, self._plain())]
            shown = [f"\033[1m{lines[0]}\033[0m", *lines[1:]] if self.colour else lines
            self._put(self._erasing() + "\n".join(shown))
            self._drawn = lines

    def _tick(self) -> None:
        while not self._stopped.wait(_REDRAWN):
            if self._drawn:
                self.draw()

    def _erasing(self) -> str:
        """What takes the drawn lines away; where the window got narrower they take more rows."""
        if not self._drawn:
            return ""
        width = self._width()
        rows = sum(max(1, math.ceil(len(line) / width)) for line in self._drawn)
        return "\r" + (f"\033[{rows - 1}A" if rows > 1 else "") + "\033[J"

    def _put(self, text: str) -> None:
        self.terminal.write(text)
        self.terminal.flush()

    def _width(self) -> int:
        return os.get_terminal_size(self.terminal.fileno()).columns or 80

    def _plain(self) -> bool:
        """Whether the terminal has no more than ASCII."""
        try:
            "█░·".encode(self.terminal.encoding or "ascii")
        except UnicodeEncodeError:
            return True
        return False


def drawn(tally: Tally, width: int = 80, plain: bool = False) -> list[str]:
    """Say in three lines what is done, how long it may take, and what runs.

    Parameters
    ----------
    tally : Tally
    width : int
        Of the terminal, in letters.
    plain : bool
        ASCII only.

    Returns
    -------
    lines : list of str

    Examples
    --------
    >>> tally = Tally(3, lambda: 0.0)
    >>> tally.participant("sub-01")
    >>> tally.steps(["ses_a.dwi.fit", "ses_a.dwi.load"])
    >>> for line in drawn(tally, plain=True):
    ...     print(line)
    sub-01 (1 of 3) - 0 of 1 session - 0 of 2 steps
    [------------------------] 0:00 passed
    now: -
    """
    mark, full, empty = (" - ", "#", "-") if plain else (" · ", "█", "░")
    sessions = f"{tally.sessions_ended} of {_many(len(tally.sessions), 'session')}"
    steps = f"{tally.ended} of {_many(tally.total, 'step')}"
    where = f"{tally.name} ({tally.number} of {tally.participants})"
    share = tally.ended / tally.total if tally.total else 0.0
    length = max(8, min(24, width - 40))
    filled = round(share * length)
    left = tally.seconds_left()
    times = [f"{_clock(tally.seconds_passed())} passed"]
    times += [] if math.isnan(left) else [f"about {_clock(left)} left"]
    return [
        mark.join([where, *([sessions, steps] if tally.total else ["getting ready"])]),
        f"[{full * filled}{empty * (length - filled)}] {mark.join(times)}",
        f"now: {_now(tally)}",
    ]


def _now(tally: Tally) -> str:
    """Name the steps that run, the longest first."""
    now = tally.clock()
    first = sorted(tally.running.items(), key=lambda item: item[1])
    named = [f"{_words(name)} ({now - began:.0f} s)" for name, began in first[:_SHOWN]]
    more = [f"{len(first) - _SHOWN} more"] if len(first) > _SHOWN else []
    return ", ".join(named + more) or "-"


def _words(name: str) -> str:
    return name.replace("_", "-").replace(".", " ")


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, as on a clock."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def is_terminal(stream: TextIO) -> bool:
    """Whether lines can be drawn again: a terminal that moves its cursor.

    Parameters
    ----------
    stream : text stream

    Returns
    -------
    answer : bool

    Examples
    --------
    >>> import io
    >>> is_terminal(io.StringIO())
    False
    """
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def progress(participants: int, log: logging.Logger) -> Iterator[Lines]:
    """Tell how participants go on, on the stream of a logger's only handler.

    On a terminal three lines live below what is logged; elsewhere, and where ``TERM`` is ``dumb``,
    there are log lines alone. ``NO_COLOR`` keeps letters from being bold.

    Parameters
    ----------
    participants : int
        How many there are.
    log : logging.Logger

    Yields
    ------
    lines : Lines
        A callback for nipype's nodes; to be told of each participant and its steps.
    """
    handler = log.handlers[0]
    tally = Tally(participants)
    if not isinstance(handler, logging.StreamHandler) or not is_terminal(handler.stream):
        yield Lines(tally, log.info)
        return
    terminal = handler.stream
    with Screen(tally, log.info, terminal, not os.environ.get("NO_COLOR")) as screen:
        handler.setStream(screen)
        try:
            yield screen
        finally:
            handler.setStream(terminal)
