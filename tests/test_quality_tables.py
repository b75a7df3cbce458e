"""Quality of every series: the table of a participant, and outlying series in the group."""

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from test_reports import write_derivatives

from bidsapp.reports.group.quality import find_outlying
from bidsapp.reports.participant import noise
from bidsapp.reports.participant.noise import signal_to_noise
from bidsapp.reports.participant.quality import quality_rows
from bidsapp.reports.participant.records import read_participant
from bidsapp.run.quality_table import COLUMNS, write_quality
from bidsapp.study.read import read_quality


@pytest.fixture(scope="module")
def derivatives(tmp_path_factory):
    return write_derivatives(tmp_path_factory.mktemp("quality"))


def test_a_row_for_every_series(derivatives):
    """Motion, registration and failed voxels of each series that ran, with the T1w's own row."""
    rows = quality_rows(read_participant(derivatives, "01"))
    kinds = [(row["session_id"], row["series"]) for row in rows]
    assert ("ses-baseline", "DWI") in kinds
    assert ("ses-1week", "DCE") in kinds
    assert ("ses-followup", "DWI") not in kinds
    dwi = rows[kinds.index(("ses-1week", "DWI"))]
    assert (dwi["n_volumes"], dwi["max_displacement_mm"]) == (12, pytest.approx(0.1))
    assert dwi["failed_percent"] >= 0


def test_the_group_reads_what_the_participant_wrote(derivatives, tmp_path):
    """Numbers are read as numbers; a damaged table is named and the others are read."""
    write_quality(read_participant(derivatives, "01"))
    table, problems = read_quality(derivatives, COLUMNS)
    assert problems == ()
    assert list(table) == list(COLUMNS)
    assert table["n_volumes"].dropna().unique().tolist() == [12]
    described = json.loads((derivatives / "sub-01/sub-01_quality.json").read_text())
    assert set(described) == set(COLUMNS)
    (tmp_path / "sub-02").mkdir()
    (tmp_path / "sub-02/sub-02_quality.tsv").write_text("participant_id\n")
    table, problems = read_quality(tmp_path, COLUMNS)
    assert table.empty
    assert problems == (
        "sub-02/sub-02_quality.tsv: the table has no rows; run the participant again",
    )


def test_an_unreadable_file_is_reported(tmp_path):
    """With a damaged motion table its values are missing, and the row names the file."""
    folder = write_derivatives(tmp_path)
    for path in folder.rglob("*ses-1week*_desc-motion_timeseries.tsv"):
        path.write_bytes(b"\xff\n?\t\n")
    rows = quality_rows(read_participant(folder, "01"))
    dwi = next(r for r in rows if (r["session_id"], r["series"]) == ("ses-1week", "DWI"))
    assert "n_volumes" not in dwi
    assert "desc-motion_timeseries.tsv: " in dwi["reason"]
    assert "UTF-8" in dwi["reason"]


def rows(**columns: list[object]) -> pd.DataFrame:
    """Ten good DWI, with some columns of their own."""
    rng = np.random.default_rng(0)
    table = {
        "series": ["DWI"] * 10,
        "verdict": ["good"] * 10,
        "expected_error_mm": rng.normal(0.1, 0.01, 10),
        "consistency_mm": [np.nan] * 10,
        "max_displacement_mm": rng.normal(0.3, 0.05, 10),
        "n_outliers": [0] * 10,
        "signal_to_noise": rng.normal(40, 2, 10),
        "failed_percent": [0.0] * 10,
    }
    return pd.DataFrame(table | columns)


def test_similar_series_are_not_outlying():
    """Ordinary scatter is not flagged."""
    assert find_outlying(rows()) == [[]] * 10


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("expected_error_mm", 0.5),
        ("consistency_mm", 1.5),
        ("max_displacement_mm", 1.2),
        ("signal_to_noise", 10.0),
        ("failed_percent", 20.0),
        ("verdict", "doubtful"),
    ],
)
def test_poor_series_and_no_others_are_outlying(column, value):
    """A value beyond its limit or far on the poor side, or a doubtful registration."""
    table = rows()
    table.loc[3, column] = value
    assert find_outlying(table) == [[]] * 3 + [[column]] + [[]] * 6


def test_far_on_the_good_side_is_not_outlying():
    """Less motion or more signal than in the others is not flagged."""
    table = rows()
    table.loc[3, ["max_displacement_mm", "signal_to_noise"]] = [0.0, 90.0]
    assert find_outlying(table) == [[]] * 10


def test_each_series_is_compared_with_its_own_kind():
    """The error of a DCE registration is not compared with those of DWI."""
    table = rows()
    table.loc[5:, "series"] = "DCE"
    table.loc[5:, "expected_error_mm"] = [0.5, 0.51, 0.49, 0.52, 0.5]
    assert find_outlying(table) == [[]] * 10


def test_an_exact_fit_has_no_signal_to_noise_ratio(tmp_path, monkeypatch):
    """Two b-values determine the fit: what remains is rounding, not noise."""
    for name, value in (("S0", 800.0), ("rmse", 1e-13), ("noisy", 20.0)):
        image = nib.Nifti1Image(np.full((4, 4, 4), value, np.float32), np.eye(4))
        nib.save(image, tmp_path / f"{name}.nii")
    monkeypatch.setattr(noise.outputs, "parameter_map", lambda _, name, __: name)

    def ratio(residual):
        files = {"S0": "S0.nii", "rmse": f"{residual}.nii"}
        return signal_to_noise(SimpleNamespace(find=lambda name: tmp_path / files[name]))

    assert ratio("rmse") is None
    assert ratio("noisy") == 40


def test_air_is_not_part_of_the_signal_to_noise_ratio(tmp_path, monkeypatch):
    """Without a T1w no mask leaves out the air, which is most of the image."""
    signal = np.full((8, 8, 8), 20.0, np.float32)
    signal[:3] = 800.0
    for name, data in (("S0", signal), ("rmse", np.full_like(signal, 20.0))):
        nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / f"{name}.nii")
    monkeypatch.setattr(noise.outputs, "parameter_map", lambda _, name, __: name)
    session = SimpleNamespace(find=lambda name: tmp_path / f"{name}.nii")
    assert signal_to_noise(session) == 40
