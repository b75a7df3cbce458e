"""Response over all visits: RANO-BM of a cohort, volumes against their nadir, progression."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb

from bidsapp.errors import BadInput
from bidsapp.lesions.response import course_categories
from bidsapp.reports.figures.response import Changes, spider, waterfall
from bidsapp.reports.figures.swimmer import swimmer
from bidsapp.reports.group.methods import group_methods
from bidsapp.reports.group.plots import plots
from bidsapp.reports.group.view import GroupView
from bidsapp.reports.group.visits import show_visits
from bidsapp.reports.page.style import RESPONSE_COLORS
from bidsapp.reports.participant.records import read_participant
from bidsapp.reports.participant.response import show_response
from bidsapp.study.read import load_study_table, read_output
from bidsapp.study.tables import CLINICAL, Cohort, GroupResult, analyse
from bidsapp.study.tables.rano import rano_tables
from bidsapp.study.tables.visits import visits_since_baseline

DAYS = {"ses-early": -40.0, "ses-baseline": -3.0, "ses-1week": 7.0, "ses-1month": 35.0}
DAYS |= {"ses-late": 100.0, "ses-last": 200.0}


def cohort_of(diameters, sessions=tuple(DAYS), **columns):
    """Lesions of participants, as lists of diameters over sessions; volumes are of spheres."""
    rows = [
        {"participant_id": f"sub-{p}", "lesion": lesion, "session_id": s, "diameter_mm": d,
         "volume_ml": np.pi / 6 * d**3 / 1000, "excluded": False,
         **{name: values[i] for name, values in columns.items()}}
        for p, lesions in diameters.items()
        for lesion, sizes in enumerate(lesions, start=1)
        for i, (s, d) in enumerate(zip(sessions, sizes, strict=True))
    ]  # fmt: skip
    visits = [
        {"participant_id": f"sub-{p}", "session_id": s, "days": DAYS[s], "position": float(i)}
        for p in diameters
        for i, s in enumerate(sessions)
    ]
    return pd.DataFrame(rows), pd.DataFrame(visits)


def tables_of(diameters, **columns):
    lesions, sessions = cohort_of(diameters, **columns)
    return rano_tables(lesions, sessions, {f"sub-{p}": "ses-baseline" for p in diameters})


def test_visits_count_from_the_baseline_and_by_days():
    """Earlier sessions are left out; days decide, not the order of the rows."""
    _, sessions = cohort_of({"01": [[20.0] * 6]})
    shuffled = sessions.sample(frac=1, random_state=0)
    found = visits_since_baseline(shuffled, {"sub-01": "ses-baseline"})
    assert found["session_id"].tolist() == list(DAYS)[1:]
    assert found["visit"].tolist() == [0, 1, 2, 3, 4]


def test_a_scan_before_the_treatment_shows_no_response():
    """A retest after the baseline is no visit: no progression before the treatment."""
    _, sessions = cohort_of({"01": [[20.0] * 6]})
    sessions.loc[sessions["session_id"] == "ses-1week", "days"] = -1.0
    found = visits_since_baseline(sessions, {"sub-01": "ses-baseline"})
    assert found["session_id"].tolist() == ["ses-baseline", "ses-1month", "ses-late", "ses-last"]


@pytest.mark.parametrize("without", [["sub-02"], ["sub-01", "sub-02"]])
def test_patients_and_lesions_without_a_baseline_are_counted(without):
    """They are not evaluable, in the table of progressions as in that of patients."""
    lesions, sessions = cohort_of({p: [[20.0] * 6, [12.0] * 6] for p in ("01", "02")})
    baseline = dict.fromkeys({"sub-01", "sub-02"} - set(without), "ses-baseline")
    found = rano_tables(lesions, sessions, baseline)
    ends = found.progression[found.progression["participant_id"].isin(without)]
    assert ends["progressed"].isna().all()
    assert ends["criterion"].value_counts().to_dict() == {
        "RANO-BM": len(without),
        "volume": 2 * len(without),
    }
    assert set(found.patients["participant_id"]) == {"sub-01", "sub-02"}
    assert len(found.progression) == 6


def test_a_patient_over_time():
    """Partial response, confirmed, then progression from the nadir while below the baseline."""
    table = tables_of({"01": [[25, 25, 24, 15, 14, 20]]}).patients
    assert table["response"].tolist() == ["n/a", "SD", "PR", "PR", "PD"]
    assert table["confirmed"].tolist()[2:4] == [1, 1]
    assert table["diameter_sum_mm"].tolist() == [25, 24, 15, 14, 20]
    assert table["nadir_mm"].tolist()[1:] == [25, 24, 15, 14]
    assert table["radiographic_only"].tolist()[1:] == [1, 1, 1, 1]
    assert table["from_nadir_percent"].iloc[-1] == pytest.approx(100 * 6 / 14)


def test_progression_is_dated_or_censored():
    """Day of the first progression; without one, day of the last assessment."""
    table = tables_of({"01": [[25, 25, 24, 15, 14, 20]], "02": [[20, 20, 12, 12, 12, 12]]})
    patients = table.progression[table.progression["criterion"] == "RANO-BM"]
    assert patients["progressed"].tolist() == [1, 0]
    assert patients["days"].tolist() == [200, 200]
    assert patients["best_confirmed"].tolist() == ["PR", "PR"]
    lesions = table.progression[table.progression["criterion"] == "volume"]
    assert lesions["progressed"].tolist() == [1, 0]
    assert lesions["lesion"].tolist() == [1, 1]


def test_each_lesion_has_both_rules():
    """By its diameter and by its volume, each against its own baseline and nadir."""
    table = tables_of({"01": [[0, 20, 12, 10, 16, 0], [0, 0, 0, 8, 8, 8]]}).lesions
    first, second = (table[table["lesion"] == n] for n in (1, 2))
    assert first["role"].unique().tolist() == ["target"]
    assert first["rano_bm"].tolist() == ["n/a", "PR", "PR", "PD", "CR"]
    assert first["volume_response"].tolist() == ["n/a", "PR", "PR", "PD", "CR"]
    assert second["role"].unique().tolist() == ["new"]
    assert second["rano_bm"].tolist() == ["n/a", "NE", "PD", "PD", "PD"]
    assert second["volume_response"].tolist() == ["n/a", "n/a", "PD", "PD", "PD"]
    assert first["volume_nadir_ml"].iloc[3] == pytest.approx(np.pi / 6)


def test_the_rules_of_volumes_differ_at_their_thresholds():
    """-58.5 and +71.5 % of the study, -65 and +72.8 % of the extension of RANO-BM."""
    lesions, sessions = cohort_of({"01": [[1.0] * 6]})
    lesions["volume_ml"] = [9, 10, 4.15, 3.5, 6.01, 6.05]
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"}).lesions
    assert table["volume_response"].tolist() == ["n/a", "PR", "PR", "PD", "PD"]
    assert table["volume_rano_bm"].tolist() == ["n/a", "SD", "PR", "SD", "PD"]


def test_course_categories_need_arrays_of_one_length():
    with pytest.raises(BadInput, match="cannot pair"):
        course_categories([1.0, 2.0], [1.0], [1.0])


def test_a_lesion_without_a_volume_in_between_keeps_its_nadir():
    """A missing visit neither interrupts nor lowers the smallest volume."""
    lesions, sessions = cohort_of({"01": [[20, 20, 10, np.nan, 10, 16]]})
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"})
    assert table.lesions["volume_response"].tolist() == ["n/a", "PR", "n/a", "PR", "PD"]
    assert table.patients["response"].tolist() == ["n/a", "PR", "NE", "PR", "PD"]


def test_a_vanished_lesion_has_no_diameter_although_only_its_volume_is_stated():
    lesions, sessions = cohort_of({"01": [[20, 20, 10, 10, 10, 10]]})
    last = lesions["session_id"] == "ses-last"
    lesions.loc[last, ["volume_ml", "diameter_mm"]] = [0.0, np.nan]
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"}).patients
    assert table["response"].iloc[-1] == "CR"


def test_tables_without_diameters_have_volumes_alone():
    """As of earlier versions: no table of patients, and no role; nothing is made up."""
    lesions, sessions = cohort_of({"01": [[20, 20, 10, 10, 10, 0]]})
    table = rano_tables(lesions.drop(columns="diameter_mm"), sessions, {"sub-01": "ses-baseline"})
    assert table.patients.empty
    assert table.lesions["role"].unique().tolist() == ["n/a"]
    assert table.lesions["diameter_mm"].isna().all()
    assert table.lesions["volume_response"].tolist() == ["n/a", "PR", "PR", "PR", "CR"]
    assert table.progression["criterion"].tolist() == ["volume"]


def test_a_participant_without_baseline_is_named():
    lesions, sessions = cohort_of({"01": [[20.0] * 6], "02": [[20.0] * 6]})
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"}).patients
    last = table.iloc[-1]
    assert (last["participant_id"], last["response"]) == ("sub-02", "NE")
    assert last["note"].startswith("no session at baseline")


def test_days_that_contradict_the_order_are_not_used():
    """Where a day is missing, the order of the sessions decides, and nothing can be confirmed."""
    lesions, sessions = cohort_of({"01": [[20, 20, 12, 12, 12, 12]], "02": [[20.0] * 6]})
    sessions.loc[4, "days"] = np.nan
    sessions.loc[3, "days"] = 3.0
    found = visits_since_baseline(sessions, {"sub-01": "ses-baseline", "sub-02": "ses-baseline"})
    assert found["days"].isna().tolist() == [True] * 5 + [False] * 5
    assert found["session_id"].tolist() == list(DAYS)[1:] * 2
    baseline = {"sub-01": "ses-baseline"}
    table = rano_tables(lesions, sessions, baseline).patients
    assert table["response"].tolist()[:5] == ["n/a", "PR", "PR", "PR", "PR"]
    assert table["confirmed"].isna().all()


def test_an_early_baseline_is_noted():
    """RANO-BM: not more than four weeks before the treatment."""
    lesions, sessions = cohort_of({"01": [[20.0] * 6]})
    table = rano_tables(lesions, sessions, {"sub-01": "ses-early"}).patients
    assert table["note"].iloc[0] == "baseline, 40 days before the treatment: more than four weeks"


def test_steroids_and_clinical_status_decide():
    """A higher dose rules out a response, and worsening is a progression; both known, no flag."""
    lesions, sessions = cohort_of({"01": [[20, 20, 12, 12, 12, 12]]})
    sessions["steroid_dose"] = [4, 4, 4, 8, 2, 2]
    sessions["clinical_status"] = ["stable", "stable", "stable", "stable", "improved", "worse"]
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"}).patients
    assert table["response"].tolist() == ["n/a", "PR", "SD", "PR", "PD"]
    assert table["radiographic_only"].tolist()[1:] == [0, 0, 0, 0]


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(map(str, row)) for row in [header, *rows]) + "\n")
    return path


TABLE = ["participant_id", "lesion", "session_id", "days_from_srs", "vp", "volume_ml"]
TABLE += ["diameter_mm", *CLINICAL]


def test_a_table_of_the_users_may_state_diameters_and_clinic(tmp_path):
    """Columns diameter_mm, steroid_dose and clinical_status; in any row of a session."""
    rows = [
        ["01", 1, "baseline", -3, 4.0, 4.2, 20, 4, "stable"],
        ["01", 1, "1month", 30, 3.0, 0.9, 12, 2, "Improved"],
        ["01", 2, "baseline", -3, 4.0, 4.2, 12, "n/a", "n/a"],
        ["01", 2, "1month", 30, 3.0, 0.9, 8, 2, "improved"],
    ]
    cohort = load_study_table(write(tmp_path / "lesions.tsv", TABLE, rows))
    assert cohort.notes == cohort.problems == ()
    row = analyse(cohort).rano.iloc[-1]
    assert (row["diameter_sum_mm"], row["response"], row["radiographic_only"]) == (20, "PR", 0)


def test_clinic_that_contradicts_itself_is_refused(tmp_path):
    rows = [
        ["01", 1, "baseline", -3, 4.0, 4.2, 20, 4, "stable"],
        ["01", 2, "baseline", -3, 4.0, 4.2, 20, 8, "stable"],
    ]
    with pytest.raises(BadInput, match="differs between the lesions of sub-01 in ses-baseline"):
        load_study_table(write(tmp_path / "lesions.tsv", TABLE, rows))
    rows = [["01", 1, "baseline", -3, 4.0, 4.2, 20, 4, "fine"]]
    with pytest.raises(BadInput, match="is 'fine': write improved, stable, worse or n/a"):
        load_study_table(write(tmp_path / "lesions.tsv", TABLE, rows))
    rows = [["01", 1, "baseline", -3, 4.0, 4.2, 20, -4, "stable"]]
    with pytest.raises(BadInput, match="steroid_dose is -4, below zero"):
        load_study_table(write(tmp_path / "lesions.tsv", TABLE, rows))


STATED = ["participant_id", "session_id", "lesion", "roi", "model", "parameter", "unit", "mean"]
STATED += ["excluded"]


def write_session(folder, session, sizes):
    """The table of whole lesions of a session: volume, diameters and slices of each lesion."""
    rows = [
        ["sub-01", session, lesion, "whole", "n/a", name, unit, value, 0]
        for lesion, values in sizes.items()
        for (name, unit), value in zip(
            [("volume", "ml"), ("longest_diameter", "mm"), ("perpendicular_diameter", "mm"),
             ("slices", "1")],
            values,
            strict=True,
        )
    ]  # fmt: skip
    name = f"sub-01_{session}_seg-whole_roistats.tsv"
    return write(folder / "sub-01" / session / "anat" / name, STATED, rows)


def test_diameters_of_the_participant_level_are_read_into_the_cohort(tmp_path):
    """With slices and the perpendicular, which decide what is measurable; and the clinic."""
    write_session(tmp_path, "ses-baseline", {1: (4, 20, 15, 8), 2: (1, 12, 4, 6)})
    write_session(tmp_path, "ses-1month", {1: (1, 12, 9, 5), 2: (1, 12, 4, 6)})
    rows = [["ses-baseline", -3, 4, "stable"], ["ses-1month", 30, 2, "improved"]]
    header = ["session_id", "days_since_treatment", *CLINICAL]
    write(tmp_path / "sub-01" / "sub-01_sessions.tsv", header, rows)
    found = read_output(tmp_path)
    assert found.problems == ()
    statistics = analyse(found.cohort)
    row = statistics.rano.iloc[-1]
    assert (row["n_targets"], row["response"], row["radiographic_only"]) == (1, "PR", 0)
    assert statistics.lesion_response["role"].tolist() == ["target"] * 2 + ["non-target"] * 2


def test_a_negative_diameter_is_a_problem_of_its_table(tmp_path):
    write_session(tmp_path, "ses-baseline", {1: (4, 20, 15, 8)})
    write_session(tmp_path, "ses-1month", {1: (1, -12, 9, 5)})
    found = read_output(tmp_path)
    assert any("longest_diameter is -12, below zero" in text for text in found.problems)
    assert isinstance(found.cohort, Cohort)


def changes_of(table):
    """A panel from a mapping of names to days, changes and responses."""
    rows = [[name, *visit] for name, visits in table.items() for visit in visits]
    frame = pd.DataFrame(rows, columns=["name", "days", "change", "response"])
    return Changes("Lesions", "change (%)", frame, (-58.5, 71.5))


PANEL = changes_of(
    {
        "a": [(-5, 0, "n/a"), (30, -60, "PR"), (200, -20, "PD")],
        "b": [(-5, 0, "n/a"), (30, 50, "SD"), (150, 2680, "PD")],
        "c": [(-5, 0, "n/a"), (30, -80, "PR"), (400, -100, "CR")],
        "d": [(-5, 0, "n/a"), (30, np.nan, "n/a")],
    }
)


def test_the_waterfall_descends_and_marks_what_is_hidden():
    """Last change of each lesion; a cut bar states its number, a smaller value has a line."""
    axes = waterfall([PANEL]).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "a", "c"]
    tops = {
        path.vertices[2, 0].round(1): path.vertices[:, 1][np.abs(path.vertices[:, 1]).argmax()]
        for bars in axes.collections
        if isinstance(bars, PolyCollection)
        for path in bars.get_paths()
    }
    assert list(dict(sorted(tops.items())).values()) == [200, -20, -100]
    assert [text.get_text() for text in axes.texts] == ["+2680"]
    lines = [c for c in axes.collections if type(c) is LineCollection]
    assert [segment[0, 1] for c in lines for segment in c.get_segments()] == [-60]


def test_the_spider_has_a_true_time_axis():
    """Each lesion at its days, in the colour of its last response."""
    axes = spider([PANEL]).axes[0]
    found = {
        tuple(c.get_colors()[0][:3]): [segment.tolist() for segment in c.get_segments()]
        for c in axes.collections
        if len(c.get_segments())
    }
    assert found[to_rgb(RESPONSE_COLORS["CR"])] == [[[-5, 0], [30, -80], [400, -100]]]
    assert found[to_rgb(RESPONSE_COLORS["PD"])] == [
        [[-5, 0], [30, -60], [200, -20]],
        [[-5, 0], [30, 50], [150, 200]],
    ]


def test_panels_without_any_change_say_so():
    empty = changes_of({"a": [(30, np.nan, "n/a")]})
    for plot in (waterfall, spider):
        assert [text.get_text() for text in plot([empty]).axes[0].texts] == ["not available"]


def test_the_swimmer_has_the_longest_follow_up_at_the_top():
    """An arrow marks a follow-up that was assessed and has no progression."""
    rows = [
        *[("sub-1", -5, "n/a"), ("sub-1", 30, "PR"), ("sub-1", 100, "PD")],
        *[("sub-2", -5, "n/a"), ("sub-2", 30, "SD"), ("sub-2", 400, "PR")],
        *[("sub-3", -5, "n/a"), ("sub-3", 30, "NE")],
    ]
    axes = swimmer(pd.DataFrame(rows, columns=["participant_id", "days", "response"])).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["sub-3", "sub-1", "sub-2"]
    arrows = next(line for line in axes.lines if line.get_marker() == ">")
    assert arrows.get_ydata().tolist() == [2]
    progressions = next(line for line in axes.lines if line.get_marker() == "v")
    assert (progressions.get_xdata().tolist(), progressions.get_ydata().tolist()) == ([100], [1])


def test_many_patients_are_drawn_in_few_elements():
    """Two thousand patients: collections, not single patches; no names on the axes."""
    rows = [(f"sub-{n}", d, r) for n in range(2000) for d, r in ((-5, "n/a"), (30, "SD"))]
    frame = pd.DataFrame(rows, columns=["participant_id", "days", "response"])
    axes = swimmer(frame).axes[0]
    assert axes.get_ylabel() == "2000 patients"
    assert len(axes.get_children()) < 40
    panel = Changes("a", "b", frame.set_axis(["name", "days", "response"], axis=1), (-58.5, 71.5))
    panel.table["change"] = np.linspace(-100, 300, len(rows))
    for plot in (waterfall, spider):
        assert len(plot([panel]).axes[0].get_children()) < 40


def test_the_page_of_a_participant_shows_sums_and_categories(tmp_path):
    """A row per session; excluded lesions are no targets."""
    write_session(tmp_path, "ses-baseline", {1: (4, 20, 15, 8), 2: (1, 12, 4, 6)})
    write_session(tmp_path, "ses-1month", {1: (1, 12, 9, 5), 2: (1, 12, 4, 6)})
    header = ["session_id", "days_since_treatment"]
    rows = [["ses-baseline", -3], ["ses-1month", 30]]
    write(tmp_path / "sub-01" / "sub-01_sessions.tsv", header, rows)
    words, table = show_response(read_participant(tmp_path, "01"))
    assert words.sentences == ["1 target lesion: 1."]
    assert words.caveat.startswith("Radiographic only")
    assert [row[1:6] for row in table.rows] == [
        ["20.0", "–", "–", "–", "–"],
        ["12.0", "−40", "−40", "PR", "not yet"],
    ]


def test_the_page_leaves_out_what_is_under_a_wrong_number(tmp_path):
    """As the group level does: the size of another lesion is no response."""
    write_session(tmp_path, "ses-baseline", {1: (4, 20, 15, 8)})
    write_session(tmp_path, "ses-1month", {1: (1, 12, 9, 5)})
    rows = [["ses-baseline", 1, "first", 1], ["ses-1month", 1, "moved", 0]]
    header = ["session_id", "lesion", "event", "comparable"]
    write(tmp_path / "sub-01" / "sub-01_lesions.tsv", header, rows)
    _, table = show_response(read_participant(tmp_path, "01"))
    assert [row[4] for row in table.rows] == ["–", "NE"]
    assert "lesion 1 not measured" in table.rows[1][6]


def test_the_page_of_a_participant_without_diameters_has_no_such_section(tmp_path):
    for session in ("ses-baseline", "ses-1month"):
        path = write_session(tmp_path, session, {1: (4, 20, 15, 8)})
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line for line in lines if "diameter" not in line) + "\n")
    assert show_response(read_participant(tmp_path, "01")) == []


def test_the_group_page_has_the_figures_and_the_words(tmp_path):
    """Counts of progressions, best responses, and all three figures with their data."""
    lesions, sessions = cohort_of({"01": [[25, 25, 24, 15, 14, 20]], "02": [[20] * 6]})
    days = sessions.set_index(["participant_id", "session_id"])["days"]
    keys = pd.MultiIndex.from_frame(lesions[["participant_id", "session_id"]])
    lesions["days_from_srs"] = days.reindex(keys).to_numpy()
    lesions["vp"] = 0.05
    cohort = Cohort(lesions, sessions, {"vp": "1", "volume_ml": "ml"})
    result = GroupResult(cohort, analyse(cohort))
    drawn = plots(result)
    assert {"waterfall", "spider", "swimmer"} <= {plot.name for plot in drawn}
    assert all(set(plot.data) == set(plot.columns) for plot in drawn)
    words, *blocks = show_visits(GroupView(result, drawn))
    assert words.sentences[0].startswith("RANO-BM: 1 of 2 patients progressed, on day 200.")
    best = next(b for b in blocks if getattr(b, "caption", "").startswith("Best response"))
    assert [row[1] for row in best.rows] == ["0", "1", "1", "0", "0"]
    assert "RANO-BM (Lin et al. 2015)" in group_methods(result)
