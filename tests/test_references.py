"""Each work that a methods text cites is in its references and in its BibTeX file."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from bidsapp.config import Config, constants
from bidsapp.models import MODELS
from bidsapp.reports.group.methods import group_methods
from bidsapp.reports.methods import DATA, methods
from bidsapp.reports.references import bibliography, works
from bidsapp.study.read import load_study_table
from bidsapp.study.tables import GroupResult, analyse
from bidsapp.study.tables.limits import published_table
from tests.test_citation import CHOICES, PARTS

STUDY = Path(__file__).parent / "data/reference_cohort/lesions.tsv"
YEAR = re.compile(r"\b(?:18|19|20)\d\d\b(?!\))|\b(?:18|19|20)\d\d(?=\))")


def check(text):
    """Compare the works named in the prose, in the references and in the BibTeX file."""
    prose, references = text.split("## References")
    lines = [line for line in references.splitlines() if line.startswith("- ")]
    entries = re.findall(r"^@\w+\{([^,]+),", bibliography(text), re.MULTILINE)
    listed = {key: works()[key] for key in entries}
    for line in lines:
        assert [key for key, work in listed.items() if line.endswith(work.locator)], line
    for work in listed.values():
        assert any(line.endswith(f"{work.citation}, {work.locator}") for line in lines)
    for year in YEAR.finditer(prose):
        before = prose[: year.start()].rstrip(" (").replace("\n", " ")
        names = [w.citation[:-5] for w in listed.values() if w.fields["year"] == year[0]]
        assert before.endswith(tuple(names)), before[-60:] + year[0]
    dois = re.findall(r"doi:([^\s)]+(?:\([^\s)]*\)[^\s)]*)*)", prose)
    assert {doi.rstrip(".;,") for doi in dois} <= {w.fields.get("doi") for w in listed.values()}


@pytest.mark.parametrize("data", PARTS, ids=lambda data: "+".join(sorted(data)))
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_references_of_a_run_are_complete(choice, data):
    check(methods(Config(Path(), Path(), Path(), "run", **choice), data))


def test_references_of_the_group_are_complete():
    cohort = load_study_table(STUDY)
    check(group_methods(GroupResult(cohort, analyse(cohort))))


def test_every_source_that_a_text_may_cite_is_known():
    """Models, constants and published limits: their DOIs, or authors and year."""
    known = {work.fields.get("doi") for work in works().values()}
    assert {row.doi for row in MODELS.values()} <= known
    sources = [table["source"] for table in constants().values()]
    assert {source.split("doi:")[1] for source in sources} <= known
    assert set(published_table()["source"]) <= {work.citation for work in works().values()}


def test_entries_are_complete_and_distinct():
    """The key is the first author and the year; no two works share a DOI or a citation."""
    table = tomllib.loads(files("bidsapp").joinpath("data/references.toml").read_text())
    assert list(table) == sorted(table)
    for key, work in works().items():
        first = work.fields["author"].split(" and ")[0].split(",")[0]
        assert key == re.sub("[^a-z-]", "", first.lower()) + work.fields["year"]
        assert {"journal", "booktitle", "publisher"} & set(work.fields)
        assert work.locator
    assert len({work.locator for work in works().values()}) == len(works())
    assert len({work.citation for work in works().values()}) == len(works())


def test_every_work_is_cited_somewhere():
    """A work that no text cites is removed from the table."""
    code = "".join(path.read_text() for path in Path("bidsapp/reports").rglob("*methods.py"))
    limits = set(published_table()["source"])
    dois = {row.doi for row in MODELS.values()}
    dois |= {table["source"].split("doi:")[1] for table in constants().values()}
    for key, work in works().items():
        assert f'"{key}"' in code or work.citation in limits or work.fields.get("doi") in dois


def test_bibtex_is_well_formed():
    """Braces are balanced, special characters escaped, and capitals of abbreviations kept."""
    cited = "\n".join(f"- x: {work.citation}, {work.locator}" for work in works().values())
    text = bibliography(cited)
    assert text.count("@") == len(works())
    assert text.count("{") == text.count("}")
    assert "Cerebral Blood Flow \\& Metabolism" in text
    assert "{DCE}" in text
    assert "pages = {R1--R26}" in text
    for line in text.splitlines():
        assert "&" not in line.replace("\\&", "")


def test_a_run_cites_only_the_constants_that_it_used():
    """T1 and relaxivity that were given need no source; blood matters only for a measured AIF."""
    given = {"t1_tissue": 1.4, "t1_blood": 1.6, "relaxivity": 4.5}
    texts = [
        methods(Config(Path(), Path(), Path(), "run", **options), DATA)
        for options in ({}, given, {"aif": "parker2006"})
    ]
    for work, expected in {
        "Zhang et al. 2013": (True, False, False),
        "Wright et al. 2008": (True, False, True),
        "Rohrer et al. 2005": (True, False, True),
    }.items():
        assert tuple(work in text for text in texts) == expected
    assert "relaxivity was 4.5 1/s/mM" in texts[1]
