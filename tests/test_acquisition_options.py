"""Low b-values that count as 0, and frames that are skipped: by option, or by themselves."""

import numpy as np
import pytest
from hostile import BVALUES, SECONDS, dry, raw, rewrite, write_study

from bidsapp.bids.query import Query
from bidsapp.config import Config
from bidsapp.run.graphs.acquisition import apply_acquisition_options
from bidsapp.run.image_checks import check_images


@pytest.fixture
def root(tmp_path):
    return write_study(tmp_path / "bids", ("a",))


def session(root, **options):
    """Return the record of the session under some options."""
    participant = Query(root, [root / "derivatives/manual_masks"]).participant("01")
    config = Config(root, root, root, "run", **options)
    once = apply_acquisition_options(participant, config)
    assert apply_acquisition_options(once, config) == once
    return once.sessions[0]


@pytest.mark.parametrize(("lowest", "loss"), [(5, 10), (10, 20)])
def test_the_lowest_b_value_counts_as_zero_where_there_is_none(root, capsys, lowest, loss):
    """The warning states by how much f is then underestimated."""
    bvalues = [lowest, *BVALUES[1:]]
    raw(root, "dwi.bval").write_text(" ".join(map(str, bvalues)))
    found = session(root)
    assert found.diffusion.bvalues == (0, *BVALUES[1:])
    words = (
        f"its lowest b-value, {lowest} s/mm2, counts as 0: f is underestimated by about {loss} %"
    )
    assert any(words in text for text in found.warnings)
    assert f"warning: sub-01_ses-a_dwi.nii.gz: has no b = 0, so {words}" in dry(root, capsys).out


@pytest.mark.parametrize(
    ("lowest", "threshold", "counted"), [(30, None, 30), (30, 40.0, 0), (5, 1.0, 5), (0, None, 0)]
)
def test_a_threshold_decides_without_a_warning(root, lowest, threshold, counted):
    """--b0-threshold sets what counts as 0; without it, 30 s/mm2 is not."""
    raw(root, "dwi.bval").write_text(" ".join(map(str, [lowest, *BVALUES[1:]])))
    found = session(root, b0_threshold=threshold)
    assert found.diffusion.bvalues[0] == counted
    assert not any("counts as 0" in text for text in found.warnings)


@pytest.mark.parametrize("factor", [1.5, 2.5])
def test_a_first_frame_before_the_steady_state_is_left_out_or_skipped(root, factor):
    """Found by its signal, it is left out with a warning; --skip-frames 1 gives none."""
    scale = np.ones(len(SECONDS), np.float32)
    scale[0] = factor
    rewrite(raw(root, "dce.nii.gz"), lambda data: data * scale)
    found, skipped = check_images(session(root)), check_images(session(root, skip_frames=1))
    assert found.dynamic.left_out == skipped.dynamic.left_out == (0,)
    assert found.dynamic.times == skipped.dynamic.times == tuple(t / 60 for t in SECONDS[1:])
    assert any("the magnetisation was not yet steady; left out" in t for t in found.warnings)
    assert not any("steady" in text for text in skipped.warnings)


def test_too_many_skipped_frames_are_refused(root, capsys):
    """A series of which a single frame would remain is not analysed."""
    outcome = dry(root, capsys, "--skip-frames", str(len(SECONDS) - 1))
    assert outcome.code == 1
    assert "--skip-frames 19 leaves 1 of the frames; a smaller number is needed" in outcome.out
