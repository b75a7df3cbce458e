"""The study from raw data to p values on a small phantom, as `scripts/demo` runs it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp.bids.validate import describe_issue, run_validator
from bidsapp.cli.main import main
from bidsapp.phantom.cohort import draw_cohort, study_rows

RECORDED = Path(__file__).parent / "data" / "end_to_end" / "lesions.tsv"

TIMEPOINTS = ("baseline=baseline", "1month=1month")

PERCENT = {"vp": 100, "ve": 100, "Ktrans": 1, "ADC": 1e3, "f": 1}
"""What brings our units to those of the study's table."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Write a participant with three lesions, analyse it with two processes, and run the group.

    The lesions are those of the first two participants of seed 7: three, the fewest that give a
    test, in half of the sessions. Two sessions have series, a third has a T1w only.
    """
    root = tmp_path_factory.mktemp("study")
    first, second = map(pd.DataFrame, map(study_rows, draw_cohort(2, seed=7)))
    second = second.assign(participant_id="sub-01", lesion=3, days_from_srs=first.days_from_srs)
    lesions = pd.concat([first, second]).query("session_id != 'ses-1week'")
    lesions.to_csv(root / "lesions.tsv", sep="\t", index=False, na_rep="n/a")
    cohort = ["--cohort", str(root / "lesions.tsv"), "--seed", "7"]
    assert main(["phantom", str(root / "bids"), *cohort]) == 0
    words = [str(root / "bids"), str(root / "out")]
    assert main([*words, "participant", "--sloppy", "--nprocs", "2"]) == 0
    assert main([*words, "group", "--timepoints", *TIMEPOINTS]) == 0
    return root


def table(path: Path) -> pd.DataFrame:
    return pd.read_table(path, na_values="n/a")


def with_truth(
    study: Path, parameter: str, name: str = "roistats", column: str = "mean"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the measured value of each lesion and session."""
    keys = ["participant_id", "session_id", "lesion"]
    found = table(study / f"out/group_{name}.tsv")
    found = found[(found.parameter == parameter) & (found.roi == "enhancing")]
    truth = table(study / "bids/derivatives/truth/lesions.tsv")[[*keys, parameter]].dropna()
    both = truth.merge(found[[*keys, column]], on=keys)
    assert len(both) == len(truth)
    return both[parameter].to_numpy(), both[column].to_numpy() * PERCENT[parameter]


BIAS = {
    "Ktrans": (-0.45, -0.30),
    "ve": (-0.42, -0.28),
    "vp": (-0.20, 0.20),
    "ADC": (-0.05, 0.05),
    "f": (-0.35, -0.15),
}
"""Median of measured over true, less 1: tissue beside the lesion in its voxels lowers Ktrans and
ve (partial volume), and f."""


@pytest.mark.parametrize(
    ("parameter", "least"),
    [("vp", 0.95), ("Ktrans", 0.95), ("ADC", 0.95), ("f", 0.85), ("ve", 0.9)],
)
def test_lesion_means_follow_the_truth(study, parameter, least):
    """Over lesions and sessions the means correlate with the truth, and have their known bias."""
    truth, found = with_truth(study, parameter)
    assert np.corrcoef(truth, found)[0, 1] > least
    low, high = BIAS[parameter]
    assert low < np.median(found / truth - 1) < high


def test_lesion_values_are_the_recorded_ones(study):
    """Each mean and standard error of each lesion, session and parameter is within 2 %."""
    keys = ["participant_id", "session_id", "lesion", "roi", "model", "parameter"]
    recorded = table(RECORDED).set_index(keys).sort_index()
    found = table(study / "out/group_roistats.tsv").set_index(keys).sort_index()
    assert list(found.index) == list(recorded.index)
    for column in recorded:
        np.testing.assert_allclose(found[column], recorded[column], rtol=0.02, err_msg=column)


@pytest.mark.parametrize("parameter", ["Ktrans", "ve"])
def test_unmixed_values_are_closer_to_the_truth(study, parameter):
    """Without the tissue beside it, a lesion's error is less than half of that of its mean."""
    truth, means = with_truth(study, parameter)
    _, values = with_truth(study, parameter, "unmixed", "value")
    assert np.median(np.abs(values / truth - 1)) < 0.5 * np.median(np.abs(means / truth - 1))


def test_the_page_shows_both_values(study):
    """Beside its means, a lesion has the values of its own signal, with standard errors."""
    page = (study / "out/sub-01.html").read_text(encoding="utf-8")
    shown = page[page.index("Without the tissue that shares the voxels") :]
    rows = table(study / "out/group_unmixed.tsv").query("parameter == 'Ktrans'")
    for row in rows.itertuples():
        assert f"{row.value:.3f} ± {row.standard_error:.3f}" in shown


def test_the_group_compares_the_values_asked_for(study, tmp_path, tables_only):
    """``--lesion-values unmixed``: they are in the table of lesions, as the methods text states."""
    out = tmp_path / "out"
    shutil.copytree(study / "out", out, ignore=shutil.ignore_patterns("*.nii.gz", "*.html"))
    words = [str(study / "bids"), str(out), "group", "--timepoints", *TIMEPOINTS]
    assert main([*words, "--lesion-values", "unmixed"]) == 0
    keys = ["participant_id", "session_id", "lesion"]
    rows = table(out / "group_unmixed.tsv").query("parameter == 'Ktrans'").set_index(keys)
    found = table(out / "group_lesions.tsv").dropna(subset="Ktrans").set_index(keys)
    found = found.reindex(rows.index)
    np.testing.assert_allclose(found["Ktrans"], rows["value"])
    np.testing.assert_allclose(found["Ktrans_se"], rows["standard_error"])
    assert "separated from the tissue around" in (out / "logs/CITATION_group.md").read_text()


def test_every_test_of_the_study_is_there(study):
    """The paired table compares the five parameters between the two sessions, each with its n."""
    paired = table(study / "out/group_paired.tsv")
    pairs = paired.groupby("parameter")[["timepoint_a", "timepoint_b"]].apply(len)
    assert pairs.to_dict() == dict.fromkeys(PERCENT, 1)
    assert (paired["n"] == 3).all()
    assert paired["p"].between(0, 1).all()


def test_volumes_are_the_truths(study):
    """Whole-lesion volumes come out of the ROIs within 15 %, and the response is known."""
    truth = table(study / "bids/derivatives/truth/lesions.tsv")
    found = table(study / "out/group_roistats.tsv")
    found = found[found.parameter == "volume"]
    both = truth.merge(found, on=["participant_id", "session_id", "lesion"])
    np.testing.assert_allclose(both["mean"], both["volume_ml"], rtol=0.15, atol=0.1)
    assert table(study / "out/group_response.tsv")["response"].notna().all()


def test_output_is_valid_bids(study):
    """The validator finds no error in the derivatives."""
    issues = run_validator(study / "out")
    assert [describe_issue(i) for i in issues if i["severity"] == "error"] == []


def test_pages_are_complete(study):
    """Each participant and the group have a page; no page reports a failed step."""
    for name in ("sub-01", "group"):
        assert "</html>" in (study / f"out/{name}.html").read_text(encoding="utf-8")
    assert "Complete" in (study / "out/sub-01.html").read_text(encoding="utf-8")


def test_one_process_gives_the_same_tables(study, tmp_path):
    """One process and a new folder give the brain mask and volumes of two, byte for byte.

    For the tables of DWI and DCE this is seen in `test_faults`, on images of a few voxels.
    """
    without_series = tmp_path / "filter.json"
    without_series.write_text('{"dce": {"suffix": "none"}, "dwi": {"suffix": "none"}}')
    words = [str(study / "bids"), str(tmp_path / "out"), "participant", "--skip-bids-validation"]
    words += ["--session-label", "ses-baseline", "--bids-filter-file", str(without_series)]
    assert main([*words, "--sloppy", "--nprocs", "1"]) == 0
    session = tmp_path / "out/sub-01/ses-baseline"
    written = [*session.rglob("*_roistats.tsv"), *session.rglob("*_mask.nii.gz")]
    assert len(written) == 2
    for path in written:
        twin = study / "out" / path.relative_to(tmp_path / "out")
        assert path.read_bytes() == twin.read_bytes(), path.name
