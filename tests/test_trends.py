"""Trends of the group: terms, covariates and what is known of sessions, from tables to the page."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp.bids.visit_columns import read_visit_columns
from bidsapp.cli.main import main
from bidsapp.errors import UsageError
from bidsapp.reports.group.methods import group_methods
from bidsapp.study.read import load_study_table
from bidsapp.study.tables import (
    LESION,
    Cohort,
    GroupResult,
    TrendOptions,
    analyse,
    lesion_columns,
)
from bidsapp.study.tables.trends import trend_tables

REFERENCE = Path(__file__).parent / "data" / "reference_cohort"
NAN = float("nan")
SLOPE, STEP = -0.2, -1.0
"""Truth of `study`: change of vp in 30 days, and at the treatment."""


def study(seed: int = 0, *, effect: float = 0.0) -> Cohort:
    """Return 24 patients with one or two lesions and three to six visits at irregular days.

    `effect` is the difference of the slope of vp between patients of class B and A.
    """
    rng = np.random.default_rng(seed)
    rows, visits, people = [], [], []
    for p in range(24):
        group, who = "AB"[p % 2], f"sub-{p:02d}"
        people.append({"participant_id": who, "rpa": group, "age": str(50 + p), "site": "one"})
        days = [-6, *np.sort(rng.choice(np.arange(5, 300), rng.integers(2, 6), replace=False))]
        for k in range(len(days)):
            visits.append(
                {"participant_id": who, "session_id": f"ses-{k}", "steroid": str(4 * (k % 3))}
            )
        for lesion in range(1, 2 + p % 2):
            level = 6 + rng.normal()
            for k, day in enumerate(days):
                value = level + (day > 0) * STEP + max(day, 0) / 30 * SLOPE
                value += (group == "B") * effect * max(day, 0) / 30 + 0.2 * rng.normal()
                rows.append([who, lesion, f"ses-{k}", float(day), value, 1.0, False])
    lesions = pd.DataFrame(rows, columns=lesion_columns(["vp"]))
    sessions = lesions[["participant_id", "session_id", "days_from_srs"]].drop_duplicates()
    sessions = sessions.rename(columns={"days_from_srs": "days"})
    sessions["position"] = sessions.groupby("participant_id").cumcount().astype(float)
    return Cohort(
        lesions,
        sessions.reset_index(drop=True),
        {"vp": "%"},
        participants=pd.DataFrame(people),
        visits=pd.DataFrame(visits),
    )


def trends_of(cohort: Cohort, **options) -> pd.DataFrame:
    known = cohort.lesions[LESION].drop_duplicates().merge(cohort.participants)
    found, _, _ = trend_tables(cohort, cohort.lesions, known, TrendOptions(**options))
    return found[found["parameter"] == "vp"].set_index(["term", "compared"])


def test_step_and_slope_are_the_truth_and_the_line_alone_is_known_to_be_wrong():
    """A step and a line: both found with --trend step; a line alone has a curved rest."""
    found = trends_of(study(), step=True)
    for term, truth in (("step", STEP), ("slope", SLOPE), ("level", 6)):
        low, high = found.loc[(term, ""), ["ci_low", "ci_high"]]
        assert low < truth < high, term
    assert found["p_curvature"].min() > 0.05
    assert np.isnan(found.loc[("level", ""), "p"]), "that a level is not zero is no finding"
    line = trends_of(study())
    assert list(line.index) == [("level", ""), ("slope", "")]
    assert line["p_curvature"].max() < 1e-4
    assert set(line["random"]) == {"intercepts, slopes of lesions and patients"}


def test_every_visit_with_a_known_day_counts_and_others_are_named():
    """Sessions at no time point are used; values of unknown day are left out, and counted."""
    cohort = study()
    every = int(cohort.lesions["vp"].notna().sum())
    assert set(trends_of(cohort)["n_values"]) == {every}
    lesions = cohort.lesions.copy()
    lost = lesions["session_id"] == "ses-2"
    lesions.loc[lost, "days_from_srs"] = NAN
    found = trends_of(replace(cohort, lesions=lesions))
    assert set(found["n_values"]) == {every - lost.sum()}
    assert set(found["note"]) == {
        f"{lost.sum()} values of unknown or contradictory day are left out"
    }
    undated = cohort.lesions.assign(days_from_srs=NAN)
    found = trends_of(replace(cohort, lesions=undated))
    assert found["estimate"].isna().all()
    assert found["note"].str.startswith("0 values are too few for 2 coefficients").all()


def test_a_grouping_is_compared_with_its_reference():
    """The slope of B differs from A's by the truth; another reference turns the sign."""
    cohort = study(effect=0.3)
    found = trends_of(cohort, step=True, covariate="rpa")
    assert list(found.loc[["slope"]].index) == [("slope", ""), ("slope", "A - B")], (
        "more lesions are of B"
    )
    other = trends_of(cohort, step=True, covariate="rpa", reference="A")
    row = other.loc[("slope", "B - A")]
    assert row["ci_low"] < 0.3 < row["ci_high"]
    assert row["p"] < 0.001
    assert row["estimate"] == pytest.approx(-found.loc[("slope", "A - B"), "estimate"], rel=1e-4)
    assert other.loc[("slope", ""), "estimate"] == pytest.approx(SLOPE, abs=0.1)
    assert trends_of(study(), covariate="rpa", step=True).loc[("slope", "A - B"), "p"] > 0.001


def test_a_number_is_compared_per_unit_at_its_mean():
    """Age: slopes of the term itself are those at the mean age of the lesions."""
    found = trends_of(study(), covariate="age")
    assert [c for _, c in found.index] == ["", "", *["per 1, at a mean of 61.67"] * 2]
    assert set(found["covariate"]) == {"", "age"}
    grouped = trends_of(study(), covariate="steroid", reference="0")
    assert list(grouped.index)[-2:] == [("level", "4 - 0"), ("level", "8 - 0")]


def test_a_covariate_of_sessions_shifts_levels_only():
    """The steroid dose of each session: no interaction with time, for it has its own course."""
    found = trends_of(study(), covariate="steroid")
    assert list(found.index)[:2] == [("level", ""), ("slope", "")]
    assert [term for term, compared in found.index if compared] == ["level"]
    baseline = trends_of(study(), covariate="age")
    assert [term for term, compared in baseline.index if compared] == ["level", "slope"]


def test_a_grouping_of_sessions_that_is_unknown_at_the_first_one():
    """What differs between sessions is counted over all of them."""
    cohort = study()
    state = cohort.visits["steroid"].map({"0": "n/a", "4": "worse", "8": "stable"})
    found = trends_of(replace(cohort, visits=cohort.visits.assign(state=state)), covariate="state")
    assert ("level", "stable - worse") in found.index


def test_days_against_the_order_of_the_time_points_are_in_no_trend():
    """The participant is a problem of the group, and its values are counted as left out."""
    cohort = study()
    first = (cohort.sessions["participant_id"] == "sub-00") & (cohort.sessions["position"] == 0)
    sessions = cohort.sessions.assign(days=cohort.sessions["days"].mask(first, 400.0))
    found = analyse(replace(cohort, sessions=sessions), {"a": "0", "b": "1"})
    lost = (cohort.lesions["participant_id"] == "sub-00").sum()
    assert "days are not in the order" in found.problems[0]
    note = f"{lost} values of unknown or contradictory day are left out"
    assert set(found.trends["note"]) == {note}
    assert set(found.trends["n_participants"]) == {23}


def test_what_is_known_of_the_first_time_point_is_a_characteristic():
    """A column of sessions has the ending _baseline; it may be a covariate of the lesion."""
    cohort = study()
    cohort.visits.loc[cohort.visits["session_id"] == "ses-0", "steroid"] = [
        str(2 + p % 5) for p in range(24)
    ]
    found = analyse(cohort, {"before": "-20:0", "after": "5:30"})
    table = found.characteristics
    assert list(table)[2:6] == ["rpa", "age", "site", "steroid_baseline"]
    assert table.groupby("participant_id")["steroid_baseline"].first().iloc[7] == "4"
    used, _, _ = trend_tables(
        cohort, found.lesions, table, TrendOptions(covariate="steroid_baseline")
    )
    assert set(used.loc[used["compared"] != "", "term"]) == {"level", "slope"}


@pytest.mark.parametrize(
    ("options", "change", "words"),
    [
        (
            {"covariate": "kps"},
            {},
            "kps: is no further column .* there are rpa, age, site, steroid",
        ),
        ({"covariate": "site"}, {}, "site: is one in all lesions: nothing to compare"),
        ({"covariate": "rpa", "reference": "C"}, {}, "rpa=C: is no group; there are A, B"),
        (
            {"covariate": "name"},
            {"name": [f"p{i}" for i in range(24)]},
            "name: 36 lesions are in 24 groups",
        ),
        (
            {"covariate": "dose"},
            {"dose": ["20", "4 mg"] * 12},
            r"dose: has numbers and texts \(4 mg\): write numbers alone, or .* dose=GROUP",
        ),
        ({"covariate": "kps"}, {"kps": "n/a"}, "kps: has no value for any lesion"),
        ({"covariate": "steroid"}, {"steroid": "1"}, "steroid: is a column of two tables"),
    ],
)
def test_a_covariate_that_cannot_be_used_is_refused_with_the_reason(options, change, words):
    """Unknown, constant, too many groups, no such reference, empty, in two tables."""
    cohort = study()
    people = cohort.participants.assign(**change)
    with pytest.raises(UsageError, match=f"--covariate {words}"):
        trends_of(replace(cohort, participants=people), **options)


def test_lesions_without_the_covariate_are_left_out_and_counted():
    """Nothing is dropped silently."""
    cohort = study()
    people = cohort.participants.copy()
    people.loc[people["participant_id"].isin(["sub-00", "sub-01"]), "rpa"] = "n/a"
    found = trends_of(replace(cohort, participants=people), covariate="rpa")
    assert set(found["note"]) == {"3 of 36 lesions without rpa are left out"}
    assert set(found["n_lesions"]) == {33}


def test_curves_are_the_model_and_hold_the_level_before_treatment():
    """Flat until day 0, with the step there, and then the slope; one curve per group."""
    cohort = study()
    found = analyse(
        cohort, {"before": "-20:0", "after": "5:30"}, trend=TrendOptions(True, "rpa", "A")
    )
    curve = found.trend_curves.query("parameter == 'vp' and group == 'A'").reset_index()
    rows = found.trends.query("parameter == 'vp' and compared == ''").set_index("term")["estimate"]
    assert curve.loc[:2, "days"].tolist() == [-6, 0, 0]
    assert curve.loc[0, "mean"] == curve.loc[1, "mean"] == pytest.approx(rows["level"])
    assert curve.loc[2, "mean"] == pytest.approx(rows["level"] + rows["step"])
    rise = curve["mean"].iloc[-1] - curve.loc[2, "mean"]
    assert rise == pytest.approx(rows["slope"] * curve["days"].iloc[-1] / 30)
    assert set(found.trend_curves["group"]) == {"A", "B"}
    methods = group_methods(GroupResult(cohort, found))
    assert "a step at the treatment and a straight line after it" in methods
    assert "rpa was a covariate of level, step and slope (B - A)" in methods


SESSIONS = (
    "session_id\tdays_since_treatment\tacq_time\tsteroid_dose\trpa\tbirth_date\tseen\tcomment\tkps\n"
    "ses-a\t-3\t2019-03-01T10:00:00\t8\tII\t1950\t01.03.2019\tok\t90\n"
    "b\t9\t2019-03-13T10:00:00\t\tII\t1950\tn/a\tok\tn/a\n"
)


def test_columns_that_may_identify_a_patient_stay_in_the_data_set(tmp_path):
    """Dates by name or content, comments, long texts; other columns are copied as they are."""
    table = tmp_path / "sub-01_sessions.tsv"
    table.write_text(SESSIONS)
    found = read_visit_columns(table)
    assert found.columns == ("steroid_dose", "rpa", "kps")
    assert found.withheld == ("birth_date", "seen", "comment")
    assert found.of("ses-a") == {"steroid_dose": "8", "rpa": "II", "kps": "90"}
    assert found.of("ses-b") == {"steroid_dose": "n/a", "rpa": "II", "kps": "n/a"}
    assert found.of("ses-c") == dict.fromkeys(found.columns, "n/a")
    assert "birth_date, seen, comment may contain dates" in found.notes[0]
    for cell in ("20190301", "1/3/19", "Mar 2019", "10:45", "seen by a long list of doctors"):
        table.write_text(f"session_id\tstate\nses-a\t{cell}\n")
        assert read_visit_columns(table).withheld == ("state",), cell
    assert read_visit_columns(tmp_path / "none.tsv").columns == ()


def test_stats_takes_a_covariate_from_the_table_of_lesions(tmp_path, empty_figures):
    """A further column is used only if it is named; else it is reported as not used."""
    source = (REFERENCE / "lesions.tsv").read_text().splitlines()
    lines = [f"{source[0]}\tpain\tmood"]
    lines += [f"{line}\t{'high' if i % 8 < 4 else 'low'}\t1" for i, line in enumerate(source[1:])]
    table = tmp_path / "lesions.tsv"
    table.write_text("\n".join(lines) + "\n")
    assert "not used: pain, mood;" in load_study_table(table).notes[0]
    assert list(load_study_table(table, "pain_baseline").visits)[-1] == "pain"
    named = load_study_table(table, "pain")
    assert "not used: mood;" in named.notes[0]
    assert list(named.visits) == ["participant_id", "lesion", "session_id", "pain"]
    out = tmp_path / "out"
    assert main(["stats", str(table), str(out), "--covariate", "pain=low", "--trend", "step"]) == 0
    found = pd.read_csv(out / "group_trends.tsv", sep="\t", keep_default_na=False)
    assert {"", "high - low", "n/a"} >= set(found["compared"])
    assert "high - low" in set(found["compared"])
    assert {"level", "step", "slope"} == set(found["term"])
    described = json.loads((out / "group_trends.json").read_text())
    assert set(described) == set(found)
    page = (out / "group.html").read_text()
    assert "Trends over all visits" in page
    assert "pain_baseline" in (out / "group_characteristics.tsv").read_text().splitlines()[0]


def test_stats_refuses_a_covariate_that_is_not_there(tmp_path, capsys):
    """One line, the exit code of a wrong option, and no file."""
    out = tmp_path / "out"
    words = ["stats", str(REFERENCE / "lesions.tsv"), str(out), "--covariate", "kps"]
    assert main(words) == 2
    assert "--covariate kps: is no further column" in capsys.readouterr().err
    assert list(out.iterdir()) == []
