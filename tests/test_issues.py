"""What a run reports: the same issues in status.json, on the terminal and in the exit code."""

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from bidsapp.bids import outputs
from bidsapp.bids.derivatives import to_tsv
from bidsapp.bids.records import Diffusion, Participant, Session
from bidsapp.cli.conclusion import conclude
from bidsapp.config import Config
from bidsapp.errors import BadInput, NotWritable, WorkerKilled
from bidsapp.issues import NOT_ENHANCING, Issue, by_gravity, exit_code, from_error, read_issues
from bidsapp.run.crashes import read_crashes
from bidsapp.run.result_checks import result_warnings
from bidsapp.study.read.status import (
    collect_issues,
    describe_failures,
    read_statuses,
    warnings_beside,
)

PLACE = {"participant": "sub-01", "session": "ses-a"}
WARNING = Issue("warning", "the header is odd", "DoubtfulInput", **PLACE)
FAILURE = Issue("failed", "no signal (see crash-x.txt)", "FitError", step="dwi fit", **PLACE)


def beside(found, session="ses-a", lesion=2, participant="sub-01"):
    """Return the words beside the values of one lesion."""
    keys = {"participant_id": [participant], "session_id": [session], "lesion": [lesion]}
    return warnings_beside(pd.DataFrame(keys), found)[0]


def test_what_is_stored_is_read_again():
    """An issue survives status.json with all that it holds."""
    stored = json.loads(json.dumps([WARNING.as_dict(), FAILURE.as_dict()]))
    assert read_issues("sub-01", {"ses-a": {"issues": stored}}) == [WARNING, FAILURE]


@pytest.mark.parametrize(
    ("marks", "dropped", "words"),
    [
        ("0100", False, "1 of 4 volumes are outliers of motion and are included in the fits"),
        ("0100", True, None),
        ("0000", False, None),
    ],
)
def test_outliers_that_were_fitted_are_warned_of_beside_the_lesions(
    tmp_path, marks, dropped, words
):
    """They may change f or an arterial peak by more than a tenth; excluded ones do not."""
    session = Session("01", "a", diffusion=Diffusion(Path("x_dwi.nii.gz"), (0, 0, 9, 9), None))
    path = tmp_path / outputs.MOTION.path(session, "dwi")
    path.parent.mkdir(parents=True)
    path.write_bytes(to_tsv(["outlier"], [{"outlier": int(mark)} for mark in marks]))
    config = Config(tmp_path, tmp_path, tmp_path, "run", drop_outliers=dropped)
    found = result_warnings(Participant("01", (session,)), config)
    assert bool(beside(found)) == (words is not None)
    assert words is None or beside(found).startswith(f"x_dwi.nii.gz: {words}")


def measured(tmp_path, datatype="perf", **row):
    """Return the warnings of a session with one lesion value, as if its graph had run."""
    session = Session("01", "a")
    path = tmp_path / outputs.LESION_VALUES.path(session, datatype, model="x")
    path.parent.mkdir(parents=True)
    cells = {"lesion": 2, "model": "x", "n_voxels": 100, "n_failed": 0} | row
    path.write_bytes(to_tsv(list(cells), [cells]))
    config = Config(tmp_path, tmp_path, tmp_path, "run")
    return result_warnings(Participant("01", (session,)), config)


@pytest.mark.parametrize(
    ("parameter", "mean", "error", "words"),
    [
        ("ve", 1.2, "n/a", "mean ve of 1.2 exceeds 1, which is impossible"),
        ("ve", 0.9, 0.01, ""),
        ("kep", 1.2, 0.01, ""),
        ("f", "n/a", "n/a", ""),
        ("f", -0.03, 0.02, ""),
        ("f", -0.05, 0.02, "mean f of -0.05 is below 0, which is impossible"),
        ("vp", 0.45, 0.01, "mean vp of 0.45 is above 0.3, which no lesion of the brain has"),
        ("vp", 0.31, 0.01, ""),
        ("Ktrans", -0.01, 0.001, "mean Ktrans of -0.01 1/min is below 0"),
        ("ADC", 1e-4, 1e-6, "mean ADC of 0.0001 mm2/s is below 0.0002, which no lesion"),
        ("ADC", 2.9e-3, 1e-6, ""),
        ("D", 4e-3, 1e-6, "mean D of 0.004 mm2/s is above 0.0035"),
    ],
)
def test_an_impossible_lesion_value_is_warned_of_beside_it(tmp_path, parameter, mean, error, words):
    """Outside the range of a lesion by two standard errors; a missing value is none."""
    found = measured(tmp_path, parameter=parameter, mean=mean, standard_error=error)
    assert beside(found).startswith(f"lesion 2: {words}" if words else "")
    assert len(found) == bool(words)


@pytest.mark.parametrize(
    ("parameter", "failed", "error", "warned"),
    [
        ("ve", 9, 0.05, False),
        ("ve", 12, 0.005, False),
        ("ve", 12, 0.05, True),
        ("ve", 12, "n/a", True),
        ("ve", 30, 0.005, True),
        ("delay", 90, 0.05, False),
    ],
)
def test_a_mean_of_a_part_of_the_lesion_is_warned_of(tmp_path, parameter, failed, error, warned):
    """Over a tenth of the voxels without a value, unless the mean of the others is precise."""
    row = {"parameter": parameter, "mean": 0.1, "standard_error": error, "n_failed": failed}
    words = beside(measured(tmp_path, **row))
    assert words.startswith(f"lesion 2: {failed} % of its voxels have no valid ve (x)") == warned


def test_an_excluded_lesion_has_no_warning(tmp_path):
    """Its values are not used."""
    row = {"parameter": "f", "mean": 2, "standard_error": 0.1}
    assert measured(tmp_path / "used", **row, excluded=0)
    assert not measured(tmp_path / "excluded", **row, excluded=1)


def test_a_warning_of_a_lesion_is_beside_that_lesion_only(tmp_path):
    """Through status.json, while a warning of the session is beside each of its lesions."""
    found = (*measured(tmp_path, parameter="f", mean=2, standard_error=0.1), WARNING)
    stored = json.loads(json.dumps([issue.as_dict() for issue in found]))
    again = read_issues("sub-01", {"ses-a": {"issues": stored}})
    assert beside(again, lesion=1) == "the header is odd"
    assert beside(again, lesion=2).startswith("lesion 2: mean f of 2 exceeds 1")


def test_the_status_of_version_0_1_is_read():
    """Its lists of texts give the same issues, without a code; a crash names its step."""
    old = {
        "failed": ["dwi fit: no signal (see crash-x.txt)", "no AIF mask"],
        "warnings": ["the header is odd"],
        "missing": ["no T1w: native space"],
    }
    crash, failure, warning, missing = read_issues("sub-01", {"ses-a": old})
    assert (crash.step, str(crash)) == ("dwi fit", old["failed"][0])
    assert (failure.step, failure.text) == ("", "no AIF mask")
    assert [i.level for i in (failure, warning, missing)] == ["failed", "warning", "missing"]


def test_group_reads_both_forms(tmp_path):
    """Warnings come before what was not done, one row a session, in either form."""
    log = tmp_path / "sub-01" / "log"
    log.mkdir(parents=True)
    new = {"issues": [FAILURE.as_dict(), WARNING.as_dict()]}
    old = {"failed": ["no DWI"], "warnings": ["odd"], "missing": ["no ROI"]}
    (log / "status.json").write_text(json.dumps({"sessions": {"ses-a": new, "ses-b": old}}))
    found = collect_issues(read_statuses(tmp_path))
    assert describe_failures(found) == [
        "sub-01 ses-a: not done: dwi fit: no signal (see crash-x.txt)",
        "sub-01 ses-b: not done: no DWI",
    ]
    assert {session: beside(found, session) for session in ("ses-a", "ses-b")} == {
        "ses-a": "the header is odd; not done: dwi fit: no signal (see crash-x.txt)",
        "ses-b": "odd; not done: no DWI",
    }


@pytest.mark.parametrize(
    ("lines", "code", "text"),
    [
        ("bidsapp.errors.BadInput: dwi.nii: is empty", "BadInput", "dwi.nii: is empty"),
        ("bidsapp.errors.WorkerKilled: out of memory", "WorkerKilled", "out of memory"),
        ("ValueError: shapes differ", "ValueError", "ValueError: shapes differ"),
        (
            "OSError: [Errno 28] No space left on device\n\nFileNotFoundError: result.pklz",
            "NotWritable",
            "OSError: [Errno 28] No space left on device",
        ),
        ("", "", "no reason given"),
    ],
)
def test_a_crash_is_an_issue_with_the_class_of_its_error(lines, code, text, tmp_path):
    """The exit code follows from the class, not from the words; a full disk comes first."""
    crash = tmp_path / "crash-1.txt"
    crash.write_text(f"Node: sub_01.ses_b.dwi.fit_ivim\n\nTraceback\n\t{lines}\n")
    (issue,) = read_crashes(tmp_path, (Session("01", "a"), Session("01", "b")))
    assert (issue.code, issue.text) == (code, f"{text} (see crash-1.txt)")
    assert (issue.place, issue.step) == ("sub-01 ses-b", "dwi fit_ivim")


def test_exit_codes_follow_from_the_failures():
    """0 without one, 1 for any, and the code of an error after which a run may succeed."""
    assert exit_code([WARNING]) == 0
    assert exit_code([WARNING, FAILURE]) == 1
    killed, full = from_error(WorkerKilled("out of memory")), from_error(NotWritable("full"))
    assert exit_code([FAILURE, full]) == NotWritable.exit_code == 73
    assert exit_code([killed, FAILURE]) == WorkerKilled.exit_code == 75
    assert from_error(BadInput("x")).code == "BadInput"


def test_the_gravest_comes_first_and_nothing_twice():
    """Failures, warnings, what is missing, notes; else in their order."""
    note = Issue("note", "n")
    assert by_gravity([note, WARNING, FAILURE, WARNING]) == [FAILURE, WARNING, note]


def test_the_last_lines_count_warnings_and_name_the_page(monkeypatch, tmp_path):
    """How many there are, the gravest of them, and the absolute path of the pages."""
    messages: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: messages.append(record.getMessage())
    log = logging.getLogger("metperf")
    monkeypatch.setattr(log, "handlers", [handler])
    log.setLevel(logging.INFO)
    assert conclude([WARNING, WARNING], [tmp_path / "sub-01.html"]) == 0
    assert conclude([WARNING, FAILURE], [tmp_path / f"sub-0{n}.html" for n in (1, 2)]) == 1
    assert messages == [
        "no failures and 1 warning",
        "most severe: sub-01 ses-a: the header is odd",
        f"page: {tmp_path / 'sub-01.html'}",
        "exit 1: failures in sub-01",
        "1 failure and 1 warning",
        "most severe: sub-01 ses-a: dwi fit: no signal (see crash-x.txt)",
        f"2 pages: {tmp_path / 'sub-*.html'}",
    ]


@pytest.mark.parametrize(
    ("lesion", "median", "warned"),
    [(0.1, 0.02, False), (0.02, 0.02, True), (-0.01, 0.02, True), (0.01, -0.01, False)],
)
def test_a_lesion_that_does_not_enhance_is_warned_of(tmp_path, lesion, median, warned):
    """The curve of an "enhancing" ROI in healthy tissue is that of the head's median."""
    session = Session("01", "a", dynamic=SimpleNamespace(image=Path("x_dce.nii.gz")))
    path = tmp_path / outputs.LESION_CURVES["perf"].path(session, "perf")
    path.parent.mkdir(parents=True)
    rows = [
        {"time": t, "lesion-2": lesion, "lesion-2_fit": 9, "lesion-3": 1.0, "median": median}
        for t in range(3)
    ]
    path.write_bytes(to_tsv(list(rows[0]), rows))
    found = [
        issue
        for issue in result_warnings(
            Participant("01", (session,)), Config(tmp_path, tmp_path, tmp_path, "run")
        )
        if issue.code == NOT_ENHANCING
    ]
    assert [str(issue).split(":")[0] for issue in found] == ["lesion 2"] * warned
    assert all("is its ROI mirrored" in str(issue) for issue in found)
