"""Haematocrit and T1 that the data of a visit state are used, and their origin is kept."""

import json

import nibabel as nib
import numpy as np
import pytest
from hostile import SECONDS, SHAPE, dry, edit_json, raw, run, write_study

from bidsapp.bids.dynamic import stated_haematocrit, stated_t1_blood
from bidsapp.bids.query import Query
from bidsapp.config import Config
from bidsapp.errors import BadInput
from bidsapp.run.graphs.plan import plan_participant

pytestmark = pytest.mark.usefixtures("short_pages")


@pytest.fixture
def root(tmp_path):
    return write_study(tmp_path / "bids")


def plans(root, **options):
    """Return the plan of each session."""
    query = Query(root, [root / "derivatives/manual_masks"])
    return plan_participant(query.participant("01"), Config(root, root, root, "run", **options))


def write_t1_map(folder, value, space="", **sidecar):
    """Write a T1 map of one value."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"sub-01_ses-a{space}_T1map"
    nib.save(nib.Nifti1Image(np.full(SHAPE, value, np.float32), np.eye(4)), f"{stem}.nii.gz")
    stem.with_suffix(".json").write_text(json.dumps(sidecar), encoding="utf-8")


def test_each_visit_has_its_haematocrit(root):
    """From the sidecar, else from sessions.tsv, else 0.42; an option overrides both."""
    assert [one.haematocrit for one in plans(root).sessions] == [0.42, 0.42]
    table = root / "sub-01/sub-01_sessions.tsv"
    columns = "session_id\tdays_since_treatment\thaematocrit\tt1_blood\n"
    table.write_text(columns + "ses-a\t0\t0.45\tn/a\nses-b\t7\t35\t1700\n", encoding="utf-8")
    edit_json(raw(root, "dce.json"), Haematocrit=0.38)
    found = plans(root)
    assert [one.haematocrit for one in found.sessions] == [0.38, 0.35]
    assert [one.relaxation["t1_blood"] for one in found.sessions] == [1.649, 1.7]
    notes = [issue.text for issue in found.issues if issue.level == "note"]
    assert notes == [
        "haematocrit 0.38, from sub-01_ses-a_dce.json",
        "haematocrit 0.35, from sub-01_sessions.tsv, where it is 35, in percent",
        "T1 of blood 1.7 s, from sub-01_sessions.tsv, where it is 1700, in ms",
    ]
    chosen = plans(root, haematocrit=0.3, t1_blood=1.5).sessions
    assert [one.haematocrit for one in chosen] == [0.3, 0.3]
    assert [one.relaxation["t1_blood"] for one in chosen] == [1.5, 1.5]


@pytest.mark.parametrize(
    ("value", "hint"), [(0.58, "or is it the plasma fraction"), (0.15, ""), (0.5, None)]
)
def test_a_haematocrit_that_no_adult_has_is_a_warning(root, value, hint):
    """It scales all of Ktrans, ve and vp; the plasma fraction is its usual confusion."""
    edit_json(raw(root, "dce.json"), Haematocrit=value)
    texts = [issue.text for issue in plans(root).issues if issue.level == "warning"]
    found = [text for text in texts if text.startswith(f"haematocrit {value:g}, from")]
    assert len(found) == (hint is not None)
    assert all(hint in text and "an adult has 0.2 to 0.55" in text for text in found)
    overridden = plans(root, haematocrit=0.4).issues
    assert not [issue for issue in overridden if "an adult has" in issue.text]


def test_the_haematocrit_of_an_arterial_table_goes_with_its_curve(root):
    """With --aif table its JSON precedes the DCE sidecar, and an option precedes both."""
    folder = root / "derivatives/manual_masks/sub-01/ses-a/perf"
    table = folder / "sub-01_ses-a_label-AIF_timeseries.tsv"
    curve = zip(SECONDS, [0.0, 0.0, 4.0, *[1.0] * (len(SECONDS) - 3)], strict=True)
    table.write_text("time\tblood\n" + "".join(f"{t}\t{c}\n" for t, c in curve), encoding="utf-8")
    edit_json(raw(root, "dce.json"), Haematocrit=0.38)
    sidecar = table.with_suffix(".json")
    sidecar.write_text(json.dumps({"blood": {"Units": "mM"}}), encoding="utf-8")
    assert plans(root, aif="table").sessions[0].haematocrit == 0.38
    for stated in ({"Haematocrit": 0.47}, {"plasma": {"Units": "mM", "Haematocrit": 47}}):
        sidecar.write_text(json.dumps(stated), encoding="utf-8")
        found = plans(root, aif="table")
        assert found.sessions[0].haematocrit == 0.47
        notes = [issue.text for issue in found.issues if issue.level == "note"]
        assert notes[0].startswith(f"haematocrit 0.47, from {sidecar.name}")
    assert plans(root, aif="table", haematocrit=0.3).sessions[0].haematocrit == 0.3
    assert plans(root).sessions[0].haematocrit == 0.38
    sidecar.write_text(json.dumps({"Haematocrit": 4.7}), encoding="utf-8")
    failed = [i.text for i in plans(root, aif="table").issues if i.level == "failed"]
    assert f"{sidecar.name}: Haematocrit is 4.7, outside 0.1 to 0.75" in failed[0]


@pytest.mark.parametrize("value", [0.02, 95, "high", -1, [0.4]])
def test_an_impossible_value_is_refused(value):
    """The message names file, field and value."""
    with pytest.raises(BadInput, match=r"a_dce.json: Haematocrit is .* outside 0.1 to 0.75"):
        stated_haematocrit({"Haematocrit": value}, "a_dce.json")
    with pytest.raises(BadInput, match=r"a_dce.json: BloodT1 is .* outside 0.5 to 4"):
        stated_t1_blood({"BloodT1": value}, "a_dce.json")


MAPS = {"s": (0.9, {"Units": "s"}), "ms": (900, {"Units": "ms"}), "unstated": (900, {})}


@pytest.mark.parametrize(("value", "sidecar"), MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("place", ["anat", "derivative"])
def test_a_t1_map_is_found(root, value, sidecar, place):
    """In anat/ or in a derivative, in s or ms."""
    if place == "anat":
        write_t1_map(root / "sub-01/ses-a/anat", value, **sidecar)
    else:
        folder = root / "derivatives/manual_masks/sub-01/ses-a/anat"
        write_t1_map(folder, value, space="_space-dce", **sidecar)
    found = plans(root).sessions[0]
    assert found.session.t1_map.scale * value == pytest.approx(0.9)
    (note,) = [issue.text for issue in found.issues if issue.level == "note"]
    assert note.startswith("T1 of tissue from sub-01_ses-a")


def test_a_run_uses_the_t1_map(root, capsys):
    """The lesion's Ktrans changes, and the sidecar of the map names the file."""
    values = {}
    for name in ("assumed", "mapped"):
        if name == "mapped":
            write_t1_map(root / "sub-01/ses-a/anat", 0.9, Units="s")
        assert run(root, capsys, "--session-label", "a").code == 0
        out = root.parent / "out"
        table = next(out.rglob("*model-etofts_roistats.tsv")).read_text().splitlines()
        row = next(line for line in table if "\tKtrans\t" in line)
        values[name] = float(row.split("\t")[table[0].split("\t").index("mean")])
    assert values["mapped"] / values["assumed"] > 1.3
    sidecar = json.loads(next(out.rglob("*param-Ktrans_dcemap.json")).read_text())
    fitted = sidecar["Model"]["Parameters"]
    assert fitted["values_from"] == {
        "frame_times": "VolumeTiming in sub-01_ses-a_dce.json",
        "repetition_time": "RepetitionTimeExcitation in sub-01_ses-a_dce.json",
        "relaxivity": "ContrastAgentRelaxivity in sub-01_ses-a_dce.json",
        "t1_tissue": "sub-01_ses-a_T1map.nii.gz (s)",
    }
    assert "T1 maps provided with the data" in (out / "logs/CITATION.md").read_text()


def test_an_implausible_t1_map_is_refused(root, capsys):
    """A map of something else is named with its median."""
    write_t1_map(root / "sub-01/ses-a/anat", 12.0)
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert "the median of the T1 map is 12 s, outside 0.2 to 6 s" in outcome.out


def test_the_haematocrit_of_a_participant_is_used_where_no_visit_has_one(root):
    """participants.tsv is the last resort before the default, and is named as the source."""
    people = root / "participants.tsv"
    people.write_text("participant_id\tHaematocrit\nsub-01\t36%\n", encoding="utf-8")
    edit_json(raw(root, "dce.json"), Haematocrit=0.38)
    found = plans(root)
    assert [one.haematocrit for one in found.sessions] == [0.38, 0.36]
    texts = [issue.text for issue in found.issues if issue.level == "note"]
    assert "haematocrit 0.36, from participants.tsv, where it is 36, in percent" in texts


def test_a_table_of_participants_without_such_a_column_is_not_read(root):
    """What metperf does not use cannot stop a participant."""
    (root / "participants.tsv").write_text("name\tage\nA\n", encoding="utf-8")
    assert [one.haematocrit for one in plans(root).sessions] == [0.42, 0.42]


def test_percent_signs_are_read_and_decimal_commas_named():
    """42% is 0.42; 0,35 is refused with what to write."""
    assert stated_haematocrit({"Hct": "42%"}, "a.tsv").value == 0.42
    with pytest.raises(BadInput, match=r"Hct is '0,35', with a comma; write a decimal point"):
        stated_haematocrit({"Hct": "0,35"}, "a.tsv")
