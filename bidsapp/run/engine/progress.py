"""Progress of a run: log lines, or live lines at the bottom of a terminal."""

import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bidsapp.run.engine.time_left import Tally

_SLOW = 2.0
"""Shortest step that has a log line, in seconds."""

_REDRAWN = 2
"""Drawings per second."""

_SHOWN = 3
"""Running steps that are named; the others are counted."""


class Lines:
    """Reports progress by log lines: each participant, each long step, and each failure.

    Parameters
    ----------
    tally : Tally
    report : callable
        Receives a line.

    Examples
    --------
    >>> lines = Lines(Tally(2), print)
    >>> lines.participant("sub-01")
    sub-01 (1 of 2)
    """

    def __init__(self, tally: Tally, report: Callable[[str], None]) -> None:
        self.tally, self.report = tally, report
        self._lock = threading.RLock()  # never held while a line is reported

    def participant(self, name: str) -> None:
        """Start the next participant."""
        with self._lock:
            self.tally.participant(name)
        self.report(f"{name} ({self.tally.number} of {self.tally.participants})")

    def steps(self, names: Iterable[str]) -> None:
        """Set the names of all steps of this participant, as ``session.branch.step``."""
        with self._lock:
            self.tally.steps(names)

    def __call__(self, node: Any, status: str, *_: Any) -> None:
        """Record a change of a node's state; nipype calls this."""
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
            self.report_step(f"{line} ({seconds:.0f} s)")

    def report_step(self, line: str) -> None:
        """Report the end of a long step."""
        self.report(line)


class LiveLines(Lines):
    """Keeps three lines up to date at the bottom of a terminal, below the log lines.

    Use it as a context: at its end, for whatever reason, the live lines are erased and the cursor
    is at the beginning of an empty line. It is also the stream to which log lines are written.

    Parameters
    ----------
    tally : Tally
    report : callable
        Receives a line that stays; it must write to this object, as a stream.
    terminal : text stream
    """

    def __init__(self, tally: Tally, report: Callable[[str], None], terminal: TextIO) -> None:
        super().__init__(tally, report)
        self.terminal = terminal
        self.console = Console(file=terminal, force_terminal=True, highlight=False)
        self._live = Live(
            console=self.console,
            get_renderable=self._render,
            refresh_per_second=_REDRAWN,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._process = os.getpid()

    def __enter__(self) -> "LiveLines":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def participant(self, name: str) -> None:
        """Start the next participant."""
        with self._lock:
            self.tally.participant(name)
        self._live.refresh()

    def steps(self, names: Iterable[str]) -> None:
        """Set the names of all steps of this participant."""
        super().steps(names)
        self._live.refresh()

    def __call__(self, node: Any, status: str, *_: Any) -> None:
        """Record a change of a node's state; nipype calls this."""
        super().__call__(node, status)
        self._live.refresh()

    def report_step(self, line: str) -> None:
        """Report nothing: the live lines have shown the step."""

    def write(self, text: str) -> int:
        """Write lines that stay, above the live ones."""
        if os.getpid() != self._process:  # a forked worker must not take the console's locks
            return self.terminal.write(text)
        self.console.print(text, end="", markup=False, soft_wrap=True)
        return len(text)

    def flush(self) -> None:
        """Flush the terminal."""
        self.terminal.flush()

    def _render(self) -> Text:
        with self._lock:
            if not self.tally.name:
                return Text()
            # rich asks the standard streams for the width; the log may go to another terminal
            width = os.get_terminal_size(self.terminal.fileno()).columns or 80
            self.console.width = width
            ascii_only = self.console.options.ascii_only
            lines = progress_lines(self.tally, width, ascii_only=ascii_only)
        lines = [line[: width - 1] for line in lines]
        text = Text("\n".join(lines), no_wrap=True, overflow="crop")
        text.stylize("bold", 0, len(lines[0]))
        return text


def progress_lines(tally: Tally, width: int = 80, *, ascii_only: bool = False) -> list[str]:
    """Return three lines: what is done, the time passed and left, and what is running.

    Parameters
    ----------
    tally : Tally
    width : int
        Columns of the terminal.
    ascii_only : bool
        Whether the terminal has no other characters.

    Returns
    -------
    lines : list of str

    Examples
    --------
    >>> tally = Tally(3, lambda: 0.0)
    >>> tally.participant("sub-01")
    >>> tally.steps(["ses_a.dwi.fit", "ses_a.dwi.load"])
    >>> for line in progress_lines(tally, ascii_only=True):
    ...     print(line)
    sub-01 (1 of 3) - 0 of 1 session - 0 of 2 steps
    [------------------------] 0:00 passed
    now: -
    """
    mark, full, empty = (" - ", "#", "-") if ascii_only else (" · ", "█", "░")
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
    """Name the running steps, the longest first."""
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
    """Format seconds as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def can_redraw(stream: TextIO) -> bool:
    """Return whether a stream is a terminal on which lines can be drawn again.

    Parameters
    ----------
    stream : text stream

    Returns
    -------
    bool

    Examples
    --------
    >>> import io
    >>> can_redraw(io.StringIO())
    False
    """
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def progress(participants: int, log: logging.Logger) -> Iterator[Lines]:
    """Report the progress of a run on the stream of a logger's only handler.

    On a terminal, three live lines stand below the log; elsewhere, and where ``TERM`` is ``dumb``,
    there are only log lines.

    Parameters
    ----------
    participants : int
        Number of participants.
    log : logging.Logger

    Yields
    ------
    lines : Lines
        A callback for nipype's nodes, which must also be given each participant and its steps.
    """
    handler = log.handlers[0]
    tally = Tally(participants)
    if not isinstance(handler, logging.StreamHandler) or not can_redraw(handler.stream):
        yield Lines(tally, log.info)
        return
    terminal = handler.stream
    with LiveLines(tally, log.info, terminal) as live:
        handler.setStream(live)
        try:
            yield live
        finally:
            handler.setStream(terminal)
