"""What converters write is read: times of frames, TR, agent and phase encoding, with origin."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from datasets import write_dce, write_description, write_image, write_json

from bidsapp.bids.clocks import clock_seconds
from bidsapp.bids.contrast_agents import agent_relaxivity, find_agent, stated_agent
from bidsapp.bids.fieldmaps import readout_time
from bidsapp.bids.frames import stack_frames
from bidsapp.bids.query import Query
from bidsapp.bids.timing import GivenTiming, read_frame_times, read_repetition_time
from bidsapp.config import Config
from bidsapp.errors import BadInput, UsageError
from bidsapp.run.graphs.participant import init_participant_wf
from bidsapp.run.graphs.plan import plan_participant
from bidsapp.run.joined_frames import join_frames

DATA = Path(__file__).parent / "data" / "sidecars"
IMAGE = Path("sub-01_dce.nii.gz")
FRAMES = 60


def sidecar(name, **fields):
    """Return a sidecar of a converter with some fields changed or, if None, removed."""
    content = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8")) | fields
    return {key: value for key, value in content.items() if value is not None}


SERIES = {
    "philips__701_DCE": ("RepetitionTime", "RepetitionTimeExcitation"),
    "siemens__7_t1_twist_tra_dyn": ("RepetitionTime", "RepetitionTimeExcitation"),
    "heudiconv_siemens_dce": ("time.samples.AcquisitionTime", "RepetitionTimeExcitation"),
    "ge__7_Ax_DCE_DISCO": ("TriggerDelayTime / 59", "RepetitionTime"),
}


@pytest.mark.parametrize(("name", "fields"), SERIES.items(), ids=SERIES)
def test_converted_series_state_their_timing(name, fields):
    """60 frames every 5.2 s and a TR of 4 ms, from the field in which a converter leaves them."""
    metadata = sidecar(f"synthetic/{name}")
    found = read_frame_times(metadata, IMAGE, FRAMES)
    assert found.seconds == pytest.approx(5.2 * np.arange(FRAMES))
    repetition = read_repetition_time(metadata, IMAGE)
    assert (found.source, repetition.source) == fields
    assert repetition.value == pytest.approx(0.004)


def test_uneven_frames_of_siemens_are_exact():
    """FrameTimesStart precedes RepetitionTime, which is then the mean interval."""
    found = read_frame_times(sidecar("synthetic/siemens_twist__7_t1_twist_tra_dyn"), IMAGE, FRAMES)
    assert found.source == "FrameTimesStart"
    assert found.seconds[:4] == (0, 5.6, 10.4, 16)
    assert found.seconds[-1] == 327.2


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ge_notrig__7_Ax_DCE_DISCO", "--frame-time 5.195"),
        ("enh_a__701_DCE", "--frame-time 5.2"),
    ],
)
def test_a_series_without_times_asks_for_them(name, hint):
    """Nothing is guessed: the duration of the series is only offered as an option to type."""
    metadata = sidecar(f"synthetic/{name}")
    with pytest.raises(
        BadInput, match=r"VolumeTiming is missing; .* or give --frame-time"
    ) as error:
        read_frame_times(metadata, IMAGE, FRAMES)
    assert error.value.remedy == hint
    found = read_frame_times(metadata, IMAGE, FRAMES, given=GivenTiming(5.2))
    assert (found.seconds[1], found.source, found.doubts) == (5.2, "--frame-time", ())


def test_a_lost_tr_asks_for_it():
    """Philips enhanced with an echo train keeps only the duration of a volume."""
    metadata = sidecar("synthetic/enh_b__701_DCE")
    with pytest.raises(BadInput, match=r"RepetitionTimeExcitation is missing .*or give --repet"):
        read_repetition_time(metadata, IMAGE)
    assert read_repetition_time(metadata, IMAGE, 0.004).source == "--repetition-time"


APART = {
    "header": ({}, 6.0, r"RepetitionTime has intervals of 5.2 s, but the header .* states 6 s"),
    "duration": ({"AcquisitionDuration": 360}, None, "but AcquisitionDuration / 60 states 6 s"),
    "times": (
        {"VolumeTiming": [6.0 * n for n in range(FRAMES)]},
        None,
        "VolumeTiming has intervals of 6 s, but RepetitionTime states 5.2 s",
    ),
    "two": ({"AcquisitionDuration": 360}, 6.0, "states 6 s and the header .* states 6 s"),
    "ms": ({"RepetitionTime": 5200}, None, "RepetitionTime is 5200 s, outside 0.2 to 120"),
}


@pytest.mark.parametrize(("fields", "header", "message"), APART.values(), ids=APART)
def test_timing_that_contradicts_itself_is_refused(fields, header, message):
    """More than 10 % apart: both values and both fields are named; an option overrides them."""
    metadata = sidecar("synthetic/philips__701_DCE", **fields)
    with pytest.raises(BadInput, match=message):
        read_frame_times(metadata, IMAGE, FRAMES, header=header)


PAUSES = {
    "elsewhere": [5.2 * n + (25 if n > 30 else 0) for n in range(FRAMES)],
    "one frame": [5.2 * n + (3 if n == 30 else 0) for n in range(FRAMES)],
    "drift": [5.3 * n for n in range(FRAMES)],
}


def test_tr_in_ms_is_not_the_time_between_two_frames():
    """RepetitionTime of 4 beside a TR of 4 ms: refused, unless the duration confirms 4 s."""
    fields = {"RepetitionTime": 4.0, "RepetitionTimeExcitation": 0.004}
    said = r"RepetitionTime has intervals of 4 s, but it is 1000 times TR \(0.004 s\)"
    with pytest.raises(BadInput, match=said):
        read_frame_times(fields, IMAGE, FRAMES)
    stated = GivenTiming(repetition_time=0.004)
    with pytest.raises(BadInput, match=said):
        read_frame_times({"RepetitionTime": 4.0}, IMAGE, FRAMES, given=stated)
    for more in ({"AcquisitionDuration": 240}, {"VolumeTiming": [4.0 * n for n in range(FRAMES)]}):
        assert read_frame_times(fields | more, IMAGE, FRAMES).seconds[1] == 4.0
    found = read_frame_times(fields, IMAGE, FRAMES, given=GivenTiming(5.2))
    assert "it is 1000 times TR" in found.doubts[-1]


ECHOES = {
    "ms": ({"EchoTime": 2.0}, r"EchoTime \(2\) is not below RepetitionTimeExcitation \(0.004\)"),
    "readout": ({"EchoTime": 0.0039}, "is not below RepetitionTimeExcitation .* of a readout"),
    "no TR": (
        {"EchoTime": 2.0, "RepetitionTimeExcitation": None},
        "EchoTime is 2, above the longest TR",
    ),
}


@pytest.mark.parametrize(("fields", "message"), ECHOES.values(), ids=ECHOES)
def test_an_echo_is_read_within_tr(tmp_path, fields, message):
    """EchoTime in ms, or so late that its readout does not fit, is refused, also without a TR."""
    write_description(tmp_path)
    write_image(tmp_path / f"{STEM}_dce.nii.gz", np.ones((4, 4, 2, FRAMES), np.float32))
    write_json(tmp_path / f"{STEM}_dce.json", sidecar("synthetic/philips__701_DCE", **fields))
    assert re.search(message, "\n".join(one_session(tmp_path).problems))


@pytest.mark.parametrize("times", PAUSES.values(), ids=PAUSES)
def test_lists_of_times_agree_frame_by_frame(times):
    """A pause in one of two lists is refused, though the mean intervals agree within 10 %."""
    even = [5.2 * n for n in range(FRAMES)]
    metadata = {"VolumeTiming": even, "FrameTimesStart": times}
    said = r"VolumeTiming has intervals of 5.2 s, but FrameTimesStart differs from it by up to \d"
    with pytest.raises(BadInput, match=said) as error:
        read_frame_times(metadata, IMAGE, FRAMES)
    assert error.value.remedy == "--frame-time <seconds>"
    late = {"VolumeTiming": even, "FrameTimesStart": [t + 30 + 0.1 * (t % 2) for t in even]}
    assert read_frame_times(late, IMAGE, FRAMES).source == "VolumeTiming"
    found = read_frame_times({"VolumeTiming": times}, IMAGE, FRAMES, given=GivenTiming(5.2))
    assert "VolumeTiming differs from it" in found.doubts[0]


@pytest.mark.parametrize(
    ("step", "pair"), [(0.0001, "0.0001 s apart"), (1.2, "1.2 s"), (60, "60 s")]
)
def test_two_frames_at_an_unusual_distance_are_a_warning(tmp_path, step, pair):
    """A gap, or two frames at almost the same time; half and double intervals are usual."""
    write_description(tmp_path)
    times = [0, 5.2, 5.2 + step]
    times += [times[-1] + 5.2 * n for n in range(1, 6)]
    write_dce(tmp_path, STEM, np.ones((4, 4, 2, 8), np.float32), times)
    (text,) = (w for w in one_session(tmp_path).warnings if "apart" in w)
    assert pair in text
    assert "but usually 5.2 s" in text
    times = [0, 5.2, 7.8, 18.2, 23.4]
    write_dce(tmp_path, STEM, np.ones((4, 4, 2, 5), np.float32), times)
    assert not [w for w in one_session(tmp_path).warnings if "apart" in w]


def test_an_option_overrides_fields_and_says_so():
    """--frame-time is used although a field states another interval, with a warning."""
    metadata = sidecar("synthetic/philips__701_DCE", AcquisitionDuration=360)
    found = read_frame_times(metadata, IMAGE, FRAMES, given=GivenTiming(6.0))
    assert found.seconds[1] == 6.0
    assert found.doubts == ("sub-01_dce.json: RepetitionTime states 5.2 s; --frame-time 6 is used",)


def test_an_option_replaces_a_field_that_cannot_be_used():
    """Times of another number of frames, with --frame-time, are a warning."""
    metadata = sidecar("synthetic/philips__701_DCE", VolumeTiming=[0, 5.2])
    with pytest.raises(BadInput, match="VolumeTiming has 2 times, but the image has 60 frames"):
        read_frame_times(metadata, IMAGE, FRAMES)
    found = read_frame_times(metadata, IMAGE, FRAMES, given=GivenTiming(5.2))
    assert "VolumeTiming has 2 times" in found.doubts[0]
    assert found.doubts[0].endswith("--frame-time 5.2 is used")


@pytest.mark.parametrize("duration", [5.2, 4.8, 312, 330])
def test_a_duration_may_be_that_of_a_volume_or_of_the_series(duration):
    """In BIDS AcquisitionDuration is that of a volume, in DICOM that of the series, to 10 %."""
    metadata = sidecar("synthetic/philips__701_DCE", AcquisitionDuration=duration)
    assert read_frame_times(metadata, IMAGE, FRAMES).source == "RepetitionTime"


def test_a_short_repetition_time_is_that_of_a_3d_series():
    """2D, or not stated: RepetitionTime is not taken for the TR; two that differ are refused."""
    metadata = sidecar("synthetic/ge__7_Ax_DCE_DISCO")
    lower = metadata | {"MRAcquisitionType": "3d"}
    assert read_repetition_time(lower, IMAGE).source == "RepetitionTime"
    for kind in ("2D", None):
        changed = sidecar("synthetic/ge__7_Ax_DCE_DISCO", MRAcquisitionType=kind)
        with pytest.raises(BadInput, match=r"0\.004 s, is that of the excitation only if MRA"):
            read_repetition_time(changed, IMAGE)
    with pytest.raises(BadInput, match=r"is 0\.005 s, but RepetitionTime is 0\.004"):
        read_repetition_time(metadata | {"RepetitionTimeExcitation": 0.005}, IMAGE)


@pytest.mark.parametrize(
    ("name", "step"),
    [("dcm_qa_ge_Ref_fMRI_Multiphase_Des_2", 1), ("dcm_qa_philips_Ref_WIP_dti_ax_601", 4.57102)],
)
def test_real_sidecars_state_the_time_of_a_volume(name, step):
    """RepetitionTime of real series; the trigger of the last of 11 GE phases agrees to 1 %."""
    assert read_frame_times(sidecar(f"real/{name}"), IMAGE, 11).seconds[1] == step


@pytest.mark.parametrize(
    "clock",
    [
        *("13:05:10.4", "130510.4", "13:05:10.4 ", "13:05:10.4Z", "13:05:10.4+01:00", 130510.4),
        *("20260724130510.4", "20260724130510.4+0100", "2026-07-24T13:05:10.4Z"),
        *("2026-07-24 13:05:10.4-05", "20260724130510.4 -0500"),
    ],
)
def test_clocks_are_read_as_converters_write_them(clock):
    """With a date, a time zone, a trailing blank, or as a number."""
    assert clock_seconds(clock) == 47110.4


def test_clocks_that_cannot_be_read_are_not_used():
    """A clock needs hours, minutes and seconds."""
    assert [clock_seconds(t) for t in (None, True, 47110, "13:05", "", "1300", "20231112")] == [
        None
    ] * 7
    metadata = {"time": {"samples": {"AcquisitionTime": ["130500", None, "130512"]}}}
    with pytest.raises(BadInput, match="VolumeTiming is missing"):
        read_frame_times(metadata, IMAGE, 3)


AGENTS = {
    "7.5 ML GADAVIST": "gadobutrol",
    "10ccGADOVIST": "gadobutrol",
    "Dotarem 0.5 mmol/ml": "gadoterate",
    "CLARISCAN": "gadoterate",
    "gadoteric acid": "gadoterate",
    "ProHance": "gadoteridol",
    "MultiHance": "gadobenate",
    "magnevist": "gadopentetate",
    "Gd DTPA": "gadopentetate",
    "Omniscan (Gd-DTPA-BMA)": "gadodiamide",
    "Primovist": "gadoxetate",
    "VUEWAY": "gadopiclenol",
    "Elucirem": "gadopiclenol",
    "Multi Hance": "gadobenate",
    "Gadobutrol": "gadobutrol",
    "Gadotersäure": "gadoterate",
    "acide gadotérique": "gadoterate",
    "Dotagraf": "gadoterate",
    "Gd\u2011DOTA": "gadoterate",
    "Gd-DOTA-REM": "gadoterate",
    "Gadodiamid": "gadodiamide",
    "Gd-DTPABMA": "gadodiamide",
    "Gd-DTPA/BMA": "gadodiamide",
    "Gd-DTPA bis(methylamide)": "gadodiamide",
    "GdDTPA": "gadopentetate",
    "Gadopentetat": "gadopentetate",
    "Gadoxetat": "gadoxetate",
    "Gd-EOB-DTPA": "gadoxetate",
    "Gd-DTPA-BMEA": "gadoversetamide",
    "gadoteridol": "gadoteridol",
    "Gd-DTPAXY": "",
    "GADOLINIUM": "",
    "Dotarem or Gadovist": "",
    "Gd-DOTA/Gd-DTPA": "",
    "no Gadovist": "",
    "kein Gadovist": "",
    "Dotarem (not Gadovist)": "",
    "Gadoteriol": "",
}


@pytest.mark.parametrize(("text", "agent"), AGENTS.items())
def test_agents_are_known_by_brand_and_in_the_text_of_a_dose(text, agent):
    """In any case and among other words; none or two of them name no agent."""
    assert find_agent(text) == agent


FIELDS = {
    "yes": ({"ContrastBolusAgent": "YES", "ContrastBolusIngredient": "gadobutrol"}, "gadobutrol"),
    "route": ({"ContrastBolusAgent": "IV", "ContrastAgent": "Gadovist"}, "gadobutrol"),
    "n/a": ({"ContrastBolusAgent": "n/a", "ContrastBolusAgentName": "Dotarem"}, "gadoterate"),
    "list": ({"ContrastBolusAgent": ["Gadovist"]}, "gadobutrol"),
    "same": ({"ContrastBolusAgent": "Gadovist", "ContrastAgent": "gadobutrol"}, "gadobutrol"),
    "other": ({"ContrastBolusAgent": "Gadovist", "ContrastAgent": "Dotarem"}, ""),
}


@pytest.mark.parametrize(("fields", "agent"), FIELDS.values(), ids=FIELDS)
def test_any_field_may_name_the_agent(fields, agent):
    """A field that names none hides no other; fields that name different agents name none."""
    assert find_agent(stated_agent(fields)[1]) == agent


def test_fields_that_name_different_agents_are_refused(tmp_path):
    """Both fields are in the message, and --relaxivity replaces them."""
    write_description(tmp_path)
    data = np.ones((4, 4, 2, 5), np.float32)
    fields = {"ContrastBolusAgent": "Gadovist", "ContrastAgent": "Dotarem"}
    write_dce(tmp_path, STEM, data, [0, 6, 12, 18, 24], ContrastAgentRelaxivity=None, **fields)
    (text,) = (issue.text for issue in plan(tmp_path).issues if issue.level == "failed")
    assert "'Gadovist' in ContrastBolusAgent, 'Dotarem' in ContrastAgent is not known" in text
    assert "because it names gadobutrol and gadoterate; correct the wrong name" in text
    assert not [i for i in plan(tmp_path, relaxivity=4.5).issues if i.level == "failed"]


def test_a_typo_in_an_agent_is_a_question():
    """The most similar name is suggested, not used."""
    with pytest.raises(UsageError, match=r"agent 5 ml Gadovsit is not known; did you mean gadovi"):
        agent_relaxivity("5 ml Gadovsit", 3.0)


def test_no_relaxivity_is_assumed_above_3_tesla():
    """At 7 T there is no cited value, as there is none for T2; 2.9 and 3.4 T are those of 3 T."""
    assert agent_relaxivity("Gadovist", 3.4) == agent_relaxivity("Gadovist", 2.9) == 5.0
    with pytest.raises(UsageError, match=r"no default relaxivity at 7 T, only at 1\.5"):
        agent_relaxivity("Gadovist", 7.0)


def test_an_agent_without_a_cited_relaxivity_needs_the_option():
    """It is recognised, but no number is made up."""
    with pytest.raises(UsageError, match="agent VUEWAY is not known") as error:
        agent_relaxivity("VUEWAY", 3.0)
    assert error.value.remedy == "--relaxivity <1/s/mM>"


def test_an_estimated_readout_time_is_used():
    """Philips: EstimatedTotalReadoutTime, unless an exact field is present."""
    metadata = sidecar("real/dcm_qa_philips_Ref_WIP_dti_ax_601")
    assert readout_time(metadata, IMAGE, 64) == 0.0177422
    assert readout_time(metadata | {"TotalReadoutTime": 0.05}, IMAGE, 64) == 0.05


STEM = "sub-01/ses-a/perf/sub-01_ses-a"


def one_session(root, given=GivenTiming()):  # noqa: B008 - frozen
    return Query(root, given=given).participant("01").sessions[0]


def plan(root, given=GivenTiming(), **options):  # noqa: B008
    config = Config(root, root, root, "run", aif="parker2006", **options)
    return plan_participant(Query(root, given=given).participant("01"), config)


def write_frames(root, clocks, entity="run", shape=(4, 4, 2), **sidecar_fields):
    """Write one image per frame, the value of which is its place in the folder."""
    write_description(root)
    for number, clock in enumerate(clocks, 1):
        stem = root / f"{STEM}_{entity}-{number:02d}_dce"
        write_image(Path(f"{stem}.nii.gz"), np.full(shape, number, np.float32))
        fields = sidecar("synthetic/700_t1_twist_tra_dyn", AcquisitionTime=clock, **sidecar_fields)
        write_json(Path(f"{stem}.json"), fields | {"ContrastBolusAgent": "Dotarem"})


@pytest.mark.parametrize("entity", ["run", "acq", "rec"])
def test_one_image_per_frame_is_one_series(tmp_path, entity):
    """60 frames, by acquisition time and past midnight, whatever their numbers are."""
    clocks = ["00:00:03.2", "23:59:52.8", "23:59:58.0"]
    write_frames(tmp_path, clocks, entity)
    found = one_session(tmp_path)
    assert found.problems == ()
    series = found.dynamic
    assert np.array(series.times) * 60 == pytest.approx([0, 5.2, 10.4])
    assert series.times_source == "AcquisitionTime of each image"
    assert [path.name.split("_")[2] for path in series.frames] == [
        f"{entity}-{number:02d}" for number in (2, 3, 1)
    ]
    whole = stack_frames(series, tmp_path / "work/dce.nii")
    assert whole.sources == series.frames
    data = np.asarray(nib.load(whole.image).dataobj)
    assert data.shape == (4, 4, 2, 3)
    assert data[0, 0, 0].tolist() == [2, 3, 1]


def test_joined_frames_are_analysed_as_one_series(tmp_path):
    """The graph reads the joined image from the work folder; sidecars name the images of all."""
    write_frames(tmp_path, ["13:05:00", "13:05:05", "13:05:10"])
    names = [f"bids:raw:{STEM}_run-{number:02d}_dce.nii.gz" for number in (1, 2, 3)]
    config = Config(tmp_path, tmp_path / "out", tmp_path / "work", "run", aif="parker2006")
    found = join_frames(Query(tmp_path).participant("01"), tmp_path / "work")
    workflow = init_participant_wf(plan_participant(found, config), config)
    nodes = {node.fullname.split(".", 2)[2]: node for node in workflow._create_flat_graph().nodes}
    assert nodes["dce.aif"].inputs.raw_file == str(tmp_path / "work/sub-01_ses-a_dce.nii")
    sidecar = nodes["dce.save_aif"].inputs.sidecars[0]
    assert sidecar["Sources"] == names
    assert sidecar["ValuesFrom"]["frame_times"].startswith("AcquisitionTime of each image in sub-")
    (tmp_path / f"{STEM}_run-02_dce.nii.gz").write_bytes(b"damaged")
    damaged = join_frames(found, tmp_path / "work").sessions[0]
    assert damaged.dynamic is None
    assert "run-02_dce.nii.gz: is damaged" in damaged.problems[0]


def test_frames_of_other_settings_or_grids_or_times_are_refused(tmp_path):
    """Another flip angle, another grid, two of one time: the image is named."""
    write_frames(tmp_path, ["13:05:00", "13:05:05", "13:05:10"])
    last = tmp_path / f"{STEM}_run-03_dce.json"
    fields = json.loads(last.read_text())
    for changed, message in (
        ({"FlipAngle": 5}, "run-03_dce.json: FlipAngle is 5, but 15 in"),
        ({"AcquisitionTime": "13:05:05"}, "run-03_dce.nii.gz: was acquired at the same time"),
        ({"MagneticFieldStrength": 1.5}, "MagneticFieldStrength is 1.5, but 3 in"),
        ({"ContrastBolusAgent": "Gadovist"}, "ContrastBolusAgent is 'Gadovist', but ContrastBolus"),
        ({"SeriesDescription": "test bolus"}, "SeriesDescription is 'test bolus', but 't1_twi"),
    ):
        write_json(last, fields | changed)
        assert message in one_session(tmp_path).problems[0]
    write_json(last, fields)
    write_image(tmp_path / f"{STEM}_run-03_dce.nii.gz", np.ones((4, 4, 3), np.float32))
    assert "its grid is not that of sub-01_ses-a_run-01" in one_session(tmp_path).problems[0]
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = 3
    ones = np.ones((4, 4, 2), np.float32)
    write_image(tmp_path / f"{STEM}_run-03_dce.nii.gz", ones, flipped)
    assert "its axes have another order or direction" in one_session(tmp_path).problems[0]


def test_frames_of_two_series_are_not_joined(tmp_path):
    """Two numbers of series are refused; one for all frames or one for each are one series."""
    clocks = ["13:05:00", "13:05:05", "13:05:10", "13:05:15"]
    write_frames(tmp_path, clocks)
    sidecars = sorted((tmp_path / STEM).parent.glob("*.json"))
    for field in ("SeriesNumber", "SeriesInstanceUID"):
        for numbers, problems in (("7777", 0), ("7890", 0), ("7788", 1)):
            for path, number in zip(sidecars, numbers, strict=True):
                fields = json.loads(path.read_text()) | {"SeriesNumber": 7, field: f"1.2.{number}"}
                fields["SeriesDescription"] = f"DCE Ph{path.name[17:19]}"
                write_json(path, fields)
            found = one_session(tmp_path).problems
            assert len(found) == problems
        assert f"run-03_dce.json: {field} is '1.2.8', but '1.2.7' in" in found[0]
        for path in sidecars:
            kept = json.loads(path.read_text())
            kept.pop(field)
            write_json(path, kept)


def write_triggers(root, clocks):
    """Write frames of GE with the trigger of each, numbered against the order of time."""
    write_frames(root, clocks, Manufacturer="GE MEDICAL SYSTEMS")
    for place, path in enumerate(sorted((root / STEM).parent.glob("*.json"))):
        write_json(path, json.loads(path.read_text()) | {"TriggerDelayTime": 15600 - 5200 * place})


def test_frames_of_ge_are_in_the_order_of_their_triggers(tmp_path):
    """One AcquisitionTime for all: the trigger of each states its time."""
    write_triggers(tmp_path, ["13:05:00"] * 4)
    series = one_session(tmp_path).dynamic
    assert np.array(series.times) * 60 == pytest.approx([0, 5.2, 10.4, 15.6])
    assert series.times_source == "TriggerDelayTime of each image"
    assert "run-04" in series.frames[0].name


@pytest.mark.parametrize("clock", [None, "13:05:00"])
def test_numbers_order_the_frames_if_the_user_states_their_interval(tmp_path, clock):
    """Without a time of each: --frame-time, in the order of the numbers of the entity."""
    write_frames(tmp_path, [clock] * 11)
    assert "--frame-time" in one_session(tmp_path).problems[0]
    series = one_session(tmp_path, GivenTiming(frame_time=5.2)).dynamic
    assert np.array(series.times) * 60 == pytest.approx(5.2 * np.arange(11))
    assert series.times_source == "--frame-time"
    assert [path.name[17:19] for path in series.frames] == [f"{n:02d}" for n in range(1, 12)]


def test_a_clock_that_is_not_understood_is_quoted(tmp_path):
    """The sidecar and its text are named."""
    write_frames(tmp_path, ["13:05:00", "1305"])
    (problem,) = one_session(tmp_path).problems
    assert "(AcquisitionTime in sub-01_ses-a_run-02_dce.json is '1305', which is no" in problem


def test_null_is_missing(tmp_path):
    """A null beside another field that states the number is not an error."""
    write_description(tmp_path)
    write_image(tmp_path / f"{STEM}_dce.nii.gz", np.ones((4, 4, 2, FRAMES), np.float32))
    fields = sidecar("synthetic/ge__7_Ax_DCE_DISCO", ContrastBolusAgent="Gadovist")
    nulls = dict.fromkeys(["VolumeTiming", "RepetitionTimeExcitation", "ContrastAgentRelaxivity"])
    write_json(tmp_path / f"{STEM}_dce.json", fields | nulls)
    found = one_session(tmp_path)
    assert found.problems == ()
    assert found.dynamic.repetition_time == 0.004
    write_json(tmp_path / f"{STEM}_dce.json", fields | {"FlipAngle": None})
    assert "FlipAngle is missing" in one_session(tmp_path).problems[0]


def test_frames_are_not_parts_of_a_frame(tmp_path):
    """Images every 0.05 s are refused, as a list of such times is."""
    write_frames(tmp_path, ["13:05:00", "13:05:00.05", "13:05:00.1"])
    (problem,) = one_session(tmp_path).problems
    assert "AcquisitionTime of each image has intervals of 0.05, outside 0.2 to 120" in problem


def test_two_series_and_frames_without_times_are_not_joined(tmp_path):
    """Two 4D runs ask for a filter; single volumes need AcquisitionTime."""
    write_frames(tmp_path, ["13:05:00", None])
    assert "add AcquisitionTime to the sidecar of each" in one_session(tmp_path).problems[0]
    write_frames(tmp_path, ["13:05:00", "13:15:00"], shape=(4, 4, 2, 5))
    assert "several dce images" in one_session(tmp_path).problems[0]


@pytest.mark.parametrize("folder", ["dce", "perf"])
def test_other_names_of_dynamic_series_and_flip_angles_are_read(tmp_path, folder):
    """``_DCE`` in ``dce`` or ``perf``, and VFA images in ``fmap``, with RepetitionTime as TR."""
    write_description(tmp_path)
    session = tmp_path / "sub-01/ses-a"
    write_image(session / folder / "sub-01_ses-a_DCE.nii.gz", np.ones((4, 4, 2, FRAMES)))
    write_json(session / folder / "sub-01_ses-a_DCE.json", sidecar("synthetic/philips__701_DCE"))
    for number in (1, 2):
        stem = session / f"fmap/sub-01_ses-a_flip-{number}_VFA"
        write_image(Path(f"{stem}.nii.gz"), np.ones((4, 4, 2), np.float32))
        short = {"FlipAngle": 5 * number, "RepetitionTime": 0.005, "MRAcquisitionType": "3D"}
        write_json(Path(f"{stem}.json"), short)
    found = one_session(tmp_path)
    assert found.problems == ()
    assert found.dynamic.image.name == "sub-01_ses-a_DCE.nii.gz"
    assert found.flip_angle_series.repetition_time == 0.005
    for path in (session / "fmap").glob("*.json"):
        write_json(path, {"MRAcquisitionType": "2D"})
    assert len(one_session(tmp_path).problems) == 4  # angle and TR of each


def test_all_that_a_sidecar_lacks_is_reported_at_once(tmp_path):
    """Times, TR, flip angle and agent in one plan; options supply them."""
    write_description(tmp_path)
    data = np.ones((4, 4, 2, 5), np.float32)
    lacking = dict.fromkeys(
        ("VolumeTiming", "RepetitionTimeExcitation", "FlipAngle", "ContrastAgentRelaxivity")
    )
    write_dce(tmp_path, STEM, data, range(5), **lacking)
    failed = [issue for issue in plan(tmp_path).issues if issue.level == "failed"]
    assert [issue.remedy for issue in failed] == [
        "--frame-time <seconds>",
        '"RepetitionTimeExcitation": <seconds> or --repetition-time <seconds>',
        '"FlipAngle": <degrees>',
        '"ContrastBolusAgent": "<name or brand>"',
    ]
    assert all("sub-01_ses-a_dce.json: " in issue.text for issue in failed)
    write_dce(tmp_path, STEM, data, range(5), **lacking | {"FlipAngle": 15})
    made = plan(tmp_path, GivenTiming(5.2, 0.004), relaxivity=4.5)
    assert [issue.text for issue in made.issues if issue.level in ("failed", "note")] == [
        "frame times, every 5.2 s, from --frame-time",
        "TR 0.004 s, from --repetition-time",
    ]
    assert made.sessions[0].branches == ("dce",)


def test_origins_of_timing_and_agent_are_notes(tmp_path):
    """Where fields other than those of BIDS state them."""
    write_description(tmp_path)
    write_image(tmp_path / f"{STEM}_dce.nii.gz", np.ones((4, 4, 2, FRAMES), np.float32))
    fields = sidecar("synthetic/ge__7_Ax_DCE_DISCO", ContrastBolusAgent="7.5 ML GADAVIST")
    write_json(tmp_path / f"{STEM}_dce.json", fields)
    notes = [issue.text for issue in plan(tmp_path).issues if issue.level == "note"]
    assert notes == [
        "frame times, every 5.2 s, from TriggerDelayTime / 59 in sub-01_ses-a_dce.json",
        "TR 0.004 s, from RepetitionTime in sub-01_ses-a_dce.json",
        "relaxivity 5 1/s/mM, of gadobutrol, as '7.5 ML GADAVIST' in ContrastBolusAgent, in "
        "sub-01_ses-a_dce.json",
    ]
