"""Progress of a run: lines that are redrawn on a terminal, log lines elsewhere."""

import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bidsapp.run.engine.time_left import Tally

_SLOW = 2.0
"""Duration from which a finished step has a log line, s."""

_REDRAWN = 2.0
"""Rate at which the lines are redrawn, 1/s."""

_SHOWN = 3
"""Number of running steps that are named; the others are counted."""


class Progress:
    """Progress in log lines: one for each participant, each slow step and each failed step.

    An instance is the status callback of nipype's engines.

    Parameters
    ----------
    tally : Tally
    report : callable
        Takes a line of text.

    Examples
    --------
    >>> progress = Progress(Tally(2), print)
    >>> progress.start_participant("sub-01")
    sub-01 (1 of 2)
    """

    def __init__(self, tally: Tally, report: Callable[[str], None]) -> None:
        self.tally, self.report = tally, report
        self._lock = threading.Lock()  # never held while a line is reported

    def start_participant(self, name: str) -> None:
        """Begin the next participant."""
        with self._lock:
            self.tally.start_participant(name)
        self._announce(f"{name} ({self.tally.number} of {self.tally.participants})")

    def set_steps(self, names: Iterable[str]) -> None:
        """Take the names of all steps of this participant, as ``session.branch.step``."""
        with self._lock:
            self.tally.set_steps(names)

    def __call__(self, node: Any, status: str, *_: Any) -> None:
        """Record that a node has started, ended or failed."""
        name = str(node.fullname)
        with self._lock:
            if status == "start":
                self.tally.start_step(name)
                return
            seconds = self.tally.end_step(name)
            line = f"[{self.tally.steps_ended}/{self.tally.total}] {_words(name)}"
        if status == "exception":
            self.report(f"{line}: failed")
        elif seconds >= _SLOW:
            self._announce(f"{line} ({seconds:.0f} s)")

    def _announce(self, line: str) -> None:
        """Report what a drawing would show."""
        self.report(line)


class _DrawnProgress(Progress):
    """Progress that rich draws again and again; only failures are reported."""

    def __init__(self, tally: Tally, report: Callable[[str], None], console: Console) -> None:
        super().__init__(tally, report)
        self.live = Live(
            self,
            console=console,
            refresh_per_second=_REDRAWN,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def set_steps(self, names: Iterable[str]) -> None:
        """Take the names of all steps, and show at once how many there are."""
        super().set_steps(names)
        self.live.refresh()

    def __rich__(self) -> Group:
        with self._lock:
            return draw_progress(self.tally)

    def _announce(self, line: str) -> None:
        """Report nothing: the drawing shows it."""


class _TerminalConsole(Console):
    """Console of the size of its own stream; rich's has that of the standard streams."""

    @property  # type: ignore[misc]
    def size(self) -> ConsoleDimensions:
        columns, rows = os.get_terminal_size(self.file.fileno())
        return ConsoleDimensions(columns or 80, rows or 24)


class _AboveDrawing:
    """Stream for log lines that stay, above the lines that are redrawn."""

    def __init__(self, console: Console) -> None:
        self._console, self._process = console, os.getpid()

    def write(self, text: str) -> None:
        if os.getpid() == self._process:
            self._console.out(text, end="", highlight=False)
        else:  # a forked worker has the terminal, but neither the drawing nor its lock
            self._console.file.write(text)

    def flush(self) -> None:
        self._console.file.flush()


def draw_progress(tally: Tally) -> Group:
    """Return three lines: what is done, how long the rest may take, and what is running.

    Parameters
    ----------
    tally : Tally

    Returns
    -------
    rich.console.Group
        ASCII except for the bar, for which rich has an ASCII form, too.

    Examples
    --------
    >>> import rich
    >>> tally = Tally(3, lambda: 0.0)
    >>> tally.start_participant("sub-01")
    >>> tally.set_steps(["ses_a.dwi.fit", "ses_a.dwi.load"])
    >>> rich.print(draw_progress(tally).renderables[0])
    sub-01 (1 of 3), 0 of 1 session, 0 of 2 steps
    """
    participant = f"{tally.name} ({tally.number} of {tally.participants})"
    sessions = f"{tally.sessions_ended} of {_plural(len(tally.sessions), 'session')}"
    steps = f"{tally.steps_ended} of {_plural(tally.total, 'step')}"
    counts = [participant, *([sessions, steps] if tally.total else ["preparing"])]
    left = tally.seconds_left()
    times = [f"{_format_duration(tally.seconds_passed())} elapsed"]
    times += [] if math.isnan(left) else [f"about {_format_duration(left)} left"]
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(tally.total or 1, tally.steps_ended, width=24), _line(times))
    return Group(_line(counts, "bold"), bar, _line([f"running: {_name_running_steps(tally)}"]))


def _line(parts: list[str], style: str = "") -> Text:
    return Text(", ".join(parts), style, no_wrap=True, overflow="crop")


def _name_running_steps(tally: Tally) -> str:
    """Name the steps that are running, the longest first."""
    now = tally.clock()
    running = sorted(tally.running.items(), key=lambda item: item[1])
    named = [f"{_words(name)} ({now - start:.0f} s)" for name, start in running[:_SHOWN]]
    more = [f"{len(running) - _SHOWN} more"] if len(running) > _SHOWN else []
    return ", ".join(named + more) or "-"


def _words(name: str) -> str:
    return name.replace("_", "-").replace(".", " ")


def _plural(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _format_duration(seconds: float) -> str:
    """Return hours, minutes and seconds as a clock shows them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _can_redraw(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def show_progress(participants: int, log: logging.Logger) -> Iterator[Progress]:
    """Show the progress of a run on the stream of a logger's only handler.

    On a terminal three lines are redrawn below the log lines, and are gone at the end, whatever
    the reason for it. Elsewhere, and where ``TERM`` is ``dumb``, there are only log lines.
    ``NO_COLOR`` switches colours off.

    Parameters
    ----------
    participants : int
        Number of participants of the run.
    log : logging.Logger

    Yields
    ------
    progress : Progress
        Callback for nipype's nodes; takes each participant and the names of its steps.
    """
    handler = log.handlers[0]
    tally = Tally(participants)
    if not isinstance(handler, logging.StreamHandler) or not _can_redraw(handler.stream):
        yield Progress(tally, log.info)
        return
    terminal = handler.stream
    console = _TerminalConsole(file=terminal, force_terminal=True)
    progress = _DrawnProgress(tally, log.info, console)
    with progress.live:
        console.show_cursor()  # rich hides it, and kill -9 would leave the terminal without one
        handler.setStream(_AboveDrawing(console))
        try:
            yield progress
        finally:
            handler.setStream(terminal)
