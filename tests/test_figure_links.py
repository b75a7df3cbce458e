"""Points and labels of the figures of the group lead to the pages of the participants."""

import re

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, LACK, chromium
from test_group import study_rows, write_outputs

from bidsapp.reports.figures.links import MOST_LINKED
from bidsapp.reports.figures.regression import regressions
from bidsapp.reports.figures.response import Changes, waterfall
from bidsapp.reports.figures.swimmer import swimmer
from bidsapp.reports.figures.time_courses import Course, time_courses
from bidsapp.reports.page.render import inline_svg, svg_bytes
from bidsapp.run.group import run_group

LINK = re.compile(r'<a href="([^"]+)" tabindex="-1"><title>([^<]+)</title>')


def values_of(count):
    """Values of some lesions, two of each participant, at two time points."""
    lesions = [(f"sub-{i // 2 + 1:03d}", i % 2 + 1) for i in range(count)]
    index = pd.MultiIndex.from_tuples(lesions, names=["participant_id", "lesion"])
    numbers = np.arange(2.0 * count).reshape(count, 2) ** 1.1
    return pd.DataFrame(numbers, index=index, columns=["before", "after"])


def figures_of(values, pages):
    return [
        time_courses([Course("vp (%)", values, {})], pages),
        regressions(values, values**2, "vp (%)", "f (%)", pages),
    ]


@pytest.mark.parametrize("which", [0, 1], ids=["time course", "regression"])
def test_every_point_with_a_value_leads_to_its_lesion(which):
    """One link per finite point of a participant with a page, titled by participant and lesion."""
    values = values_of(6)
    values.iloc[1, 0] = np.nan
    pages = {"sub-001", "sub-002"}
    html = str(inline_svg(svg_bytes(figures_of(values, pages)[which]), "x"))
    found = LINK.findall(html)
    assert len(found) == 2 * 4 - 1
    assert ("sub-001.html#lesion-2", "sub-001, lesion 2") in found
    assert not any("sub-003" in href for href, _ in found)
    assert html.startswith('<svg role="group"')
    assert html.count("<a ") == html.count("</a>") == len(found)


@pytest.mark.parametrize("count", [MOST_LINKED, MOST_LINKED + 2])
def test_points_of_too_many_lesions_lead_nowhere(count):
    values = values_of(count)
    pages = {participant for participant, _ in values.index}
    for figure in figures_of(values, pages):
        html = str(inline_svg(svg_bytes(figure), "x"))
        assert len(LINK.findall(html)) == (2 * count if count <= MOST_LINKED else 0)


def test_a_figure_without_pages_has_no_links():
    for figure in figures_of(values_of(4), ()):
        data = svg_bytes(figure)
        assert b"<a " not in data
        assert str(inline_svg(data, "x")).startswith('<svg role="img"')


def test_a_figure_in_its_own_file_leads_out_of_its_folder():
    data = svg_bytes(figures_of(values_of(2), {"sub-001"})[0])
    assert b'xlink:href="../sub-001.html#lesion-1"' in data


def test_labels_of_patients_and_lesions_lead_to_their_page():
    """Labels of the waterfall plot, with and without a lesion, and of the swimmer plot."""
    rows = [["01·2", 30.0, -40.0, "PR"], ["02", 30.0, 10.0, "SD"]]
    table = pd.DataFrame(rows, columns=["name", "days", "change", "response"])
    bars = waterfall([Changes("Lesions", "change (%)", table, (-30, 20))], {"sub-01", "sub-02"})
    visits = [["sub-01", -5.0, "n/a"], ["sub-01", 30.0, "PR"], ["sub-02", 3.0, "SD"]]
    frame = pd.DataFrame(visits, columns=["participant_id", "days", "response"])
    found = [
        LINK.findall(str(inline_svg(svg_bytes(figure), "x")))
        for figure in (bars, swimmer(frame, {"sub-01"}))
    ]
    assert set(found[0]) == {
        ("sub-01.html#lesion-2", "sub-01, lesion 2"),
        ("sub-02.html", "sub-02"),
    }
    assert found[1] == [("sub-01.html", "sub-01")]


def test_a_click_on_a_point_opens_the_participant(tmp_path):
    """In a browser: the point can be hit, and the page it names is opened."""
    if CHROMIUM is None:
        pytest.fail(LACK)
    folder = write_outputs(tmp_path, study_rows())
    for label in {row["participant_id"] for row in study_rows()}:
        (folder / f"{label}.html").write_text(f"<title>{label}</title>")
    run_group(folder)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto((folder / "group.html").as_uri())
        point = page.locator("#changes svg a[href]").last
        expected = point.get_attribute("href")
        point.scroll_into_view_if_needed()
        box = point.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_url("**/sub-*.html*")
        assert page.url.split("/")[-1].startswith(expected.split("#")[0])
