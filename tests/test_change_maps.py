"""Change maps between visits: the rule of the mask, the scale, the common grid, and the counts."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from test_reports import SHAPE, save, write_derivatives

from bidsapp.imaging.transforms import translation, write_itk
from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.page.blocks import Picture, Table
from bidsapp.reports.participant.change_maps import (
    absolute_change,
    change_blocks,
    change_display,
    relative_change,
)
from bidsapp.reports.participant.records import read_participant

SHIFT = 6.0
"""Two voxels."""


def values_of(folder: Path, session: str, name: str, values: np.ndarray, error: float) -> None:
    """Write a kinetic map of a session with a uniform standard error."""
    stem = f"{folder}/sub-01/{session}/perf/sub-01_{session}_space-T1w_model-etofts_param-{name}"
    save(Path(f"{stem}_dcemap.nii.gz"), values.astype(np.float32))
    save(Path(f"{stem}_desc-stderr_dcemap.nii.gz"), np.full(SHAPE, error, np.float32))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Derivatives in which the head of the second visit lies two voxels beside the first."""
    out = write_derivatives(tmp_path)
    for session in ("ses-1week", "ses-followup"):
        matrix = translation([SHIFT, 0, 0])
        name = f"sub-01_{session}_from-T1w_to-individual_mode-image_xfm.txt"
        write_itk(matrix, out / "sub-01" / session / "anat" / name)
    first = np.full(SHAPE, 0.02)
    first[8, 12, 9] = 0.005
    values_of(out, "ses-baseline", "vp", first, 0.004)
    values_of(out, "ses-1week", "vp", np.roll(first, 2, axis=0) * 1.5, 0.004)
    return out


def test_the_change_is_that_of_the_same_tissue(output):
    """A head that moved: the change is 50 % in all voxels but the one that is lost in noise."""
    picture, table = change_blocks(read_participant(output, "01"))[1]
    assert isinstance(picture, Picture)
    assert isinstance(table, Table)
    assert table.rows == [["1week", "1 of 48"]]
    assert table.columns == ["Visit", "vp"]
    bars = [axes.get_ylabel() for axes in picture.figure.axes]
    assert "Change of vp (%)" in bars
    assert "Not shown, without maps or without a transform to the baseline: followup." in (
        picture.caption
    )
    assert "Without standard errors, and not shown: ADC, f, D, Ktrans, ve." in picture.caption


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_relative_change_has_the_sign_of_the_difference(sign, size):
    """Whatever the sign and size of the first value; unchanged is zero, gone is -100 %."""
    first = np.full(3, 2.0 * size * sign)
    later = first + np.array([1.0, 0.0, -2.0 * sign]) * size
    change = relative_change(first, later, *(np.full(3, 0.1 * size),) * 2)
    np.testing.assert_allclose(change, [50, 0, -100 * sign], atol=1e-9)


@pytest.mark.parametrize("measure", [relative_change, absolute_change])
@pytest.mark.parametrize("lacking", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_missing_value_or_standard_error_leaves_no_change(measure, lacking, value):
    """It is missing, not zero."""
    given = [np.array([x]) for x in (2.0, 3.0, 0.1, 0.1)]
    given[lacking][:] = value
    assert np.isnan(measure(*given)).all()


@pytest.mark.parametrize(("error", "shown"), [(0.49, True), (0.5, True), (0.51, False)])
def test_the_limit_of_the_mask_is_two_standard_errors(error, shown):
    """Of the first value; the later one may be lost in noise."""
    first, later = np.array([1.0]), np.array([0.01])
    assert np.isfinite(relative_change(first, later, np.array([error]), np.array([9.0]))) == shown
    assert np.isnan(relative_change(np.zeros(1), later, np.zeros(1), np.zeros(1)))


@pytest.mark.parametrize(("first", "later"), [(1.0, 0.0), (0.0, -1.0), (-1.0, 1.0)])
def test_a_signed_change_needs_one_value_beyond_noise(first, later):
    """Either of them, of either sign."""
    one, other = np.array([first]), np.array([later])
    error = np.array([0.5])
    assert absolute_change(one, other, error, error) == later - first
    assert np.isnan(absolute_change(one, other, *(np.array([2.0]),) * 2))


@pytest.mark.parametrize(
    ("largest", "limit"), [(0, 10), (10, 10), (11, 20), (-49, 50), (180, 200), (5000, 200)]
)
def test_the_scale_of_a_change_is_symmetric_and_round(largest, limit):
    """Zero is in the middle; without any change the scale is the smallest."""
    display = change_display("Ktrans", [np.full(40, float(largest)), np.array([np.nan])])
    assert display.limits == (-limit, limit)
    assert display.title == "Change of Ktrans (%)"


def test_a_lesion_that_is_new_is_followed_from_its_first_visit(output):
    """Its change is not counted from a visit at which it had no ROI."""
    path = next((output / "sub-01/ses-baseline/anat").glob("*_dseg.nii.gz"))
    image = nib.load(path)
    labels = np.asarray(image.dataobj)
    save(path, np.where(labels == 1, 0, labels).astype(np.uint8))
    found = change_blocks(read_participant(output, "01"))
    assert list(found) == [2]
    assert found[2][0].heading == "Lesion 2: change since baseline"


def test_without_standard_errors_or_transforms_there_is_no_change_map(tmp_path):
    """Complete derivatives without standard errors; then those without a later transform."""
    out = write_derivatives(tmp_path)
    assert change_blocks(read_participant(out, "01")) == {}
    for session in ("ses-baseline", "ses-1week"):
        values_of(out, session, "vp", np.full(SHAPE, 0.02), 0.001)
    assert change_blocks(read_participant(out, "01")) == {}
    assert DISPLAY["vp"].unit == "%"
