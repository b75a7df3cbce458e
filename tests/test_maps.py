"""The maps of the participant page: scales, fusion with the anatomy, and the brain without ROIs."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from test_reports import SLICE, save, write_derivatives

from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.figures.images import Panel
from bidsapp.reports.figures.map_grid import OPACITY, MapBlock, MapRow, adapt_limits, fuse, map_grid
from bidsapp.reports.page.blocks import Fold, Picture, Words
from bidsapp.reports.page.render import svg_bytes
from bidsapp.reports.participant.maps import show_maps, show_standard_errors
from bidsapp.reports.participant.page import build_participant_page
from bidsapp.reports.participant.records import read_participant

LOW, HIGH = (Panel(np.eye(9), (1, 1), (0, 1), values=np.full((9, 9), v)) for v in (0.01, 9.0))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Derivatives of a participant with ROIs in three sessions and maps in two of them."""
    return write_derivatives(tmp_path)


def remove(output: Path, pattern: str) -> None:
    """Delete files of the derivatives."""
    found = list(output.rglob(pattern))
    assert found
    for path in found:
        path.unlink()


def without_rois(output: Path, session: str = "*") -> None:
    """Delete the ROIs, and the values measured in them."""
    remove(output, f"{session}/anat/*_dseg.*")
    remove(output, f"{session}/*/*_seg-*_roistats.tsv")


def test_the_common_scale_does_not_follow_the_data():
    """Two sessions with different values have the colours of the same scale, beyond it the end."""
    end = colormaps["inferno"](1.0)[:3]
    anatomy = np.eye(9)[..., None] * 0.5
    expected = OPACITY * np.array(end) + (1 - OPACITY) * anatomy
    np.testing.assert_allclose(fuse(HIGH, DISPLAY["f"]), expected)
    assert not np.allclose(fuse(LOW, DISPLAY["f"]), fuse(HIGH, DISPLAY["f"]))


def test_where_there_is_no_value_the_anatomy_is_shown_without_colour():
    """Also at infinity; a value of zero is a value."""
    values = np.array([[np.nan, np.inf], [0.0, 0.1]])
    fused = fuse(Panel(np.ones((2, 2)), (1, 1), (0, 1), values=values), DISPLAY["f"])
    np.testing.assert_array_equal(fused[0], 0.5)
    assert np.ptp(fused[1, 1]) > 0.1
    assert np.abs(fused[1, 0] - 0.5).min() > 0.1


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_scale_of_a_lesion_spans_its_percentiles(scale, sign):
    """The limits are percentiles 2 and 98, rounded outwards by at most a tenth of their range."""
    values = sign * np.random.default_rng(0).gamma(4, 0.01, 500) * scale
    low, high = adapt_limits(DISPLAY["f"], values).limits
    exact = np.percentile(values, (2, 98)) * DISPLAY["f"].scale
    span = np.ptp(exact)
    assert low <= exact[0] < low + 0.1 * span
    assert high - 0.1 * span < exact[1] <= high


@pytest.mark.parametrize("values", [np.ones(50), np.arange(9.0), np.full(50, np.nan), np.empty(0)])
def test_a_lesion_without_enough_different_values_has_no_scale_of_its_own(values):
    """One value, too few, or none."""
    assert adapt_limits(DISPLAY["f"], values) is None


def test_a_diverging_scale_remains_symmetric():
    """Zero keeps its colour in the scale of a lesion."""
    low, high = adapt_limits(DISPLAY["washout"], np.linspace(-0.01, 0.04, 100)).limits
    assert low == -high


@pytest.mark.parametrize(("visits", "widths"), [(1, 2), (3, 2), (4, 2), (5, 1), (8, 1)])
def test_blocks_stand_side_by_side_as_long_as_panels_are_large(visits, widths):
    """All panels are inside the figure and none overlaps another."""
    block = MapBlock("title", [MapRow("f", [SLICE] * visits, DISPLAY["f"])])
    figure = map_grid([block, block], [str(n) for n in range(visits)])
    panels = [axes.get_position() for axes in figure.axes if axes.images]
    assert len({round(p.y0, 6) for p in panels}) == 3 - widths
    assert all(0 < p.x0 < p.x1 < 1 and p.y0 + 1e-9 >= 0 and p.y1 < 1 for p in panels)
    for i, one in enumerate(panels):
        assert not any(one.padded(-1e-6).overlaps(other) for other in panels[i + 1 :])


def test_each_colour_bar_states_the_unit_and_the_origin_of_its_limits(output):
    """Both scales of a lesion are in the figure; the caption names what has one scale only."""
    picture, *_ = show_maps(read_participant(output, "01"))
    text = svg_bytes(picture.figure).decode()
    assert "Scale common to all lesions and participants" in text
    assert "Scale of this lesion (percentiles 2 to 98, all visits)" in text
    assert text.count("Ktrans (1/min)") == 2
    assert "ADC, f, D, vp, Ktrans, ve: too few different values" in picture.caption
    assert "No ROI of this lesion" not in picture.caption


def test_a_lesion_with_different_values_has_a_scale_of_its_own(output):
    """The limits of the right-hand bar are those of the values of the lesion in all visits."""
    rng = np.random.default_rng(1)
    for path in output.rglob("*space-T1w*param-vp_dcemap.nii.gz"):
        save(path, rng.uniform(0.02, 0.04, (24, 28, 20)).astype(np.float32))
    picture, *_ = show_maps(read_participant(output, "01"))
    assert "vp" not in picture.caption
    bars = [a for a in picture.figure.axes if a.get_ylabel() == "vp (%)\nscale of the lesion"]
    low, high = bars[0].get_ylim()
    assert 1.9 <= low <= 2.2
    assert 3.8 <= high <= 4.1


def test_without_any_roi_the_brain_is_shown_and_the_places_searched_are_named(output):
    """One mosaic a session with maps, on the T1w; nothing states that the session has no map."""
    without_rois(output)
    words, first, second = show_maps(read_participant(output, "01"))
    assert isinstance(words, Words)
    assert "baseline, 1week, followup" in words.sentences[0]
    assert "_seg-enhancing_dseg.nii.gz" in words.sentences[0]
    assert isinstance(first, Picture)
    assert first.heading == "baseline (day −5): maps of the brain on the T1w"
    assert second.summary == "1week (day +7): maps of the brain on the T1w"
    rows = [axes.get_ylabel() for axes in first.figure.axes if axes.get_ylabel()]
    assert rows[0] == "T1w"
    assert {"ADC", "f", "D", "vp", "Ktrans", "ve"} < set(rows)
    html = build_participant_page(output, "01").read_text(encoding="utf-8")
    assert "ROIs are read from the data sets in derivatives/" in html
    assert "There is no map" not in html


def test_a_session_without_roi_beside_others_is_folded(output):
    """The lesions come first."""
    without_rois(output, "ses-1week")
    *lesions, fold = show_maps(read_participant(output, "01"))
    assert [block.heading for block in lesions] == ["Lesion 1", "Lesion 2"]
    assert "No ROI of this lesion in 1week." in lesions[0].caption
    assert isinstance(fold, Fold)
    assert len(fold.blocks) == 2


@pytest.mark.parametrize(("gone", "kept"), [("perf", "ADC, f, D"), ("dwi", "vp, Ktrans, ve")])
def test_one_series_suffices(output, gone, kept):
    """The figure has the rows of the series that was acquired."""
    remove(output, f"{gone}/*map.nii.gz")
    if gone == "dwi":
        remove(output, "dwi/*ADC.nii.gz")
    picture, *_ = show_maps(read_participant(output, "01"))
    assert f"anatomy, {kept}, in two scales" in picture.alt


def test_maps_that_are_on_no_t1w_are_shown_on_their_own_grid(output):
    """As after a failed registration: the native maps on the mean image of the series."""
    without_rois(output)
    native = output.rglob("*space-T1w*")
    for path in list(native):
        path.rename(path.with_name(path.name.replace("_space-T1w", "")))
    _, *pictures = show_maps(read_participant(output, "01"))
    titles = [picture.heading or picture.summary for picture in pictures]
    assert titles == [
        f"{session}: maps of the brain on the {series}"
        for session in ("baseline (day −5)", "1week (day +7)")
        for series in ("DWI", "DCE")
    ]
    assert len({picture.name for picture in pictures}) == 4


def test_without_a_map_the_section_says_so(output):
    """An anatomy alone is not a map."""
    for pattern in ("*map.nii.gz", "*ADC.nii.gz"):
        remove(output, pattern)
    assert show_maps(read_participant(output, "01")) == []
    html = build_participant_page(output, "01").read_text(encoding="utf-8")
    assert re.search(r'id="maps-title">Maps</h2>\s*<p class="note">There is no map', html)


def test_standard_errors_have_one_scale(output):
    """Collapsed, with the bars of standard errors."""
    assert show_standard_errors(read_participant(output, "01")) == []
    for path in output.rglob("*space-T1w*param-vp_dcemap.nii.gz"):
        name = path.name.replace("_dcemap", "_desc-stderr_dcemap")
        save(path.with_name(name), np.full((24, 28, 20), 0.004, np.float32))
    first, _ = show_standard_errors(read_participant(output, "01"))
    assert first.summary == "Standard errors of Lesion 1"
    bars = {axes.get_ylabel() for axes in first.figure.axes}
    assert "SE of vp (%)\ncommon scale" in bars
    assert fuse(replace(SLICE), DISPLAY["vp_stderr"]).shape == (9, 9, 3)
