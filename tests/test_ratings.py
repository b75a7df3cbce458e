"""Ratings of lesions: reading of saved files, their effect, and the tables of the group."""

import json

import pandas as pd
import pytest
from browser import CHROMIUM, LACK, LAPTOP, chromium, opened
from test_group import read, study_rows, write_outputs

from bidsapp.cli.main import main
from bidsapp.errors import BadInput
from bidsapp.reports.participant.page import build_participant_page
from bidsapp.run.group import run_group
from bidsapp.study.read import read_ratings
from bidsapp.study.tables import Cohort
from bidsapp.study.tables.ratings import CHOICES, RATINGS_TABLE, apply_ratings, rated_out

NOON = "2026-01-31T12:00:00Z"


def rating(lesion=1, choice="exclude", note=""):
    return {"lesion": lesion, "rating": choice, "note": note}


def save(path, *entries, participant="sub-01", rater="AB", saved=NOON, run="run 1", **others):
    """Save ratings as a page does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "participant_id": participant,
        "rater": rater,
        "saved": saved,
        "run_id": run,
        "ratings": list(entries),
    }
    path.write_text(json.dumps(content | others))
    return path


def cohort_of(*keys):
    lesions = pd.DataFrame(keys, columns=["participant_id", "lesion"]).assign(excluded=False)
    return Cohort(lesions, lesions, {})


def test_files_and_folders_are_read(tmp_path):
    """A file, and a folder with files in subfolders; a participant with or without sub-."""
    one = save(tmp_path / "a/sub-01_ratings.json", rating(2, "accept", "fine\there"))
    save(tmp_path / "b/c/sub-02_ratings.json", rating(), participant="02")
    table = read_ratings([one, tmp_path / "b"])
    rows = table[["participant_id", "lesion", "rating", "rater", "note"]].to_numpy().tolist()
    assert rows == [["sub-01", 2, "accept", "AB", "fine here"], ["sub-02", 1, "exclude", "AB", ""]]


def test_the_last_rating_of_a_rater_counts(tmp_path):
    """By the time of saving, across time zones, not by the order of the files."""
    late = save(tmp_path / "1.json", rating(1, "accept"), saved="2026-01-31T12:30:00Z")
    early = save(tmp_path / "2.json", rating(1, "exclude"), saved="2026-01-31T13:00:00+01:00")
    for paths in ([late, early], [early, late]):
        assert read_ratings(paths)["rating"].tolist() == ["accept"]


DAMAGED = {
    "not JSON": ("{", "is not valid JSON"),
    "a list": ("[]", "has no list 'ratings'"),
    "no rater": ({"rater": " "}, "'rater' is missing"),
    "no run": ({"run_id": None}, "'run_id' is missing"),
    "no time": ({"saved": "yesterday"}, "'saved' is not a time"),
    "no time zone": ({"saved": "2026-01-31T12:00:00"}, "'saved' has no time zone"),
    "a path": ({"participant_id": "../x"}, "is not a BIDS label"),
    "another word": ({"ratings": [rating(choice="good")]}, "has no rating accept, repeat, exclude"),
    "a list as word": ({"ratings": [rating(choice=[])]}, "has no rating"),
    "no lesion": ({"ratings": [rating(0)]}, "lesion 0 is not a positive whole number"),
    "lesion true": ({"ratings": [rating(True)]}, "lesion True is not a positive whole number"),
    "note 3": ({"ratings": [rating(note=3)]}, "the note of lesion 1 is not a text"),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_file_is_refused(tmp_path, how):
    content, words = DAMAGED[how]
    path = save(tmp_path / "x_ratings.json", rating())
    whole = json.loads(path.read_text())
    path.write_text(content if isinstance(content, str) else json.dumps(whole | content))
    with pytest.raises(BadInput, match=words):
        read_ratings([path])


def test_all_damaged_files_are_reported_at_once(tmp_path):
    """An empty folder, too: a rating that is not read would let a lesion in."""
    (tmp_path / "empty").mkdir()
    paths = [save(tmp_path / f"{i}.json", rating(-i)) for i in (1, 2)]
    with pytest.raises(BadInput) as caught:
        read_ratings([*paths, tmp_path / "empty"])
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        *map(str, paths),
        str(tmp_path / "empty"),
    ]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("run", ["run 1", "run 2", ""])
def test_effect_of_a_rating(tmp_path, choice, run):
    """Exclude always; repeat until another run is known to have replaced the results."""
    table = read_ratings([save(tmp_path / "r.json", rating(1, choice))])
    rated = apply_ratings(cohort_of(("sub-01", 1), ("sub-01", 2)), table, {"sub-01": run})
    out = choice == "exclude" or (choice == "repeat" and run != "run 2")
    assert rated_out(rated.lesions, rated.ratings).tolist() == [out, False]
    effect = "accepted" if choice == "accept" else "excluded" if out else "outdated"
    assert rated.ratings["effect"].tolist() == [effect]
    assert any("analysed again since" in note for note in rated.notes) == (effect == "outdated")


def test_the_strictest_rater_counts_and_differences_are_noted(tmp_path):
    files = [
        save(tmp_path / "1.json", rating(1, "accept"), rating(2, "accept")),
        save(tmp_path / "2.json", rating(1, "exclude"), rating(2, "accept"), rater="CD"),
    ]
    rated = apply_ratings(cohort_of(("sub-01", 1), ("sub-01", 2)), read_ratings(files), {})
    assert rated_out(rated.lesions, rated.ratings).tolist() == [True, False]
    assert rated.notes == ("sub-01 lesion 1: ratings differ; the strictest one counts.",)


def test_a_rating_of_no_lesion_is_noted(tmp_path):
    table = read_ratings([save(tmp_path / "r.json", rating(7))])
    rated = apply_ratings(cohort_of(("sub-01", 1)), table, {})
    assert rated.ratings["effect"].tolist() == ["unknown"]
    assert rated.notes == ("sub-01 lesion 7: rated, but not in the tables of lesions.",)


def test_the_group_leaves_rated_lesions_out_and_names_the_rater(tmp_path, empty_figures):
    """As a lesion that the ROI table excludes; both sources are listed."""
    rows = study_rows()
    for row in rows:
        if (row["participant_id"], row["lesion"]) == ("sub-12", "1"):
            row["excluded"] = "1"
    folder = write_outputs(tmp_path / "out", rows)
    path = save(tmp_path / "r.json", rating(2, note="vein & motion"), participant="sub-11")
    result = run_group(folder, ratings=[path])
    assert set(result.statistics.paired["n"]) == {18}
    assert read(folder / "group_excluded.tsv").fillna("n/a").to_numpy().tolist() == [
        ["sub-11", 2, "n/a", "AB", "AB: vein & motion"],
        ["sub-12", 1, "ses-baseline ses-1week ses-1month ses-followup", "n/a", "n/a"],
    ]
    table = read(folder / "group_ratings.tsv")
    assert list(table) == list(RATINGS_TABLE)
    assert table["effect"].tolist() == ["excluded"]
    assert "AB: vein &amp; motion" in (folder / "group.html").read_text()
    methods = (folder / "logs/CITATION_group.md").read_text()
    assert "excluded in the ROI tables and by the ratings of readers" in " ".join(methods.split())


def test_a_damaged_rating_stops_the_group_before_it_writes(tmp_path, capsys):
    """Exit code 1 with the path; no table without the exclusion."""
    folder = write_outputs(tmp_path / "out", study_rows())
    (tmp_path / "bids").mkdir()
    (tmp_path / "bids/dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    path = save(tmp_path / "r.json", rating(choice="good"))
    code = main([str(tmp_path / "bids"), str(folder), "group", "--ratings", str(path)])
    assert code != 0
    assert f"{path}: " in capsys.readouterr().err
    assert not list(folder.glob("group*"))


@pytest.fixture(scope="module")
def rated_in_browser(tmp_path_factory):
    """The folder, the ratings saved from the page of sub-11, and the words beside its buttons."""
    if CHROMIUM is None:
        pytest.skip(LACK)
    root = tmp_path_factory.mktemp("rated")
    path = build_participant_page(write_outputs(root / "out", study_rows()), "11")
    said = []
    with chromium() as browser:
        page, heard = opened(browser, path, LAPTOP)
        form = page.locator("form.rating")
        save, status = form.get_by_role("button", name="Save"), form.get_by_role("status")
        save.press("Enter")
        said.append(status.inner_text())
        rows = form.locator("fieldset")
        rows.nth(0).get_by_label("accept").focus()
        page.keyboard.press("Space")
        rows.nth(1).get_by_label("accept").focus()
        page.keyboard.press("ArrowLeft")  # to the last choice
        page.keyboard.press("Tab")
        page.keyboard.type('"vein"')
        save.press("Enter")
        said.append(status.inner_text())
        page.keyboard.type("A.B.")  # the field of the initials has the focus now
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        said.append(status.inner_text())
        saved = root / "ratings" / download.value.suggested_filename
        download.value.save_as(saved)
        page.reload()
        said.append(page.locator("form.rating").get_by_role("status").inner_text())
        page.locator("form.rating").get_by_role("button", name="Clear").click()
        said.append(page.locator("form.rating").get_by_role("status").inner_text())
        assert heard.said == []
    return root, saved, said


def test_the_page_says_what_is_rated_kept_and_saved(rated_in_browser):
    """By keyboard alone; nothing is saved without a rating and initials."""
    _, saved, said = rated_in_browser
    assert saved.name == "sub-11_rater-AB_ratings.json"
    assert said == [
        "Nothing is rated yet.",
        "Enter your initials first.",
        f"2 of 4 rated; saved as {saved.name}.",
        "2 of 4 rated; kept in this browser.",
        "0 of 4 rated; kept in this browser.",
    ]


def test_a_rating_in_the_browser_reaches_the_group(rated_in_browser, empty_figures):
    """Rated, saved, read as a folder: one lesion less in all tests, and listed with the rater."""
    root, saved, _ = rated_in_browser
    result = run_group(root / "out", ratings=[saved.parent])
    assert set(result.statistics.paired["n"]) == {19}
    rows = read(root / "out/group_ratings.tsv")
    columns = ["lesion", "rating", "rater", "note", "effect"]
    assert rows[columns].fillna("").to_numpy().tolist() == [
        [1, "accept", "A.B.", "", "accepted"],
        [2, "exclude", "A.B.", '"vein"', "excluded"],
    ]


def test_a_page_without_lesions_has_no_form(tmp_path):
    assert "<form" not in build_participant_page(tmp_path, "01").read_text(encoding="utf-8")
