"""The table of lesions followed over visits, from the files of a finished run to the group."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from datasets import write_image
from test_group import roistats_row, write_rows

from bidsapp.bids import documents, outputs
from bidsapp.bids.records import Participant, Session
from bidsapp.config import Config
from bidsapp.imaging.transforms import apply, invert, translation, write_itk
from bidsapp.issues import MISNUMBERED
from bidsapp.reports.participant.followed import show_followed
from bidsapp.reports.participant.records import read_participant
from bidsapp.run.followed_lesions import Renumbered, follow_participant
from bidsapp.run.group import run_group
from bidsapp.study.read import read_output
from bidsapp.study.read.lesion_events import read_lesion_events, separate_runs

LABELS = ("baseline", "1week", "1month")
MOVED = {"1week": (6.0, -3, 4), "1month": (-5.0, 2, 0)}
"""How far the head has moved since the baseline, mm: scanner coordinates alone are misleading."""
CENTRES = {1: (14, 14, 14), 2: (25, 15, 14), 3: (40, 40, 12)}
SHAPE = (56, 56, 28)


@pytest.fixture
def config(tmp_path):
    return Config(tmp_path / "bids", tmp_path / "out", tmp_path / "work", "run")


def participant() -> Participant:
    sessions = tuple(
        Session("01", label, days, t1w=f"{label}_T1w.nii.gz")
        for label, days in zip(LABELS, (-1.0, 7.0, 30.0), strict=True)
    )
    return Participant("01", sessions, LABELS)


def ball(centre, radius: float) -> np.ndarray:
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    return np.linalg.norm(grid - np.asarray(centre, float), axis=-1) <= radius


def write_visit(config: Config, label: str, lesions: dict, kind: str = "whole") -> None:
    """Write ROI image and transform of a visit; lesions are (centre at the baseline, radius)."""
    session = Session("01", label)
    shift = MOVED.get(label, (0, 0, 0))
    labels = np.zeros(SHAPE, np.int16)
    for number, (centre, radius) in lesions.items():
        labels[ball(apply(translation(shift), centre), radius)] = number
    path = outputs.ROIS.path(session, "anat", ce=outputs.CONTRAST, seg=kind)
    write_image(config.output_dir / path, labels)
    if label in MOVED:
        # It resamples the baseline to the visit: points of the visit to points of the baseline.
        target = outputs.TO_BASELINE.path(session, from_="individual", to="T1w")
        write_itk(invert(translation(shift)), config.output_dir / target)


def follow(config: Config, **renumbered):
    (config.bids_dir / "sub-01").mkdir(parents=True, exist_ok=True)
    issues = follow_participant(participant(), config, renumbered)
    path = documents.LESIONS.path(config.output_dir, participant="sub-01")
    table = pd.read_table(path, na_values="n/a")
    return issues, table.set_index(["session_id", "lesion"])


SOUND = {1: (CENTRES[1], 5), 2: (CENTRES[2], 3)}
EXCHANGED = {2: (CENTRES[1], 3.5), 1: (CENTRES[2], 3)}


def test_exchanged_numbers_are_a_failure_of_both_lesions(config):
    """The text says what, where, and what to do; the other visits are sound."""
    for label, lesions in zip(LABELS, (SOUND, EXCHANGED, SOUND), strict=True):
        write_visit(config, label, lesions)
    issues, table = follow(config)
    assert [(i.level, i.code, i.session, i.lesion) for i in issues] == [
        ("failed", MISNUMBERED, "ses-1week", "1"),
        ("failed", MISNUMBERED, "ses-1week", "2"),
    ]
    assert issues[0].text.startswith("lesion 1 lies where lesion 2 was, ")
    assert "mm from where lesion 1 was (compared with ses-baseline)" in issues[0].text
    assert "--match-lesions" in issues[0].text
    assert table.loc["ses-1week"]["place_of"].tolist() == [2, 1]
    assert table["comparable"].tolist() == [1, 1, 0, 0, 1, 1]
    assert table.loc[("ses-1week", 1), "distance_mm"] == pytest.approx(0, abs=0.5)
    dictionary = documents.LESIONS.path(config.output_dir, participant="sub-01")
    described = json.loads(dictionary.with_suffix(".json").read_text())
    assert set(described) == {*table.reset_index()}


def test_only_one_of_two_rois_of_a_visit_is_misnumbered(config):
    """Enhancing parts that lie in whole lesions of other numbers are found, too."""
    for label in LABELS:
        write_visit(config, label, SOUND)
        write_visit(config, label, EXCHANGED if label == "1month" else SOUND, "enhancing")
    issues, table = follow(config)
    assert {(i.session, i.lesion, i.code) for i in issues} == {
        ("ses-1month", "1", MISNUMBERED),
        ("ses-1month", "2", MISNUMBERED),
    }
    assert "its enhancing part lies where the whole lesion 2 of the same visit is" in issues[0].text
    assert table.loc["ses-1month"]["comparable"].tolist() == [0, 0]


def test_new_and_gone_lesions_are_notes_and_scattered_labels_warnings(config):
    """Nothing fails: the exit code remains 0."""
    write_visit(config, "baseline", SOUND)
    write_visit(config, "1week", SOUND | {3: (CENTRES[3], 2)})
    write_visit(config, "1month", {1: SOUND[1]})
    path = outputs.ROIS.path(Session("01", "1month"), "anat", ce=outputs.CONTRAST, seg="whole")
    image = nib.load(config.output_dir / path)
    labels = np.asarray(image.dataobj).copy()
    labels[50:53, 50:53, 20:23] = 1
    write_image(config.output_dir / path, labels)
    issues, table = follow(config)
    assert {(i.level, i.session, i.lesion) for i in issues} == {
        ("note", "ses-1week", "3"),
        ("note", "ses-1month", "2"),
        ("note", "ses-1month", "3"),
        ("warning", "ses-1month", "1"),
    }
    assert table.loc[("ses-1month", 1), "parts"] == 2
    assert table["comparable"].all()
    texts = [i.text for i in issues if i.level == "warning"]
    assert texts == [
        "lesion 1 consists of 2 parts more than 5 mm apart: are they lesions of their own?"
    ]


def test_a_visit_without_a_transform_is_not_compared(config):
    """Its registration failed or there is no T1w: scanner coordinates are no substitute."""
    for label in LABELS[:2]:
        write_visit(config, label, SOUND)
    target = outputs.TO_BASELINE.path(Session("01", "1week"), from_="individual", to="T1w")
    (config.output_dir / target).unlink()
    issues, table = follow(config)
    assert [(i.level, i.session) for i in issues] == [("note", "ses-1week")]
    assert "not compared with those of other visits" in issues[0].text
    assert set(table.index.get_level_values(0)) == {"ses-baseline"}


def test_the_table_keeps_sessions_of_other_runs_and_original_numbers(config):
    """As the table of sessions does; what --match-lesions has done is a column."""
    for label in LABELS:
        write_visit(config, label, SOUND)
    path = documents.LESIONS.path(config.output_dir, participant="sub-01")
    follow(config)
    rows = path.read_text().replace("ses-1week", "ses-other").replace("ses-1month", "ses-lost")
    path.write_text(rows)
    (config.bids_dir / "sub-01" / "ses-other").mkdir()
    undecided = Renumbered({1: 2, 2: 1}, frozenset({2}))
    issues, table = follow(config, **{"1week": undecided})
    assert any("not compared with those of ses-other, of another run" in i.text for i in issues)
    assert set(table.index.get_level_values(0)) == {f"ses-{x}" for x in ("other", *LABELS)}
    assert table.loc["ses-1week"]["original"].tolist() == [2, 1]
    assert table.loc["ses-1week"]["comparable"].tolist() == [1, 0]


def test_sessions_of_separate_runs_are_named_by_both_levels(config):
    """Each is right by itself; exchanged numbers between them are not silent."""
    path = documents.LESIONS.path(config.output_dir, participant="sub-01")
    write_visit(config, "baseline", SOUND)
    assert follow(config)[0] == ()
    first = path.read_text()
    write_visit(config, "1week", EXCHANGED)
    path.write_text(first + first.split("\n", 1)[1].replace("ses-baseline", "ses-1week"))
    events = read_lesion_events(config.output_dir, [])
    (text,) = separate_runs(events)
    assert "sub-01: the lesions of ses-baseline and ses-1week were not compared" in text
    follow(config)
    assert separate_runs(read_lesion_events(config.output_dir, [])) == ()


def test_the_group_leaves_out_what_is_misnumbered(config, tables_only):
    """Volumes and parameters of these lesions are missing, with the reason; others are used."""
    for label, lesions in zip(LABELS, (SOUND, EXCHANGED, {1: SOUND[1]}), strict=True):
        write_visit(config, label, lesions)
    follow(config)
    out = config.output_dir
    for label in LABELS:
        row = {"participant_id": "sub-01", "session_id": f"ses-{label}", "excluded": "0"}
        volumes = [
            roistats_row(row | {"lesion": n}, "whole", "n/a", "volume", "ml", v)
            for n, v in (("1", 0.5), ("2", 0.1))
        ]
        values = [
            roistats_row(row | {"lesion": n}, "enhancing", "etofts", "vp", "1", v)
            for n, v in (("1", 0.05), ("2", 0.02))
        ]
        stem = out / f"sub-01/ses-{label}"
        write_rows(stem / f"anat/sub-01_ses-{label}_seg-whole_roistats.tsv", volumes)
        name = f"sub-01_ses-{label}_seg-enhancing_model-etofts_roistats.tsv"
        write_rows(stem / "perf" / name, values)
    days = [{"session_id": f"ses-{x}", "days_since_treatment": "n/a"} for x in LABELS]
    write_rows(out / "sub-01/sub-01_sessions.tsv", days)
    found = read_output(out)
    table = found.cohort.lesions.set_index(["session_id", "lesion"])
    assert table.loc["ses-1week", ["vp", "volume_ml"]].isna().to_numpy().all()
    others = table[table.index.get_level_values(0) != "ses-1week"]
    assert others[["vp", "volume_ml"]].notna().to_numpy().all()
    assert len(found.problems) == 2
    assert found.problems[0].startswith("sub-01 ses-1week lesion 1 lies where lesion 2 was")
    result = run_group(out)
    assert result.problems[:2] == found.problems
    written = pd.read_table(out / "group_lesions.tsv", na_values="n/a")
    assert written["event"].dropna().tolist() == ["misnumbered", "misnumbered", "gone"]
    response = pd.read_table(out / "group_response.tsv").set_index("lesion")
    assert response.loc[2, "events"] == "misnumbered in ses-1week; gone in ses-1month"


def test_the_page_shows_what_happened(config):
    """A row for each lesion, a column for each session; what is not used is highlighted."""
    for label, lesions in zip(LABELS, (SOUND, EXCHANGED, SOUND), strict=True):
        write_visit(config, label, lesions)
    follow(config)
    (table,) = show_followed(read_participant(config.output_dir, "01"))
    assert table.bold == {(0, 2), (1, 2)} or table.bold == {(0, 1), (1, 1)}
    assert any("lies where lesion 2 was" in str(cell) for cell in table.rows[0])
