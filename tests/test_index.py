"""The index of all participants: summaries, order, filters, and its size with 2,000 of them."""

import base64
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, LACK, LAPTOP, PHONE, chromium, opened
from test_reports import write_derivatives

from bidsapp.bids import documents
from bidsapp.bids.derivatives import to_json
from bidsapp.reports.index.card import Card, read_card, write_card
from bidsapp.reports.index.page import build_index, response_counts, write_index
from bidsapp.reports.index.thumbnail import SIDE, draw_thumbnail
from bidsapp.reports.participant.links import link_bar
from bidsapp.reports.participant.records import read_participant

CARDS = (
    Card("sub-1", 3, 2, 92.0, "PR", -45.2, {"1": "PR", "2": "CR"}, "good", "Complete.", ""),
    Card("sub-10", 3, 1, 30.0, "PD", 31.0, {"1": "PD"}, "bad", "1 failure", ""),
    Card("sub-2", 2, 1, 31.0, "SD", 0.04, {"1": "SD"}, "warn", "Complete, with 1 warning", ""),
)


def write_cards(folder: Path, cards=CARDS) -> Path:
    for card in cards:
        path = documents.CARD.path(folder, participant=card.participant)
        path.parent.mkdir(parents=True)
        path.write_bytes(to_json(asdict(card)))
    return folder


def rate(folder: Path) -> None:
    rows = ["participant_id\tlesion\trating", "sub-1\t1\taccept", "sub-10\t1\texclude"]
    (folder / "group_ratings.tsv").write_text("\n".join([*rows, "sub-10\t2\taccept"]) + "\n")


def test_a_participant_is_summarised(tmp_path):
    """Sessions, verdict and thumbnail from the derivatives; the file is read as it was written."""
    write_derivatives(tmp_path)
    participant = read_participant(tmp_path, "01")
    path = write_card(participant)
    card = read_card(tmp_path, participant.label)
    assert path == tmp_path / "sub-01/log/card.json"
    assert card.sessions == len(participant.sessions)
    assert card.lesions == len(participant.lesion_names)
    assert card.tone in ("good", "warn", "bad")
    assert base64.b64decode(card.thumbnail)[:2] == b"\xff\xd8"
    again = path.read_bytes()
    assert write_card(participant).read_bytes() == again


def test_a_participant_without_results_is_summarised(tmp_path):
    """Without sessions and T1w there is no thumbnail, and the verdict says so."""
    (tmp_path / "sub-01").mkdir()
    write_card(read_participant(tmp_path, "01"))
    card = read_card(tmp_path, "sub-01")
    assert (card.sessions, card.thumbnail, card.rano) == (0, "", "")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"unknown": 1}'])
def test_participants_of_older_runs_are_listed_without_details(tmp_path, content):
    """Without a summary, or with one that cannot be read."""
    write_cards(tmp_path)
    (tmp_path / "sub-3/log").mkdir(parents=True)
    if content is not None:
        documents.CARD.path(tmp_path, participant="sub-3").write_text(content)
    html = build_index(tmp_path)
    assert "1 without details" in html
    assert "4 participants" in html
    assert "sub-3" in html


def test_participants_are_in_the_order_of_their_numbers(tmp_path):
    """2 before 10, also in the links between the pages."""
    write_cards(tmp_path)
    (tmp_path / "sub-2.html").write_text("")
    html = build_index(tmp_path)
    assert html.index("sub-1<") < html.index("sub-2<") < html.index("sub-10<")
    assert '<a href="sub-2.html">' in html
    assert '<a href="sub-1.html">' not in html
    bar = link_bar(tmp_path, "sub-2", ["sub-1", "sub-10"])
    assert "sub-1.html" in bar
    assert "sub-10.html" in bar


def test_ratings_are_shown_if_there_are_any(tmp_path):
    """The strictest rating of each participant, with all of them."""
    write_cards(tmp_path)
    assert ">Rating<" not in build_index(tmp_path)
    rate(tmp_path)
    html = build_index(tmp_path)
    assert '<th scope="col">Rating</th>' in html
    assert "exclude<small>lesion 1: exclude, lesion 2: accept</small>" in html


def test_the_group_page_is_linked_if_there_is_one(tmp_path):
    write_cards(tmp_path)
    assert 'href="group.html"' not in build_index(tmp_path)
    (tmp_path / "group.html").write_text("")
    assert 'href="group.html"' in build_index(tmp_path)


@pytest.mark.parametrize(
    ("categories", "words"),
    [([], "–"), (["PD"], "1 PD"), (["PD", "CR", "SD", "PR", "PD"], "1 CR, 1 PR, 1 SD, 2 PD")],
)
def test_responses_are_counted_in_their_order(categories, words):
    assert response_counts(categories) == words


def test_a_small_change_is_not_shown_as_none(tmp_path):
    """0.04 % is not 0 %."""
    assert "<small>+0.04 %</small>" in build_index(write_cards(tmp_path))


@pytest.mark.parametrize("shape", [(200, 150), (40, 60), (7, 3)])
def test_thumbnails_are_small(shape):
    """Of any image, a JPEG file of one size, with an outline."""
    rng = np.random.default_rng(0)
    plane = rng.normal(0.5, 0.1, shape)
    lesion = np.zeros(shape, bool)
    lesion[2:5, 1:3] = True
    data = draw_thumbnail(plane, lesion, (1.0, 1.0), (0.0, 1.0))
    assert len(data) < 3000
    assert f"{SIDE:04x}{SIDE:04x}" in data.hex()


def test_an_index_of_2000_participants_is_small(tmp_path):
    """5 MB, with thumbnails of 1.4 kB and ratings."""
    picture = base64.b64encode(bytes(1400)).decode()
    cards = [
        Card(f"sub-{i:04d}", 4, 2, 92.0, "PR", -45.2, {"1": "PR", "2": "CR"}, "warn",
             "Complete, with 12 warnings; check the details.", picture)
        for i in range(2000)
    ]  # fmt: skip
    write_cards(tmp_path, cards)
    rate(tmp_path)
    assert write_index(tmp_path).stat().st_size < 5e6


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.fail(LACK)
    with chromium() as running:
        yield running


def visible(page):
    """The participants that are shown, from top to bottom."""
    rows = page.locator("table.index tbody tr:visible th").all_inner_texts()
    return [row.strip() for row in rows]


@pytest.fixture
def page(browser, tmp_path):
    write_cards(tmp_path)
    rate(tmp_path)
    shown, heard = opened(browser, write_index(tmp_path), LAPTOP)
    yield shown
    assert heard.said == []
    assert heard.failed == []
    shown.close()


def test_rows_are_filtered_by_text_and_choices(page):
    """The count is announced; the button shows all again."""
    page.get_by_label("Participant").first.fill("SUB-1")
    assert visible(page) == ["sub-1", "sub-10"]
    page.get_by_label("Response").select_option("PD")
    assert visible(page) == ["sub-10"]
    assert page.get_by_role("status").inner_text() == "1 of 3 shown"
    page.get_by_role("button", name="Show all").click()
    page.wait_for_timeout(50)
    assert visible(page) == ["sub-1", "sub-2", "sub-10"]
    page.get_by_label("Quality").select_option("warnings")
    assert visible(page) == ["sub-2"]
    page.get_by_label("Quality").select_option("")
    page.get_by_label("Rating").select_option("exclude")
    assert visible(page) == ["sub-10"]


def test_rows_are_sorted_by_keyboard(page):
    """Categories in their own order, not by their names: CR, PR, SD, PD."""
    assert page.get_by_role("button", name="T1w with the lesions").count() == 0
    page.get_by_role("button", name="RANO-BM").focus()
    page.keyboard.press("Enter")
    assert visible(page) == ["sub-1", "sub-2", "sub-10"]
    page.keyboard.press("Enter")
    assert visible(page) == ["sub-10", "sub-2", "sub-1"]
    page.get_by_role("button", name="Quality").focus()
    page.keyboard.press("Space")
    assert visible(page) == ["sub-1", "sub-2", "sub-10"]


def test_the_index_fits_a_phone(browser, tmp_path):
    """The table scrolls, and not the page."""
    page, _ = opened(browser, write_index(write_cards(tmp_path)), PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_summary_names_no_path(tmp_path):
    """It may be passed on with the pages."""
    write_derivatives(tmp_path)
    text = write_card(read_participant(tmp_path, "01")).read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["participant"] == "sub-01"
