"""A cohort: sessions and their time points, tables of the group level, `metperf stats`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bidsapp.cli.main import main
from bidsapp.errors import BadInput, UsageError
from bidsapp.study.read import load_study_table, match_rows, read_participants, read_traits
from bidsapp.study.read.plausibility import scale_warnings
from bidsapp.study.tables import Cohort, TrendOptions, analyse, session_labels
from bidsapp.study.tables.dictionary import TABLES
from bidsapp.study.tables.timepoints import assign_timepoints

REFERENCE = Path(__file__).parent / "data" / "reference_cohort"


@pytest.fixture(scope="module")
def cohort():
    return load_study_table(REFERENCE / "lesions.tsv")


@pytest.fixture(scope="module")
def statistics(cohort):
    return analyse(cohort)


def relabel(cohort: Cohort, labels: dict[str, str], days: dict[str, float]) -> Cohort:
    """The same cohort with other session labels and days."""
    lesions = cohort.lesions.replace({"session_id": labels})
    sessions = cohort.sessions.replace({"session_id": labels})
    sessions["days"] = sessions["session_id"].map(days).fillna(sessions["days"])
    return Cohort(lesions, sessions, cohort.units)


def change_day(cohort: Cohort, participant: str, session: str, day: float) -> Cohort:
    """The same cohort with another day of one session."""
    sessions = cohort.sessions.copy()
    here = (sessions["participant_id"] == participant) & (sessions["session_id"] == session)
    assert here.sum() == 1
    sessions.loc[here, "days"] = day
    return Cohort(cohort.lesions, sessions, cohort.units)


def test_time_points_by_day_are_those_by_label(cohort, statistics):
    """Without known labels, sessions are assigned by day: the same numbers, and a note."""
    labels = {"ses-baseline": "ses-A", "ses-1week": "ses-B", "ses-1month": "ses-C"}
    by_day = analyse(relabel(cohort, labels, {}))
    np.testing.assert_allclose(by_day.paired["p"], statistics.paired["p"])
    assert list(by_day.response["response"]) == list(statistics.response["response"])
    assert "taken by day (baseline -60:0, 1week 3:12, 1month 20:45)" in by_day.notes[0]
    named = analyse(cohort, {"before": "-30:0", "after": "15:50"})
    assert named.paired["p"][0] == pytest.approx(statistics.paired["p"][1])
    assert named.notes == ()


def test_two_sessions_of_one_time_point_are_neither(cohort):
    """Two sessions in one window of days: none is used, and the problem names both."""
    labels = {"ses-baseline": "ses-A", "ses-1week": "ses-B", "ses-1month": "ses-C"}
    twice = change_day(relabel(cohort, labels, {}), "sub-03", "ses-C", 9)
    found = analyse(twice)
    assert list(found.paired["n"][:3]) == [19, 19, 19]
    assert "sub-03: ses-B and ses-C are both 1week (3:12)" in found.problems[0]
    assert "put the series of a single visit into one session" in found.problems[0]


@pytest.mark.parametrize("day", [7, 3, -9])
def test_days_that_contradict_the_labels_are_a_problem(cohort, day):
    """A 1month that is on or before the day of 1week: the participant is left out, and named."""
    found = analyse(change_day(cohort, "sub-02", "ses-1month", day))
    assert set(found.paired["n"]) == {19}
    assert f"1month (ses-1month) is day {day}" in found.problems[0]
    lost = found.missing[found.missing["participant_id"] == "sub-02"]
    assert set(lost["reason"]) == {
        f"ses-{name} is in conflict: see the problems" for name in ("baseline", "1week", "1month")
    }


def test_unknown_days_do_not_stop_labels(cohort, statistics):
    """Without days, labels pair as they are."""
    sessions = cohort.sessions.assign(days=np.nan)
    found = analyse(Cohort(cohort.lesions, sessions, cohort.units))
    np.testing.assert_allclose(found.paired["p"], statistics.paired["p"])
    assert found.problems == ()


@pytest.mark.parametrize(
    ("timepoints", "words"),
    [
        ({"a": "0:10", "b": "5:20"}, "The days overlap or go backwards in a=0:10, b=5:20"),
        ({"a": "10:20", "b": "0:5"}, "The days overlap or go backwards"),
        ({"a": "10:2", "b": "20:30"}, "The days overlap or go backwards"),
        ({"a": "1:2", "b": "1:2"}, "Two time points have the same session"),
    ],
)
def test_days_that_overlap_are_refused(timepoints, words):
    """Windows must rise and not overlap."""
    with pytest.raises(UsageError, match=words):
        session_labels(timepoints)


def test_a_cohort_is_not_changed_by_the_assignment(cohort):
    """Placing works on copies."""
    before = cohort.sessions.copy()
    assign_timepoints(cohort)
    pd.testing.assert_frame_equal(cohort.sessions, before)
    assert "timepoint" not in cohort.lesions


def test_every_table_is_described_in_its_order(statistics):
    """Each table has exactly the columns of its data dictionary, where no lesion was followed."""
    tables = statistics.tables()
    assert list(tables) == list(TABLES)
    for name, frame in tables.items():
        assert list(frame) == [column for column in TABLES[name] if column != "events"], name


def test_one_row_per_question(statistics):
    """5 parameters and 3 pairs of time points; 15 participants to leave out; 2 early changes.

    Without diameters there is no RANO-BM; 75 visits of 20 lesions have a baseline.
    """
    lengths = {name: len(frame) for name, frame in statistics.tables().items()}
    assert lengths == {
        "characteristics": 20,
        "summary": 18,
        "paired": 15,
        "mixed": 15,
        "trends": 10,
        "trend_curves": 215,
        "influence": 225,
        "response": 20,
        "rano": 0,
        "lesion_response": 75,
        "progression": 20,
        "responders": 2,
        "prediction": 10,
        "roc": lengths["roc"],
        "correlation": 3,
        "agreement": 7,
        "limits": 3,
        "repeatability": 5,
        "changes": 200,
        "planning": 15,
        "excluded": 0,
        "missing": 0,
    }
    assert 10 * 5 < lengths["roc"] <= 10 * 15


def test_the_mixed_model_is_compared_with_the_t_test(statistics):
    """Its changes are the mean changes (nothing is missing), and both agree on vp and Ktrans."""
    mixed, paired = statistics.mixed, statistics.paired
    np.testing.assert_allclose(mixed["mean_difference"], paired["mean_difference"], atol=1e-9)
    np.testing.assert_allclose(mixed["p_paired"], paired["p"])
    assert set(mixed["df"].round(3)) == {38}
    here = mixed[(mixed["parameter"] == "vp") & (mixed["timepoint_b"] == "1month")]
    assert set(here["agrees"]) == {1}
    assert mixed["icc_participant"].between(0, 1).all()
    assert (mixed["icc_lesion"] >= mixed["icc_participant"]).all()


def test_every_measure_of_a_change_has_its_direction(statistics):
    """Later minus earlier: effect size, rank sum and interval have the sign of the mean change."""
    table = statistics.paired
    change, n = table["mean_difference"], table["n"]
    assert (change > 0).any()
    assert (change < 0).any()
    for name in ("t", "cohens_dz", "hedges_gz"):
        assert (np.sign(table[name]) == np.sign(change)).all(), name
    for low, high in (("ci_low", "ci_high"), ("bootstrap_low", "bootstrap_high")):
        assert ((table[low] < change) & (change < table[high])).all()
    clear = table["p_wilcoxon"] < 0.05
    assert clear.any()
    expected = (n * (n + 1) / 4)[clear]
    assert (np.sign(table["wilcoxon_w"][clear] - expected) == np.sign(change[clear])).all()
    np.testing.assert_allclose(statistics.planning["cohens_dz"], table["cohens_dz"])


def test_a_cautious_plan_takes_the_end_of_the_interval_nearest_to_zero(statistics):
    """A smaller effect than the observed one, hence more pairs; none if the interval holds 0."""
    paired, planning = statistics.paired, statistics.planning
    clear = paired["dz_low"] * paired["dz_high"] > 0
    assert clear.any()
    ends = np.minimum(paired["dz_low"].abs(), paired["dz_high"].abs())
    np.testing.assert_allclose(planning["dz_cautious"].abs(), ends.where(clear, 0))
    assert (planning["n_power80_cautious"] > planning["n_power80"])[clear].all()
    assert planning["n_power80_cautious"][~clear].isna().all()


def test_whole_participants_are_left_out_and_the_worst_is_named(statistics):
    """The largest p value without one participant, and whose: as in the table of all of them."""
    for row in statistics.paired.to_dict("records"):
        keys = ["parameter", "timepoint_a", "timepoint_b"]
        here = (statistics.influence[keys] == [row[key] for key in keys]).all(axis=1)
        without = statistics.influence[here].set_index("without")["p"]
        assert row["n_participants"] == len(without) == 15
        assert (row["p_without_min"], row["p_without_max"]) == (without.min(), without.max())
        assert row["without_max"] == without.idxmax()


def test_adjusted_p_values_are_named_by_their_method(statistics):
    """The false discovery rate by scipy; Holm is Bonferroni for the smallest, and stricter."""
    table = statistics.paired
    np.testing.assert_allclose(table["p_fdr"], stats.false_discovery_control(table["p"]))
    assert table["p_holm"].min() == pytest.approx(15 * table["p"].min())
    assert (table["p_holm"] >= table["p_fdr"]).all()


def test_the_line_is_that_of_y_on_x(statistics):
    """Its slope is r times the SD of y over that of x, and it passes through the means."""
    table = statistics.summary.set_index(["timepoint", "parameter"])
    for line in statistics.correlation.to_dict("records"):
        x, y = (table.loc[(line["timepoint"], line[axis])] for axis in ("x", "y"))
        assert line["slope"] == pytest.approx(line["r"] * y["sd"] / x["sd"])
        assert line["intercept"] + line["slope"] * x["mean"] == pytest.approx(y["mean"])


def test_limits_are_of_y_minus_x_in_standard_deviations_at_baseline(statistics):
    """Their bias is the difference of the mean changes, each in the SD of its parameter."""
    limits = statistics.limits.set_index("timepoint")["bias"]
    table = statistics.summary.set_index(["parameter", "timepoint"])
    assert limits["baseline"] == pytest.approx(0, abs=1e-12)
    for timepoint in ("1week", "1month"):
        f, vp = (
            (table.loc[(name, timepoint), "mean"] - table.loc[(name, "baseline"), "mean"])
            / table.loc[(name, "baseline"), "sd"]
            for name in ("f", "vp")
        )
        assert limits[timepoint] == pytest.approx(f - vp)


def test_changes_and_their_agreement_are_in_the_tables(statistics):
    """The correlation of changes is that of the differences, within lesions has 39 degrees."""
    table = statistics.agreement.set_index(["question", "timepoint_a", "timepoint_b"])
    wide = statistics.lesions.pivot(index=["participant_id", "lesion"], columns="timepoint")
    change = {name: wide[name]["1month"] - wide[name]["baseline"] for name in ("vp", "f")}
    r = np.corrcoef(change["vp"].astype(float), change["f"].astype(float))[0, 1]
    assert table.loc[("change", "baseline", "1month"), "r"] == pytest.approx(r)
    assert table.loc[("within lesions", "", ""), "df"] == 39
    values = table.loc["values"]["r"].to_numpy()
    np.testing.assert_allclose(values, statistics.correlation["r"])


def with_rescan(cohort, sd):
    """The same cohort with a second baseline, in which vp differs by noise and f not at all."""
    rescan = cohort.lesions[cohort.lesions["session_id"] == "ses-baseline"].copy()
    rng = np.random.default_rng(0)
    rescan["session_id"] = "ses-rescan"
    rescan["vp"] = rescan["vp"].astype(float) + rng.normal(0, sd, len(rescan))
    lesions = pd.concat([cohort.lesions, rescan], ignore_index=True)
    baseline = cohort.sessions["session_id"] == "ses-baseline"
    again = cohort.sessions[baseline].assign(session_id="ses-rescan")
    sessions = pd.concat([cohort.sessions, again], ignore_index=True)
    return Cohort(lesions, sessions, cohort.units)


def test_repeated_sessions_judge_single_changes(cohort):
    """Scan and rescan: SD, coefficient and verdicts; the largest changes are those beyond it."""
    repeated = with_rescan(cohort, 0.2)
    found = analyse(repeated, repeats=("ses-baseline", "ses-rescan"))
    table = found.repeatability.set_index("parameter")
    row = table.loc["vp"]
    assert (row["session_a"], row["session_b"]) == ("ses-baseline", "ses-rescan")
    assert (row["n"], row["scale"]) == (20, "absolute")
    assert row["repeatability_coefficient"] == pytest.approx(1.96 * 0.2, rel=0.3)
    assert row["ci_low"] < row["repeatability_coefficient"] < row["ci_high"]
    assert row["limit_high"] == -row["limit_low"] == row["repeatability_coefficient"]
    wide = repeated.lesions.pivot(
        index=["participant_id", "lesion"], columns="session_id", values="vp"
    )
    shift = (wide["ses-rescan"] - wide["ses-baseline"]).astype(float).mean()
    assert row["bias"] == pytest.approx(shift), "second less first"
    vp = found.changes[found.changes["parameter"] == "vp"]
    beyond = vp["change"].abs() > row["repeatability_coefficient"]
    assert beyond.any()
    assert (~beyond).any()
    assert list(vp["verdict"]) == [("within", "exceeded")[b] for b in beyond]
    assert set(vp["source"]) == {"ses-baseline and ses-rescan, n = 20"}
    assert table.loc["f", "repeatability_coefficient"] == 0
    f = found.changes[found.changes["parameter"] == "f"]
    assert set(f["verdict"]) == {"exceeded"}, "repeats without any difference, and each changed"


def test_errors_of_the_fits_judge_nothing(cohort, statistics):
    """Tiny standard errors change no table; without repeats, no change has a verdict."""
    tiny = {f"{name}_se": 1e-9 for name in cohort.parameters}
    found = analyse(replace(cohort, lesions=cohort.lesions.assign(**tiny)))
    assert differing(statistics, found) == set()
    assert set(found.changes["verdict"]) == {""}
    assert set(found.changes["limit_from"]) == {"published", ""}
    assert set(found.repeatability["note"]) == {"no repeat scans were named"}
    assert found.repeatability["limit_high"].isna().all()


def test_a_repeat_does_not_compete_for_a_time_point(cohort, statistics):
    """Two baselines in one window of days are a conflict, unless the second is a repeat."""
    repeated = with_rescan(cohort, 0.2)
    days = {"baseline": "-60:0", "1week": "3:12", "1month": "20:45"}
    assert "are both baseline" in analyse(repeated, days).problems[0]
    found = analyse(repeated, days, repeats=("ses-baseline", "ses-rescan"))
    assert found.problems == ()
    np.testing.assert_allclose(found.paired["p"], statistics.paired["p"])


def test_the_seed_is_the_only_chance(cohort, statistics):
    """Same seed, same tables; another seed changes the bootstrap and nothing else."""
    again, other = analyse(cohort), analyse(cohort, seed=1)
    for name, frame in statistics.tables().items():
        pd.testing.assert_frame_equal(again.tables()[name], frame)
    drawn = ["bootstrap_low", "bootstrap_high"]
    same = other.paired.drop(columns=[*drawn, "p_signflip"])
    pd.testing.assert_frame_equal(same, statistics.paired.drop(columns=[*drawn, "p_signflip"]))
    assert (other.paired[drawn] != statistics.paired[drawn]).all(axis=None)


def differing(one, other):
    """Return the names of the tables that differ."""
    tables = other.tables()
    return {name for name, frame in one.tables().items() if not frame.equals(tables[name])}


def with_repeats(cohort):
    return analyse(cohort, repeats=("ses-baseline", "ses-1week"))


def with_other_timepoints(cohort):
    return analyse(cohort, {"baseline": "baseline", "1month": "1month"})


def with_another_seed(cohort):
    return analyse(cohort, seed=1)


def with_an_excluded_lesion(cohort):
    excluded = cohort.lesions["excluded"].copy()
    excluded[cohort.lesions["participant_id"] == "sub-02"] = True
    return analyse(replace(cohort, lesions=cohort.lesions.assign(excluded=excluded)))


def with_participants(cohort):
    return analyse(replace(cohort, participants=read_participants(REFERENCE / "participants.tsv")))


def with_traits(cohort):
    return analyse(replace(cohort, traits=read_traits(REFERENCE / "lesion_traits.tsv")))


def with_a_covariate(cohort):
    people = read_participants(REFERENCE / "participants.tsv")
    return analyse(replace(cohort, participants=people), trend=TrendOptions(covariate="age"))


def with_a_step(cohort):
    return analyse(cohort, trend=TrendOptions(step=True))


# The study has no diameters, and so no table of RANO-BM.
EVERY = set(TABLES) - {"missing", "rano"}
TRENDS = {"trends", "trend_curves"}
UNTOUCHED = {"characteristics", "excluded", "repeatability", "response", "responders"} | TRENDS
UNTOUCHED |= {"lesion_response", "progression"}
"""What does not depend on the time points between the first and the last."""


@pytest.mark.parametrize(
    ("change", "tables"),
    [
        (with_repeats, {"repeatability", "changes"}),
        (with_other_timepoints, EVERY - UNTOUCHED),
        (with_another_seed, {"paired"}),
        (with_an_excluded_lesion, EVERY - {"repeatability"}),
        (with_participants, {"characteristics"}),
        (with_traits, {"characteristics"}),
        (with_a_covariate, {"characteristics"} | TRENDS),
        (with_a_step, TRENDS),
    ],
)
def test_an_option_of_the_group_changes_its_tables_and_no_others(
    cohort, statistics, change, tables
):
    """No option is ignored, and none reaches a table that it is not meant for."""
    assert differing(statistics, change(cohort)) == tables


def test_stats_makes_the_study_from_tables_alone(tmp_path, capsys, empty_figures):
    """Table 1 with age, dose and response; Table 2; the page; exit code 0."""
    out = tmp_path / "out"
    words = ["stats", str(REFERENCE / "lesions.tsv"), str(out)]
    words += ["--participants-table", str(REFERENCE / "participants.tsv")]
    words += ["--traits", str(REFERENCE / "lesion_traits.tsv")]
    assert main(words) == 0
    table = pd.read_csv(out / "group_characteristics.tsv", sep="\t", keep_default_na=False)
    assert list(table) == [
        "participant_id",
        "lesion",
        "age",
        "sex",
        "primary",
        "location",
        "dose_cgy",
        "bed_lq_gy",
        "bed_mlq_gy",
        "followup_days",
        "volume_change_percent",
        "response",
    ]
    assert table.iloc[0].tolist()[:7] == ["sub-01", 1, 48, "M", "lung", "frontal lobe", 2000]
    assert table["response"].value_counts().to_dict() == {
        "CR": 3,
        "PR": 3,
        "SD": 6,
        "PD": 3,
        "n/a": 5,
    }
    described = json.loads((out / "group_characteristics.json").read_text())
    assert described["dose_cgy"]["Description"].startswith("As given in the table")
    assert table.loc[0, ["bed_lq_gy", "bed_mlq_gy"]].tolist() == pytest.approx(
        [60, 38.2203], rel=1e-4
    )
    assert "alpha/beta = 10 Gy" in described["bed_lq_gy"]["Description"]
    page = (out / "group.html").read_text()
    assert "Mixed model and paired t test agree on all 15 comparisons." in page
    assert "Changes of f and vp are not significantly correlated from baseline to 1 week" in page
    assert 'href="sub-01.html"' not in page
    assert f"page: {out}/group.html" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--timepoints", "a=baseline", "b=2years"], 18, "No participant has ses-2years"),
        (["--repeats", "baseline", "rescan"], 18, "No participant has ses-rescan"),
        (["--timepoints", "a=0:9", "b=5:20"], 2, "The days overlap"),
    ],
)
def test_stats_refuses_what_is_not_there(tmp_path, capsys, words, code, message):
    """A session that no one has, days that overlap: one line, the exit code, and no file."""
    out = tmp_path / "out"
    assert main(["stats", str(REFERENCE / "lesions.tsv"), str(out), *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(out.iterdir()) == []


def change_table(tmp_path, change, source="lesions.tsv"):
    path = tmp_path / source
    path.write_text(change((REFERENCE / source).read_text()))
    return path


@pytest.mark.parametrize(
    ("change", "words", "code", "message"),
    [
        (
            lambda text: text.replace("ses-1week", "ses-B").replace("days_from_srs", "day"),
            ["--timepoints", "a=-20:0", "b=3:12"],
            18,
            "No participant has -20:0, 3:12; there are ses-1month, ses-B, ses-baseline, "
            "ses-followup (no days since treatment)",
        ),
        (
            lambda text: text.replace("ses-", "ses-x").replace("days_from_srs", "day"),
            [],
            18,
            "No session is at a time point (ses-baseline, ses-1week, ses-1month); there are ses-x1",
        ),
        (lambda text: text.replace("\t", ","), [], 1, "separated by commas, not tabs; save it as"),
        (lambda text: text.replace("\t", ";"), [], 1, "separated by semicolons, not tabs"),
        (lambda text: text.replace("\tvp\t", "\tf\t"), [], 1, "column 'f' is present twice"),
        (lambda text: text.replace("\tvp\t", "\tF\t"), [], 1, "columns 'F', 'f' are the same"),
        (lambda text: text.replace("excluded", "exclude"), [], 1, "call it 'excluded'"),
    ],
)
def test_a_study_table_that_would_be_misread_is_refused(
    tmp_path, capsys, change, words, code, message
):
    """Other separators, sessions and days that match nothing, columns that are alike."""
    path = change_table(tmp_path, change)
    assert main(["stats", str(path), str(tmp_path / "out"), *words]) == code
    assert message in capsys.readouterr().err


def with_cells(tmp_path, change, units=None):
    """The reference table after `change`, a function of the rows as dictionaries."""
    header, *lines = (
        line.split("\t") for line in (REFERENCE / "lesions.tsv").read_text().splitlines()
    )
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    change(rows)
    path = tmp_path / "lesions.tsv"
    path.write_text(
        "\n".join("\t".join(row) for row in [header, *(r.values() for r in rows)]) + "\n"
    )
    if units:
        path.with_suffix(".json").write_text(json.dumps(units))
    return path


def multiply(column, factor, key, group):
    """A change of the table: one column of a session or participant in another unit."""

    def change(rows):
        for row in rows:
            if row[key] == group and row[column] != "n/a":
                row[column] = str(float(row[column]) * factor)

    return change


@pytest.mark.parametrize("value", ["-999", "-0.5", "101"])
@pytest.mark.parametrize("column", ["vp", "ve"])
def test_impossible_values_are_left_out_and_named(tmp_path, cohort, column, value):
    """A sentinel, a negative fraction, a fraction above 100 %: not used, and named by line."""
    path = with_cells(tmp_path, lambda rows: rows[1].update({column: value}))
    found = load_study_table(path)
    assert np.isnan(found.lesions[column][1])
    assert not np.isnan(cohort.lesions[column][1])
    assert found.lesions[column].isna().sum() == cohort.lesions[column].isna().sum() + 1
    assert f"lesions.tsv: {column} is {value} in line 3" in found.problems[0]


def test_stats_fails_for_impossible_values_and_counts_other_scales(tmp_path, capsys, tables_only):
    """Exit code 1 for a volume below zero; the scale of a session is a warning besides."""

    def change(rows):
        multiply("vp", 0.01, "session_id", "ses-1week")(rows)
        rows[1]["volume_ml"] = "-2"

    assert main(["stats", str(with_cells(tmp_path, change)), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "volume_ml is -2 in line 3, below zero: not used" in error
    assert "1 failure and 1 warning" in error


@pytest.mark.parametrize("column", ["volume_ml", "days_from_srs"])
def test_a_sentinel_is_neither_a_volume_nor_a_day(tmp_path, column):
    """-999 is missing: it is not used, and the message states how to write that."""
    found = load_study_table(with_cells(tmp_path, lambda rows: rows[1].update({column: "-999"})))
    assert found.problems == (
        f"lesions.tsv: {column} is -999 in line 3: not used; a missing value is n/a.",
    )


def test_percent_in_a_column_of_fractions_is_impossible(tmp_path):
    """Vp of 5.3 where the unit is 1: not used, with the question of the unit."""

    def change(rows):
        for row in rows:
            if row is not rows[1] and row["vp"] != "n/a":
                row["vp"] = str(float(row["vp"]) / 100)

    path = with_cells(tmp_path, change, {"vp": {"Units": "1"}})
    assert "vp is 5.3162 in line 3, above 1, the largest" in load_study_table(path).problems[0]


@pytest.mark.parametrize(
    ("column", "factor", "key", "group"),
    [
        ("vp", 0.01, "session_id", "ses-1week"),
        ("ADC", 1e-3, "session_id", "ses-baseline"),
        ("Ktrans", 100, "participant_id", "sub-03"),
        ("volume_ml", 1000, "participant_id", "sub-01"),
        ("volume_ml", 1000, "session_id", "ses-1month"),
    ],
)
def test_another_scale_in_one_group_is_a_warning(tmp_path, column, factor, key, group):
    """One warning, with the column, the group and both medians; none for the sound table."""
    changed = load_study_table(with_cells(tmp_path, multiply(column, factor, key, group)))
    warned = [text for text in changed.warnings if column in text]
    assert len(warned) == 1
    assert f"in {group}, " in warned[0]
    (tmp_path / "sound").mkdir()
    sound = load_study_table(with_cells(tmp_path / "sound", lambda rows: None))
    assert sound.warnings == sound.problems == ()


def test_spellings_of_a_participant_are_unified(tmp_path, cohort):
    """`1` in one session, `sub-01` in the others: the same cohort, and a note."""
    found = load_study_table(with_cells(tmp_path, lambda rows: rows[1].update(participant_id="1")))
    pd.testing.assert_frame_equal(found.lesions, cohort.lesions)
    pd.testing.assert_frame_equal(found.sessions, cohort.sessions)
    assert "sub-01 and sub-1 are taken for one participant, sub-01" in found.notes[0]


def test_spellings_with_the_same_session_are_not_unified(tmp_path):
    """sub-1 and sub-01 both have a baseline of lesion 1: two participants, with a warning."""

    def change(rows):
        rows.append(rows[0] | {"participant_id": "1"})

    found = load_study_table(with_cells(tmp_path, change))
    assert {"sub-1", "sub-01"} <= set(found.lesions["participant_id"])
    assert "sub-01 and sub-1 have rows of the same lesion and session" in found.warnings[0]


@pytest.mark.parametrize("label", ["1 week", "ses-1-Week"])
def test_a_time_point_without_a_session_is_a_failure_of_stats(tmp_path, capsys, tables_only, label):
    """Sessions that match no time point while one is empty: named, and exit code 1."""
    path = change_table(tmp_path, lambda text: text.replace("ses-1week", label))
    assert main(["stats", str(path), str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    bare = label.removeprefix("ses-")
    assert f"No participant has ses-1week (time point 1week), and ses-{bare}" in error
    assert f"ses-{bare} is not ses-1week: it is not used as that time point." in error


def test_columns_are_known_in_any_letter_case_and_others_are_named(tmp_path, cohort):
    """`VP` and `KTRANS` are the parameters; what is not used is a note."""
    upper = change_table(
        tmp_path,
        lambda text: (
            text.upper().replace("SUB-", "Sub-").replace("SES-", "ses-").replace("N/A", "n/a")
        ),
    )
    upper.write_text(upper.read_text().replace("VOLUME_ML", "Volume").replace("\tVP", "\t Vp"))
    found = load_study_table(upper)
    assert list(found.parameters) == list(cohort.parameters)
    np.testing.assert_allclose(
        found.lesions["vp"].astype(float), cohort.lesions["vp"].astype(float)
    )
    assert list(found.lesions["participant_id"]) == list(cohort.lesions["participant_id"])
    assert found.notes[0].startswith("lesions.tsv: not used: Volume; parameters are vp")
    assert cohort.notes == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("sub-0", ""),
        lambda text: text.replace("sub-", "Sub-"),
        lambda text: text.replace("sub-", " sub-").replace("participant_id", "Participant_ID"),
    ],
)
def test_participants_are_matched_in_any_unambiguous_spelling(tmp_path, cohort, change):
    """As Excel writes labels; a row too many and one too few are named."""
    path = change_table(tmp_path, change, "participants.tsv")
    expected = read_participants(REFERENCE / "participants.tsv")
    found, notes = match_rows(read_participants(path), cohort.lesions, path.name)
    pd.testing.assert_frame_equal(found, expected)
    assert all("labels are matched without leading zeros" in note for note in notes)
    lines = path.read_text().replace("02\t", "102\t").replace("2\t", "102\t", 1)
    path.write_text(lines)
    _, notes = match_rows(read_participants(path), cohort.lesions, path.name)
    assert "participants.tsv: has no row for sub-02." in notes


def test_labels_that_could_be_two_participants_are_not_matched(cohort):
    """sub-1 and 001 are both like sub-01: neither is taken for it."""
    table = pd.DataFrame({"participant_id": ["sub-1", "sub-001"], "age": ["50", "60"]})
    found, notes = match_rows(table, cohort.lesions, "participants.tsv")
    assert list(found["participant_id"]) == ["sub-1", "sub-001"]
    assert "participants.tsv: sub-001, sub-1: not in the tables of lesions." in notes
    traits = pd.DataFrame({"participant_id": ["sub-01"], "lesion": [9], "dose": ["20"]})
    assert (
        "traits.tsv: sub-01 lesion 9: not in"
        in match_rows(traits, cohort.lesions, "traits.tsv")[1][0]
    )


def test_a_cohort_without_a_lesion_left_is_refused(cohort, tmp_path, capsys):
    """All excluded, or a table without a row: one line of error, and exit code 1."""
    with pytest.raises(BadInput, match="Every lesion is marked as excluded"):
        analyse(Cohort(cohort.lesions.assign(excluded=True), cohort.sessions, cohort.units))
    table = tmp_path / "lesions.tsv"
    table.write_text("participant_id\tlesion\tsession_id\n")
    assert main(["stats", str(table), str(tmp_path / "out")]) == 1
    assert "the table has no rows" in capsys.readouterr().err


def test_tables_of_traits_are_checked(tmp_path):
    """A participant or lesion with two rows, or a lesion that is not a number, is refused."""
    people = tmp_path / "participants.tsv"
    people.write_text("participant_id\tage\nsub-01\t50\n01\t51\n")
    with pytest.raises(BadInput, match="sub-01 has two rows: keep one"):
        read_participants(people)
    traits = tmp_path / "traits.tsv"
    traits.write_text("participant_id\tlesion\tdose\n01\tone\t20\n")
    with pytest.raises(BadInput, match=r"lesion .* is not a whole number"):
        read_traits(traits)
    traits.write_text("participant_id\tlesion\tdose\n01\t1.0\t20\nsub-01\t1\t18\n")
    with pytest.raises(BadInput, match="sub-01 1 has two rows"):
        read_traits(traits)


def scale(rows, column, factor, session=None, lines=None):
    """Multiply the values of a column in one session, or in the given rows."""
    for number, row in enumerate(rows):
        chosen = number in lines if lines is not None else session in (None, row["session_id"])
        if chosen and row[column] != "n/a":
            row[column] = f"{float(row[column]) * factor:.6g}"


@pytest.mark.parametrize(
    ("column", "factor", "where", "words"),
    [
        ("vp", 0.01, {"lines": [1]}, "vp of sub-01 lesion 1 in ses-1week is 0.0532, 1/31.9 of its"),
        ("ADC", 1e-3, {"lines": [4]}, "ADC of sub-02 lesion 1 in ses-baseline is 0.00109"),
        ("vp", 0.01, {}, "vp has a median of 0.0235, below 0.2, which is implausible in %"),
        ("ADC", 1e-3, {}, "ADC has a median of 0.0011, below 0.2, which is implausible in 1e-3"),
        ("Ktrans", 10, {"session": "ses-1month"}, "Ktrans in ses-1month is 5.58 times that of the"),
        ("volume_ml", 10, {"session": "ses-1month"}, "volume_ml in ses-1month is 10.3 times"),
        ("volume_ml", 0.1, {"session": "ses-1week"}, "volume_ml in ses-1week is 1/"),
        ("Ktrans", 1.5, {"session": "ses-1month"}, ""),
    ],
)
def test_another_unit_of_a_cell_a_session_or_a_column_is_warned_of(
    tmp_path, column, factor, where, words
):
    """Against the lesion's other sessions, the other lesions, and what the unit allows."""
    found = load_study_table(
        with_cells(tmp_path, lambda rows: scale(rows, column, factor, **where))
    ).warnings
    assert len(found) == bool(words)
    assert all(text.startswith(f"lesions.tsv: {words}") for text in found)


def test_zeros_that_stand_for_missing_values_are_not_used(tmp_path):
    """A diffusivity of 0, or two parameters that are 0; a single one may be a fit at its limit."""

    def change(rows):
        rows[0].update(vp="0", f="0")
        rows[1].update(ADC="0")
        rows[2].update(vp="0")
        rows[4].update(vp="0")

    found = load_study_table(with_cells(tmp_path, change))
    lesions = found.lesions
    assert np.isnan([lesions["vp"][0], lesions["f"][0], lesions["ADC"][1]]).all()
    assert lesions["vp"][2] == 0
    assert [text.split(",")[0] for text in found.problems] == [
        f"lesions.tsv: {column} is 0 in line {line}"
        for column, line in (("vp", 2), ("ADC", 3), ("f", 2))
    ]
    assert found.warnings[0].startswith("lesions.tsv: vp is exactly 0 in 2 rows: if it was not")


def test_a_session_that_repeats_another_is_warned_of(tmp_path):
    """All values of a lesion are the same to all digits; equal values of one parameter are not."""
    names = ["vp", "Ktrans", "ve", "ADC", "f"]
    copied = load_study_table(
        with_cells(tmp_path, lambda rows: rows[1].update({n: rows[0][n] for n in names}))
    )
    assert copied.warnings == (
        "lesions.tsv: ses-1week repeats all values of ses-baseline in sub-01 lesion 1: was one "
        "copied?",
    )
    (tmp_path / "one").mkdir()
    one = with_cells(tmp_path / "one", lambda rows: rows[1].update(vp=rows[0]["vp"]))
    assert load_study_table(one).warnings == ()


def test_days_against_the_order_of_the_rows_are_warned_of(tmp_path):
    """As hours among days; the rows of a participant are in the order of time."""
    path = with_cells(tmp_path, lambda rows: rows[2].update(days_from_srs="720"))
    (text,) = load_study_table(path).warnings
    assert "ses-1month is day 720, ses-followup is day 408: the days are not in the order" in text


def test_a_wash_out_may_be_negative(tmp_path):
    """It is a slope: no value is impossible, and none is of another scale than the others."""
    table = pd.read_csv(REFERENCE / "lesions.tsv", sep="\t", dtype=str, keep_default_na=False)
    slopes = np.resize([-0.01, 0.02, -0.0001, 0.03], len(table))
    path = tmp_path / "lesions.tsv"
    table.assign(washout=slopes).to_csv(path, sep="\t", index=False)
    found = load_study_table(path)
    assert (found.problems, found.warnings) == ((), ())
    assert found.lesions["washout"].tolist() == slopes.tolist()


def test_values_in_carried_regions_are_warned_of(tmp_path):
    """Their bias has the direction of a response, and they enter every test."""
    table = pd.read_csv(REFERENCE / "lesions.tsv", sep="\t", dtype=str, keep_default_na=False)
    path = tmp_path / "lesions.tsv"
    events = np.resize(["propagated", "n/a", "new"], len(table))
    table.assign(event=events).to_csv(path, sep="\t", index=False)
    (text,) = load_study_table(path).warnings
    count = (events == "propagated").sum()
    assert text.startswith(
        f"{count} of the {len(table)} lesion values over time are of ROIs carried"
    )


def test_different_days_of_the_lesions_of_a_session_are_warned_of(tmp_path):
    """As one of them may be mistyped, and responses use one day for all lesions."""

    def change(rows):
        one = next(row for row in rows if row["lesion"] == "2")
        one.update(days_from_srs=str(float(one["days_from_srs"]) + 0.5))

    (text,) = load_study_table(with_cells(tmp_path, change)).warnings
    assert "days_from_srs differs between the lesions of sub-" in text


def test_a_session_that_changes_lesions_by_different_factors_is_no_other_scale():
    """A treatment may raise values sevenfold in the median; another unit raises all alike."""
    rows = [
        {"participant_id": f"sub-{n}", "lesion": 1, "session_id": session, "Ktrans": value}
        for n, factor in enumerate((1.5, 3.0, 7.0, 15.0, 25.0))
        for session, value in (("ses-a", 0.02), ("ses-b", 0.02 * factor))
    ]
    assert not any("nearly alike" in text for text in scale_warnings(pd.DataFrame(rows), {}, "t"))
    alike = [row | {"Ktrans": 0.02 if row["session_id"] == "ses-a" else 0.14} for row in rows]
    assert any("nearly alike" in text for text in scale_warnings(pd.DataFrame(alike), {}, "t"))
