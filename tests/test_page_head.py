"""The head of the participant page: marks, notes, tiles and findings by kind."""

import json
import math
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
from test_reports import DCE, html_of, statistics, table, write_derivatives

from bidsapp.bids import documents
from bidsapp.issues import Issue
from bidsapp.models.parameters import DISPLAY, FOLLOWED
from bidsapp.reports.figures.timelines import LesionTimeline, TimeAxis, lesion_timeline
from bidsapp.reports.page.limits import change_mark, change_text
from bidsapp.reports.page.numbers import NumberFormat, format_number
from bidsapp.reports.page.render import section_rows
from bidsapp.reports.participant.cards import Notes, lesion_cards, volume_change
from bidsapp.reports.participant.doubts import value_doubt
from bidsapp.reports.participant.findings import RULES, findings
from bidsapp.reports.participant.head import card_legend, patient_response, settings_line
from bidsapp.reports.participant.kinds import KINDS, Finding, group_by_kind, kind_of
from bidsapp.reports.participant.records import read_participant
from bidsapp.reports.participant.tiles import (
    artery_tile,
    coverage_tile,
    findings_tile,
    motion_tile,
    quality_tiles,
    registration_tile,
)
from bidsapp.reports.participant.timeline import time_axis
from bidsapp.study.tables.changes import PERCENT, assess_change
from bidsapp.study.tables.limits import Limit, LimitSources, Measure

FORM = NumberFormat("vp", "%", 100, 1)
NAMES = {"ses-1week": "1week", "ses-1month": "1month"}
BASELINE = Measure("sub-01", 1, "ses-baseline", "vp", "mean")
SIZES = (-0.99, -0.4, -0.2, -0.1, -0.004, -1e-5, 0.0, 1e-5, 0.004, 0.1, 0.2, 0.4, 3.0, 40.0)


def changed(size: float, limit: Limit | None, before: float = 0.1) -> dict[str, object]:
    """A row of the table of changes: a relative change from a baseline."""
    sources = LimitSources(repeats={("vp", "mean"): limit} if limit else {})
    return assess_change(before, before * (1 + size), BASELINE, sources, "1")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("origin", ["repeats", "simulation", "published"])
@pytest.mark.parametrize("relative", [True, False])
def test_an_arrow_is_true_for_every_sign_and_size(size, origin, relative):
    """It points where the change goes, is filled for limits of the study, and is → within them."""
    scale = 1.0 if relative else 0.1 / 100
    row = changed(size, Limit(origin, -15 * scale, 30 * scale, relative, "here"))
    mark = change_mark(row)
    if -0.15 <= size <= 0.30:
        assert (mark.symbol, mark.meaning) == ("→", "within")
    else:
        up, down = ("△", "▽") if origin == "published" else ("▲", "▼")
        assert mark.symbol == (up if size > 0 else down)
        assert mark.meaning == ("published" if origin == "published" else "beyond")
    if row["verdict"]:
        assert (row["verdict"] == "exceeded") is (mark.meaning == "beyond")


@pytest.mark.parametrize("limit", [-0.15, 0.30])
def test_a_change_of_exactly_the_limit_is_within_it(limit):
    """As in the verdict of the tables."""
    row = {"change": limit, "percent": math.nan, "limit_from": "repeats", "limit_unit": "1"}
    assert change_mark(row | {"limit_low": -0.15, "limit_high": 0.30}).meaning == "within"
    beyond = row | {"change": limit * 1.0001, "limit_low": -0.15, "limit_high": 0.30}
    assert change_mark(beyond).meaning == "beyond"


def test_without_a_limit_there_is_no_arrow():
    """Neither if none is known, nor if a relative one cannot be applied to a value of zero."""
    assert change_mark(changed(0.5, None)).symbol == ""
    limit = Limit("repeats", -15.0, 15.0, True, "here")
    row = assess_change(0.0, 0.1, BASELINE, LimitSources({("vp", "mean"): limit}), "1")
    assert row["limit_unit"] == PERCENT
    assert (change_mark(row).meaning, change_text(row, FORM)) == ("none", "+10.0")


@pytest.mark.parametrize(("size", "before"), list(product(SIZES, (0.1, 0.0))))
def test_the_text_of_a_change_has_its_sign_and_is_zero_only_without_a_change(size, before):
    """In percent, or in the unit of the parameter if the baseline is zero."""
    row = changed(size, None, before) if before else {"change": size, "percent": math.nan}
    text = change_text(row, FORM)
    assert text.startswith("+" if size > 0 else "−" if size < 0 else "0")
    number = float(text.removesuffix(" %").replace("−", "-"))
    assert (number == 0) is (size == 0)
    assert text.endswith(" %") is (before > 0)


@pytest.mark.parametrize("value", [x * 10.0**y for x in (-3.2, 7.9) for y in range(-10, 5)])
@pytest.mark.parametrize("digits", [0, 1, 3])
def test_what_is_not_zero_is_not_printed_as_zero(value, digits):
    """With a typographic minus sign, and rounded to the digits where they suffice."""
    text = format_number(value, digits)
    number = float(text.replace("−", "-"))
    assert number != 0
    assert abs(number - value) <= max(0.5 * 10.0**-digits, abs(value)) * 1.001
    assert "-" not in text


@pytest.mark.parametrize("after", [0.0, 4.15, 4.16, 10.0, 17.14, 17.15, 90.0, math.nan])
@pytest.mark.parametrize("before", [0.0, 10.0, math.nan])
def test_an_arrow_of_a_volume_is_a_response_or_a_progression(before, after):
    """By the thresholds of the response; without a lesion at baseline there is none."""
    row = volume_change(before, after)
    if math.isnan(before) or math.isnan(after):
        assert row is None
    elif before == 0:
        assert row["mark"].symbol == ""
    else:
        expected = "▼" if after <= 4.15 else "▲" if after >= 17.15 else "→"
        assert row["mark"].symbol == expected


@pytest.fixture
def derivatives(tmp_path):
    """Complete derivatives of a participant."""
    return write_derivatives(tmp_path)


def set_means(out, session: str, factor: float, parameters=FOLLOWED) -> None:
    """Multiply the means of some parameters of a session."""
    for path in out.rglob(f"*{session}*_roistats.tsv"):
        rows = pd.read_csv(path, sep="\t")
        own = rows["parameter"].isin(parameters)
        rows.loc[own, "mean"] *= factor
        table(path, rows)


def cards_of(out):
    return lesion_cards(read_participant(out, "01"))


def test_a_card_has_every_followed_parameter_and_every_session(derivatives):
    """Values in the units of the headings, changes since the first session, reasons of gaps."""
    set_means(derivatives, "ses-1week", 0.5)
    card, other = cards_of(derivatives)
    assert (card.title, other.title) == ("Lesion 1", "Lesion 2")
    names = [column.name for column in card.columns]
    assert names == ["Volume", "vp", "Ktrans", "ve", "ADC", "f"]
    assert [row.session for row in card.rows] == ["baseline", "1week", "followup"]
    assert [row.day for row in card.rows] == ["day −5", "day +7", ""]
    baseline, week, followup = ([cell.value for cell in row.cells] for row in card.rows)
    assert (baseline[1], week[1], followup[1]) == ("10.0", "5.0", "–")
    assert [cell.change for cell in card.rows[0].cells] == [""] * 6
    changes = [(cell.change, cell.mark.symbol) for cell in card.rows[1].cells]
    assert changes[0] == ("0 %", "→")
    assert changes[1] == ("−50 %", "")
    assert changes[2:] == [("−50 %", "▽"), ("−50 %", "→"), ("−50 %", "▽"), ("−50 %", "▽")]
    assert [column.limit for column in card.columns][:2] == ["−58.5 to +71.5 %", "no limit"]
    assert dict(card.notes) == {"a": "no DCE result", "b": "no DWI result"}
    assert [cell.letters for cell in card.rows[2].cells] == ["", "a", "a", "a", "b", "b"]
    legend = " ".join(card_legend([card], "baseline"))
    assert "△▽" in legend
    assert "→" in legend
    assert "Italic" in legend
    assert "▲▼" not in legend


def test_limits_of_repeat_scans_make_the_arrows_filled(derivatives):
    """The limits are those of the last group analysis, as in the section of changes."""
    set_means(derivatives, "ses-1week", 1.5, ("vp",))
    columns = {"session_a": "ses-a", "session_b": "ses-b", "n": 8, "bias": 0, "within_sd": 1}
    columns |= {"repeatability_coefficient": 1, "ci_low": 1, "ci_high": 1, "within_cv": 1}
    columns |= {"cv_low": 1, "cv_high": 1, "scale": "relative", "limit_low": -20.0}
    row = {"parameter": "vp", "unit": "1", "estimate": "mean", **columns, "limit_high": 25.0}
    table(documents.GROUP_TABLE.path(derivatives, table="repeatability"), [row | {"note": ""}])
    card = cards_of(derivatives)[0]
    cell = card.rows[1].cells[1]
    assert (cell.change, cell.mark.symbol, card.columns[1].limit) == ("+50 %", "▲", "−20 to +25 %")
    assert "▲▼" in " ".join(card_legend([card], "baseline"))


def volumes(out, session: str, values: dict[int, float], **columns: object) -> None:
    """Write the volume and the longest diameter of each lesion."""
    rows = [
        row | {"roi": "whole", "model": None, "mean": value, **columns, "lesion": n}
        for n, ml in values.items()
        for name, value in (("volume", ml), ("longest_diameter", 10 * ml ** (1 / 3)))
        for row in statistics(session, "n/a", (name,))[:1]
    ]
    table(out / f"sub-01/{session}/anat/sub-01_{session}_seg-whole_roistats.tsv", rows)


def test_a_card_states_the_response_and_when(derivatives):
    """Volumetric and by RANO-BM, at the last session that has a category."""
    volumes(derivatives, "ses-baseline", {1: 8.0, 2: 8.0})
    volumes(derivatives, "ses-1week", {1: 8.0, 2: 8.0})
    volumes(derivatives, "ses-followup", {1: 0.0, 2: 27.0})
    gone, grown = cards_of(derivatives)
    assert [badge.text for badge in gone.badges] == ["CR", "RANO-BM CR"]
    assert gone.response == "volume −100 %, diameter −100 % at followup"
    assert gone.rows[2].cells[0].mark.symbol == "▼"
    assert dict(gone.notes) == {"a": "no longer there"}
    assert [badge.text for badge in grown.badges] == ["PD", "RANO-BM PD"]
    assert grown.rows[2].cells[0].change == "+238 %"
    words = patient_response(read_participant(derivatives, "01"))
    assert words == "RANO-BM at followup: SD, sum of diameters −25 %"
    (derivatives / "sub-01/ses-followup/anat/sub-01_ses-followup_seg-whole_roistats.tsv").unlink()
    gone, _ = cards_of(derivatives)
    assert [badge.text for badge in gone.badges] == ["SD", "RANO-BM SD"]
    assert gone.response.endswith("at 1week (day +7); not known at followup")


def test_excluded_and_uncertain_lesions_are_marked(derivatives):
    """By a badge, by the absence of changes, and by notes on few voxels and the registration."""
    for path in derivatives.rglob("*_roistats.tsv"):
        rows = pd.read_csv(path, sep="\t")
        table(path, rows.assign(excluded=(rows["lesion"] == 2).astype(int), roi_from=None))
    series = derivatives / "sub-01/ses-1week/perf"
    failed = statistics("ses-1week", "etofts", DCE, failed=24)
    carried = pd.DataFrame(failed).assign(excluded=0, roi_from="ses-baseline")
    table(series / "sub-01_ses-1week_seg-enhancing_model-etofts_roistats.tsv", carried)
    quality = series / "sub-01_ses-1week_desc-coreg_quality.json"
    bad = {"verdict": "doubtful", "reason": "expected error of 0.9 mm"}
    quality.write_text(json.dumps(json.loads(quality.read_text()) | bad))
    lesions = {"session_id": ["ses-1week"], "lesion": [1], "comparable": [0]}
    table(derivatives / "sub-01/sub-01_lesions.tsv", lesions)
    issue = Issue("warning", "lesion 1: takes up no contrast agent", "NotEnhancing", lesion="1")
    (derivatives / "sub-01/log").mkdir()
    status = {"sessions": {"ses-1week": {"issues": [issue.as_dict()]}}}
    (derivatives / "sub-01/log/status.json").write_text(json.dumps(status))
    one, two = cards_of(derivatives)
    assert [badge.text for badge in two.badges] == ["excluded from the group analysis"]
    assert [badge.text for badge in one.badges] == ["SD"]
    assert [cell.change for cell in one.rows[1].cells] == [""] * 6
    week = [dict(one.notes)[letter] for letter in one.rows[1].letters.split(", ")]
    assert week == [
        "may be another lesion: not compared with the first session",
        "ROI carried from baseline",
        "DCE: doubtful registration: expected error of 0.9 mm",
        "takes up no contrast agent",
    ]
    (letter,) = {cell.letters for cell in one.rows[1].cells[1:4]}
    assert dict(one.notes)[letter] == "24 of 48 voxels have a value"
    assert one.rows[1].cells[4].letters == ""


def test_a_single_session_has_values_without_changes(tmp_path):
    """No response, no arrows, and a legend without them."""
    out = write_derivatives(tmp_path)
    rows = {"session_id": ["ses-baseline"], "days_since_treatment": [-5]}
    for session in ("ses-1week", "ses-followup"):
        (out / "sub-01" / session).rename(tmp_path / session)
    table(out / "sub-01/sub-01_sessions.tsv", rows)
    cards = cards_of(out)
    assert [len(card.rows) for card in cards] == [1, 1]
    assert all(not card.badges and not card.response for card in cards)
    assert list(card_legend(cards, "baseline")) == [
        "Means over the enhancing part; volume of the whole lesion."
    ]
    assert list(card_legend([], "")) == []


def test_more_notes_than_letters():
    """After z come aa, bb, and so on."""
    notes = Notes()
    assert notes.letters([str(n) for n in range(28)]).endswith("z, aa, bb")


@pytest.mark.parametrize(("valid", "failed"), [(12, 0), (11, 1), (10, 2), (1, 11), (0, 12), (0, 0)])
def test_the_note_of_lost_voxels_states_the_counts(valid, failed):
    """From a tenth of the voxels on."""
    row = {"n_voxels": valid + failed, "n_valid": valid, "n_failed": failed}
    text = value_doubt(row)
    assert bool(text) is (failed > 0.1 * (valid + failed))
    if text:
        assert text.startswith(f"{valid} of {valid + failed} voxels ha")


def registered(**fields: object) -> dict[str, object]:
    row = {"session_id": "ses-1week", "series": "DCE", "verdict": "good"}
    return row | {"expected_error_mm": 0.1} | fields


def test_the_tile_of_registration_counts_and_names_the_worst():
    """Its colour is that of the worst verdict; without an error none is invented."""
    good = registered()
    worse = registered(session_id="ses-1month", series="DWI", expected_error_mm=0.62)
    tile = registration_tile([good, worse], NAMES)
    assert (tile.value, tile.tone) == ("0.62 mm", "good")
    assert tile.text == "2 of 2 good; largest error: DWI of 1month"
    doubtful = registration_tile([good, worse | {"verdict": "doubtful"}], NAMES)
    assert (doubtful.tone, doubtful.text.split(";")[0]) == ("warn", "1 of 2 good, 1 doubtful")
    failed = [good, good, {**worse, "verdict": "failed", "expected_error_mm": None}]
    tile = registration_tile(failed, NAMES)
    assert (tile.tone, tile.text.split(";")[0]) == ("bad", "2 of 3 good, 1 failed")
    unknown = registration_tile([failed[2]], NAMES)
    assert (unknown.value, unknown.text) == ("–", "0 of 1 good, 1 failed; error not known")
    assert registration_tile([{"session_id": "ses-1week"}], NAMES).tone == "none"
    tiny = registration_tile([registered(expected_error_mm=0.0004)], NAMES)
    assert tiny.value == "0.0004 mm"


def test_the_tile_of_motion_counts_outliers():
    """None, one, several; in tables of early versions they are not known."""
    still = {"session_id": "ses-1week", "series": "DCE", "n_volumes": 60}
    still |= {"max_displacement_mm": 0.2, "n_outliers": 0}
    moved = {**still, "series": "DWI", "max_displacement_mm": 2.08, "n_outliers": 3}
    tile = motion_tile([still, moved], NAMES)
    assert (tile.value, tile.tone) == ("2.1 mm", "warn")
    assert tile.text == "at most, DWI of 1week; 3 of 120 volumes outlying"
    tile = motion_tile([still], NAMES)
    assert (tile.tone, tile.text) == ("good", "at most, DCE of 1week; none of 60 volumes outlying")
    early = motion_tile([still | {"n_outliers": None}], NAMES)
    assert early.text == "at most, DCE of 1week"
    assert motion_tile([], NAMES).value == "–"


@pytest.mark.parametrize("size", SIZES)
def test_the_tile_of_the_artery_has_the_sign_of_the_change(size):
    """The largest of several; of one session there is none."""
    tile = artery_tile({"a": 5.0, "b": 5.0 * (1 + size), "c": 5.0 * (1 + size / 2)}, 0)
    sign = "+" if size > 0 else "−" if size < 0 else ""
    text = re.fullmatch(r"largest change: ([+−]?)([0-9.]+) % in (.)", tile.text)
    assert text
    assert text[1] == sign
    assert text[3] == "b"
    assert (float(text[2]) == 0) is (size == 0)
    assert artery_tile({}, 0).tone == "none"
    assert artery_tile({"a": 5.0}, 2).text == "a; 2 warnings"


@pytest.mark.parametrize("lowest", [1.0, 0.99999, 0.95, 0.9, 0.89, 0.5, 0.0])
def test_the_tile_of_coverage_is_100_percent_only_if_no_voxel_is_lost(lowest):
    """And marked from a tenth of the voxels of a lesion on."""
    tile = coverage_tile((9 + lowest) / 10, lowest, "ve of lesion 1, 1week")
    assert (tile.value == "100 %") is (lowest == 1)
    assert ("lowest" in tile.text) is (lowest < 1)
    assert (tile.tone == "warn") is (lowest < 0.9)


def test_the_tiles_of_a_participant(derivatives):
    """Six of them, in their order; partial volume was not estimated."""
    participant = read_participant(derivatives, "01")
    tiles = quality_tiles(participant, findings(participant))
    titles = ["Registration", "Motion", "Arterial peak", "Voxels with a value", "Partial volume"]
    assert [tile.title for tile in tiles] == [*titles, "Findings"]
    assert tiles[2].value == "5.0, 5.0 mM"
    assert tiles[4].value == "–"
    assert tiles[5].text == "2 items missing"
    assert findings_tile([Finding("failed", "", ""), Finding("warning", "", "")]).tone == "bad"


def test_findings_are_grouped_by_kind_the_gravest_first(derivatives):
    """Every rule and code has a kind of the list; sessions are named once."""
    assert set(RULES.values()) - {""} <= set(KINDS)
    codes = ("Unfinished", "NotEnhancing", "UnfittedVoxels", "AcquisitionDiffers", "unknown")
    assert {kind_of(Issue("warning", "", code)) for code in codes} <= set(KINDS)
    found = findings(read_participant(derivatives, "01"))
    (group,) = group_by_kind(found)
    assert (group.level, group.kind, group.sessions) == ("missing", "Missing data", ("followup",))
    order = [
        Finding("missing", "1", "", kind="Missing data"),
        Finding("warning", "2", "", kind="Noise"),
        Finding("warning", "3", "", kind="Registration"),
        Finding("failed", "4", "", kind="Motion"),
    ]
    grouped = [(group.level, group.kind) for group in group_by_kind(order)]
    assert grouped == [
        ("failed", "Motion"),
        ("warning", "Registration"),
        ("warning", "Noise"),
        ("missing", "Missing data"),
    ]


def test_the_settings_are_those_of_the_records(derivatives):
    """Models and T1 from the sidecars of the maps, options from the status."""
    assert settings_line(read_participant(derivatives, "01")) == []
    folder = derivatives / "sub-01/ses-1week"
    used = {"arterial_input": "roi", "t1_tissue": 1.607}
    stem = "sub-01_ses-1week_space-T1w_model"
    for path in (
        folder / f"perf/{stem}-etofts_param-Ktrans_dcemap.json",
        folder / f"dwi/{stem}-ivim_param-f_dwimap.json",
    ):
        path.write_text(json.dumps({"Model": {"Parameters": used if "perf" in str(path) else {}}}))
    options = {"noise": "rician", "motion_correction": False, "fit_space": "native"}
    (derivatives / "sub-01/log").mkdir()
    status = {"sessions": {"ses-1week": {"options": options, "version": "0.3.0"}}}
    (derivatives / "sub-01/log/status.json").write_text(json.dumps(status))
    words = settings_line(read_participant(derivatives, "01"))
    assert "extended Tofts (Tofts-Kety)" in words
    assert words[-5:] == [
        "T1 assumed, 1.61 s",
        "Rician noise",
        "motion not corrected",
        "fitted on native grids",
        "metperf 0.3.0",
    ]


def test_a_head_that_cannot_be_created_is_a_failure(derivatives, empty_figures):
    """The page is written, names the part, and shows the others."""
    for path in derivatives.rglob("*seg-whole_roistats.tsv"):
        path.write_bytes(b"\xff\n?\t\n")
    html = html_of(derivatives)
    assert "Lesions: could not be created (BadInput" in html
    assert html.count("a file cannot be read") == 1


def test_sections_are_in_the_order_of_questions():
    """Lesions over time, maps, curves and arterial input; then quality, and last the records."""
    order = [row["id"] for row in section_rows("sections.toml")]
    first = ["timeline", "maps", "viewer", "enhancement", "diffusion", "arterial"]
    assert order[: len(first)] == first
    quality = [order.index(name) for name in ("registration", "motion", "errors", "modelchoice")]
    assert quality == sorted(quality)
    assert order[-2:] == ["methods", "provenance"]


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 9])
def test_the_timeline_has_a_panel_for_each_parameter(count):
    """Days are true to scale, and every lesion has its own line."""
    days = np.array([-5.0, 7.0, 30.0, 271.0])
    values = LesionTimeline(*np.ones((4, 4)))
    names = ("volume", *FOLLOWED)[:count]
    axis = TimeAxis(days, ["a", "b", "c", "d"], dated=True)
    figure = lesion_timeline([[values] * count] * 9, [str(n) for n in range(9)], names, axis)
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title("left") for axes in drawn] == [DISPLAY[n].title for n in names]
    lines = [line for line in drawn[0].lines if line.get_linestyle() != "None"]
    styles = {
        (line.get_color(), line.get_linestyle()) for line in lines if len(line.get_xdata()) == 4
    }
    assert len(styles) == 9
    spacing = np.diff(drawn[0].lines[0].get_xdata())
    np.testing.assert_allclose(spacing, np.diff(days))


def test_sessions_of_unknown_or_equal_days_are_evenly_spaced():
    """With their names; a true time axis needs a different day for each."""
    assert time_axis([-5.0, 7.0], ["a", "b"]).label == "days since treatment"
    for days in ([np.nan, 7.0], [7.0, 7.0]):
        axis = time_axis(days, ["a", "b"])
        assert (axis.places.tolist(), axis.dated, axis.label) == ([0, 1], False, "session")
        figure = lesion_timeline([[LesionTimeline(*np.ones((4, 2)))]], ["1"], ["vp"], axis)
        assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["a", "b"]


def test_images_of_the_registration_are_folded_by_session(derivatives):
    """With the image before, after and the fixed one in each."""
    html = html_of(derivatives)
    section = html[html.index('<section id="registration"') : html.index('<section id="motion"')]
    folds = re.findall(r'<details class="fold"><summary>(.*?)</summary>', section)
    assert len(folds) == 3
    inside = section[section.index("<details") :]
    assert inside.count("<img") == section.count("<img")
    assert inside.count('class="layer"') == 2 * 3
