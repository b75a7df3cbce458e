"""Progress of a run: redrawn lines on a terminal that leave no trace, log lines elsewhere."""

import fcntl
import io
import logging
import math
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import write_description, write_dwi
from rich.console import Console

from bidsapp.run.engine import Progress, show_progress
from bidsapp.run.engine.progress import draw_progress
from bidsapp.run.engine.time_left import Tally

STEPS = ["ses_a.dwi.fit", "ses_a.dwi.load", "ses_b.dwi.fit", "ses_b.dwi.load"]
ESCAPE = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|(.)", re.DOTALL)


class Clock:
    """A clock that goes when it is reported to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


def node(step: str) -> SimpleNamespace:
    """What nipype hands to its callback."""
    return SimpleNamespace(fullname=f"sub_01.{step}")


def screen_of(output: str, width: int) -> tuple[list[str], tuple[int, int]]:
    """What a terminal of this width shows after this output, and where its cursor is."""
    rows, y, x = [""], 0, 0
    for count, command, letter in ESCAPE.findall(output.replace("\r\n", "\n")):
        if command == "A":
            y = max(0, y - int(count or 1))
        elif command == "J":
            rows = [*rows[:y], rows[y][:x]]
        elif command == "K":
            rows[y] = ""
        elif letter == "\r":
            x = 0
        elif letter == "\n":
            y, x = y + 1, 0
        elif letter:
            if x == width:
                y, x = y + 1, 0
            rows += [""] * (y + 1 - len(rows))
            rows[y] = rows[y].ljust(x)[:x] + letter + rows[y][x + 1 :]
            x += 1
        rows += [""] * (y + 1 - len(rows))
    return rows, (y, x)


class Terminal:
    """A terminal that remembers all that is written to it."""

    def __init__(self, width: int = 60, encoding: str = "utf-8") -> None:
        self.master, self.slave = pty.openpty()
        self.width = width
        self.resize(width)
        self.stream = open(self.slave, "w", encoding=encoding)  # noqa: PTH123, SIM115
        self.output = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def resize(self, width: int) -> None:
        """Make the window narrower or wider."""
        self.width = width
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.master, 4096)
            except OSError:  # the other end is closed
                return
            self.output += data.decode(errors="replace")

    def close(self) -> None:
        """Hang up."""
        self.stream.close()
        self.reader.join(10)
        os.close(self.master)

    def shows(self) -> list[str]:
        """What is on it, without empty rows at the end, after all that was written has come."""
        before = None
        while before != self.output:
            before = self.output
            time.sleep(0.05)
        rows = [row.rstrip() for row in screen_of(self.output, self.width)[0]]
        while rows and not rows[-1]:
            rows.pop()
        return rows


@pytest.fixture
def terminal(monkeypatch):
    """A terminal that moves its cursor."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    made = Terminal()
    yield made
    made.close()


def log_to(stream) -> logging.Logger:
    """A logger that writes to a stream, as that of the command line does."""
    log = logging.Logger("test")
    log.addHandler(logging.StreamHandler(stream))
    return log


def test_slow_and_failed_steps_have_log_lines():
    """Without a terminal a step of 2 s or more, and one that failed, has a line; others none."""
    clock, reported = Clock(), []
    with Progress(Tally(3, clock), reported.append).follow_participant("sub-01") as lines:
        lines.set_steps(STEPS)
        for step, seconds, status in zip(
            STEPS, (5, 1, 2, 1), ("end",) * 3 + ("exception",), strict=True
        ):
            lines(node(step), "start")
            clock.now += seconds
            lines(node(step), status)
    assert reported == [
        "sub-01 (1 of 3)",
        "[1/4] sub-01 ses-a dwi fit (5 s)",
        "[3/4] sub-01 ses-b dwi fit (2 s)",
        "[4/4] sub-01 ses-b dwi load: failed",
    ]


def run_steps(tally: Tally, clock: Clock, name: str, seconds: dict[str, float]) -> None:
    """Run steps of a participant one after the other."""
    for step, duration in seconds.items():
        tally.start_step(name, step)
        clock.now += duration
        tally.end_step(name, step)


def test_the_time_left_follows_the_like_of_each_step():
    """A step to come lasts as its like did, a participant to come as those that were seen."""
    clock = Clock()
    tally = Tally(2, clock, {})
    tally.start_participant("sub-01")
    tally.set_steps("sub-01", STEPS)
    assert math.isnan(tally.seconds_left())
    run_steps(tally, clock, "sub-01", dict(zip(STEPS[:2], (60, 2), strict=True)))
    assert tally.seconds_left() == pytest.approx(62 + 124)
    for step in STEPS[2:]:
        tally.start_step("sub-01", step)
    clock.now += 62
    for step in STEPS[2:]:
        tally.end_step("sub-01", step)
    tally.end_participant("sub-01")
    tally.start_participant("sub-02")
    tally.set_steps("sub-02", [])
    assert tally.seconds_left() == 0


def test_a_kind_of_step_that_has_not_run_is_expected_from_a_measured_run():
    """Its duration there is scaled by the steps that ran, not by those found in the work folder."""
    clock = Clock()
    tally = Tally(1, clock, {"dwi.load": (1, 1), "dwi.fit": (2, 2), "dce.fit": (30, 30)})
    tally.start_participant("sub-01")
    tally.set_steps("sub-01", ["ses_a.dwi.load", "ses_a.dwi.fit", "ses_a.dce.fit", "report.page"])
    run_steps(tally, clock, "sub-01", {"ses_a.dwi.load": 0.001, "ses_a.dwi.fit": 6.0})
    assert tally.seconds_left() == pytest.approx(90 + 6, rel=1e-3)


def test_the_time_left_counts_participants_at_once():
    """Two participants side by side, of four alike: half of the run is left after the first two."""
    clock = Clock()
    tally = Tally(4, clock, {})
    for name in ("sub-01", "sub-02"):
        tally.start_participant(name)
        tally.set_steps(name, STEPS)
    for step in STEPS:
        for name in ("sub-01", "sub-02"):
            tally.start_step(name, step)
        clock.now += 10
        for name in ("sub-01", "sub-02"):
            tally.end_step(name, step)
    for name in ("sub-01", "sub-02"):
        tally.end_participant(name)
    assert tally.seconds_left() == pytest.approx(40)


def test_sessions_steps_time_and_what_runs_are_shown():
    """Three lines hold the participant, its sessions and steps, the times, and what runs."""
    clock = Clock()
    tally = Tally(3, clock, {})
    tally.start_participant("sub-01")
    tally.set_steps("sub-01", STEPS)
    run_steps(tally, clock, "sub-01", dict.fromkeys(STEPS[:2], 30))
    tally.start_step("sub-01", "ses_b.dwi.fit")
    clock.now += 5
    assert drawn(tally) == [
        "sub-01 (1 of 3), 1 of 2 sessions, 2 of 4 steps",
        "━━━━━━━━━━━━             1:05 elapsed, about 4:55 left",
        "running: ses-b dwi fit (5 s)",
    ]


def test_participants_at_once_have_a_line_each():
    """The bar shows the whole run, and each participant what it is doing; of many, eight."""
    clock = Clock()
    tally = Tally(12, clock, {})
    for number in range(1, 11):
        tally.start_participant(f"sub-{number:02}")
        tally.set_steps(f"sub-{number:02}", STEPS)
    tally.end_participant("sub-01")
    tally.start_step("sub-02", STEPS[0])
    clock.now += 5
    lines = drawn(tally)
    assert lines[0] == "1 of 12 participants"
    assert lines[2] == "sub-02 (2 of 12), 0 of 2 sessions, 0 of 4 steps: ses-a dwi fit (5 s)"
    assert lines[3:][6:] == ["sub-09 (9 of 12), 0 of 2 sessions, 0 of 4 steps: -", "and 1 more"]


def drawn(tally: Tally) -> list[str]:
    """The lines that are redrawn, as text."""
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(draw_progress(tally))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_log_lines_stay_above_the_living_ones(terminal):
    """What is logged stays in its order; the three lines are below, and one of each."""
    log = log_to(terminal.stream)
    with show_progress(2, log) as shown, shown.follow_participant("sub-01") as lines:
        lines.set_steps(STEPS)
        lines(node(STEPS[0]), "start")
        log.warning("first")
        lines(node(STEPS[0]), "exception")
        log.warning("second")
        rows = terminal.shows()
    assert rows[:3] == ["first", "[1/4] sub-01 ses-a dwi fit: failed", "second"]
    assert [line.split(" ")[0].split("━")[0] for line in rows[3:]] == ["sub-01", "", "running:"]
    assert "1 of 4 steps" in rows[3]


@pytest.mark.parametrize("ending", [None, KeyboardInterrupt, ValueError])
def test_a_clean_terminal_is_left(terminal, ending):
    """At the end, on Ctrl-C and on an error: only what was logged, and the cursor is visible."""
    log = log_to(terminal.stream)

    def run() -> None:
        with show_progress(1, log) as shown, shown.follow_participant("sub-01") as lines:
            lines.set_steps(STEPS)
            log.warning("logged")
            if ending:
                raise ending

    if ending:
        with pytest.raises(ending):
            run()
    else:
        run()
    log.warning("after")
    assert terminal.shows() == ["logged", "after"]
    assert "\x1b[?25l" not in terminal.output.rpartition("\x1b[?25h")[2], "the cursor is visible"


def test_the_lines_live_by_themselves(terminal):
    """While a step runs for long its seconds go on, with nobody calling."""
    log = log_to(terminal.stream)
    with show_progress(1, log) as shown, shown.follow_participant("sub-01") as lines:
        lines.set_steps(STEPS)
        lines(node(STEPS[0]), "start")
        time.sleep(1.6)
        assert re.search(r"running: ses-a dwi fit \([12] s\)", terminal.shows()[-1])


def test_a_narrower_window_is_followed(terminal):
    """Lines are cut to the width of the window, also when it changes."""
    log = log_to(terminal.stream)
    with show_progress(1, log) as shown, shown.follow_participant("sub-01") as lines:
        lines.set_steps([f"ses_a.dwi.a_step_of_a_long_name_{i}" for i in range(9)])
        terminal.resize(30)
        lines(node("ses_a.dwi.a_step_of_a_long_name_1"), "start")
        time.sleep(1.2)
        rows = terminal.shows()
    assert rows[-1].startswith("running: ses-a dwi a-step")
    assert all(len(line) <= 30 for line in rows[-3:])


def test_no_color_and_an_old_encoding(terminal, monkeypatch):
    """With NO_COLOR nothing is coloured; where there is only ASCII, ASCII is drawn."""
    monkeypatch.setenv("NO_COLOR", "1")
    old = Terminal(encoding="ascii")
    for window in (terminal, old):
        log = log_to(window.stream)
        with show_progress(1, log) as shown, shown.follow_participant("sub-01") as lines:
            lines.set_steps(STEPS)
            lines(node(STEPS[0]), "start")
            lines(node(STEPS[0]), "end")
            time.sleep(1.2)
            assert "1 of 4 steps" in window.shows()[0]
        assert not re.search(r"\x1b\[[\d;]*3\d[\d;]*m", window.output)
    assert old.output.isascii()
    assert not terminal.output.isascii()
    old.close()


@pytest.mark.parametrize("kind", ["dumb", "file"])
def test_without_a_moving_cursor_there_are_log_lines(terminal, monkeypatch, kind):
    """On a dumb terminal, and in a file, there is not one escape."""
    monkeypatch.setenv("TERM", "dumb" if kind == "dumb" else "xterm")
    stream = terminal.stream if kind == "dumb" else io.StringIO()
    log = log_to(stream)
    with show_progress(1, log) as shown, shown.follow_participant("sub-01") as lines:
        lines.set_steps(STEPS)
        lines(node(STEPS[0]), "start")
        lines(node(STEPS[0]), "exception")
    written = "\n".join(terminal.shows()) if kind == "dumb" else stream.getvalue()
    assert written.splitlines() == ["sub-01 (1 of 1)", "[1/4] sub-01 ses-a dwi fit: failed"]


def data_set(root, sessions: str):
    """Write a data set with a small diffusion series in each session."""
    write_description(root)
    bvalues = [0, 200, 400, 1000]
    noise = np.random.default_rng(0).normal(1, 0.01, (4, 4, 2, 4))
    series = (1000 * np.exp(-np.array(bvalues) * 1e-3) * noise).astype(np.float32)
    for name in sessions:
        write_dwi(root, f"sub-01/ses-{name}/dwi/sub-01_ses-{name}", series, bvalues)
    return root


def start(root, terminal, processes: int = 1, sessions: str = "a") -> subprocess.Popen:
    """Run the participant level with this terminal, in a group of its own."""
    words = [str(data_set(root / "bids", sessions)), str(root / "out"), "participant"]
    words += ["--no-motion-correction", "--skip-bids-validation", "--nprocs", str(processes)]
    command = [sys.executable, "-m", "bidsapp", *words]
    return subprocess.Popen(command, stderr=terminal.slave, start_new_session=True)


def test_a_run_lives_on_a_terminal(tmp_path, terminal):
    """The real thing: steps count up to the last one, and only the log is left."""
    terminal.resize(200)
    assert start(tmp_path, terminal).wait(120) == 0
    shown = terminal.shows()
    assert "missing: no T1w" in shown[0]
    assert not any("steps" in line for line in shown)
    assert shown[-3].endswith("1 of 1 participants without failure")
    assert shown[-2].endswith("no failures and no warnings")
    assert shown[-1].endswith(f"page: {tmp_path / 'out' / 'sub-01.html'}")
    counted = re.findall(r"(\d+) of (\d+) steps", terminal.output)
    assert counted[0][0] == "0"
    assert counted[-1][0] == counted[-1][1] != "0"


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c_leaves_the_terminal_clean(tmp_path, terminal, processes):
    """An interrupted run ends with 130 and one line that states it; its workers print nothing."""
    terminal.resize(200)
    # many sessions, so that the run still goes on when its first steps have been drawn
    run = start(tmp_path, terminal, processes, "abcdefghijkl")
    while not re.search(r"[1-9]\d* of \d+ steps", terminal.output):
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(60) == 130
    shown = terminal.shows()
    assert len(shown) == 1
    assert "stopped by SIGINT: completed results are kept" in shown[0]


@pytest.mark.parametrize("size", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("speed", [0.3, 1.0, 4.0])
def test_kinds_that_have_not_run_follow_speed_and_size_of_the_images(speed, size):
    """After three kinds of six in a run, slower or of other images: the rest to a sixth."""
    typical = {"a": (20, 20), "b": (20, 60), "c": (1, 5), "d": (2, 2), "e": (5, 25), "f": (10, 30)}
    expected = {
        k: speed * coarse * (fine / coarse) ** size for k, (coarse, fine) in typical.items()
    }
    clock = Clock()
    tally = Tally(1, clock, typical)
    tally.start_participant("sub-01")
    tally.set_steps("sub-01", [f"ses_a.{kind}" for kind in typical])
    for kind in "abc":
        tally.start_step("sub-01", f"ses_a.{kind}")
        clock.now += expected[kind]
        tally.end_step("sub-01", f"ses_a.{kind}")
    left = sum(expected[kind] for kind in "def")
    assert tally.seconds_left() == pytest.approx(left, rel=1 / 6)
