"""Progress of a run: lines that are redrawn on a terminal, log lines elsewhere."""

import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TextIO

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bidsapp.run.engine.time_left import Steps, Tally

Event = Literal["report", "steps", "start", "end", "failed"]

_SLOW = 2.0
"""Duration from which a finished step has a log line, s."""

_REDRAWN = 2.0
"""Rate at which the lines are redrawn, 1/s."""

_SHOWN = 3
"""Number of running steps of a participant that are named; the others are counted."""

_LINES = 8
"""Number of participants that have a line each; the others are counted."""


class Progress:
    """Progress in log lines: one for each participant, each slow step and each failed step.

    Parameters
    ----------
    tally : Tally
    report : callable
        Takes a line of text.

    Examples
    --------
    >>> progress = Progress(Tally(2), print)
    >>> with progress.follow_participant("sub-01") as steps:
    ...     steps.report("complete")
    sub-01 (1 of 2)
    complete
    """

    def __init__(self, tally: Tally, report: Callable[[str], None]) -> None:
        self.tally, self.report = tally, report
        self._lock = threading.Lock()  # never held while a line is reported

    @contextmanager
    def follow_participant(self, name: str) -> Iterator["ParticipantProgress"]:
        """Show the progress of a participant until the context ends."""
        with self._lock:
            self.tally.start_participant(name)
            number = self.tally.started
        self._announce(f"{name} ({number} of {self.tally.participants})")
        try:
            yield ParticipantProgress(partial(self._take, name))
        finally:
            with self._lock:
                self.tally.end_participant(name)

    def _take(self, participant: str, event: Event, *values: Any) -> None:
        """Record an event of a participant, and report what is not drawn."""
        if event == "report":
            self.report(values[0])
            return
        with self._lock:
            if event == "steps":
                self.tally.set_steps(participant, values[0])
            elif event == "start":
                self.tally.start_step(participant, values[0])
            else:
                seconds = self.tally.end_step(participant, values[0])
                steps = self.tally.current[participant]
                count = f"[{steps.ended}/{steps.total}]"
        if event == "failed":
            self.report(f"{count} {participant} {_words(values[0])}: failed")
        elif event == "end" and seconds >= _SLOW:
            self._announce(f"{count} {participant} {_words(values[0])} ({seconds:.0f} s)")

    def _announce(self, line: str) -> None:
        """Report what a drawing would show."""
        self.report(line)


class ParticipantProgress:
    """Progress of one participant, also from another process.

    An instance is the status callback of nipype's engines.

    Parameters
    ----------
    send : callable
        Takes the kind of an event and its values; must be safe to call from several threads.

    Examples
    --------
    >>> progress = ParticipantProgress(print)
    >>> with progress.step("report.page"):
    ...     progress.report("no lesions")
    start report.page
    report no lesions
    end report.page
    """

    def __init__(self, send: Callable[..., None]) -> None:
        self.send = send

    def report(self, line: str) -> None:
        """Report a line of text."""
        self.send("report", line)

    def set_steps(self, names: Iterable[str]) -> None:
        """Take the names of all steps, as ``session.branch.step``."""
        self.send("steps", tuple(names))

    def __call__(self, node: Any, status: str, *_: Any) -> None:
        """Record that a node has started, ended or failed."""
        event: Event = "start" if status == "start" else "end"
        self.send("failed" if status == "exception" else event, node.fullname.split(".", 1)[-1])

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record the start and the end of a step that is not a node."""
        self.send("start", name)
        try:
            yield
        finally:
            self.send("end", name)


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

    @contextmanager
    def follow_participant(self, name: str) -> Iterator[ParticipantProgress]:
        """Show the progress of a participant, and its last state at the end."""
        with super().follow_participant(name) as steps:
            try:
                yield steps
            finally:
                self.live.refresh()

    def _take(self, participant: str, event: Event, *values: Any) -> None:
        """Record an event, and show at once how many steps there are."""
        super()._take(participant, event, *values)
        if event == "steps":
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
    """Return the lines that are redrawn: times, and what each participant is doing.

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
    >>> tally.set_steps("sub-01", ["ses_a.dwi.fit", "ses_a.dwi.load"])
    >>> rich.print(draw_progress(tally).renderables[0])
    sub-01 (1 of 3), 0 of 1 session, 0 of 2 steps
    """
    several = len(tally.current) > 1
    left = tally.seconds_left()
    times = [f"{_format_duration(tally.seconds_passed())} elapsed"]
    times += [] if math.isnan(left) else [f"about {_format_duration(left)} left"]
    bar = Table.grid(padding=(0, 1))
    bar.add_row(_bar(tally, several), _line(times))
    current = [*tally.current.values()]
    lines = [_describe(steps, tally) for steps in current[:_LINES]]
    if not several:
        running = [_line([f"running: {_name_running_steps(s, tally)}"]) for s in current]
        return Group(*(_line([line], "bold") for line in lines), bar, *running)
    head = f"{tally.participants_ended} of {tally.participants} participants"
    lines = [
        f"{line}: {_name_running_steps(steps, tally)}"
        for line, steps in zip(lines, current, strict=False)
    ]
    lines += [f"and {len(current) - _LINES} more"] if len(current) > _LINES else []
    return Group(_line([head], "bold"), bar, *(_line([line]) for line in lines))


def _bar(tally: Tally, several: bool) -> ProgressBar:
    """Return the bar of the steps of one participant, or of all participants."""
    fractions = [steps.ended / (steps.total or 1) for steps in tally.current.values()]
    if several:
        return ProgressBar(tally.participants, tally.participants_ended + sum(fractions), width=24)
    return ProgressBar(1, sum(fractions), width=24)


def _describe(steps: Steps, tally: Tally) -> str:
    """Return what is done of a participant."""
    sessions = f"{steps.sessions_ended} of {_plural(len(steps.sessions), 'session')}"
    counts = [sessions, f"{steps.ended} of {_plural(steps.total, 'step')}"]
    participant = f"{steps.name} ({steps.number} of {tally.participants})"
    return ", ".join([participant, *(counts if steps.known else ["preparing"])])


def _line(parts: list[str], style: str = "") -> Text:
    return Text(", ".join(parts), style, no_wrap=True, overflow="crop")


def _name_running_steps(steps: Steps, tally: Tally) -> str:
    """Name the steps that are running, the longest first."""
    now = tally.clock()
    running = sorted(steps.running.items(), key=lambda item: item[1])
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

    On a terminal a few lines are redrawn below the log lines, and are gone at the end, whatever
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
        Follows each participant.
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
