"""Which limit applies to the change of one lesion, what is judged by it, and what a page shows."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp.errors import BadInput
from bidsapp.models.parameters import FOLLOWED, PARAMETERS
from bidsapp.reports.group.single_lesions import show_single_lesions
from bidsapp.reports.group.view import GroupView
from bidsapp.reports.page.blocks import Table, Words
from bidsapp.reports.page.limits import change_cell, limit_words, published_limits_table
from bidsapp.reports.page.numbers import NumberFormat
from bidsapp.reports.participant.changes import show_changes
from bidsapp.reports.participant.records import read_participant
from bidsapp.run.group import run_group
from bidsapp.study.read import read_detectable_changes
from bidsapp.study.tables.changes import assess_change, lesion_changes
from bidsapp.study.tables.cohort import Cohort
from bidsapp.study.tables.limits import (
    Limit,
    LimitSources,
    Measure,
    published_limits,
    published_table,
    repeat_limits,
)

BASELINE = Measure("sub-01", 1, "ses-baseline", "Ktrans", "mean")
REPEATS = {("Ktrans", "mean"): Limit("repeats", -30.0, 40.0, True, "ses-a and ses-b, n = 6")}
SIMULATED = {BASELINE: 0.01}
KTRANS = NumberFormat("Ktrans", "1/min", 1, 3)


@pytest.mark.parametrize(
    ("sources", "origin"),
    [
        (LimitSources(REPEATS, SIMULATED), "repeats"),
        (LimitSources({}, SIMULATED), "simulation"),
        (LimitSources({}, {BASELINE: np.nan}), "published"),
        (LimitSources({}, {BASELINE._replace(lesion=2): 0.01}), "published"),
        (LimitSources({}, {BASELINE._replace(session_id="ses-1week"): 0.01}), "published"),
        (LimitSources({}, {BASELINE._replace(estimate="unmixed"): 0.01}), "published"),
        (LimitSources({("Ktrans", "unmixed"): REPEATS["Ktrans", "mean"]}), "published"),
        (LimitSources(), "published"),
    ],
)
def test_repeats_come_before_a_simulation_and_both_before_the_literature(sources, origin):
    """Only of the same parameter, estimate and, for a simulation, lesion and earlier session."""
    assert sources.applicable(BASELINE).origin == origin


def test_changes_are_those_since_the_first_time_point():
    """Each later time point is compared with the first one, not with those between."""
    table = pd.DataFrame(
        {
            "participant_id": "sub-01",
            "lesion": 1,
            "session_id": ["ses-a", "ses-b", "ses-c"],
            "timepoint": ["a", "b", "c"],
            "vp": [0.04, 0.03, 0.02],
        }
    )
    labels = {name: f"ses-{name}" for name in "abc"}
    found = lesion_changes(Cohort(table, pd.DataFrame(), {}), table, labels, LimitSources())
    assert found[["timepoint_a", "timepoint_b"]].to_numpy().tolist() == [["a", "b"], ["a", "c"]]
    np.testing.assert_allclose(found["change"], [-0.01, -0.02])


def test_there_may_be_no_limit():
    """Vp has none in the literature."""
    vp = BASELINE._replace(parameter="vp")
    assert LimitSources(REPEATS, SIMULATED).applicable(vp) is None
    found = assess_change(0.04, 0.02, vp, LimitSources(), "1")
    assert (found["limit_from"], found["verdict"], found["source"]) == ("", "", "")


@pytest.mark.parametrize(
    ("before", "after", "absolute", "relative"),
    [
        (0.10, 0.10, "within", "within"),
        (0.10, 0.115, "within", "within"),
        (0.10, 0.085, "within", "within"),
        (0.10, 0.135, "exceeded", "within"),
        (0.10, 0.145, "exceeded", "exceeded"),
        (0.10, 0.065, "exceeded", "exceeded"),
        (0.01, 0.02, "within", "exceeded"),
        (0.0, 0.03, "exceeded", ""),
        (-0.01, 0.03, "exceeded", ""),
        (np.nan, 0.1, "", ""),
        (0.1, np.nan, "", ""),
    ],
)
def test_a_change_is_judged_by_its_size_in_either_direction(before, after, absolute, relative):
    """Against ±0.02, and against -30 to +40 % of the earlier value, which must be positive."""
    for origin in ("repeats", "simulation"):
        assert Limit(origin, -0.02, 0.02, False, "").judge(before, after) == absolute
        assert Limit(origin, -30.0, 40.0, True, "").judge(before, after) == relative
    assert Limit("published", -8.0, 8.0, True, "").judge(before, after) == ""


def test_published_limits_are_cited_and_follow_from_what_was_published():
    """Each has a reference and a known parameter; a CV is 2.77 times smaller than its limit."""
    table = published_table()
    assert set(table["parameter"]) <= set(FOLLOWED)
    assert set(table["kind"]) == {"change", "CV", "variability"}
    assert table["source"].str.contains(r" et al\. \d{4}$").all()
    assert all(doi == "n/a" or re.fullmatch(r"10\.\d{4}/\S+", doi) for doi in table["doi"])
    limits = {name: published_limits(name)[0].high for name in ("ADC", "Ktrans", "ve", "f")}
    assert limits == pytest.approx({"ADC": 8, "Ktrans": 38.8, "ve": 66.5, "f": 23.3}, abs=0.05)


def test_limits_of_repeats_come_from_their_table():
    """Rows without a limit give none; the source names sessions and number of lesions."""
    row = {"parameter": "f", "estimate": "mean", "session_a": "ses-a", "session_b": "ses-b",
           "n": 6, "scale": "relative", "limit_low": -20.0, "limit_high": 25.0}  # fmt: skip
    table = pd.DataFrame(
        [row, row | {"parameter": "vp", "limit_low": np.nan, "limit_high": np.nan}]
    )
    expected = Limit("repeats", -20.0, 25.0, True, "ses-a and ses-b, n = 6")
    assert repeat_limits(table) == {("f", "mean"): expected}


@pytest.mark.parametrize(
    ("before", "after", "sources", "cell"),
    [
        (0.1, 0.05, LimitSources(REPEATS),
         ("−0.050 (−50 %)", "limit −30 to +40 %", "repeats: exceeded")),
        (0.1, 0.13, LimitSources(REPEATS),
         ("+0.030 (+30 %)", "limit −30 to +40 %", "repeats: within")),
        (0.1, 0.1, LimitSources({}, SIMULATED),
         ("0.000 (0 %)", "limit ± 0.010", "simulation: within")),
        (0.0, 0.05, LimitSources({}, SIMULATED),
         ("+0.050", "limit ± 0.010", "simulation: exceeded")),
        (0.1, 0.01, LimitSources(), ("−0.090 (−90 %)", "published ± 39 %", "Ferl et al. 2010")),
        (0.0, 0.01, LimitSources(REPEATS),
         ("+0.010", "limit −30 to +40 %", "repeats")),
    ],
)  # fmt: skip
def test_a_cell_shows_the_change_its_limit_and_where_that_is_from(before, after, sources, cell):
    """A verdict only from repeats and simulation; no percentage of zero."""
    assert change_cell(assess_change(before, after, BASELINE, sources, "1/min"), KTRANS) == cell


def test_a_cell_without_a_limit_says_so():
    """Of vp, whose unit on the page is percent: percentage points, then percent of the value."""
    vp = BASELINE._replace(parameter="vp")
    row = assess_change(0.04, 0.03, vp, LimitSources(), "1")
    form = NumberFormat("vp", "%", 100, 1)
    assert change_cell(row, form) == ("−1.0 (−25 %)", "no limit")
    row = assess_change(0.04, 0.03, vp, LimitSources({}, {vp: 0.005}), "1")
    assert change_cell(row, form)[1] == "limit ± 0.5"


def sentences(**kinds):
    rows = [{"parameter": p, "limit_from": k, "source": s} for k, (p, s) in kinds.items()]
    names = {name: name for name in FOLLOWED}
    return list(limit_words(pd.DataFrame(rows).replace({"limit_from": {"none": ""}}), names))


def test_the_words_name_each_kind_of_limit_that_occurs():
    """One sentence a kind, none of a kind that does not occur."""
    parts = {
        "repeats": ("f", "ses-a and ses-b, n = 6"),
        "simulation": ("ADC", "simulation of ses-a"),
        "published": ("ve", "Ferl"),
        "none": ("vp", ""),
    }
    signs = {
        "repeats": "of this study (ses-a and ses-b, n = 6): the change of",
        "simulation": "of the same lesion in the earlier scan",
        "published": "are no verdict on these changes",
        "none": "Where no limit is stated (vp), none is known.",
    }
    for kind, part in parts.items():
        (text,) = sentences(**{kind: part})
        assert signs[kind] in text
    assert len(sentences(**parts)) == 4


def test_the_table_of_published_limits_is_of_the_parameters_shown():
    """With what was measured, as published, and the reference."""
    (row,) = published_limits_table(["f"], {"f": "f"}).rows
    assert row[:2] == ["f", "± 23.3 %"]
    assert row[5] == "8.4 %, coefficient of variation"
    assert row[6] == ("Grech-Sollars et al. 2015", "NMR Biomed 28:468-485", "doi:10.1002/nbm.3269")


ROW = {"participant_id": "sub-01", "session_id": "ses-baseline", "lesion": "1",
       "roi": "enhancing", "parameter": "Ktrans", "estimate": "mean",
       "detectable_change": "0.01", "unit": "1/min"}  # fmt: skip


def write(folder, *rows, name="perf/sub-01_ses-baseline"):
    path = folder / "sub-01/ses-baseline" / f"{name}_desc-recovery_roistats.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return folder / "sub-01"


def test_detectable_changes_are_read_wherever_they_lie(tmp_path):
    """Of enhancing parts, from all tables of a participant; n/a is a change that none detects."""
    folder = write(tmp_path, ROW, ROW | {"roi": "whole", "detectable_change": "9"})
    second = ROW | {"parameter": "ADC", "unit": "mm2/s", "detectable_change": "n/a"}
    write(tmp_path, second, name="dwi/sub-01_ses-baseline_seg-enhancing")
    found = read_detectable_changes(folder)
    assert found.pop(BASELINE) == 0.01
    ((measure, value),) = found.items()
    assert measure == BASELINE._replace(parameter="ADC")
    assert np.isnan(value)
    assert read_detectable_changes(tmp_path / "sub-02") == {}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([ROW | {"unit": "%"}], "line 2: Ktrans in %, expected 1/min: run metperf recovery again"),
        ([ROW | {"parameter": "Kfoo"}], "Kfoo in 1/min, expected a known parameter"),
        ([ROW | {"detectable_change": "-1"}], "detectable_change is -1, below zero"),
        ([ROW | {"detectable_change": "big"}], "'big' is not a number"),
        (
            [ROW, ROW | {"detectable_change": "0.02"}],
            "two detectable changes of Ktrans of lesion 1",
        ),
        ([{k: v for k, v in ROW.items() if k != "unit"}], "unit"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, rows, words):
    """With file, line and what is wrong."""
    with pytest.raises(BadInput, match=words):
        read_detectable_changes(write(tmp_path, *rows))


def test_units_are_those_of_lesion_tables():
    """What the reader expects of the parameters that are followed."""
    assert {PARAMETERS[name].unit for name in FOLLOWED} == {
        "1",
        "1/min",
        "mm2/s",
        "mM min",
        "mM/min",
        "min",
    }


OLDER = Path(__file__).parent / "data" / "output_0.1.0"


@pytest.fixture
def output(tmp_path):
    """Tables of three participants with a baseline and two later sessions."""
    return Path(shutil.copytree(OLDER / "out", tmp_path / "out"))


def shown(output, label="sub-01"):
    """The sentences, the rows of the first lesion by their sessions, and the captions."""
    words, *tables = show_changes(read_participant(output, label))
    assert isinstance(words, Words)
    heads = [head if isinstance(head, str) else head[0] for head in tables[0].columns[1:]]
    rows = {row[0][0]: dict(zip(heads, row[1:], strict=True)) for row in tables[0].rows}
    return " ".join(words.sentences), rows, [table.caption for table in tables]


def test_a_page_without_repeats_and_simulation_shows_the_literature(output):
    """Each change since the first session beside a published limit; a verdict nowhere."""
    text, rows, captions = shown(output)
    assert list(rows) == ["baseline to 1week", "baseline to 1month"]
    assert all(
        cells["Ktrans"][1:] == ("published ± 39 %", "Ferl et al. 2010") for cells in rows.values()
    )
    assert all(cells["vp"][1:] == ("no limit",) for cells in rows.values())
    assert "no verdict" in text
    assert "Where no limit is stated (vp), none is known." in text
    assert captions[-1] == "Published limits, other scanners and patients"
    assert "exceeded" not in str(rows)


def test_a_page_shows_the_repeats_of_the_last_group_analysis(output, tables_only):
    """The limits and sessions of `group --repeats`; a table of 0.1.0 gives none."""
    shutil.copy(OLDER / "group" / "group_repeatability.tsv", output)
    assert "repeat scans are of this study" not in shown(output)[0]
    found = run_group(output, repeats=("baseline", "1week"))
    assert "Ktrans" in str(show_single_lesions(GroupView(found, ()))[1].rows)
    text, rows, captions = shown(output)
    assert "of this study (ses-baseline and ses-1week, n = " in text
    cells = [cell for row in rows.values() for cell in row.values()]
    assert {cell[2].partition(":")[0] for cell in cells} == {"repeats"}
    assert {cell[2].partition(": ")[2] for cell in cells} <= {"exceeded", "within"}
    assert "Published" not in str(captions)


def test_a_group_without_verdicts_counts_nothing(output, tables_only):
    """Neither repeatability nor counts: words, published limits, and every change."""
    words, published, every = show_single_lesions(GroupView(run_group(output), ()))
    assert "no verdict" in " ".join(words.sentences)
    assert published.caption == "Published limits, other scanners and patients"
    assert every.summary == "Change of every lesion, with its limit"
    assert "exceeded" not in str(every.rows)


def test_page_and_group_show_the_simulation_of_the_lesion_alone(output, tables_only):
    """Of its own lesion, session and estimate; a table that cannot be read is a problem."""
    write(output, ROW | {"detectable_change": "1e-9"})
    text, rows, _ = shown(output)
    assert rows["baseline to 1month"]["Ktrans"][2] == "simulation: exceeded"
    assert rows["baseline to 1month"]["ve"][2] == "Ferl et al. 2010"
    assert "of the same lesion in the earlier scan" in text
    found = run_group(output)
    judged = found.statistics.changes[found.statistics.changes["verdict"] != ""]
    where = ["participant_id", "lesion", "parameter", "limit_from", "source"]
    expected = ["sub-01", 1, "Ktrans", "simulation", "simulation of ses-baseline"]
    assert judged[where].drop_duplicates().to_numpy().tolist() == [expected]
    blocks = show_single_lesions(GroupView(found, ()))
    counts = next(b for b in blocks if isinstance(b, Table) and b.columns[-1] == "Within")
    fell = int((judged["change"] < 0).sum())
    assert [row[0] for row in counts.rows] == ["Ktrans"] * 2
    assert {row[2] for row in counts.rows} == {"simulation"}
    assert sum(int(row[4]) for row in counts.rows) == fell
    assert sum(int(row[5]) for row in counts.rows) == 2 - fell
    assert "simulation: exceeded" in str(blocks[-1].rows)
    write(output, ROW | {"unit": "%"})
    assert "Ktrans in %, expected 1/min" in " ".join(run_group(output).problems)


def test_one_session_has_no_changes(output):
    """No section, and no limit of anything."""
    shutil.rmtree(output / "sub-01" / "ses-1week")
    shutil.rmtree(output / "sub-01" / "ses-1month")
    (output / "sub-01" / "sub-01_sessions.tsv").unlink()
    assert show_changes(read_participant(output, "sub-01")) == []


def test_a_lesion_under_a_wrong_number_has_no_change(output):
    """Its values are those of another lesion."""
    path = output / "sub-01" / "sub-01_lesions.tsv"
    path.write_text("session_id\tlesion\tevent\tcomparable\nses-1week\t1\tmoved\t0\n")
    _, rows, _ = shown(output)
    assert list(rows) == ["baseline to 1month"]
