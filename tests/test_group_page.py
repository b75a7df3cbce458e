"""The group page: long tables are cut with a pointer to their file, and stay small."""

import re

import pytest
from test_group import study_rows

from bidsapp.reports.group import page as group_page
from bidsapp.reports.group.view import MOST_ROWS
from bidsapp.reports.page.blocks import Table, Words
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
