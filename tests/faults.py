"""Faults caused during a run, and the comparison afterwards; ``python tests/faults.py`` runs many.

Each run is a process of its own on the small study of `hostile`. A fault is kill -9 or SIGTERM, of
the whole run or of its first process only, at a moment drawn with a fixed seed.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from hostile import write_study

APP = str(Path(__file__).parent.parent / "run.py")
WITHOUT_SECTIONS = """
import sys
from bidsapp.cli.main import main
from bidsapp.reports.participant import page

page._blocks = lambda *_: ([], "")
sys.exit(main())
"""
"""The app, with pages that end after their heads, as with the fixture ``short_pages``."""
ENDINGS = (".tsv", ".nii.gz", ".json", ".txt", ".bval", ".bvec")


def start(
    root: Path, out: Path, *words: str, nprocs: int = 1, short: bool = False
) -> subprocess.Popen:
    """Start a run in a process group of its own; its messages are in ``<out>.log``."""
    app = ["-c", WITHOUT_SECTIONS] if short else [APP]
    command = [sys.executable, *app, str(root), str(out), "participant", *words]
    command += ["--no-motion-correction", "--skip-bids-validation", "--nprocs", str(nprocs)]
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def complete(root: Path, out: Path, *words: str, nprocs: int = 1, short: bool = False) -> float:
    """Run to the end without a fault; return how long it took, s."""
    began = time.monotonic()
    code = start(root, out, *words, nprocs=nprocs, short=short).wait(timeout=900)
    assert code == 0, out.with_suffix(".log").read_text()
    return time.monotonic() - began


def results(out: Path) -> dict[str, str]:
    """Return a digest of each result by its path; logs and pages name their run, and are none."""
    found = {}
    for path in sorted(out.rglob("*")):
        relative = path.relative_to(out)
        kept = path.is_file() and path.name.endswith(ENDINGS) and ".work" not in relative.parts
        if kept and "log" not in relative.parts:
            found[str(relative)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check_whole(out: Path) -> None:
    """Fail if a result under its final name cannot be read to its end."""
    for name in results(out):
        path = out / name
        if name.endswith(".json"):
            json.loads(path.read_text(encoding="utf-8"))
        elif name.endswith(".nii.gz"):
            np.asarray(nib.load(path).dataobj)
        elif name.endswith(".tsv"):
            assert path.read_text(encoding="utf-8").endswith("\n"), name


def finished(out: Path) -> dict[str, int]:
    """Return when each step that computes had finished, by its folder; steps that copy run anew."""
    marks = (out / ".work").rglob("_0x*.json")
    return {
        str(mark.parent.relative_to(out)): mark.stat().st_mtime_ns
        for mark in marks
        if not mark.name.endswith("_unfinished.json") and not mark.parent.name.startswith("save_")
    }


def disturb(
    root: Path,
    out: Path,
    moment: float,
    number: int,
    words: Sequence[str],
    *,
    whole: bool,
    nprocs: int,
) -> int | None:
    """Run, send a signal after so many seconds, and return the exit code; None if it had ended."""
    run = start(root, out, *words, nprocs=nprocs)
    try:
        run.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        if whole:
            os.killpg(run.pid, number)
        else:
            run.send_signal(number)
        return run.wait(timeout=60)
    return None


def survive(
    root: Path,
    out: Path,
    wanted: dict[str, str],
    moment: float,
    number: int,
    words: Sequence[str] = (),
    **how: bool | int,
) -> int | None:
    """Disturb a run and complete it; fail if results differ or finished steps were done again."""
    nprocs = int(how["nprocs"])
    code = disturb(root, out, moment, number, words, whole=bool(how["whole"]), nprocs=nprocs)
    check_whole(out)
    before = finished(out)
    complete(root, out, *words, nprocs=nprocs, short=bool(how.get("short")))
    after = finished(out)
    assert {k: after[k] for k in before} == before, "a finished step was done again"
    assert results(out) == wanted
    assert not list(out.rglob(".part-*"))
    return code


def alive(out: Path) -> list[str]:
    """Return the processes that still have an output folder in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(out).encode() in words:
            found.append(folder.name)
    return found


def moments(count: int, duration: float) -> Iterator[tuple[int, float]]:
    """Yield seeds and a moment for each, after the start of Python and before the end."""
    for seed in range(count):
        yield seed, random.Random(seed).uniform(0.3 * duration, duration)


def main() -> None:
    """Cause the requested number of faults, and print the outcome of each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--bids", type=Path, help="instead of the small study, which has no T1w")
    parser.add_argument("words", nargs="*", help="options of every run, after --")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = asked.bids or write_study(folder / "bids", ("a",))
        if not asked.bids:  # a second participant beside the first
            write_study(root, ("a",), label="02")
        words = asked.words
        complete(root, folder / "undisturbed", *words, nprocs=asked.nprocs)
        duration = complete(root, folder / "timed", *words, nprocs=asked.nprocs)
        wanted = results(folder / "undisturbed")
        assert results(folder / "timed") == wanted
        for seed, moment in moments(asked.kills, duration):
            number = signal.SIGTERM if seed % 4 == 3 else signal.SIGKILL
            out = folder / f"out{seed}"
            how = {"whole": seed % 2 == 0, "nprocs": asked.nprocs}
            code = survive(root, out, wanted, moment, number, words, **how)
            print(
                f"seed {seed}: {number.name} at {moment:.2f} s, exit {code}: survived", flush=True
            )


if __name__ == "__main__":
    main()
