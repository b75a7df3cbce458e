"""Links between the pages of an output folder, and the record of the runs of a participant."""

import json

import pytest
from test_reports import html_of, write_derivatives

from bidsapp.bids import documents
from bidsapp.cli.main import main
from bidsapp.config import Config
from bidsapp.reports.participant.links import link_bar, linked_participants, relink_page
from bidsapp.reports.participant.provenance import show_provenance
from bidsapp.reports.participant.records import read_participant
from bidsapp.run.completion import digest
from bidsapp.run.page_links import relink_pages

PAGE = "<header><!-- links -->\n<!-- end of links --></header><p>sub</p>"


@pytest.fixture
def pages(tmp_path):
    """Three pages without links."""
    for label in ("sub-01", "sub-02", "sub-10"):
        (tmp_path / f"{label}.html").write_text(PAGE)
    return tmp_path


def hrefs(html: str) -> list[str]:
    return [part.split('"')[0] for part in html.split('href="')[1:]]


def test_only_pages_that_exist_are_linked(pages):
    """The neighbours in the order of the labels; group and list once they have been written."""
    labels = linked_participants(pages)
    assert hrefs(link_bar(pages, "sub-01", labels)) == ["sub-02.html"]
    assert hrefs(link_bar(pages, "sub-02", labels)) == ["sub-01.html", "sub-10.html"]
    assert hrefs(link_bar(pages, "sub-05", labels)) == ["sub-02.html", "sub-10.html"]
    for name in ("group.html", "index.html"):
        (pages / name).write_text("")
    expected = ["index.html", "group.html", "sub-02.html"]
    assert hrefs(link_bar(pages, "sub-10", labels)) == expected


def test_pages_are_linked_again_when_others_appear(pages):
    """Once, without a change of the rest; the record of the run remains that of the page."""
    record = documents.COMPLETION.path(pages, participant="sub-01")
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"pages": {"sub-01.html": "another"}}))
    assert relink_pages(pages, ["sub-01", "sub-99"]) == 1
    assert relink_pages(pages) == 2
    assert relink_pages(pages) == 0
    page = pages / "sub-01.html"
    assert page.read_text().startswith("<header><!-- links -->\n<nav")
    assert page.read_text().endswith("<p>sub</p>")
    assert json.loads(record.read_text())["pages"]["sub-01.html"] == digest(page)
    (pages / "sub-02.html").unlink()
    assert relink_page(pages, "sub-01", linked_participants(pages))
    assert hrefs(page.read_text()) == ["sub-10.html"]


def test_a_page_of_an_earlier_version_is_left_alone(pages):
    """It has no place for links."""
    (pages / "sub-01.html").write_text("<p>early</p>")
    assert not relink_page(pages, "sub-01", linked_participants(pages))


def test_the_page_has_its_links(tmp_path, empty_figures):
    """A page that was built before those of others, and after."""
    out = write_derivatives(tmp_path)
    (out / "sub-00.html").write_text(PAGE)
    assert '<nav class="links" aria-label="Other pages"><a href="sub-00.html">' in html_of(out)


def test_the_run_records_its_command_line(tmp_path, monkeypatch):
    """As it was typed, with quotes where the shell needs them."""
    seen = []
    monkeypatch.setattr(
        "bidsapp.cli.main.run_participant_level", lambda config, _: seen.append(config) or 0
    )
    (tmp_path / "my bids").mkdir()
    (tmp_path / "my bids/dataset_description.json").write_text("{}")
    words = [str(tmp_path / "my bids"), str(tmp_path / "out"), "participant", "--b-min", "250"]
    assert main(words) == 0
    quoted = f"metperf '{words[0]}' {words[1]} participant --b-min 250"
    assert seen[0].command == quoted
    assert "command" not in seen[0].result_options()


def test_the_provenance_lists_every_run(tmp_path):
    """The last one first; of earlier versions the command line is not known."""
    out = write_derivatives(tmp_path)
    config = Config(tmp_path, out, tmp_path, "r", command="metperf bids out participant")
    records = {"20250101-120000_a": 'sessions = ["1week"]\n', "20260203-040506_b": config.to_toml()}
    for run, text in {**records, "20240101-000000_c": "?"}.items():
        path = documents.SETTINGS.path(out, participant="sub-01", run=run)
        path.parent.mkdir(parents=True)
        path.write_text(text)
    runs = show_provenance(read_participant(out, "01"))[0]
    assert runs.rows == [
        ["2026-02-03 04:05:06", "all", "metperf bids out participant"],
        ["2025-01-01 12:00:00", "1week", "not recorded"],
        ["2024-01-01 00:00:00", "all", "not recorded"],
    ]
