"""Sidecars, b-values and frame times that are wrong: reported by file, field, value and remedy."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from datasets import write_json
from hostile import SECONDS, dry, edit_json, raw, run, write_study

from bidsapp.bids.images import stated_interval
from bidsapp.bids.inheritance import applicable_files, metadata
from bidsapp.bids.sidecar import read_field
from bidsapp.bids.timing import read_frame_times
from bidsapp.errors import BadInput

pytestmark = pytest.mark.usefixtures("short_pages")


@pytest.fixture
def root(tmp_path):
    return write_study(tmp_path / "bids", ("a",))


FIELDS = {
    "misspelt": ({"FlipAngle": None, "FlipAngel": 15}, "(FlipAngel is present: misspelt?)"),
    "radians": ({"FlipAngle": 0.26}, "FlipAngle is 0.26, outside 0.5 to 90; is it in degrees?"),
    "text": ({"FlipAngle": "15"}, "FlipAngle is '15'; it must be a number in degrees"),
    "TR in ms": ({"RepetitionTimeExcitation": 4.0}, "outside 0.0005 to 0.2; is it in seconds?"),
    "TR of the volume": (
        {"RepetitionTimeExcitation": None, "RepetitionTime": 6.0},
        "(in BIDS, RepetitionTime is the time of a whole volume, so it cannot be used)",
    ),
    "TE in ms": ({"EchoTime": 2.0}, "EchoTime (2) is not below RepetitionTimeExcitation (0.004)"),
    "gauss": ({"MagneticFieldStrength": 30000}, "is it in tesla?"),
    "no times": ({"VolumeTiming": None}, "VolumeTiming is missing"),
    "times in ms": (
        {"VolumeTiming": [1000 * t for t in SECONDS]},
        "VolumeTiming has intervals of 6000, outside 0.2 to 120; is it in seconds?",
    ),
    "NaN time": ({"VolumeTiming": [0, float("nan"), *SECONDS[2:]]}, "must be a list of seconds"),
    "true": ({"VolumeTiming": [True] * 20}, "must be a list of seconds"),
    "times run back": ({"VolumeTiming": SECONDS[::-1]}, "VolumeTiming is not ascending"),
    "too few times": ({"VolumeTiming": SECONDS[:13]}, "has 13 times, but the image has 20 frames"),
    "a number of 400 digits": ({"FlipAngle": 10**400}, "it must be a number in degrees"),
    "relaxivity as text": ({"ContrastAgentRelaxivity": "4.5"}, "must be a number in 1/s/mM"),
}


@pytest.mark.parametrize(("fields", "message"), FIELDS.values(), ids=FIELDS)
def test_an_implausible_sidecar_is_reported(root, capsys, fields, message):
    """The DCE is refused with file, field, value and remedy in a line; the DWI goes on."""
    edit_json(raw(root, "dce.json"), **fields)
    outcome = dry(root, capsys)
    assert outcome.code == 1
    line = next(line for line in outcome.out.splitlines() if "failed:" in line)
    assert "sub-01_ses-a_dce.json: " in line
    assert message in line
    assert "sub-01 ses-a (day 0): dwi, rois" in outcome.out


CONTENTS = {
    "a comma too much": (b'{"FlipAngle": 15,,}', "is not valid JSON"),
    "empty": (b"", "is not valid JSON"),
    "a list": (b"[1, 2]", "must be a JSON object"),
    "binary": (b"\xff\xfe\x00", "is not UTF-8 text"),
    "nested without end": (b"[" * 100_000, "is not valid JSON"),
}


@pytest.mark.parametrize(("content", "message"), CONTENTS.values(), ids=CONTENTS)
def test_an_invalid_json_sidecar_is_reported(root, capsys, content, message):
    """One damaged sidecar loses its series, not the run."""
    raw(root, "dce.json").write_bytes(content)
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert f"sub-01_ses-a_dce.json: {message}" in outcome.out
    assert "sub-01 ses-a (day 0): dwi, rois" in outcome.out


def test_a_sidecar_of_something_else_does_no_harm(root, capsys):
    """A damaged sidecar that no analysed image inherits is not read."""
    (root / "task-rest_bold.json").write_text("nope")
    assert dry(root, capsys).code == 0


@pytest.mark.parametrize("name", ["dce.json", "dwi.bval", "dwi.bvec"])
def test_a_companion_that_is_not_downloaded_is_reported(root, capsys, name):
    """A broken link of git-annex beside an image says what to run."""
    path = raw(root, name)
    path.unlink()
    path.symlink_to("../../../.git/annex/objects/aa/bb/key")
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert f"run `datalad get sub-01_ses-a_{name}`" in outcome.out


GRADIENTS = {
    "missing": (None, "has no .bval file"),
    "empty": ("", "has 0 b-values, but the image has 5 volumes"),
    "text": ("0 fifty 200 500 1000", "cannot be read as numbers"),
    "NaN": ("0 nan 200 500 1000", "contains a value that is not finite"),
    "negative": ("0 -50 200 500 1000", "has the negative b-value -50"),
    "in ms/um2": ("0 0.05 0.2 0.5 1", "its highest b-value is 1, outside 10 to 20000"),
    "in s/m2": ("0 5e7 2e8 5e8 1e9", "is it in s/mm2?"),
    "too many": ("0 50 200 500 1000 1000", "has 6 b-values, but the image has 5 volumes"),
}


@pytest.mark.parametrize(("text", "message"), GRADIENTS.values(), ids=GRADIENTS)
def test_bad_b_values_are_reported(root, capsys, text, message):
    """The DWI is refused with what its ``.bval`` holds; the DCE goes on."""
    path = raw(root, "dwi.bval")
    path.unlink() if text is None else path.write_text(text)
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert message in outcome.out
    assert "sub-01 ses-a (day 0): dce, rois" in outcome.out


@pytest.mark.parametrize(
    "text", ["0\n50\n200\n500\n1000\n", "4.9 51 199 502 995", "1000 500 200 50 0"]
)
def test_b_values_in_a_column_unrounded_or_falling_are_taken(root, capsys, text):
    """A column, values as the scanner rounds them, and any order that the volumes share."""
    raw(root, "dwi.bval").write_text(text)
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert "dwi" in outcome.out.splitlines()[0]


def test_without_b_zero_there_is_an_adc_but_no_ivim(root, capsys):
    """What the b-values do not allow is reported; what they allow is done."""
    raw(root, "dwi.bval").write_text("50 100 200 500 1000")
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert "no IVIM: the asymptotic fit needs b = 0" in outcome.out


@pytest.mark.parametrize(
    ("text", "message"),
    [("0 1\n0 0\n0 0\n", "5 volumes require 15"), ("x y z", "cannot be read as num")],
)
def test_bad_directions_are_reported(root, capsys, text, message):
    """A ``.bvec`` of another length, or of words, is refused before any work."""
    raw(root, "dwi.bvec").write_text(text)
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert message in outcome.out


def test_uneven_frames_are_a_warning(root, capsys):
    """A gap in the series is reported; its times are used as they are."""
    edit_json(raw(root, "dce.json"), VolumeTiming=SECONDS[:10] + [t + 300 for t in SECONDS[10:]])
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert "warning: sub-01_ses-a_dce.nii.gz: two frames are 306 s apart" in outcome.out


COPIES = {
    "runs": ("run-1", "run-2", '{"dwi": {"run": 1}}'),
    "acquisitions": ("acq-low", "acq-high", '{"dwi": {"acquisition": "low"}}'),
    "echoes": ("echo-1", "echo-2", '{"dwi": {"echo": 1}}'),
    "directions": ("dir-AP", "dir-PA", '{"dwi": {"direction": "AP"}}'),
    "one of them named": ("task-rest", "task-rest_dir-PA", '{"dwi": {"direction": null}}'),
    "in two ways": ("dir-AP_run-1", "dir-PA_run-1", '{"dwi": {"direction": "AP"}}'),
}


@pytest.mark.parametrize(("one", "other", "example"), COPIES.values(), ids=COPIES)
def test_repeated_series_ask_for_a_filter_that_works(root, capsys, one, other, example):
    """Runs, acquisitions and echoes are not guessed between; the filter that is shown chooses."""
    for entity in (one, other):
        for ending in ("nii.gz", "bval", "bvec"):
            path = raw(root, f"ses-a_dwi.{ending}")
            shutil.copy(path, path.with_name(f"sub-01_ses-a_{entity}_dwi.{ending}"))
    for ending in ("nii.gz", "bval", "bvec"):
        raw(root, f"ses-a_dwi.{ending}").unlink()
    outcome = dry(root, capsys)
    assert outcome.code == 1
    shown = outcome.out.split("for example ")[1].splitlines()[0]
    assert set(json.loads(shown)["dwi"]) == set(json.loads(example)["dwi"])
    filters = root.parent / "filter.json"
    filters.write_text(shown)
    assert dry(root, capsys, "--bids-filter-file", str(filters)).code == 0


def test_series_that_no_filter_tells_apart_are_reported(root, capsys):
    """An entity that is not part of BIDS cannot be a filter: another remedy is given."""
    path = raw(root, "ses-a_dwi.nii.gz")
    shutil.copy(path, path.with_name("sub-01_ses-a_kind-x_dwi.nii.gz"))
    outcome = dry(root, capsys)
    assert "they do not differ in any BIDS entity: keep one of them, or add run-1" in outcome.out


def test_the_phase_of_a_complex_series_is_left_aside(root, capsys):
    """``part-phase`` beside the magnitude is no second series; a filter can still ask for it."""
    path = raw(root, "dce.nii.gz")
    shutil.copy(path, path.with_name("sub-01_ses-a_part-phase_dce.nii.gz"))
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert "dce" in outcome.out.splitlines()[0]


def test_the_nearest_sidecar_wins(tmp_path):
    """Fields come from the root, the participant and beside the image; the nearest one counts."""
    image = tmp_path / "sub-01/ses-a/perf/sub-01_ses-a_run-1_dce.nii.gz"
    write_json(tmp_path / "dce.json", {"FlipAngle": 1, "EchoTime": 1})
    write_json(tmp_path / "sub-01/sub-01_dce.json", {"FlipAngle": 2})
    write_json(image.with_name("sub-01_ses-a_run-2_dce.json"), {"FlipAngle": 9})
    write_json(image.with_name("sub-01_ses-a_run-1_dce.json"), {"FlipAngle": 3})
    assert metadata(image, tmp_path) == {"FlipAngle": 3, "EchoTime": 1}
    assert [p.name for p in applicable_files(image, tmp_path, ".json")] == [
        "dce.json",
        "sub-01_dce.json",
        "sub-01_ses-a_run-1_dce.json",
    ]


def test_nothing_outside_the_data_set_is_inherited(tmp_path):
    """A sidecar above the data set is not read."""
    write_json(tmp_path / "dce.json", {"FlipAngle": 1})
    image = tmp_path / "bids/sub-01/ses-a/perf/sub-01_ses-a_dce.nii.gz"
    image.parent.mkdir(parents=True)
    assert metadata(image, tmp_path / "bids") == {}


def test_a_message_is_one_line_however_long_the_value(tmp_path):
    """A value of a thousand characters is cut in the message."""
    with pytest.raises(BadInput, match=r"FlipAngle is 'x{50,60}\.\.\.; it must be") as outcome:
        read_field({"FlipAngle": "x" * 1000}, "FlipAngle", tmp_path / "a_dce.nii", "degrees", 0, 90)
    assert len(str(outcome.value)) < 200


@pytest.mark.parametrize("directions", [1, 30])
def test_one_and_thirty_directions_are_taken(root, capsys, directions):
    """The number of directions does not matter: they are combined by b-value."""
    from datasets import write_dwi

    bvalues = [0, *np.repeat([50, 200, 500, 1000], directions)]
    data = np.random.default_rng(0).normal(100, 1, (6, 6, 4, len(bvalues))).astype(np.float32)
    write_dwi(root, "sub-01/ses-a/dwi/sub-01_ses-a", data, bvalues)
    assert dry(root, capsys).code == 0


def test_a_file_beside_an_image_that_cannot_be_read_harms_nothing(root, capsys):
    """One that no step needs: the record of inputs says that it could not be read."""
    raw(root, "dwi.bval").with_suffix(".tsv").symlink_to(root / "nowhere.tsv")
    assert run(root, capsys).code == 0
    record = json.loads((root.parent / "out/sub-01/log/completion.json").read_text())
    outcome = record["inputs"]["sub-01/ses-a/dwi/sub-01_ses-a_dwi.tsv"]
    assert outcome == "unreadable: No such file or directory"


def times(image, seconds=SECONDS):
    """Read the times of a series beside the interval in its header."""
    header = stated_interval(image)
    return read_frame_times({"VolumeTiming": seconds}, image, len(seconds), header=header).seconds


def set_interval(path, seconds, unit="sec"):
    """Write an interval between volumes into the header of a series."""
    image = nib.load(path)
    image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
    image.header.set_xyzt_units("mm", unit)
    image.header.set_zooms((*image.header.get_zooms()[:3], seconds))
    path.unlink()
    nib.save(image, path)


@pytest.mark.parametrize(("seconds", "unit"), [(12.0, "sec"), (3.0, "unknown"), (5000, "msec")])
def test_frame_times_that_contradict_the_header_are_refused(root, capsys, seconds, unit):
    """VolumeTiming every 6 s beside another interval in the image: both are named."""
    set_interval(raw(root, "dce.nii.gz"), seconds, unit)
    outcome = dry(root, capsys)
    stated = seconds / 1000 if unit == "msec" else seconds
    assert (
        "sub-01_ses-a_dce.json: VolumeTiming has intervals of 6 s, but the header" in outcome.text
    )
    assert f"states {stated:g} s (pixdim[4])" in outcome.text


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [(6.3, "sec"), (6000, "msec"), (1.0, "sec"), (0.004, "sec"), (0.0, "sec"), (4000, "sec")],
)
def test_a_header_that_agrees_or_does_not_know_is_no_conflict(root, seconds, unit):
    """5 % more, ms, the 1 of programs without the time, the time between excitations, nothing."""
    image = raw(root, "dce.nii.gz")
    set_interval(image, seconds, unit)
    assert times(image) == tuple(SECONDS)


def test_the_header_of_a_series_with_two_speeds_may_state_either(root):
    """Frames of 2 s, then of 20 s: 2, 20 and their mean are right; half of the shorter is not."""
    image = raw(root, "dce.nii.gz")
    steps = np.repeat([2.0, 20.0], [10, 9])
    seconds_of_frames = [0.0, *np.cumsum(steps).tolist()]
    for seconds in (2.0, 20.0, float(steps.mean())):
        set_interval(image, seconds)
        assert times(image, seconds_of_frames) == tuple(seconds_of_frames)
    set_interval(image, 0.5)
    with pytest.raises(BadInput, match=r"states 0.5 s \(pixdim"):
        times(image, seconds_of_frames)
