"""The benchmark of lesion values: images with known truth, and tables of their errors."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from benchmarks.__main__ import main
from benchmarks.lesions import accuracy, images, participants
from benchmarks.lesions.cells import CELLS
from benchmarks.lesions.participants import lesion_table
from bidsapp.phantom.acquisition import ImageGrid
from bidsapp.phantom.cohort import RETEST
from bidsapp.phantom.scene import Scene

pytestmark = pytest.mark.benchmark

SIZE = 24


@pytest.fixture
def first_session(monkeypatch):
    """Simulate only the first session of each participant, and its repetition."""

    def shortened(draw):
        return lambda *given: [replace(p, sessions=p.sessions[:1]) for p in draw(*given)]

    for name in ("draw_cohort", "read_cohort"):
        monkeypatch.setattr(participants, name, shortened(getattr(participants, name)))


def ball_scene() -> Scene:
    """Return a ball of 6 mm in a uniform medium, on voxels of 1 mm."""
    distance = np.linalg.norm(np.indices((SIZE,) * 3) - (SIZE - 1) / 2, axis=0)
    inside = np.clip(6.5 - distance, 0, 1).ravel()
    weights = sparse.csc_array(np.stack([1 - inside, inside], axis=1).astype(np.float32))
    return Scene(np.eye(4), (SIZE,) * 3, ("medium", "ball"), weights)


@pytest.mark.parametrize("encoded", [0, 2, 3])
def test_an_image_keeps_the_volume_of_what_it_shows(encoded):
    """Means over boxes and Fourier images both contain all of the signal of a ball."""
    scene = ball_scene()
    grid = ImageGrid((12, 12, 6), np.diag([2.0, 2.0, 4.0, 1.0]))
    around = np.argwhere(scene.fraction("ball") > 0.5).astype(float)
    signals = np.array([[0.0], [1.0]])
    data, affine = images._mixture(scene, signals, around, grid, np.eye(4), encoded)
    volume = data.sum() * 16
    assert volume == pytest.approx(scene.fraction("ball").sum(), rel=0.01)
    centre = np.average(np.indices(data.shape[:3]).reshape(3, -1), axis=1, weights=data.ravel())
    place = affine[:3, :3] @ centre + affine[:3, 3]
    assert place == pytest.approx([(SIZE - 1) / 2] * 3, abs=0.02)


def test_a_fourier_image_is_exact_for_what_it_can_resolve():
    """A sine of long wavelength is sampled at the centres of the voxels without loss."""
    fine = np.sin(2 * np.pi * (np.arange(80) + 0.5) / 80)
    coarse = images._band_limited(fine, 0, 20)
    assert coarse == pytest.approx(np.sin(2 * np.pi * (np.arange(20) + 0.5) / 20), abs=1e-6)


def rows(session: str, truth: float, own: float, error: float) -> dict[str, object]:
    """Return a row of the table of lesions."""
    return {
        "participant": "sub-01",
        "lesion": 1,
        "session": session,
        "volume": 2.0,
        "parameter": "vp",
        "truth": truth,
        "mean": truth * 0.7,
        "own": own,
        "standard_error": error,
    }


def test_errors_and_coverage():
    """Errors are relative to the truth, and a truth outside of its interval is counted."""
    table = pd.DataFrame([rows("a", 1.0, 1.1, 0.1), rows("b", 1.0, 1.1, 0.04)])
    found = accuracy.errors(table, ["parameter"]).iloc[0]
    assert found["mean, median error"] == -30
    assert found["own, median absolute"] == 10
    assert found["coverage"] == 50


def test_changes_are_those_since_the_first_session():
    """The error of a change is that of the difference, and its variance the sum of both."""
    table = pd.DataFrame([rows("a", 1.0, 1.1, 0.1), rows("b", 2.0, 2.0, 0.1)])
    found = accuracy.change_errors(table).iloc[0]
    assert found["RMS error, mean"] == pytest.approx(0.3)
    assert found["RMS error, own"] == pytest.approx(0.1)
    assert found["coverage"] == 100


def test_scores_are_those_of_the_challenge():
    """A value of 1.5 for a truth of 0.5 has a CV of 0.5; identical repetitions score 1."""
    own = [rows(session, 0.5, 1.5, 0.1) for session in ("a", RETEST)]
    found = accuracy.scores(pd.DataFrame(own).assign(parameter="Ktrans")).set_index("estimate")
    assert found.loc["own", "accuracy"] == pytest.approx(np.exp(-0.5), abs=1e-3)
    assert found.loc["own", "repeatability"] == 1
    assert found.loc["mean", "accuracy"] == pytest.approx(np.exp(-0.3 / 1.7), abs=1e-3)


def test_a_decision_is_that_of_a_paired_t_test():
    """Three lesions that change by 1, 2 and 3: a mean of 2, and the p value of the t test."""
    table = pd.DataFrame(
        {**rows(session, 1.0 + n * later, 2.0, 0.1), "lesion": n}
        for n in (1, 2, 3)
        for session, later in (("a", 0), ("b", 1))
    )
    found = accuracy.decisions(table).iloc[0]
    assert found["truth, change"] == pytest.approx(2)
    assert found["truth, p"] == pytest.approx(stats.ttest_1samp([1, 2, 3], 0).pvalue)
    assert found["mean, change"] == pytest.approx(1.4)


def test_a_correlation_is_that_of_the_lesions_of_a_session():
    """Three lesions whose f is proportional to vp: r = 1 by the truth."""
    table = pd.DataFrame(
        {**rows("a", n * factor, float(n % 2), 0.1), "lesion": n, "parameter": name}
        for n in (1, 2, 3)
        for name, factor in (("f", 2.0), ("vp", 1.0))
    )
    found = accuracy.correlations(table).iloc[0]
    assert found["truth, r"] == pytest.approx(1)
    assert found["lesions"] == 3


def test_the_study_is_the_reference_cohort(first_session):
    """A participant of the cohort, with the true values of its table."""
    table = lesion_table(CELLS["study"], 1, jobs=1)
    first = table[(table["session"] == "ses-baseline") & (table["parameter"] == "Ktrans")].iloc[0]
    assert first["truth"] == pytest.approx(0.07324)


def test_the_challenge_is_scored_from_a_table(tmp_path, capsys):
    """Synthetic patients give the accuracy, the visits of clinical ones the repeatability."""
    path = tmp_path / "values.tsv"
    path.write_text(
        "patient\tvisit\tKtrans\ttruth\trepeated\n"
        "S1\t1\t0.1\t0.3\t0.1\nC1\t1\t0.2\tn/a\t0.2\nC1\t2\t0.2\tn/a\tn/a\n"
    )
    main(["osipi", str(path)])
    assert [float(cell) for cell in capsys.readouterr().out.splitlines()[-1].split("|")[1:-1]] == [
        round(np.exp(-0.5), 3), 1, 1, round(np.exp(-0.5), 3)]  # fmt: skip
    path.write_text("patient\tKtrans\n1\t2\n")
    with pytest.raises(SystemExit):
        main(["osipi", str(path)])
    assert "the table has no column visit" in capsys.readouterr().err


def test_a_cell_is_measured_from_a_participant_to_the_tables():
    """One participant, every lesion and parameter; the own value is nearer to the truth."""
    table = lesion_table(CELLS["exact"], 1, jobs=1)
    assert len(table) == 2 * 4 * 6
    found = accuracy.errors(table, ["parameter"]).set_index("parameter")
    assert found.loc["Ktrans", "own, median absolute"] < 10
    assert found.loc["Ktrans", "mean, median error"] < -20
    assert set(accuracy.change_errors(table)["pair"]) == {"repeated", "treated"}


def test_settings_of_a_cell_decide_the_values(first_session, monkeypatch):
    """Uneven lesions, veins, drawn edges and the point spread function change the lesion values."""
    monkeypatch.setattr(images, "_RINGING", np.array([2, 2, 1]))
    exact = lesion_table(CELLS["exact"], 1, jobs=1)
    other = lesion_table(replace(CELLS["all-fourier"], resolution="fast"), 1, jobs=1)
    assert (exact["truth"] == other["truth"]).all()
    assert (exact["own"] != other["own"]).all()
