"""Dynamic series whose bolus or artery is not as it should be: refused in words, or flagged."""

import numpy as np
import pytest
from hostile import ARTERY, SECONDS, dynamic, raw, rewrite, roi, run, write_study

from bidsapp.errors import FitError
from bidsapp.models.contrast.aif import georgiou2019, parker2006
from bidsapp.models.contrast.aif_checks import check_arterial_input, check_clipping
from bidsapp.models.contrast.enhancement import (
    Spgr,
    enhancing_curve,
    head_course,
    measured_input,
    to_concentration,
)
from bidsapp.models.contrast.spgr import Conversion, concentration_status
from bidsapp.study.read.status import collect_issues, read_statuses

pytestmark = pytest.mark.usefixtures("short_pages")

SPGR = Spgr(repetition_time=0.004, flip_angle=np.deg2rad(15), relaxivity=4.5)
TIME = np.array(SECONDS) / 60
T1 = 1.65


def artery_of(series):
    return measured_input(series[ARTERY], TIME, t1_blood=T1, spgr=SPGR, haematocrit=0.42)


def doubts(series):
    return check_arterial_input(artery_of(series).blood, TIME, head_course(series))


NO_BASELINE = {
    "no frame before the bolus": dynamic(start=-30),
    "bolus at the first frame": dynamic(start=0),
    "no bolus": np.ones_like(dynamic()) * 100 + np.random.default_rng(2).normal(0, 1, 20),
}


@pytest.mark.parametrize("series", NO_BASELINE.values(), ids=NO_BASELINE)
def test_without_a_baseline_nothing_is_made_up(series):
    """The artery is refused with the frame in question and the option that helps."""
    with pytest.raises(
        FitError, match=r"no frame before the bolus: .* give their number with --base"
    ):
        artery_of(series)
    with pytest.raises(FitError, match="no frame before the bolus"):
        measured_input(enhancing_curve(series), TIME, t1_blood=T1, spgr=SPGR, haematocrit=0.42)


def test_a_sound_artery_raises_no_doubt():
    """The bolus of the sound series is taken without a word."""
    assert doubts(dynamic()) == []


def spoilt(change):
    series = dynamic()
    series[ARTERY] = change(series[ARTERY])
    return series


def late_and_low(signal):
    return 0.95 * signal[0] + 0.05 * np.concatenate([np.full(3, signal[0]), signal[:-3]])


def fallen(signal):
    signal = signal.copy()
    signal[-6:] = 0.2 * signal[0]
    return signal


FLAGGED = {
    "a vein": (spoilt(late_and_low), ["its peak is", "s after the tissue: a vein?"]),
    "saturated": (spoilt(lambda s: np.minimum(s, 3 * s[0])), ["cut off at the end of the signal"]),
    "dropped out": (spoilt(fallen), ["6 frames lie below its baseline"]),
    "patient leaves early": (dynamic(start=100), ["too few to see a washout"]),
}


@pytest.mark.parametrize(("series", "messages"), FLAGGED.values(), ids=FLAGGED)
def test_an_odd_artery_is_flagged(series, messages):
    """A vein, a saturated or dropped signal and a series that ends early are reported in words."""
    found = " | ".join(doubts(series))
    for message in messages:
        assert message in found


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
def test_an_artery_at_the_top_of_the_range_is_flagged(share):
    """Where a tenth of the peak is lost, the voxels that share the largest value show it."""
    series = np.concatenate([dynamic()[:1]] * 2).astype(np.int16)
    scale = np.linspace(1, 1.1, 6)[:, None]
    inside = np.zeros(series.shape[:3], bool)
    inside[0, :, 0] = True
    series[inside] = series[ARTERY] * scale
    assert check_clipping(series, inside) == []
    first, peak = series[inside].min(), series[inside].mean(axis=0).max()
    cut = np.minimum(series, np.int16(first + share * (peak - first)))
    (text,) = check_clipping(cut, inside)
    assert "the largest value of the image" in text
    assert "--aif parker2006" in text


@pytest.mark.parametrize("function", [parker2006, georgiou2019])
@pytest.mark.parametrize("step", [1.5, 3, 5.2])
def test_a_blunt_peak_is_flagged(function, step):
    """A population average is sharp, but not if four fifths of its peak are lost."""
    time = np.arange(0, 240, step) / 60
    blood, tissue = function(time, 0.5), np.cumsum(function(time, 0.5))
    assert check_arterial_input(blood, time, tissue) == []
    noise = np.random.default_rng(0).normal(1, 0.02, len(time))
    found = check_arterial_input(np.minimum(blood, 0.2 * blood.max()) * noise, time, tissue)
    assert any("cut off at the end of the signal" in text for text in found)


def test_a_signal_above_the_physical_range_is_no_concentration():
    """Fifty times the baseline is missing, with its status, and an artery of it is refused."""
    series = dynamic()
    series[..., 7:] *= 50
    found = to_concentration(series, 4, 1.6, SPGR)
    assert np.isnan(found[..., 7:]).all()
    assert (concentration_status(found) == Conversion.BEYOND_RANGE).all()
    with pytest.raises(FitError, match="is beyond what any concentration gives; check the AIF"):
        measured_input(
            series[ARTERY], TIME, t1_blood=T1, spgr=SPGR, haematocrit=0.42, baseline_frames=4
        )


@pytest.fixture
def root(tmp_path):
    return write_study(tmp_path / "bids", ("a",))


def test_a_late_artery_is_reported_on_the_page(root, capsys):
    """A vein drawn as the artery: done, exit 0; screen, status and page report it."""
    rewrite(raw(root, "dce.nii.gz"), lambda data: spoilt(late_and_low))
    outcome = run(root, capsys)
    assert outcome.code == 0
    out = root.parent / "out"
    text = "warning: sub-01_ses-a_dce.nii.gz: arterial input: it arrives"
    assert text in outcome.err
    warned = [
        str(issue) for issue in collect_issues(read_statuses(out)) if issue.level == "warning"
    ]
    assert any("arterial input: it arrives" in text for text in warned)
    assert "a vein?" in next(out.rglob("*label-AIF_quality.json")).read_text()
    page = (out / "sub-01.html").read_text(encoding="utf-8")
    assert "arterial input: it arrives" in page


def test_a_bolus_at_the_first_frame_loses_the_dce_only(root, capsys):
    """The DCE is not done, with the reason and no values; the DWI's values are there; exit 1."""
    rewrite(raw(root, "dce.nii.gz"), lambda data: dynamic(start=0))
    outcome = run(root, capsys)
    out = root.parent / "out"
    assert outcome.code == 1
    assert "no frame before the bolus" in outcome.err
    assert not list(out.rglob("*etofts*"))
    assert len(list(out.rglob("*model-ivim_roistats.tsv"))) == 1


def test_frames_after_the_patient_left_are_refused(root, capsys):
    """Empty frames at the end are reported with the first one, and what to do."""

    def leaves(data):
        data = data.copy()
        data[..., 13:] = 0
        return data

    rewrite(raw(root, "dce.nii.gz"), leaves)
    outcome = run(root, capsys)
    assert outcome.code == 1
    assert "7 of the 20 volumes are empty (the first is number 14); remove them" in outcome.err


def test_an_artery_outside_the_series_is_refused(root, capsys):
    """An AIF mask on another grid loses the DCE before any work."""
    path = roi(root, "label-AIF_mask.nii.gz")
    rewrite(path, lambda data: np.ones((3, 3, 3), np.uint8))
    outcome = run(root, capsys, "--dry-run")
    assert outcome.code == 1
    assert "its grid is not that of sub-01_ses-a_dce.nii.gz" in outcome.out
