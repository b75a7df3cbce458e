"""Runs that are killed, stopped, doubled or changed: the next one ends as if nothing had been.

``python tests/faults.py`` brings twenty faults; here is one of each kind.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import nibabel as nib
import numpy as np
import pytest
from faults import (
    alive,
    check_whole,
    complete,
    finished,
    results,
    start,
    survive,
)
from filelock import FileLock, Timeout
from hostile import roi, write_study

from bidsapp.cli.main import main
from bidsapp.errors import NotWritable
from bidsapp.run.engine.locks import exclusive_lock
from bidsapp.study.read import read_output


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A study of one session and its undisturbed results, with the time that they took."""
    folder = tmp_path_factory.mktemp("calm")
    root = write_study(folder / "bids", ("a",))
    duration = complete(root, folder / "out")
    copy_results(folder / "out", folder / "copy")
    return root, folder / "out", results(folder / "out"), duration


def copy_results(out, copy):
    """Copy an output folder without what its steps have stored."""
    return shutil.copytree(out, copy, ignore=shutil.ignore_patterns(".work"))


@pytest.fixture
def kept(calm, tmp_path):
    """A copy of the undisturbed results and pages, without their work folder."""
    return copy_results(calm[1].parent / "copy", tmp_path / "out")


def run_here(root, out, *words, nprocs=1):
    """Run to the end in this process, for promises on steps and results and not on processes."""
    command = [str(root), str(out), "participant", *words, "--no-motion-correction"]
    assert main([*command, "--skip-bids-validation", "--nprocs", str(nprocs)]) == 0


def test_a_killed_run_is_completed_by_the_next(calm, tmp_path):
    """After kill -9 every file under its name is whole; the rerun repeats no finished step."""
    root, _, wanted, duration = calm
    code = survive(
        root,
        tmp_path / "out",
        wanted,
        0.7 * duration,
        signal.SIGKILL,
        whole=True,
        nprocs=1,
        short=True,
    )
    assert code in (-signal.SIGKILL, None)


def test_no_worker_outlives_a_killed_run(calm, tmp_path):
    """When the first process alone is killed its workers go too, and hold no lock on the rest.

    Its results, with two processes, are those of the undisturbed run with one, byte for byte.
    """
    root, _, wanted, duration = calm
    out = tmp_path / "out"
    how = {"whole": False, "nprocs": 2, "short": True}
    survive(root, out, wanted, 0.8 * duration, signal.SIGKILL, **how)
    assert alive(out) == []


def test_a_stopped_run_says_so(calm, tmp_path):
    """SIGTERM: exit 143; log, status and page state that the session is unfinished."""
    root, _, _, _ = calm
    out = tmp_path / "out"
    job = start(root, out)
    while not finished(out):
        assert job.poll() is None
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    code = job.wait(timeout=60)
    assert code == 143
    assert "stopped by SIGTERM" in out.with_suffix(".log").read_text()
    assert "did not finish; run it again" in (out / "sub-01.html").read_text()
    assert json.loads((out / "sub-01/log/status.json").read_text())["finished"] is False
    check_whole(out)


def test_group_reports_a_run_that_did_not_finish(kept):
    """Tables of a stopped run may be of two runs: the group level names the participant."""
    assert not any("did not finish" in text for text in read_output(kept).problems)
    status = kept / "sub-01/log/status.json"
    status.write_text(status.read_text().replace('"finished": true', '"finished": false'))
    outcome = "sub-01: its last run did not finish, so its values may be of different runs"
    assert any(outcome in text for text in read_output(kept).problems)


def test_an_unchanged_rerun_fits_nothing(calm, short_pages):
    """No step that computes is done again, whatever the number of processes and threads."""
    root, out, wanted, _ = calm
    before = finished(out)
    run_here(root, out, "--omp-nthreads", "2", nprocs=2)
    assert finished(out) == before
    assert results(out) == wanted


def branches(before, after):
    """Return the branches of the graph in which steps were done again or anew."""
    return {name.split("/")[4] for name, when in after.items() if before.get(name) != when}


def test_a_changed_option_recomputes_what_depends_on_it(calm, short_pages):
    """Another range of b-values is a matter of the DWI alone; taken back, results are as before."""
    root, out, wanted, _ = calm
    before = finished(out)
    run_here(root, out, "--b-max", "600")
    assert branches(before, finished(out)) == {"dwi"}
    assert results(out).keys() == wanted.keys()
    assert results(out) != wanted
    run_here(root, out)
    assert results(out) == wanted


def test_a_changed_input_recomputes_what_depends_on_it(calm, short_pages):
    """Another ROI of the DCE touches no fit; the same file at another time, nothing."""
    root, out, wanted, _ = calm
    path = roi(root, "space-dce_seg-enhancing_dseg.nii.gz")
    content, before = path.read_bytes(), finished(out)
    path.unlink()
    path.write_bytes(content)
    run_here(root, out)
    assert finished(out) == before
    label = nib.load(path)
    fewer = np.asarray(label.dataobj).copy()
    fewer[2] = 0
    nib.save(nib.Nifti1Image(fewer, label.affine, label.header), path)
    run_here(root, out)
    again = {name for name, when in finished(out).items() if before.get(name) != when}
    assert again
    assert all("/dce/" in name and "fit" not in name for name in again)
    assert results(out) != wanted
    path.write_bytes(content)
    run_here(root, out)
    assert results(out) == wanted


def test_what_is_complete_is_kept_when_the_work_folder_is_gone(calm, kept, capsys, short_pages):
    """As on a cluster's scratch disk. A result that is lost or altered is made again."""
    root, _, wanted, _ = calm
    run_here(root, kept)
    assert "sub-01: complete since" in capsys.readouterr().err
    assert finished(kept) == {}
    altered = next(kept.rglob("*_param-ve_dcemap.nii.gz"))
    altered.write_bytes(altered.read_bytes()[:-9])
    run_here(root, kept)
    assert finished(kept)
    assert results(kept) == wanted


def test_a_page_that_is_lost_or_altered_is_built_again(calm, kept):
    """Page, figures and viewer belong to what is complete; nothing is computed for them."""
    page = (kept / "sub-01.html").read_bytes()
    (kept / "sub-01.html").write_bytes(page + b"altered")
    shutil.rmtree(kept / "sub-01/figures")
    run_here(calm[0], kept)
    assert (kept / "sub-01.html").read_bytes() == page
    assert list((kept / "sub-01/figures").iterdir())
    assert finished(kept) == {}


def test_the_record_tells_what_results_were_made_of(calm, kept):
    """Each file of the session by its hash, options that matter, and each result by its hash."""
    root, _, wanted, _ = calm
    record = json.loads((kept / "sub-01/log/completion.json").read_text())
    read = {path.relative_to(root).as_posix() for path in root.rglob("sub-01/ses-a/*/*.*")}
    assert read
    assert record["inputs"].keys() == read
    assert record["options"]["b_min"] == 200
    assert not record["options"].keys() & {"bids_dir", "nprocs", "work_dir"}
    own = {name: value for name, value in wanted.items() if name.startswith("sub-01/")}
    assert own.items() <= record["outputs"].items()
    assert "sub-01/ses-a/dwi/sub-01_ses-a_dwi.bval" in record["inputs"]
    assert (
        record["inputs"]["sub-01/ses-a/dwi/sub-01_ses-a_dwi.bval"]
        in (kept / "sub-01.html").read_text()
    ), "the page shows it"


def test_two_runs_at_once_end_like_one(calm, tmp_path):
    """On the same folder and participant the second waits for the first; results are the same."""
    root, _, wanted, _ = calm
    out = tmp_path / "out"
    both = [start(root, out, short=True) for _ in range(2)]
    assert [run.wait(timeout=300) for run in both] == [0, 0]
    assert (
        "another run is using this folder; waiting for it to end"
        in out.with_suffix(".log").read_text()
    )
    assert results(out) == wanted


def test_participants_side_by_side_end_like_one_after_the_other(tmp_path, short_pages):
    """Two jobs with a participant each give what one job with both gives, in either order."""
    root = write_study(tmp_path / "bids", ("a",))
    write_study(root, ("a",), label="02")
    run_here(root, tmp_path / "one")
    two = tmp_path / "two"
    jobs = [start(root, two, "--participant-label", x, short=True) for x in ("02", "01")]
    assert [job.wait(timeout=300) for job in jobs] == [0, 0]
    assert results(two) == results(tmp_path / "one")


def test_a_lock_is_waited_for(tmp_path):
    """The second run reports that it waits, and continues when the first ends."""
    said, order = [], []
    lock = tmp_path / "sub-01" / "lock"
    waiting = threading.Event()

    def second():
        with exclusive_lock(lock, lambda text: (said.append(text), waiting.set())):
            order.append("second")

    with exclusive_lock(lock, said.append):
        other = threading.Thread(target=second)
        other.start()
        assert waiting.wait(10)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
    assert said == [f"{lock.parent}: another run is using this folder; waiting for it to end"]


HOLDER = """
import multiprocessing, os, sys, time
from pathlib import Path
from bidsapp.run.engine.locks import exclusive_lock

with exclusive_lock(Path(sys.argv[1]), print):
    def work():  # its number is printed once its inherited descriptors are closed
        print(os.getpid(), flush=True)
        time.sleep(60)

    multiprocessing.get_context("fork").Process(target=work).start()
    time.sleep(60)
"""


def test_a_living_worker_does_not_hold_the_lock_of_a_killed_run(tmp_path):
    """After kill -9 of the process that holds a lock it is free, though its worker lives on."""
    lock, said = tmp_path / "lock", []
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        worker = int(run.stdout.readline())
        with pytest.raises(Timeout):
            FileLock(lock).acquire(blocking=False)
        run.kill()
        run.wait()
        os.kill(worker, 0)  # it lives
        with exclusive_lock(lock, said.append):
            assert said == []
        os.kill(worker, signal.SIGKILL)


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    """Where nothing can be locked the run continues, with a warning."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    said = []
    with exclusive_lock(tmp_path / "lock", said.append):
        pass
    assert said == [
        f"{tmp_path}: cannot be locked (No locks available); do not run the same participant twice "
        "at the same time"
    ]


def test_a_lock_that_cannot_be_created_ends_the_run(tmp_path):
    """A folder that cannot be written is an error, not a run without a lock."""
    (tmp_path / "file").touch()
    lock = exclusive_lock(tmp_path / "file" / "lock", print)
    with pytest.raises(NotWritable, match="cannot be written"), lock:
        pass
