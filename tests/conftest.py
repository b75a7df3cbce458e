"""Set up every test: no display, no network, a temporary home, one thread per library."""

import atexit
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import hypothesis
import pytest

collect_ignore = ["fuzz_atheris.py"]  # a script of its own, with a package of its own

# Set before any test module imports matplotlib, nipype or pybids; child processes inherit it.
HOME = Path(tempfile.mkdtemp(prefix="metperf-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ.update(
    HOME=str(HOME),
    MPLBACKEND="Agg",
    MPLCONFIGDIR=str(HOME / "matplotlib"),
    NO_ET="1",
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
)
# How long an example takes depends on the machine, not on the code. The examples are the same in
# every run: a rare one is found by `fuzz_atheris.py`, not by a run that happens to fail.
hypothesis.settings.register_profile("metperf", deadline=None, derandomize=True)
hypothesis.settings.load_profile("metperf")
settings = HOME / ".nipype" / "nipype.cfg"  # crash files go where a node ran otherwise
settings.parent.mkdir()
settings.write_text(f"[execution]\ncrashdump_dir = {HOME}\n", encoding="utf-8")

HEAVY = ["end_to_end", "faults", "phantom", "pages", "distortion_t1w", "registration", "group"]
HEAVY += ["reports", "models_contract", "hostile_study", "recovery_command", "distortion"]
HEAVY += ["register", "phantom_parts", "progress", "imaging_correction", "hostile_sidecars"]
HEAVY += ["cohort", "engine", "interfaces_niimath", "hostile_files", "imaging_matching", "spaces"]
HEAVY += ["fuzz", "stripped"]
"""Test files that take longest, in the order in which they start; all their tests are slow."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of `HEAVY` files, and run them first: the last file to end is a short one."""
    order = {f"test_{name}": place for place, name in enumerate(HEAVY)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    for item in items:
        if item.path.stem in order:
            item.add_marker("slow")


@pytest.fixture(autouse=True, scope="session")
def _no_sync() -> Iterator[None]:
    """Leave written files to the page cache: flushing them to disk guards against power failures.

    Runs that tests start as processes of their own, some of which are killed, do flush.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def empty_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose figures, but leave their files empty: drawing is most of the time of a page."""
    from matplotlib.image import imsave

    def save(figure: Any, target: IO[bytes], **options: Any) -> None:
        if options["format"] == "png":
            imsave(target, [[0]], format="png")
        else:
            target.write(b'<svg xmlns="http://www.w3.org/2000/svg"></svg>')

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)
    monkeypatch.setattr("bidsapp.reports.participant.page.webp_bytes", lambda png: png)


@pytest.fixture
def tables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the group level write its tables, but draw no figure and leave its page empty."""
    monkeypatch.setattr("bidsapp.run.group_files.plots", lambda *_: [])
    monkeypatch.setattr("bidsapp.run.group_files.build_group_page", lambda *_: "")


@pytest.fixture
def short_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build only the head of participants' pages, whose figures take most of a small run.

    Tests marked `whole_pages` look at more of the page than that.
    """
    if request.node.get_closest_marker("whole_pages"):
        return
    monkeypatch.setattr("bidsapp.reports.participant.page._blocks", lambda *_: ([], ""))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that connects to another machine; sockets on this machine are allowed."""
    connect = socket.socket.connect

    def local_only(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            pytest.fail(f"a test must not use the network; it asked for {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)
