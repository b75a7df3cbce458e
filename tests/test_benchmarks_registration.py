"""The registration benchmark: its pairs have the truth that they claim, and every topic runs."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from benchmarks import __main__ as bench
from benchmarks import report
from benchmarks.heads import SPOILT, STRESSES, Case, best_affine, draw, draw_case, error
from benchmarks.heads.spoilers import spoil
from benchmarks.registration import accuracy, engines, followups, quality, trials
from benchmarks.registration.trials import Trial
from benchmarks.settings import Settings
from bidsapp.errors import RegistrationError
from bidsapp.imaging.registration.recentring import recentre
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import apply, compose, invert, translation
from bidsapp.phantom.acquisition import ImageGrid, epi_displacement, sample_distorted

pytestmark = pytest.mark.benchmark

TINY = Settings(scale=0.0001, rough=True)


def toy(stress: str = "") -> Case:
    """Return a small pair that is shifted by known millimetres."""
    rng = np.random.default_rng(6)
    images = [
        nib.Nifti1Image(rng.integers(0, 900, (30, 30, 20)).astype(np.int16), np.diag([4, 4, 6, 1]))
        for _ in range(2)
    ]
    brain = np.zeros((30, 30, 20), np.uint8)
    brain[4:26, 4:26, 3:17] = 1
    lesion = np.zeros_like(brain)
    lesion[12:15, 12:15, 9:11] = 1
    masks = [nib.Nifti1Image(mask, images[1].affine) for mask in (brain, lesion)]
    truth = translation([3.0, -2.0, 5.0])
    points = [apply(images[1].affine, np.argwhere(mask)) for mask in (lesion, brain)]
    return Case(
        "dce", stress, 0, *images, *masks, truth, *points, *(apply(truth, p) for p in points)
    )


@pytest.mark.parametrize("kind", ["b0", "dce", "followup"])
def test_the_truth_lays_the_images_on_each_other(kind):
    """Brought onto the fixed image by the truth, the moving one resembles it most."""
    case = draw_case(kind, 1, rough=True)
    brain = np.asarray(case.fixed_mask.dataobj) > 0
    fixed = np.asarray(case.fixed.dataobj, float)

    def resemblance(matrix):
        data = np.asarray(case.moving.dataobj, np.float32)
        moved = resample(data, case.moving.affine, matrix, fixed.shape, case.fixed.affine)
        seen = brain & np.isfinite(moved)
        return abs(np.corrcoef(fixed[seen], moved[seen])[0, 1])

    best = resemblance(case.truth)
    assert best > 0.4
    for axis in np.eye(3):
        for shift in (-4, 4):
            assert resemblance(compose(case.truth, translation(shift * axis))) < best


def test_targets_follow_the_distortion():
    """A spot near the skull base appears at its target position, millimetres off the affine."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = [-30, 10, -60]
    spot = np.array([[4.0, 44.0, -27.0]])
    voxels = np.moveaxis(np.indices((70, 70, 70)), 0, -1)
    volume = np.exp(-(((apply(affine, voxels) - spot) ** 2).sum(axis=-1)) / 18).astype(np.float32)
    grid = ImageGrid(
        (35, 35, 70), compose(np.diag([2.0, 2.0, 1.0, 1.0]), translation([-30, 10, -60]))
    )
    shifts = epi_displacement(grid, np.eye(4), (1, 1, 1))
    image = sample_distorted(volume, affine, grid, np.eye(4), (1, 1, 1), shifts)
    weights = image / image.sum()
    seen = (
        apply(grid.affine, np.moveaxis(np.indices(grid.shape), 0, -1)) * weights[..., None]
    ).sum(axis=(0, 1, 2))
    (target,) = draw._targets(1.0, spot, grid, np.eye(4), np.eye(4))
    assert np.linalg.norm(target - spot) > 1.5
    assert np.linalg.norm(target - seen) < 0.2


def test_errors_of_a_distorted_pair():
    """The undistorted truth and the best affine matrix both leave a part of the distortion."""
    case = draw_case("b0", 1, rough=True)
    truth, best = error(case.truth, case), error(best_affine(case), case)
    assert truth.lesion_affine == pytest.approx(0, abs=1e-9)
    assert 0.01 < truth.brain < 0.5
    assert best.lesion == pytest.approx(best.floor)
    away = compose(case.truth, translation([0, 0, 50]))
    assert error(away, case).lesion_affine == pytest.approx(50)


@pytest.mark.parametrize("stress", [*STRESSES, *SPOILT])
def test_what_is_spoilt_keeps_its_truth(stress):
    """Headers, slices and masks may change; points and their targets still belong together."""
    case = spoil(toy(stress))
    assert error(case.truth, case).brain == pytest.approx(0, abs=1e-6)
    assert 0 < case.moving.shape[2] <= 20
    if case.fixed_mask is not None:
        inside = apply(invert(case.fixed_mask.affine), case.brain_points)
        assert (inside > -0.5).all()


def test_far_is_far():
    """The head is 250 mm from the isocentre in both headers, by the same displacement."""
    near, far = toy(), spoil(toy("far"))
    for name in ("moving", "fixed"):
        moved = getattr(far, name).affine[:3, 3] - getattr(near, name).affine[:3, 3]
        assert np.linalg.norm(moved) == pytest.approx(250, abs=5)


@pytest.fixture
def stub(monkeypatch):
    """Put a registration in place that is quick and finds nothing; few stresses."""

    def register(moving, fixed, *, metric, **_):
        if metric == "nmi":
            raise RegistrationError("not today")
        said = SimpleNamespace(expected_error_mm=0.1, verdict="good", reason="")
        return SimpleNamespace(matrix=np.eye(4), cost=-1.0, quality=said)

    monkeypatch.setattr(trials, "register", register)
    for topic in (accuracy, quality, followups):
        monkeypatch.setattr(topic, "STRESSES", ("slab",))
    monkeypatch.setattr(quality, "SPOILT", ("noise-only",))
    trials._run.cache_clear()
    yield
    trials._run.cache_clear()


@pytest.mark.parametrize("topic", bench.REGISTRATION)
def test_every_topic_writes_its_page(topic, stub, tmp_path):
    """A change of registration's interface cannot break a benchmark unseen."""
    section = bench.REGISTRATION[topic](TINY)
    page = report.write(topic, section, tmp_path, TINY.scale)
    assert report.assemble(bench.REGISTRATION, tmp_path).read_text().endswith(page.read_text())
    for name in section.figures:
        assert (tmp_path / f"{name}.png").stat().st_size > 8_000


def test_a_refusal_is_a_flagged_failure(stub):
    """Registration that refuses is infinitely wrong and flagged; a quiet error is not flagged."""
    refused, _ = trials.run(Trial("dce", 1, metric="nmi"), TINY)
    assert (refused["wrong"], refused["flagged"], refused["lesion"]) == (True, True, np.inf)
    assert refused["reason"] == "not today"
    quiet, _ = trials.run(Trial("dce", 1), TINY)
    assert (quiet["wrong"], quiet["flagged"]) == (True, False)
    table = pd.DataFrame([refused, quiet])
    (numbers,) = trials.summary(table, ["kind"]).to_dict("records")
    assert (numbers["n"], numbers["wrong"], numbers["wrong_unflagged"]) == (2, 2, 1)


def test_precision_and_recall():
    """Two of three flags are right, and two of four failures are flagged."""
    table = pd.DataFrame(
        {
            "verdict": ["failed", "doubtful", "doubtful", "good", "good", "good"],
            "wrong": [True, True, False, True, True, False],
        }
    )
    failed, either = quality.flags(table).to_dict("records")
    assert (failed["precision"], failed["recall"]) == (1.0, 0.25)
    assert (either["precision"], either["recall"]) == (pytest.approx(2 / 3), 0.5)


def test_a_peers_matrix_is_judged_where_the_images_are():
    """Engines work between recentred files; their errors are those of the images as they were."""
    trial = Trial("dce", 1)
    case = trials.case_of(trial, TINY.rough)
    centre = [10.0, -20.0, 30.0]
    shift = recentre(np.eye(4), centre)
    between = compose(invert(shift), case.truth, shift)
    outcome = [{"pair": "dce-1", "centre": centre}]
    found = {"peer": "p", "version": "1", "method": "m", "pair": "dce-1", "wall": 1.0, "cpu": 2.0}
    (good,) = engines._add_errors(found | {"matrix": between.tolist()}, [trial], outcome, TINY)
    assert good["lesion"] == pytest.approx(0, abs=1e-9)
    failure = {"peer": "p", "method": "m", "error": "no"}
    (bad,) = engines._add_errors(failure, [trial], outcome, TINY)
    assert bad["error"] == "no"


def test_our_registration_is_right_on_rough_heads():
    """The benchmark measures the project's own registration, which is neither wrong nor flagged."""
    record, matrix = trials.run(Trial("dce", 1), TINY)
    assert (record["wrong"], record["flagged"]) == (False, False)
    assert record["brain"] == error(matrix, trials.case_of(Trial("dce", 1), TINY.rough)).brain
    assert record["cpu_s"] > 0
