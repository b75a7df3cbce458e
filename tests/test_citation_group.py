"""The methods text of the group level describes what its tables hold, and nothing else."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bidsapp.reports.group.methods import group_methods
from bidsapp.reports.references import bibliography
from bidsapp.run.group import run_stats
from bidsapp.study.read import load_study_table
from bidsapp.study.tables import GroupResult, analyse

STUDY = Path(__file__).parent / "data/reference_cohort/lesions.tsv"


def text_of(cohort, **options):
    return group_methods(GroupResult(cohort, analyse(cohort, **options)))


@pytest.fixture(scope="module")
def cohort():
    return load_study_table(STUDY)


@pytest.fixture(scope="module")
def whole(cohort):
    return text_of(cohort, seed=7)


def test_the_text_names_tests_corrections_and_time_points(whole):
    """With all lesions, every analysis is described with its setting and cited once."""
    for words in (
        "20 lesions of 15 participants were analysed at baseline (ses-baseline), 1 week",
        "by paired t tests (Student 1908)",
        "p values of 15 tests were also corrected by Holm's method",
        "restricted maximum likelihood",
        "9999 samples, seed 7",
        "decrease of 58.5 % or more",
        "exactly (Lehmann 1953)",
        "f was regressed on vp",
        "no change of a single lesion was judged by them",
        "Limit of Ktrans, ve: Ferl et al. 2010, Magn Reson Med 63:1366-1375",
        "No lesion was excluded",
        "SciPy 1.",
    ):
        assert words in whole
    prose, references = whole.split("## References")
    lines = references.strip().splitlines()
    assert len(set(lines)) == len(lines)
    years = set(re.findall(r"\((?:[^()]*? )?(\d{4})[;)]", prose))
    assert years <= set(re.findall(r" (\d{4}),", references))
    assert not re.search(r"[,;.]{2}| [,;.]|\(\)|  |None|nan", prose)


def test_an_analysis_that_was_not_made_is_not_described(cohort):
    """Two lesions allow no test: neither tests nor their references are mentioned."""
    few = cohort.lesions[cohort.lesions["participant_id"].isin(["sub-01", "sub-02"])]
    text = text_of(replace(cohort, lesions=few.assign(volume_ml=float("nan"))))
    assert "too few lesions with values at two time points" in text
    for words in ("Student", "Holm", "mixed model", "bootstrap", "Response", "Lehmann", "Cohen"):
        assert words not in text


def test_what_was_left_out_is_named(cohort):
    """Excluded lesions by name, time points by their days, sessions with warnings by number."""
    lesions = cohort.lesions.copy()
    mine = lesions["participant_id"] == "sub-01"
    lesions.loc[mine, "excluded"] = True
    lesions.loc[lesions["participant_id"] == "sub-02", "warnings"] = "no b = 0"
    one = (lesions["participant_id"] == "sub-03") & (lesions["session_id"] == "ses-1month")
    lesions.loc[one, "vp"] = float("nan")
    changed = replace(cohort, lesions=lesions)
    text = text_of(changed, timepoints={"before": "-60:0", "after": "20:45"})
    assert "at before (days -60 to 0) and after (days 20 to 45)" in text
    assert "1 lesion (sub-01 lesion 1) was excluded in the ROI tables and left" in text
    count = lesions[lesions["warnings"] == "no b = 0"]["session_id"].nunique()
    assert f"{count} sessions with warnings about the data or the results were not ex" in text
    assert "At 1 time point of a lesion a value was missing" in text


def test_every_reference_of_the_group_is_in_its_bibliography(whole):
    """One entry of BibTeX for each line of the list."""
    lines = [line for line in whole.splitlines() if line.startswith("- ")]
    assert bibliography(whole).count("\n@") + 1 == len({line.split(": ", 1)[1] for line in lines})


def test_the_bibliography_is_written_beside_the_text(tmp_path):
    run_stats(STUDY, tmp_path)
    text = (tmp_path / "logs/CITATION_group.md").read_text(encoding="utf-8")
    assert (tmp_path / "logs/CITATION_group.bib").read_text(encoding="utf-8") == bibliography(text)
