"""The strip plots of the group page: points that link to the pages of the participants."""

import re
from dataclasses import replace

import pandas as pd
import pytest
from browser import CHROMIUM, LACK, LAPTOP, chromium, opened
from test_group import study_rows, write_outputs

from bidsapp.reports.group.plots import number_formats, plots
from bidsapp.reports.group.strips import MOST_LINKED, add_titles, draw_strips, link_caption
from bidsapp.reports.page.render import svg_bytes
from bidsapp.run.group import run_group
from bidsapp.study.read import read_output
from bidsapp.study.tables import GroupResult, analyse

LINK = r'<a href="(sub-\d+)\.html" tabindex="-1" aria-label="([^"]*)"><title>([^<]*)</title>'


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = write_outputs(tmp_path_factory.mktemp("strips"), study_rows())
    cohort = read_output(folder, "mean").cohort
    return GroupResult(cohort, analyse(cohort))


def forms_of(result):
    return number_formats(result.cohort.parameters, result.cohort.units)


@pytest.mark.parametrize("pages", [set(), {"sub-01"}, {"sub-01", "sub-02", "sub-15"}])
def test_a_point_links_to_its_participant_if_there_is_a_page(study, pages):
    """One title for each point of the participants with a page, that names lesion and value."""
    drawn = draw_strips(study.statistics, forms_of(study), frozenset(pages))
    svg = add_titles(svg_bytes(drawn.figure).decode(), drawn.titles)
    found = re.findall(LINK, svg)
    linked = drawn.data[drawn.data["participant_id"].isin(pages) & drawn.data["value"].notna()]
    assert len(found) == len(linked) == len(drawn.titles)
    for page, label, title in found:
        assert label == title
        assert title.startswith(f"{page}, lesion ")
    assert [page for page, _, _ in found] == linked["participant_id"].tolist()


def test_one_point_is_a_link_too(study):
    """A single lesion at a single time point."""
    lesions = study.statistics.lesions
    one = lesions[(lesions["participant_id"] == "sub-02") & (lesions["session_id"] == "ses-1week")]
    statistics = replace(study.statistics, lesions=one)
    forms = {"vp": forms_of(study)["vp"]}
    drawn = draw_strips(statistics, forms, frozenset({"sub-02"}))
    assert len(drawn.titles) == 1
    assert len(re.findall(LINK, add_titles(svg_bytes(drawn.figure).decode(), drawn.titles))) == 1


def test_many_lesions_have_no_links_and_the_caption_says_so(study):
    """Above the limit; with as many as the limit, they have."""
    response = study.statistics.response
    pages = frozenset({"sub-01"})
    for count, linked in ((MOST_LINKED, True), (MOST_LINKED + 1, False)):
        others = response.sample(count - 1, replace=True, random_state=0)
        others = others.assign(participant_id="sub-99", lesion=range(count - 1))
        table = pd.concat([response.iloc[:1], others], ignore_index=True)
        statistics = replace(study.statistics, response=table)
        drawn = draw_strips(statistics, forms_of(study), pages)
        assert bool(drawn.titles) == linked
        assert ("are not links" in link_caption(statistics, pages)) == (not linked)
    assert link_caption(study.statistics, frozenset()) == ""


def test_a_link_without_a_title_is_an_error():
    svg = '<svg><a xlink:href="../sub-01.html" target="_blank"></a></svg>'
    with pytest.raises(ValueError, match="1 links, 2 titles"):
        add_titles(svg, ["sub-01", "sub-02"])
    assert add_titles("<svg></svg>", []) == "<svg></svg>"


def test_the_plot_is_among_the_figures(study):
    """With the response of each lesion in its data."""
    found = next(plot for plot in plots(study) if plot.name == "strip")
    assert set(found.data) == set(found.columns)
    assert set(found.data["response"]) <= {"CR", "PR", "SD", "PD", "n/a"}
    assert found.titles == ()


def test_a_point_opens_the_page_of_its_participant(tmp_path):
    """In the browser; the files in figures/ link to the same page."""
    if CHROMIUM is None:
        pytest.fail(LACK)
    folder = write_outputs(tmp_path, study_rows())
    (folder / "sub-02.html").write_text("<title>sub-02</title>")
    run_group(folder)
    assert 'xlink:href="../sub-02.html"' in (folder / "figures/group_strip.svg").read_text()
    with chromium() as browser:
        page, heard = opened(browser, folder / "group.html", LAPTOP)
        point = page.locator('svg a[href="sub-02.html"]').first
        assert point.locator("title").text_content().startswith("sub-02, lesion 1, baseline: ")
        point.dispatch_event("click")
        page.wait_for_url("**/sub-02.html")
        assert heard.said == []
