"""The group page: long tables are cut with a pointer to their file, and stay small."""

import re

import pytest
from browser import CHROMIUM, LACK, chromium
from test_group import study_rows

from bidsapp.reports.group import page as group_page
from bidsapp.reports.group.view import MOST_ROWS
from bidsapp.reports.page.blocks import Table, Words
from bidsapp.reports.page.render import section_rows
from bidsapp.run.group import run_stats


@pytest.mark.parametrize(("count", "cut"), [(1, False), (MOST_ROWS, False), (MOST_ROWS + 1, True)])
def test_a_long_table_is_cut_and_says_so(count, cut):
    """The first rows, the number of all, and no claim that all are shown."""
    rows = [[str(i), "x"] for i in range(count)]
    block = Table("Every lesion", ["A", "B"], rows, summary=f"All {count} lesions")
    shown = group_page._cap(block)
    assert len(shown.rows) == min(count, MOST_ROWS)
    assert (shown.total == count) == cut
    assert shown.summary == (f"First {MOST_ROWS} of {count} lesions" if cut else block.summary)


def test_words_are_not_cut():
    words = Words(["a"] * 500)
    assert group_page._cap(words) is words


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The page of 300 participants: those of the study, 15 times."""
    folder = tmp_path_factory.mktemp("large")
    rows = study_rows()
    lines = ["\t".join(rows[0])]
    for copy in range(20):
        for row in rows:
            named = row | {"participant_id": f"{row['participant_id']}{copy:02d}"}
            lines.append("\t".join(named.values()))
    (folder / "lesions.tsv").write_text("\n".join(lines) + "\n")
    run_stats(folder / "lesions.tsv", folder / "out")
    return (folder / "out/group.html").read_text(encoding="utf-8")


def test_a_large_group_has_short_tables_that_point_to_their_files(large):
    """Every long table says how many rows there are, and where."""
    bodies = re.findall(r"<tbody>(.*?)</tbody>", large, re.DOTALL)
    lengths = [body.count("<tr>") for body in bodies]
    assert max(lengths) == MOST_ROWS
    notes = re.findall(r"The first 200 of (\d+) rows; all are in (group_\w+\.tsv)", large)
    assert len(notes) == lengths.count(MOST_ROWS) >= 2
    assert ("800", "group_changes.tsv") in notes
    assert len(large) < 3e6


def test_every_section_with_results_explains_how_it_is_read():
    """What is shown, with a good and a bad conclusion; the methods and the notes need none."""
    rows = section_rows("groupsections.toml")
    assert {row["id"] for row in rows if "reading" not in row} == {"methods", "reading"}
    for row in rows:
        assert set(row.get("reading", {})) in (set(), {"how", "good", "bad"})
        assert all(len(text) < 420 for text in row.get("reading", {}).values())


def test_the_explanations_are_folded_and_only_beside_results(large):
    """A section without results has none."""
    assert '<details class="reading"><summary>How to read this</summary>' in large
    quality = large[large.index('<section id="quality"') : large.index('<section id="left-out"')]
    assert "How to read this" not in quality


WIDTHS = (390, 1280, 1920)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_window_and_wide_tables_say_so(large, tmp_path, scheme):
    """All tables of the page at three widths: what is cut off can be scrolled, with a cue."""
    if CHROMIUM is None:
        pytest.fail(LACK)
    (tmp_path / "group.html").write_text(large)
    with chromium() as browser:
        page = browser.new_page(color_scheme=scheme)
        page.goto((tmp_path / "group.html").as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            boxes = page.evaluate(
                "[...document.querySelectorAll('.scroll')].map((box) => ["
                "box.scrollWidth > box.clientWidth + 1,"
                "getComputedStyle(box, '::before').content.includes('scroll'), box.tabIndex])"
            )
            assert len(boxes) > 15
            assert all(wide == cue for wide, cue, _ in boxes)
            assert all(index == 0 for wide, _, index in boxes if wide)
