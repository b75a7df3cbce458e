"""Group level: the study's numbers from either kind of table, and bad tables named."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bidsapp.cli.main import main
from bidsapp.errors import BadInput, NothingSelected, NothingToAnalyse, UsageError
from bidsapp.lesions import COLUMNS
from bidsapp.run.group import load_study_table, run_group, run_stats
from bidsapp.study.read import read_output
from bidsapp.study.tables import GroupResult, analyse, session_labels
from bidsapp.study.tables.dictionary import TABLES as DESCRIBED

STUDY = Path(__file__).parent / "data" / "reference_cohort" / "lesions.tsv"
# parameter -> (model, unit, factor from the study's table to our units)
INTERNAL = {
    "vp": ("etofts", "1", 0.01),
    "Ktrans": ("etofts", "1/min", 1.0),
    "ve": ("etofts", "1", 0.01),
    "ADC": ("monoexp", "mm2/s", 1e-3),
    "f": ("ivim", "1", 1.0),
}
PRINTED_P = {
    "vp": [0.41, 0.0002, 0.002],
    "Ktrans": [0.40, 0.0002, 0.0001],
    "ve": [0.87, 0.48, 0.73],
    "ADC": [0.33, 0.90, 0.57],
    "f": [0.81, 0.03, 0.04],
}
TABLES = ["roistats", "lesions", *DESCRIBED]
FIGURES = ["timecourse", "regression", "timecourse_others", "effects", "changes", "limits", "roc"]
FIGURES += ["waterfall", "spider", "trends"]
PAIRED = ["parameter", "timepoint_a", "timepoint_b", "n", "mean_a", "sd_a", "mean_b", "sd_b"]
PAIRED += ["mean_difference", "ci_low", "ci_high", "t", "df", "p"]
RESPONDERS = ["parameter", "n_responders", "n_nonresponders"]
RESPONDERS += ["change_responders", "change_nonresponders", "t", "df", "p"]


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def study_rows() -> list[dict[str, str]]:
    with STUDY.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def roistats_row(row: dict[str, str], roi: str, model: str, name: str, unit: str, mean: object):
    """One row of a participant's lesion table."""
    filled = dict.fromkeys(COLUMNS, "n/a")
    keys = {key: row[key] for key in ("participant_id", "session_id", "lesion", "excluded")}
    what = {"roi": roi, "model": model, "parameter": name, "unit": unit, "mean": str(mean)}
    return filled | keys | what | {"n_voxels": "50", "n_valid": "50", "n_failed": "0"}


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(rows[0])] + ["\t".join(row.values()) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def write_outputs(folder: Path, rows: list[dict[str, str]]) -> Path:
    """Participants' tables as the participant level writes them, from rows of a study table."""
    files: dict[Path, list[dict[str, str]]] = {}
    days: dict[str, dict[str, str]] = {}
    for row in rows:
        sub, ses = row["participant_id"], row["session_id"]
        days.setdefault(sub, {})[ses] = row["days_from_srs"]
        if row["volume_ml"] != "n/a":
            path = folder / sub / ses / "anat" / f"{sub}_{ses}_seg-whole_roistats.tsv"
            volume = roistats_row(row, "whole", "n/a", "volume", "ml", row["volume_ml"])
            files.setdefault(path, []).append(volume)
        for name, (model, unit, factor) in INTERNAL.items():
            if row[name] != "n/a":
                stem = f"{sub}_{ses}_seg-enhancing_model-{model}_roistats.tsv"
                path = folder / sub / ses / ("dwi" if model != "etofts" else "perf") / stem
                value = float(row[name]) * factor
                cells = roistats_row(row, "enhancing", model, name, unit, value)
                files.setdefault(path, []).append(cells)
    for path, found in files.items():
        write_rows(path, found)
    for sub, sessions in days.items():
        table = [{"session_id": s, "days_since_treatment": d} for s, d in sessions.items()]
        write_rows(folder / sub / f"{sub}_sessions.tsv", table)
    return folder


@pytest.fixture
def outputs(tmp_path):
    return write_outputs(tmp_path, study_rows())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The study's tables as participants left them, with all that the group level wrote."""
    folder = write_outputs(tmp_path_factory.mktemp("written"), study_rows())
    assert run_group(folder).problems == ()
    return folder


@pytest.fixture(scope="module")
def from_table():
    return analyse(load_study_table(STUDY))


def round_like(value: float, like: float) -> float:
    """Round to the digits that the paper prints."""
    return round(value, len(str(f"{like:.4f}").rstrip("0").split(".")[1]))


@pytest.mark.parametrize("parameter", PRINTED_P)
def test_study_table_gives_the_papers_p_values(from_table, parameter):
    """Table 2 of the study, every paired t test to the printed digits."""
    rows = from_table.paired[from_table.paired["parameter"] == parameter]
    assert list(rows["timepoint_a"] + rows["timepoint_b"]) == [
        "baseline1week",
        "baseline1month",
        "1week1month",
    ]
    found = [round_like(p, like) for p, like in zip(rows["p"], PRINTED_P[parameter], strict=True)]
    assert found == PRINTED_P[parameter]
    assert set(rows["n"]) == {20}
    assert set(rows["df"]) == {19}


def test_study_table_gives_the_papers_means(from_table):
    """Mean and SD of Table 2, percent where the table has percent."""
    table = from_table.summary.set_index(["parameter", "timepoint"])
    expected = {
        ("vp", "baseline"): (3.7, 2.3),
        ("vp", "1month"): (2.1, 2.4),
        ("Ktrans", "baseline"): (0.068, 0.036),
        ("ve", "1month"): (10.0, 6.2),
        ("f", "1month"): (0.100, 0.028),
    }
    for key, (mean, sd) in expected.items():
        assert table.loc[key, "mean"] == pytest.approx(mean, abs=1e-4)
        assert table.loc[key, "sd"] == pytest.approx(sd, abs=1e-4)
    assert table.loc[("vp", "baseline"), "unit"] == "%"


def test_study_table_gives_the_papers_correlations(from_table):
    """Of f on vp: r 0.33, 0.14 and 0.30."""
    assert list(from_table.correlation["r"].round(2)) == [0.33, 0.14, 0.30]
    assert set(from_table.correlation["x"] + from_table.correlation["y"]) == {"vpf"}


def test_study_table_gives_the_papers_responses(from_table):
    """3 CR, 3 PR (-86 %, SD 9), 6 SD (-23, 22), 3 PD (+975, 1476), 5 without; 220 days (59-408).

    The paper prints whole percents of rounded changes: its -23 % is -22.5 %.
    """
    table = from_table.response
    assert table["response"].value_counts().to_dict() == {
        "CR": 3,
        "PR": 3,
        "SD": 6,
        "PD": 3,
        "n/a": 5,
    }
    change = table.groupby("response")["volume_change_percent"]
    np.testing.assert_allclose(change.mean()[["PR", "SD", "PD"]], [-86, -22.5, 975], atol=0.05)
    np.testing.assert_allclose(change.std()[["PR", "SD", "PD"]], [9, 22, 1476], atol=1)
    days = table.drop_duplicates("participant_id")["followup_days"].dropna()
    assert (round(days.mean()), days.min(), days.max(), len(days)) == (220, 59, 408, 11)


def test_study_table_gives_the_papers_responder_test(from_table):
    """Changes: vp -58.3 % and -49.3 %, p 0.6; f +32.3 % and +10 %, p 0.3; 6 and 9 lesions."""
    vp, f = from_table.responders.to_dict("records")
    assert (round(vp["change_responders"], 1), round(vp["change_nonresponders"], 1)) == (
        -58.3,
        -49.3,
    )
    assert (round(f["change_responders"], 1), round(f["change_nonresponders"], 1)) == (32.3, 10.0)
    assert (round(vp["p"], 1), round(f["p"], 1)) == (0.6, 0.3)
    assert (vp["n_responders"], vp["n_nonresponders"], vp["df"]) == (6, 9, 13)


def test_group_finds_the_same_from_participants_tables(written, from_table):
    """One code for both: t, p, r and the responses agree; fractions stay fractions."""
    outputs = written
    paired = read(outputs / "group_paired.tsv")
    assert list(paired)[: len(PAIRED)] == PAIRED
    assert len(paired) == 15
    np.testing.assert_allclose(paired["t"], from_table.paired["t"], rtol=1e-5)
    np.testing.assert_allclose(paired["p"], from_table.paired["p"], rtol=1e-5)
    np.testing.assert_allclose(
        paired["mean_a"][:3] * 100, from_table.paired["mean_a"][:3], rtol=1e-6
    )
    response = read(outputs / "group_response.tsv")
    assert list(response["response"].fillna("n/a")) == list(from_table.response["response"])
    correlation = read(outputs / "group_correlation.tsv")
    np.testing.assert_allclose(correlation["r"], from_table.correlation["r"], rtol=1e-6)
    responders = read(outputs / "group_responders.tsv")
    np.testing.assert_allclose(responders["p"], from_table.responders["p"], rtol=1e-5)
    assert list(responders)[:8] == RESPONDERS


def test_the_difference_is_later_minus_earlier(written):
    """Vp falls and f rises: difference, t and interval have these signs."""
    paired = read(written / "group_paired.tsv").set_index(
        ["parameter", "timepoint_a", "timepoint_b"]
    )
    vp, f = paired.loc[("vp", "baseline", "1month")], paired.loc[("f", "baseline", "1month")]
    assert vp["mean_difference"] == pytest.approx(vp["mean_b"] - vp["mean_a"])
    assert vp["t"] < 0
    assert vp["ci_low"] < vp["mean_difference"] < vp["ci_high"] < 0 < f["ci_low"] < f["t"]


def test_every_table_has_its_dictionary(written):
    """Each TSV, of figures too, has a JSON that describes all its columns; no part is left."""
    stems = [*(f"group_{name}" for name in TABLES), *(f"figures/group_{name}" for name in FIGURES)]
    for stem in stems:
        described = json.loads((written / f"{stem}.json").read_text())
        header = (written / f"{stem}.tsv").read_text().split("\n")[0].split("\t")
        assert sorted(header) == sorted(described)
        assert all(column["Description"] for column in described.values())
    units = json.loads((written / "group_lesions.json").read_text())
    assert units["vp"]["Units"] == "1"
    expected = {f"{stem}.{ext}" for stem in stems for ext in ("tsv", "json")} | {"group.html"}
    expected |= {f"figures/group_{name}.{ext}" for name in FIGURES for ext in ("svg", "pdf")}
    files = {path.relative_to(written).as_posix() for path in written.rglob("*group*.*")}
    files -= {"logs/CITATION_group.md", "logs/CITATION_group.bib"}
    assert files == expected


def test_figures_can_be_published(written):
    """SVG with its text as text and no date; PDF with letters as letters, and no date either."""
    for name in FIGURES:
        drawn = (written / f"figures/group_{name}.svg").read_text()
        assert "<text" in drawn
        assert "<dc:date>" not in drawn
        printed = (written / f"figures/group_{name}.pdf").read_bytes()
        assert printed.startswith(b"%PDF")
        assert b"CreationDate" not in printed
        assert b"/Subtype /Type3" not in printed


def test_a_second_run_writes_the_same_bytes(written, tmp_path):
    """Same tables in, same files out, the page and its figures too."""
    again = shutil.copytree(written, tmp_path / "again")
    run_group(again)
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("group*.*")}
        for folder in (written, again)
    )
    assert first == second


def test_reports_only_builds_the_group_page_again(tmp_path, empty_figures):
    """After those of the participants, to which it links, from tables alone: there is no image."""
    folder = write_outputs(tmp_path / "out", study_rows())
    (tmp_path / "bids").mkdir()
    words = [str(tmp_path / "bids"), str(folder), "participant", "group", "--reports-only"]
    assert main([*words, "--participant-label", "sub-02"]) == 0
    assert {page.name for page in folder.glob("*.html")} == {
        "sub-02.html",
        "group.html",
        "index.html",
    }
    assert 'href="sub-02.html"' in (folder / "group.html").read_text(encoding="utf-8")


def test_the_wide_table_can_be_analysed_as_a_study_table(written, from_table):
    """group_lesions.tsv with its JSON is a study table: the same p values, units kept."""
    cohort = load_study_table(written / "group_lesions.tsv")
    assert cohort.units["ADC"] == "mm2/s"
    np.testing.assert_allclose(analyse(cohort).paired["p"], from_table.paired["p"], rtol=1e-5)


def test_warnings_are_in_the_table_of_lesions(tmp_path, tables_only):
    """The session's warnings, of the last run, in each row of it; read back as they are."""
    folder = write_outputs(tmp_path, study_rows())
    status_of_week = {"warnings": ["dwi: a b-value is odd", "no bolus"]}
    status = {
        "finished": True,
        "sessions": {"ses-1week": status_of_week, "ses-1month": {"warnings": []}},
    }
    (folder / "sub-02/log").mkdir()
    (folder / "sub-02/log/status.json").write_text(json.dumps(status))
    run_group(folder)
    run_stats(folder / "group_lesions.tsv", tmp_path / "again")
    for table in (folder / "group_lesions.tsv", tmp_path / "again/group_lesions.tsv"):
        rows = pd.read_csv(table, sep="\t", keep_default_na=False).query("warnings != 'n/a'")
        assert set(rows["warnings"]) == {"dwi: a b-value is odd; no bolus"}
        assert set(rows["participant_id"] + rows["session_id"]) == {"sub-02ses-1week"}


def test_excluded_lesions_are_left_out_and_listed(tmp_path, empty_figures):
    """Marked in one session is out of every session, every test, and the response."""
    rows = study_rows()
    for row in rows:
        if (row["participant_id"], row["lesion"]) == ("sub-11", "2"):
            row["excluded"] = str(int(row["session_id"] == "ses-1week"))
    result = run_group(write_outputs(tmp_path, rows))
    assert set(result.statistics.paired["n"]) == {19}
    assert result.statistics.excluded.to_numpy().tolist() == [["sub-11", 2, "ses-1week", "", ""]]
    response = result.statistics.response
    assert ((response["participant_id"] == "sub-11").sum(), len(response)) == (3, 19)
    assert len(read(tmp_path / "group_roistats.tsv")) == len(rows) + 5 * 60
    assert "sub-11" in (tmp_path / "group.html").read_text()


def test_a_missing_session_takes_pairs_not_lesions(tmp_path):
    """One week of one lesion is missing: baseline to one month keeps all 20, with a reason."""
    rows = [
        row
        for row in study_rows()
        if (row["participant_id"], row["session_id"]) != ("sub-01", "ses-1week")
    ]
    statistics = tables(write_outputs(tmp_path, rows)).statistics
    assert list(statistics.paired["n"][:3]) == [19, 20, 19]
    assert "1 of 20 lesions lack" in statistics.paired["note"][0]
    assert statistics.missing.to_numpy().tolist() == [
        ["sub-01", 1, "1week", "vp Ktrans ve ADC f", "no ses-1week"]
    ]


def test_few_participants_give_words_not_tests(tmp_path, empty_figures):
    """Two lesions: 15 rows with the reason for no test, and a page."""
    rows = [row for row in study_rows() if row["participant_id"] in ("sub-01", "sub-02")]
    result = run_group(write_outputs(tmp_path, rows))
    assert set(result.statistics.paired["note"]) == {
        "only 2 complete pairs, a test needs 3: no test"
    }
    assert "n/a" in (tmp_path / "group_paired.tsv").read_text()
    assert "no test, as too few lesions" in (tmp_path / "group.html").read_text()


def tables(folder: Path) -> GroupResult:
    """What `run_group` finds, before it writes tables and page."""
    found = read_output(folder)
    return GroupResult(found.cohort, analyse(found.cohort), found.problems, found.notes)


def damage(path: Path, how: str) -> None:
    text = path.read_text()
    cells = text.splitlines()
    match how:
        case "empty":
            path.write_text("")
        case "header only":
            path.write_text(cells[0] + "\n")
        case "half a line":
            path.write_text(text[:-9])
        case "half a row":
            path.write_text(text.rstrip().rsplit("\t", 1)[0] + "\n")
        case "no number":
            path.write_text(text.replace("\t50\t50\t0\t", "\tfifty\t50\t0\t"))
        case "another participant":
            path.write_text(text.replace("sub-03", "sub-04"))
        case "another session":
            path.write_text(text.replace("ses-1week", "ses-1month"))
        case "no column":
            path.write_text(text.replace("mean", "average"))
        case "binary":
            path.write_bytes(b"\xff\x00\x80")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("empty", "has no rows"),
        ("header only", "has no rows"),
        ("half a line", "the last line is truncated"),
        ("half a row", f"line 4 has {len(COLUMNS) - 1} cells, the header {len(COLUMNS)}"),
        ("no number", "n_voxels: 'fifty' is not a number"),
        ("another participant", "is of sub-04 ses-1week, in the folder of sub-03 ses-1week"),
        ("another session", "is of sub-03 ses-1month, in the folder of sub-03 ses-1week"),
        ("no column", "column 'mean' is missing"),
        ("binary", "is not UTF-8 text"),
    ],
)
def test_a_damaged_table_is_named_and_left_out(outputs, how, words):
    """The file is named with what is wrong, all of it is left out, and the rest is analysed."""
    path = (
        outputs / "sub-03/ses-1week/perf/sub-03_ses-1week_seg-enhancing_model-etofts_roistats.tsv"
    )
    damage(path, how)
    result = tables(outputs)
    assert len(result.problems) == 1
    assert str(path.relative_to(outputs)) in result.problems[0]
    assert re.search(words, result.problems[0])
    counts = result.statistics.paired.set_index(["parameter", "timepoint_b"])["n"]
    assert (counts["vp", "1week"].max(), counts["f", "1week"].max()) == (19, 20)


def test_tables_of_another_version_are_read(outputs, tables_only):
    """A statistic that a table lacks is missing, an unknown one is ignored; no value changes."""
    before = tables(outputs).statistics.tables()
    for path in outputs.rglob("*_roistats.tsv"):
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        table = table.drop(columns=["measured_ml", "p95", "space"]).assign(mode="0.1")
        table.to_csv(path, sep="\t", index=False)
    result = run_group(outputs)
    assert result.problems == ()
    for name, table in result.statistics.tables().items():
        pd.testing.assert_frame_equal(table, before[name])
    written = read(outputs / "group_roistats.tsv")
    assert list(written) == [name for name in COLUMNS if name != "roi_from"]  # none was carried
    assert written["p95"].isna().all()


def test_the_page_says_when_it_is_incomplete(outputs, empty_figures):
    """A damaged table is on the page, by name, above all else."""
    path = outputs / "sub-03/ses-1week/dwi/sub-03_ses-1week_seg-enhancing_model-ivim_roistats.tsv"
    damage(path, "half a line")
    assert run_group(outputs).problems
    page = (outputs / "group.html").read_text()
    assert "Incomplete: 1 problem with the tables" in page
    assert path.name in page


def test_two_values_for_one_cell_are_both_left_out(outputs):
    """A second table with another value is reported as a contradiction, and neither is used."""
    path = (
        outputs / "sub-03/ses-1week/perf/sub-03_ses-1week_seg-enhancing_model-etofts_roistats.tsv"
    )
    copy = path.with_name(path.name.replace("-etofts_", "-copy_"))
    copy.write_text(path.read_text())
    assert tables(outputs).problems == ()
    line = path.read_text().splitlines()[1].split("\t")
    line[list(COLUMNS).index("mean")] = "0.5"
    copy.write_text("\n".join([path.read_text().splitlines()[0], "\t".join(line), ""]))
    result = tables(outputs)
    assert result.problems == (
        "vp of sub-03 lesion 1 in ses-1week has two values in the tables: neither is used.",
    )
    assert result.statistics.paired["n"][0] == 19


def test_another_model_is_not_mixed_in(outputs):
    """One model per parameter for the whole cohort; the other one is named, in any number."""
    path = (
        outputs / "sub-03/ses-1week/perf/sub-03_ses-1week_seg-enhancing_model-patlak_roistats.tsv"
    )
    row = study_rows()[0] | {"participant_id": "sub-03", "session_id": "ses-1week"}
    write_rows(path, [roistats_row(row, "enhancing", "patlak", "vp", "1", 0.9)])
    result = tables(outputs)
    assert any("1 rows of model patlak" in note for note in result.notes)
    assert result.statistics.paired["p"][0] == pytest.approx(0.41, abs=0.005)


def test_another_unit_is_a_problem(outputs):
    """Percent among fractions is never averaged with them."""
    path = (
        outputs / "sub-03/ses-1week/perf/sub-03_ses-1week_seg-enhancing_model-etofts_roistats.tsv"
    )
    path.write_text(path.read_text().replace("\tvp\t1\t", "\tvp\t%\t"))
    result = tables(outputs)
    assert "vp: 1 rows of model etofts in % are not used" in result.problems[0]
    assert result.statistics.paired["n"][0] == 19


def test_a_lesion_missing_from_a_whole_lesion_table_is_gone(tmp_path):
    """Not listed where others are listed is a volume of 0; no table at all is unknown."""
    rows = [
        row
        for row in study_rows()
        if (row["participant_id"], row["lesion"], row["session_id"])
        not in {("sub-07", "2", "ses-followup"), ("sub-06", "1", "ses-followup")}
    ]
    rows.append(study_rows()[0] | {"participant_id": "sub-06", "session_id": "ses-followup"})
    rows[-1] |= dict.fromkeys([*INTERNAL, "volume_ml"], "n/a") | {"days_from_srs": "200"}
    response = tables(write_outputs(tmp_path, rows)).statistics.response
    response = response.set_index(["participant_id", "lesion"])
    assert response.loc[("sub-07", 2), "response"] == "CR"
    assert response.loc[("sub-06", 1), "response"] == "n/a"
    assert "no follow-up" in response.loc[("sub-06", 1), "note"]


@pytest.mark.parametrize("dated", [True, False])
def test_the_last_of_several_followups_counts(tmp_path, dated):
    """By days where there are days, whatever the order of the table; else by its order."""
    rows = study_rows()
    early = {"session_id": "ses-year0", "days_from_srs": "45", "volume_ml": "5.0"}
    last = [row for row in rows if row["session_id"] == "ses-followup"]
    extra = [row | early for row in last]
    if dated:
        rows = rows + extra
    else:
        rows = [row for row in rows if row not in last] + extra + last
        for row in rows:
            row["days_from_srs"] = "n/a"
    response = tables(write_outputs(tmp_path, rows)).statistics.response
    assert set(response["followup_session"].dropna()) == {"ses-followup"}
    assert response["response"].value_counts()["CR"] == 3


def test_a_session_between_the_time_points_is_no_followup(tmp_path):
    """Day 14 is before one month: it never decides a response, with or without a one month."""
    rows = study_rows()
    between = {"session_id": "ses-2week", "days_from_srs": "14", "volume_ml": "0"}
    rows = [row for row in rows if row["session_id"] != "ses-followup"]
    rows += [row | between for row in rows if row["session_id"] == "ses-1week"]
    rows = [
        row
        for row in rows
        if (row["participant_id"], row["session_id"]) != ("sub-01", "ses-1month")
    ]
    response = tables(write_outputs(tmp_path, rows)).statistics.response
    assert set(response["response"]) == {"n/a"}


def test_without_a_sessions_table_the_order_is_unknown(outputs):
    """No order, no days: the response is unknown, with a note; pairs are formed by label."""
    (outputs / "sub-01" / "sub-01_sessions.tsv").unlink()
    result = tables(outputs)
    assert result.problems == ()
    assert any("sub-01_sessions.tsv: does not exist" in note for note in result.notes)
    assert result.statistics.response["response"][0] == "n/a"
    assert set(result.statistics.paired["n"]) == {20}


def test_sessions_of_other_names_are_named_not_mispaired(tmp_path, tables_only):
    """ses-1Week is not ses-1week: no pair is formed with it, and there is a note."""
    rows = study_rows()
    for row in rows:
        if (row["participant_id"], row["session_id"]) == ("sub-01", "ses-1week"):
            row["session_id"] = "ses-1Week"
    result = run_group(write_outputs(tmp_path, rows))
    assert list(result.statistics.paired["n"][:3]) == [19, 20, 19]
    assert "ses-1Week is not ses-1week: it is not used as that time point." in result.notes


def test_two_sessions_of_one_day_are_pointed_out(outputs):
    """One day, two labels: perhaps one session under two names."""
    path = outputs / "sub-01" / "sub-01_sessions.tsv"
    path.write_text(path.read_text().replace("ses-1month\t30", "ses-1month\t7"))
    assert any("2 sessions are of day 7" in note for note in tables(outputs).notes)


def test_time_points_may_have_other_labels(tmp_path, from_table, tables_only):
    """Named by the user, with or without ses-, two or more of them."""
    rows = study_rows()
    labels = {"ses-baseline": "ses-01", "ses-1week": "ses-02", "ses-1month": "ses-03"}
    for row in rows:
        row["session_id"] = labels.get(row["session_id"], row["session_id"])
    write_outputs(tmp_path, rows)
    result = run_group(tmp_path, {"baseline": "01", "1month": "ses-03"})
    assert len(result.statistics.paired) == 5
    assert result.statistics.paired["p"][0] == pytest.approx(from_table.paired["p"][1])
    with pytest.raises(NothingSelected, match="No participant has ses-04; there are ses-01"):
        run_group(tmp_path, {"baseline": "01", "1month": "04"})


def test_time_points_that_cannot_be_compared_are_refused():
    """One time point, or one session twice."""
    with pytest.raises(UsageError, match="two time points, got 1"):
        session_labels({"baseline": "01"})
    with pytest.raises(UsageError, match="same session in a=ses-01, b=ses-01"):
        session_labels({"a": "01", "b": "ses-01"})


def test_nothing_to_analyse_is_an_error(tmp_path, outputs):
    """No table, or only damaged ones: no group, and why."""
    with pytest.raises(NothingToAnalyse, match="run the participant level first"):
        run_group(tmp_path / "sub-none")
    for path in outputs.glob("sub-*/ses-*/*/*.tsv"):
        path.write_text("")
    with pytest.raises(NothingToAnalyse, match="has no rows"):
        run_group(outputs)


def test_text_from_tables_cannot_become_markup(tmp_path, empty_figures):
    """A session label is shown as text, whatever is in it."""
    rows = [row for row in study_rows() if row["participant_id"] != "sub-09"]
    write_outputs(tmp_path, rows)
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text(
        "session_id\tdays_since_treatment\nses-<script>alert(1)</script>\tsoon\n"
    )
    run_group(tmp_path)
    page = (tmp_path / "group.html").read_text()
    assert "<script>alert" not in page


def test_the_page_prints_the_study(written):
    """Table 2 in the field's units, p values as printed, sentences that follow from them."""
    page = (written / "group.html").read_text()
    for text in (
        "3.7 ± 2.3",
        "0.068 ± 0.036",
        "1.10 ± 0.16",
        "0.0002",
        "−58.3 % (n = 6)",
        "+975.0 % (SD 1",
    ):
        assert text in page
    assert "vp fell from 3.7 to 2.1 % between baseline and 1 month (p = 0.0002)" in page
    assert "1 month (p = 0.0001)" in page
    assert "6 responded (3 completely), 6 remained stable, 3 progressed" in page
    assert page.count("<svg") == len(FIGURES)
    assert "://" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\t7\t5.3162", "\t7\tmuch", "line 3, vp: 'much' is not a number"),
        (
            "sub-01\t1\tses-1week",
            "01\t1\tbaseline",
            "line 3 repeats lesion 1 of sub-01 in ses-base",
        ),
        ("sub-01\t1\tses-1week", "sub-01\tone\tses-1week", "lesion 'one' is not a whole number"),
        ("sub-01\t1\tses-1week", "sub-01\t1.5\tses-1week", "lesion '1.5' is not a whole number"),
        ("sub-01\t1\tses-1week", "sub-01\tNA\tses-1week", r"line 3: lesion is missing \('NA'\)"),
        ("sub-01\t1\tses-1week", "sub-01\t1\tn/a", r"line 3: session_id is missing \('n/a'\)"),
        ("\t7\t5.3162", "\t7\tNA", "line 3, vp: 'NA' is not a number; a missing value is n/a"),
        ("0.975\t0\n", "0.975\tperhaps\n", "line 3: excluded is 'perhaps', give 0 or 1"),
        ("\t7\t5.3162", "\t7\t-Inf", "line 3, vp: '-Inf' is not a finite number; a missing value"),
        ("\t7\t5.3162", "\t7\t1e3000", "line 3, vp: '1e3000' is not a finite number"),
        ("\t7\t5.3162", "\t7\t5,3162", "'5,3162' is not a number; write a decimal point"),
        ("session_id\t", "visit\t", "column 'session_id' is missing"),
    ],
)
def test_a_study_table_with_a_mistake_is_refused(tmp_path, old, new, words):
    """The message names the line and the fault; two spellings of one row are one row."""
    path = tmp_path / "lesions.tsv"
    path.write_text(STUDY.read_text().replace(old, new))
    with pytest.raises(BadInput, match=words):
        load_study_table(path)


def test_lesions_may_be_numbered_with_a_decimal_point(tmp_path):
    """A table from pandas or R with 1.0 for lesion 1 gives the same cohort."""
    header, *rows = STUDY.read_text().splitlines()
    cells = [row.split("\t", 2) for row in rows]
    path = tmp_path / "lesions.tsv"
    path.write_text("\n".join([header, *(f"{p}\t{n}.0\t{rest}" for p, n, rest in cells)]) + "\n")
    pd.testing.assert_frame_equal(load_study_table(path).lesions, load_study_table(STUDY).lesions)


def test_a_study_table_may_come_from_a_spreadsheet(tmp_path):
    """A byte order mark, CRLF, blank lines at the end and flags as 0.0 change nothing."""
    header, *rows = STUDY.read_text().splitlines()
    place = header.split("\t").index("excluded")
    cells = [row.split("\t") for row in rows]
    for row in cells:
        row[place] += ".0"
    lines = [header, *("\t".join(row) for row in cells), "", ""]
    path = tmp_path / "lesions.tsv"
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    pd.testing.assert_frame_equal(load_study_table(path).lesions, load_study_table(STUDY).lesions)


def test_a_study_table_may_have_one_parameter(tmp_path):
    """Three columns and one parameter are enough: the tables are of that parameter alone."""
    table = read(STUDY)[["participant_id", "lesion", "session_id", "vp"]]
    table.to_csv(tmp_path / "lesions.tsv", sep="\t", index=False, na_rep="n/a")
    statistics = analyse(load_study_table(tmp_path / "lesions.tsv"))
    assert statistics.paired["p"][1] == pytest.approx(0.0002, abs=5e-6)
    assert list(statistics.paired["parameter"]) == ["vp"] * 3
    assert set(statistics.response["response"]) == {"n/a"}
