"""Skull-stripped images, and what is done where a registration fails."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from heads import brain_points, error, grid, pose, scan, write
from scipy import ndimage

from bidsapp.bids import outputs
from bidsapp.bids.records import Session
from bidsapp.config import Config
from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging import register
from bidsapp.imaging.masks import grow
from bidsapp.imaging.registration.background import constant_background, extend
from bidsapp.imaging.registration.fallback import register_or_fall_back
from bidsapp.imaging.registration.prepare import prepare_pair
from bidsapp.imaging.registration.quality import Quality, Verdict
from bidsapp.imaging.registration.sampling import Image, as_image
from bidsapp.imaging.transforms import compose, translation
from bidsapp.run.nodes.registration import Register
from bidsapp.run.result_checks import result_warnings
from bidsapp.study.read.status import warnings_beside

T1W, B0 = grid((4, 4, 4)), grid((4, 4, 5), oblique=(10, 4, -6))
TRUTH = pose((5, -4, 6), (7, -5, 4))
INSIDE = scan("brain", T1W) > 0.5
BRAIN = nib.Nifti1Image(INSIDE.astype(np.uint8), T1W[0])
OPTIONS = {"transform": "rigid", "fixed_mask": BRAIN}


def image(kind, where, matrix=None, *, stripped=False):
    """Return a scan; stripped 4 mm within the brain, with zeros in place of the rest."""
    data = scan(kind, where, matrix, noise=4, seed=1)
    if stripped:
        zooms = np.linalg.norm(where[0][:3, :3], axis=0)
        brain = scan("brain", where, matrix) > 0.5
        data = np.where(ndimage.distance_transform_edt(brain, sampling=zooms) > 4, data, 0)
    return nib.Nifti1Image(data, where[0])


WHOLE, STRIPPED = image("t1w", T1W), image("t1w", T1W, stripped=True)


@pytest.mark.parametrize("moving_too", [False, True])
def test_a_stripped_t1w_is_registered_by_the_signed_correlation(moving_too):
    """The edge of the mask is no edge of the head: the b = 0 image is found as with the skull."""
    moving = image("b0", B0, TRUTH, stripped=moving_too)
    found = register(moving, STRIPPED, metric="lpc", **OPTIONS)
    assert error(found.matrix, TRUTH, brain_points()) < 0.5
    assert found.quality.verdict is Verdict.GOOD
    assert found.stripped == (("moving", "fixed") if moving_too else ("fixed",))


@pytest.mark.parametrize("metric", ["lpc", "lpa"])
def test_an_image_with_its_skull_is_not_called_stripped(metric):
    """Nor is air of one value treated as missing around a head: all voxels of the brain count."""
    air = ~grow(INSIDE, T1W[0], 16)
    fixed, moving = (np.where(air, 0, i.get_fdata()) for i in (WHOLE, image("dce", T1W)))
    found = prepare_pair(
        nib.Nifti1Image(moving, T1W[0]),
        None,
        nib.Nifti1Image(fixed, T1W[0]),
        BRAIN,
        inverted=metric == "lpc",
    )
    assert found.stripped == ()
    assert found.fixed_weight.data.sum() == INSIDE.sum()
    assert found.moving_weight is None


def test_other_metrics_use_the_edge_of_a_stripped_brain():
    """It has the same contrast in both images, which the absolute correlation can use."""
    moving = image("dce", B0, TRUTH, stripped=True)
    found = register(moving, STRIPPED, metric="lpa", initial=TRUTH, **OPTIONS)
    assert found.stripped == ()


def test_the_background_is_what_surrounds_the_head():
    """Air of one value, with the soft edge of a resampled mask; neither ventricles nor noise."""
    head_data = np.zeros((24, 24, 24), np.float32)
    head_data[6:18, 6:18, 6:18] = 100
    head_data[11:13, 11:13, 11:13] = 0
    soft = ndimage.gaussian_filter(head_data, 0.5)
    for data in (head_data, soft, head_data - 7):
        outside = constant_background(as_image(data, np.eye(4))).data > 0
        assert outside[:6].all()
        assert not outside[8:16, 8:16, 8:16].any()
    noise = np.random.default_rng(0).random((24, 24, 24))
    assert constant_background(as_image(head_data + noise, np.eye(4))) is None


def test_the_head_continues_into_its_background():
    """Next to the head are its values, far away its mean; the head itself does not change."""
    data = np.zeros((60, 40, 40), np.float32)
    data[:30], data[30:40] = 5, 9
    outside = Image((data == 0).astype(np.float32), np.eye(4))
    found = extend(Image(data, np.eye(4)), outside).data
    np.testing.assert_array_equal(found[:40], data[:40])
    assert (found[41] > 7.5).all()
    np.testing.assert_allclose(found[-1], 6, atol=0.1)


def test_a_mask_of_background_alone_is_refused():
    """A mask beside a stripped brain is an error in words."""
    beside = np.zeros(T1W[1], np.uint8)
    beside[:4, :4, :4] = 1
    with pytest.raises(BadInput, match="contains nothing but constant background"):
        register(WHOLE, STRIPPED, metric="lpc", fixed_mask=nib.Nifti1Image(beside, T1W[0]))


def test_a_wrong_assumption_of_contrasts_is_given_up():
    """Equal contrasts are registered by the absolute correlation, and the verdict is doubtful."""
    moving = image("dce", B0, TRUTH)
    found = register_or_fall_back(moving, STRIPPED, metric="lpc", **OPTIONS)
    assert error(found.matrix, TRUTH, brain_points()) < 0.5
    assert (found.metric, found.quality.verdict) == ("lpa", Verdict.DOUBTFUL)
    assert "because the signed one, for inverted contrasts, failed (" in found.quality.reason


def test_mirroring_is_named_only_where_it_is_credible():
    """Not for an impossible pose, nor if the images determine none; refused all the same."""
    mirrored = Quality(1.0, 5, 5, 1, expected_error_mm=0.3, mirror=1.4)
    assert mirrored.looks_mirrored
    assert "is one of the two images mirrored?" in mirrored.reason
    for change in ({"rotation_degrees": 49.0}, {"expected_error_mm": float("inf")}):
        lost = replace(mirrored, **change)
        assert lost.verdict is Verdict.FAILED
        assert not lost.looks_mirrored
        assert "mirrored?" not in lost.reason


def test_a_mirrored_image_is_mirrored_for_every_metric(monkeypatch):
    """No second attempt is made that might be accepted."""
    found = register(WHOLE, WHOLE, metric="lpp", initial=np.eye(4), **OPTIONS)
    mirrored = replace(found, quality=replace(found.quality, mirror=2.0))
    attempts = []

    def answer(*_, metric, **__):
        attempts.append(metric)
        return mirrored

    monkeypatch.setattr("bidsapp.imaging.registration.fallback.register", answer)
    assert register_or_fall_back(WHOLE, WHOLE, metric="lpp", **OPTIONS) is mirrored
    assert attempts == ["lpp"]


@pytest.fixture
def astray(monkeypatch):
    """Let every search of metperf end in an impossible pose; a start that is given is refined."""

    def search(*images, initial=None, **options):
        found = register(*images, initial=TRUTH if initial is None else initial, **options)
        if initial is not None:
            return found
        quality = replace(found.quality, rotation_degrees=49.0, mirror=1.02)
        return replace(found, matrix=compose(TRUTH, translation([99, 0, 0])), quality=quality)

    monkeypatch.setattr("bidsapp.imaging.registration.fallback.register", search)


def node(folder, monkeypatch, answer, **options):
    """Return what the node writes if niimath finds a given matrix."""
    monkeypatch.setattr("bidsapp.run.nodes.registration.allineate", lambda *_, **__: (answer, -1.0))
    inputs = {
        "moving": write(folder / "b0.nii", image("b0", B0, TRUTH).get_fdata(), B0[0]),
        "fixed": write(folder / "t1w.nii", STRIPPED.get_fdata(), T1W[0]),
        "fixed_mask": write(folder / "mask.nii", INSIDE.astype(np.uint8), T1W[0]),
    }
    found = Register(metric="lpc", transform="rigid", **inputs, **options).run(cwd=folder).outputs
    return json.loads(Path(found.quality).read_text())


@pytest.mark.parametrize("engine", ["metperf", "niimath"])
def test_the_other_engine_is_used_where_the_own_search_failed(
    engine, astray, tmp_path, monkeypatch
):
    """A failed result does not judge it, but whether the images agree with it; this is stated."""
    quality = node(tmp_path, monkeypatch, compose(TRUTH, translation([0.3, 0, 0])), engine=engine)
    assert quality["verdict"] == "doubtful"
    assert quality["engine"].startswith("niimath")
    assert quality["disagreement_mm"] < 1
    assert "failed (rotation of 49 degrees" in quality["reason"]


@pytest.mark.parametrize("engine", ["metperf", "niimath"])
def test_the_other_engine_is_not_trusted_blindly(engine, astray, tmp_path, monkeypatch):
    """A solution 30 mm off, which the images do not support, is refused, without mirrors."""
    wrong = compose(TRUTH, translation([0, 30, 0]))
    with pytest.raises(RegistrationError, match=r"rotation of 49 degrees") as refusal:
        node(tmp_path, monkeypatch, wrong, engine=engine)
    assert "mirrored" not in str(refusal.value)


DOUBTS = {"good": "", "doubtful": "expected error of 0.9 mm (accepted: up to 0.6)"}


@pytest.mark.parametrize(("verdict", "reason"), DOUBTS.items())
@pytest.mark.parametrize("datatype", ["dwi", "perf"])
def test_a_doubtful_registration_is_a_warning_of_the_session(tmp_path, datatype, verdict, reason):
    """For the screen, the status and the lesion values of the group; a good one is none."""
    name, kind = f"sub-1_{datatype}.nii.gz", {"dwi": "diffusion", "perf": "dynamic"}[datatype]
    series = {kind: SimpleNamespace(image=Path(name))}
    session = Session("1", "01", **series)
    config = Config(tmp_path, tmp_path, tmp_path, "run")
    path = tmp_path / outputs.TO_T1W_QUALITY.path(session, datatype)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"verdict": verdict, "reason": reason}))
    participant = SimpleNamespace(id="1", sessions=[session])
    lesions = pd.DataFrame({"participant_id": ["1"], "session_id": ["ses-01"], "lesion": [1]})
    beside = warnings_beside(lesions, result_warnings(participant, config))
    assert beside == [f"{name} on the T1w: doubtful registration: {reason}" if reason else ""]
