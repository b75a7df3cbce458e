"""The pages in a browser, from disk: quiet, whole, sortable, usable by keyboard, on any width."""

import io
import json
import re
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import html5lib
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import CHROMIUM, LACK, LAPTOP, PHONE, SCREEN, chromium, opened, settle
from test_group import study_rows, write_outputs
from test_reports import write_derivatives

from bidsapp.reports.page import render as pages
from bidsapp.reports.page.blocks import Table, Text
from bidsapp.reports.participant.page import build_participant_page
from bidsapp.run.group import run_group

REPORTS = ["participant", "troubled", "empty", "group", "table"]
"""A complete participant, one with failures, one without results; the group; a table to sort."""

NAMES = [*REPORTS, "viewer"]

COLUMNS = {
    "Lesion": ["sub-02 1", "sub-10 1", "sub-01 2", "sub-01 1", "sub-03 1"],
    "Change": ["−58.3 %", "+975.0 %", "n/a", "−9.1 %", "0.0 %"],
    "p": ["0.2", "<0.0001", "0.03", "1.0", "n/a"],
    "Mean ± SD": ["0.068 ± 0.036", "10.0 ± 6.2", "9.5 ± 0.1", "−1.0 ± 2.0", "100 ± 3"],
    "Voxels": [("3", "10 voxels"), ("12", "1 voxel"), ("1", "99"), ("2", "1"), ("40", "0")],
}
UPWARDS = {
    "Lesion": ["sub-01 1", "sub-01 2", "sub-02 1", "sub-03 1", "sub-10 1"],
    "Change": ["−58.3 %", "−9.1 %", "0.0 %", "+975.0 %", "n/a"],
    "p": ["<0.0001", "0.03", "0.2", "1.0", "n/a"],
    "Mean ± SD": ["−1.0 ± 2.0", "0.068 ± 0.036", "9.5 ± 0.1", "10.0 ± 6.2", "100 ± 3"],
    "Voxels": ["199", "21", "310 voxels", "121 voxel", "400"],
}
"""What each column of the table reads once sorted; what has no number stays at the end."""


def write_troubled(folder: Path) -> Path:
    """Write a participant with a crash, a failed step, no registration and a broken table."""
    write_derivatives(folder, name='<b>"lesion" & more</b> ' + "long" * 30)
    log = folder / "sub-01/log/20260101"
    log.mkdir(parents=True)
    (log / "crash-fit.txt").write_text("Traceback\nMemoryError: no room\n" + "x" * 400)
    status = {"ses-1week": {"failed": ["dce: RegistrationError"], "missing": ["no DWI"]}}
    (log.parent / "status.json").write_text(json.dumps({"sessions": status}))
    for path in folder.rglob("ses-1week/perf/*quality.json"):
        path.unlink()
    for path in folder.rglob("*_label-AIF_timeseries.tsv"):
        path.write_text("?")
    return build_participant_page(folder, "01")


def write_group(folder: Path) -> Path:
    """Write the page of the reference cohort; two of its participants have pages beside it."""
    write_outputs(folder, study_rows())
    for label in ("sub-01", "sub-02"):
        build_participant_page(folder, label)
    run_group(folder)
    return folder / "group.html"


def write_table(folder: Path) -> Path:
    """Write a page with one table that has all kinds of cells, and a folded text."""
    rows = list(zip(*COLUMNS.values(), strict=True))
    blocks = [Table("All kinds", list(COLUMNS), rows), Text("More", "words", folded=True)]
    items = [{"kind": type(block).__name__, "block": block} for block in blocks]
    section = {"id": "a", "title": "A", "intro": "", "problem": "", "absent": "", "blocks": items}
    group = {"counts": [], "index": "", "timepoints": [], "sections": [section]}
    result = {"problems": [], "notes": ["n"], "cohort": {"warnings": ["w"]}}
    html = pages.render("group.html.j2", result=result, **group)
    folder.mkdir()
    pages.write_page(folder / "table.html", html)
    return folder / "table.html"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every page of ``NAMES`` on disk; the PDF files of the group's figures are empty."""
    root = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bidsapp.run.group_files.pdf_bytes", lambda figure: b"")
        group = write_group(root / "group")
    return {
        "participant": build_participant_page(write_derivatives(root), "01"),
        "troubled": write_troubled(root / "troubled"),
        "empty": build_participant_page(root / "empty", "01"),
        "group": group,
        "table": write_table(root / "table"),
        "viewer": root / "sub-01/figures/sub-01_viewer.html",
    }


@pytest.fixture(scope="module")
def browser():
    """Chromium, once for all tests."""
    if CHROMIUM is None:
        pytest.skip(LACK)
    with chromium() as running:
        yield running


@pytest.fixture(scope="module", params=NAMES)
def path(request, written):
    """Each page in turn."""
    return written[request.param]


@pytest.fixture(scope="module", params=REPORTS)
def report(request, written):
    """Each page in turn that is to be printed."""
    return written[request.param]


@pytest.fixture
def page(browser, path):
    """Each page in turn, opened on a laptop."""
    page, _ = opened(browser, path, LAPTOP)
    yield page
    page.close()


@pytest.fixture
def table(browser, written):
    """The page with a table of all kinds of cells."""
    page, _ = opened(browser, written["table"], LAPTOP)
    yield page
    page.close()


def test_the_html_is_without_an_error(path):
    """A parser that forgives nothing reads the whole page."""
    parser = html5lib.HTMLParser(strict=True)
    parser.parse(io.BytesIO(path.read_bytes()), transport_encoding="utf-8")
    assert parser.documentEncoding == "utf-8"


def test_a_page_opens_quietly(browser, path):
    """Nothing on the console, nothing asked of a network, every image there: from disk alone."""
    page, heard = opened(browser, path, LAPTOP)
    page.evaluate("document.querySelectorAll('img').forEach((i) => { i.loading = 'eager'; })")
    page.wait_for_load_state("networkidle")
    broken = "Array.from(document.images).filter((i) => !i.complete || !i.naturalWidth)"
    assert page.evaluate(f"{broken}.map((i) => i.alt)") == []
    page.close()
    assert heard.said == heard.failed == []
    own = (path.parent.as_uri() + "/", "data:", "blob:")
    assert [url for url in heard.asked if not url.startswith(own)] == []


def test_every_link_leads_somewhere(page, path):
    """In-page links have their targets, downloads and pages beside it are on disk."""
    hrefs = page.evaluate(
        "Array.from(document.querySelectorAll('a[href]'), (a) => a.getAttribute('href'))"
    )
    assert hrefs
    for href in hrefs:
        if href.startswith("#"):
            assert page.evaluate("(id) => Boolean(document.getElementById(id))", unquote(href[1:]))
        elif not href.startswith(("https://", "mailto:")):
            target = urlsplit(urljoin(path.as_uri(), href))
            assert target.scheme == "file"
            assert Path(unquote(target.path)).is_file(), href


def test_the_group_leads_to_participants_and_downloads(written):
    """Participants with a page are linked, those without are not; figures come in three formats."""
    html = written["group"].read_text(encoding="utf-8")
    links = set(re.findall(r'href="([^"#]+)"', html))
    assert {link for link in links if link.startswith("sub-")} == {"sub-01.html", "sub-02.html"}
    assert {Path(link).suffix for link in links if "figures/" in link} == {".svg", ".pdf", ".tsv"}


def column(page, number: int) -> list[str]:
    """What a column of the table reads, from above."""
    rows = "Array.from(document.querySelector('table').tBodies[0].rows"
    return page.evaluate(f"(n) => {rows}, (row) => row.cells[n].textContent)", number)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_heading_sorts_its_table(table, name):
    """First upwards, then downwards: numbers as numbers, also below zero; gaps at the end."""
    number = list(COLUMNS).index(name)
    heading = table.get_by_role("columnheader").nth(number)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(table, number) == UPWARDS[name]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    gaps = UPWARDS[name].count("n/a")
    numbers = UPWARDS[name][: 5 - gaps]
    assert column(table, number) == numbers[::-1] + ["n/a"] * gaps


def test_tables_sort_by_keyboard(table):
    """Enter and space on a heading do what a click does; only one column is marked as sorted."""
    headings = table.get_by_role("columnheader")
    headings.nth(1).get_by_role("button").press("Enter")
    assert column(table, 1) == UPWARDS["Change"]
    headings.nth(2).get_by_role("button").press("Space")
    assert column(table, 2) == UPWARDS["p"]
    assert table.locator("[aria-sort]").count() == 1


def test_tables_of_the_pages_sort(page):
    """Every table with more than one row sorts by every column, and loses no row."""
    tables = page.locator("table.sortable")
    for table in tables.all():
        before = sorted(table.locator("tbody tr").all_inner_texts())
        for button in table.locator("thead button").all():
            button.dispatch_event("click")
        assert sorted(table.locator("tbody tr").all_inner_texts()) == before
        assert len(before) < 2 or table.locator("[aria-sort]").count() == 1


def test_the_keyboard_reaches_everything(page):
    """Tab goes through all links, headings and boxes in their order, each with a visible mark.

    Of the choices of a group it reaches the first (arrow keys reach the others); links of figures
    are left out, as the tables have them.
    """
    wanted = page.evaluate(
        "Array.from(document.querySelectorAll("
        "'a[href], button, summary, input, select, [tabindex=\"0\"]'))"
        ".filter((e) => e.tabIndex >= 0 && (e.type !== 'radio' ||"
        ' e === e.form.querySelector(`[name="${e.name}"]`)))'
        ".map((e, i) => { e.dataset.stop = i; return String(i); })"
    )
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        stop, outline = page.evaluate(
            "[document.activeElement.dataset.stop,"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert outline != "none", page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        reached.append(stop)
    assert reached == wanted


def test_the_keyboard_unfolds_and_skips(table):
    """The first stop leads past the contents; Enter unfolds what is folded."""
    table.keyboard.press("Tab")
    table.keyboard.press("Enter")
    table.wait_for_url("**#main")
    folded = table.locator("details")
    assert folded.evaluate("(d) => d.open")
    folded.locator("summary").press("Enter")
    assert not folded.evaluate("(d) => d.open")


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_page_is_accessible(page, viewport):
    """axe-core finds nothing serious or critical: names, roles, contrast, keyboard."""
    page.set_viewport_size(viewport)
    settle(page)
    found = Axe().run(page).response["violations"]
    outcome = [
        f"{f['impact']}: {f['id']}: {f['help']}: {f['nodes'][0]['html'][:200]}"
        for f in found
        if f["impact"] in ("serious", "critical")
    ]
    assert outcome == []


def test_the_dark_page_is_accessible(page):
    """Contrast is also sufficient in a dark scheme, and figures are on a light ground."""
    page.emulate_media(color_scheme="dark")
    settle(page)
    rules = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    found = Axe().run(page, options=rules).response["violations"]
    assert [node["html"][:200] for f in found for node in f["nodes"]] == []
    grounds = "Array.from(document.querySelectorAll('figure svg, figure img'),"
    grounds += " (e) => getComputedStyle(e).backgroundColor)"
    assert set(page.evaluate(grounds)) <= {"rgb(255, 255, 255)"}


BEYOND = """(limit) => Array.from(document.body.querySelectorAll("*"))
  .filter((e) => !e.closest(".scroll *, .pan *, .skip, .unseen"))
  .filter((e) => e.getBoundingClientRect().right > limit + 1)
  .map((e) => e.outerHTML.slice(0, 120))"""
"""What reaches beyond a width, boxes that scroll counted as boxes."""


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE, SCREEN], ids=["laptop", "phone", "screen"])
def test_a_page_fits_its_window(browser, path, viewport):
    """Nothing is cut at 1280, 390 and 1920 pixels, and only tables scroll, inside their boxes."""
    page, _ = opened(browser, path, viewport)
    assert page.evaluate(BEYOND, viewport["width"]) == []
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    page.close()


def test_a_printed_page_is_whole(browser, report):
    """On A4 nothing reaches beyond the paper, tables included, and no box scrolls."""
    page, _ = opened(browser, report, LAPTOP)
    paper = {"width": 718, "height": 1046}  # 210 mm x 297 mm without margins of 1 cm, at 96 dpi
    page.set_viewport_size(paper)
    page.emulate_media(media="print")
    everything = BEYOND.replace(".scroll *, .pan *", "svg *")
    assert page.evaluate(everything, paper["width"]) == []
    assert page.pdf(format="A4")[:5] == b"%PDF-"
    page.close()


def test_the_summary_is_the_first_page_of_a_print(browser, written):
    """Verdict, quality, lesions and their course are on one page of A4; maps begin the next."""
    page = browser.new_page(viewport={"width": 703, "height": 1039})  # A4 within its margins
    page.goto(written["participant"].as_uri())
    page.emulate_media(media="print")
    bottoms = "(id) => document.getElementById(id).getBoundingClientRect().bottom"
    assert page.evaluate(bottoms, "timeline") <= 1039
    assert page.evaluate("getComputedStyle(document.getElementById('maps')).breakBefore") == "page"
    for unprinted in ("nav.contents", "#rating"):
        assert not page.locator(unprinted).is_visible()
    page.close()
