"""What comes in from BIDS: records with checked numbers, and messages that name file and field."""

import json

import numpy as np
import pytest
from datasets import (
    write_aif_mask,
    write_dce,
    write_description,
    write_dwi,
    write_image,
    write_json,
    write_roi,
)

from bidsapp.bids.query import Query, read_filters
from bidsapp.errors import NothingSelected, UsageError

BVALUES = [0, 200, 1000]
DCE = np.ones((4, 4, 2, 5), np.float32)


@pytest.fixture
def root(tmp_path):
    write_description(tmp_path)
    return tmp_path


def session(root, label="01", name="baseline", **options):
    query = Query(root, [root / "derivatives" / "manual_masks"] if options.pop("rois", 0) else [])
    return next(s for s in query.participant(label).sessions if s.label == name)


def test_a_full_session_is_found(root):
    """T1w, DWI, DCE, ROIs and AIF mask of a session are found, in our units."""
    stem = "sub-01/ses-baseline"
    write_image(
        root / stem / "anat/sub-01_ses-baseline_ce-gadolinium_T1w.nii.gz", np.ones((4, 4, 4))
    )
    write_dwi(root, f"{stem}/dwi/sub-01_ses-baseline", np.ones((4, 4, 2, 3)), BVALUES)
    write_dce(root, f"{stem}/perf/sub-01_ses-baseline", DCE, [0, 6, 12, 18, 24])
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = 2
    table = "index\tname\texcluded\n2\tmetastasis\t1\n"
    write_roi(root, f"{stem}/anat/sub-01_ses-baseline", labels, table, "enhancing")
    write_aif_mask(root, f"{stem}/anat/sub-01_ses-baseline", np.ones((4, 4, 2), np.uint8))
    found = session(root, rois=1)
    assert found.problems == ()
    assert found.t1w.name.endswith("ce-gadolinium_T1w.nii.gz")
    assert found.diffusion.bvalues == (0, 200, 1000)
    assert found.dynamic.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert found.dynamic.flip_angle == pytest.approx(np.pi / 12)
    assert found.rois("enhancing", "T1w").lesions[0].index == 2
    assert found.rois("enhancing", "T1w").lesions[0].excluded
    assert found.artery.space == "dce"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "FlipAngle",
            None,
            "sub-01_ses-baseline_dce.json: FlipAngle is missing; add it in degrees",
        ),
        ("FlipAngle", 0.26, "FlipAngle is 0.26, outside 0.5 to 90; is it in degrees?"),
        ("FlipAngle", "15", "FlipAngle is '15'; it must be a number in degrees"),
        ("RepetitionTimeExcitation", 4, "RepetitionTimeExcitation is 4, outside 0.0005 to 0.2"),
        ("VolumeTiming", None, "VolumeTiming is missing; add the start of each frame in seconds"),
        ("VolumeTiming", [0, 1], "VolumeTiming has 2 times, but the image has 5 frames"),
        ("VolumeTiming", [0, 1, 1, 2, 3], "VolumeTiming is not ascending"),
    ],
)
def test_a_bad_sidecar_is_named(root, field, value, message):
    """A missing, misspelt or implausible field is reported with file, field, value and remedy."""
    stem = "sub-01/ses-baseline/perf/sub-01_ses-baseline"
    write_dce(root, stem, DCE, [0, 6, 12, 18, 24], **{field: value})
    found = session(root)
    assert found.dynamic is None
    assert message in found.problems[0]


def write_b1(root, units, name="TB1map"):
    stem = f"sub-01/ses-baseline/fmap/sub-01_ses-baseline_{name}"
    write_image(root / f"{stem}.nii.gz", np.full((4, 4, 2), 90, np.float32))
    write_json(root / f"{stem}.json", {} if units is None else {"Units": units})


@pytest.mark.parametrize(("units", "scale"), [("1", 1), ("percent", 0.01), ("%", 0.01)])
def test_a_b1_map_is_found_with_its_scale(root, units, scale):
    """The transmit field map in ``fmap`` is found; its Units determine the factor to a ratio."""
    write_b1(root, units)
    found = session(root)
    assert found.problems == ()
    assert found.transmit_field.image.name == "sub-01_ses-baseline_TB1map.nii.gz"
    assert found.transmit_field.scale == scale


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (None, 'TB1map.json: Units is missing; add "1" if 1 is the nominal flip angle'),
        ("arbitrary", "TB1map.json: Units is 'arbitrary', which does not state"),
    ],
)
def test_a_b1_map_of_unknown_unit_is_refused(root, units, message):
    """Ratio or percent is not guessed: without such Units, the map is a problem of its session."""
    write_b1(root, units)
    found = session(root)
    assert found.transmit_field is None
    assert message in found.problems[0]


def test_two_b1_maps_ask_for_a_filter(root):
    """Two B1 maps of a session are not guessed between."""
    write_b1(root, "1", "acq-afi_TB1map")
    write_b1(root, "1", "acq-dream_TB1map")
    assert "several b1 images" in session(root).problems[0]


def test_sidecars_are_inherited(root):
    """A field in a sidecar at the root holds for the image below (the BIDS inheritance)."""
    stem = "sub-01/ses-baseline/perf/sub-01_ses-baseline"
    write_dce(root, stem, DCE, [0, 6, 12, 18, 24], FlipAngle=None)
    write_json(root / "dce.json", {"FlipAngle": 12})
    assert session(root).dynamic.flip_angle == pytest.approx(np.deg2rad(12))


def test_wrong_number_of_bvalues_is_named(root):
    """b-values of another number than the volumes are a problem with both numbers."""
    write_dwi(root, "sub-01/ses-baseline/dwi/sub-01_ses-baseline", np.ones((2, 2, 2, 4)), BVALUES)
    assert "has 3 b-values, but the image has 4 volumes" in session(root).problems[0]


def test_several_runs_ask_for_a_filter(root):
    """Two runs are not guessed between; a filter file chooses."""
    for run in (1, 2):
        stem = f"sub-01/ses-baseline/dwi/sub-01_ses-baseline_run-{run}"
        write_dwi(root, stem, np.ones((2, 2, 2, 3)), BVALUES)
    assert "several dwi images" in session(root).problems[0]
    chosen = Query(root, filters={"dwi": {"run": 2}}).participant("01").sessions[0]
    assert "run-2" in chosen.diffusion.image.name


def test_a_damaged_image_is_named(root):
    """A file that is not NIfTI is a problem of its session, with its path."""
    path = root / "sub-01/ses-baseline/anat/sub-01_ses-baseline_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no image")
    assert "T1w.nii.gz: cannot be read as NIfTI" in session(root).problems[0]


def test_sessions_are_in_the_order_of_time(root):
    """Days since treatment order the sessions, whatever their names."""
    for name in ("a", "b", "c"):
        path = root / f"sub-01/ses-{name}/anat/sub-01_ses-{name}_T1w.nii.gz"
        write_image(path, np.ones((2, 2, 2)))
    table = "session_id\tdays_since_treatment\nses-a\t30\nses-b\t-5\nses-c\tn/a\n"
    (root / "sub-01/sub-01_sessions.tsv").write_text(table)
    found = Query(root).participant("01").sessions
    assert [s.label for s in found] == ["b", "a", "c"]
    assert [s.days for s in found] == [-5, 30, None]


def write_sessions(root, names, table=""):
    for name in names:
        path = root / f"sub-01/ses-{name}/anat/sub-01_ses-{name}_T1w.nii.gz"
        write_image(path, np.ones((2, 2, 2)))
    if table:
        (root / "sub-01/sub-01_sessions.tsv").write_text(table)


ACQUIRED = """session_id\tacq_time
ses-preSRS\t1925-03-01T10:00:00
ses-postSRS10\t1925-05-05
ses-postSRS2\t1925-03-13T09:00:00.0Z
"""


@pytest.mark.parametrize("where", ["sessions", "scans"])
def test_acquisition_times_order_the_sessions(root, where):
    """Of sessions.tsv or scans.tsv, in ISO 8601, with shifted years; the basis is a note."""
    write_sessions(root, ("preSRS", "postSRS10", "postSRS2"))
    for name, time in (line.split("\t") for line in ACQUIRED.splitlines()[1:]):
        path = root / f"sub-01/{name}/sub-01_{name}_scans.tsv"
        path.write_text(f"filename\tacq_time\nb\tn/a\na\t{time}\n")
    if where == "sessions":
        (root / "sub-01/sub-01_sessions.tsv").write_text(ACQUIRED)
    found = Query(root).participant("01", ["postSRS2", "postSRS10"])
    assert [s.label for s in found.sessions] == ["postSRS2", "postSRS10"]
    assert found.order == ("preSRS", "postSRS2", "postSRS10")
    assert found.sessions[0].warnings == ()
    assert "is that of acq_time; days since treatment are unknown" in found.sessions[0].notes[0]


@pytest.mark.parametrize(
    ("rows", "order", "warning"),
    [
        (
            ["a\t2019-03-01\t7", "b\t2019-04-01\t-5"],
            "ba",
            "ses-b is day -5 and ses-a day 7, but by acq_time ses-a is the earlier one: the days",
        ),
        (["a\t2019-03-11\tn/a", "b\t2019-03-01\t0", "c\t2019-03-08\t7"], "bca", "no day for"),
        (
            ["a\t01.03.2019\tn/a", "b\tn/a\tn/a"],
            "ab",
            "line 2: acq_time '01.03.2019' is not a date",
        ),
        (["1month\t2019-03-01\tn/a", "1week\t2019-04-01\tn/a"], None, "against their labels"),
    ],
)
def test_days_dates_and_labels_that_disagree_are_reported(root, rows, order, warning):
    """Days decide; a session with a date only is placed among those with days."""
    names = [row.split("\t")[0] for row in rows]
    table = "session_id\tacq_time\tDays_since_treatment\n" + "".join(f"ses-{r}\n" for r in rows)
    write_sessions(root, names, table)
    found = Query(root).participant("01")
    assert found.order == tuple(order or names)
    text = " ".join(found.sessions[0].warnings)
    assert (warning in text) == (warning != "no day for")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["1month", "1week", "baseline"], ["baseline", "1week", "1month"]),
        (["12month", "6month", "pre"], ["pre", "6month", "12month"]),
        (["v10", "v2"], ["v2", "v10"]),
        (["post", "pre"], ["pre", "post"]),
    ],
)
def test_labels_that_state_an_order_need_no_table(root, names, order):
    """A unit of time, a number or a baseline: the order is obvious, and a note."""
    write_sessions(root, names)
    found = Query(root).participant("01")
    assert found.order == tuple(order)
    assert found.sessions[0].warnings == ()
    assert "is that of their labels" in found.sessions[0].notes[0]


@pytest.mark.parametrize("names", [["tumour", "control"], ["03012019", "01022019"], ["x1", "y2"]])
def test_an_order_that_is_a_guess_is_reported(root, names):
    """Labels without an order, and dates that begin with the day."""
    write_sessions(root, names)
    warnings = Query(root).participant("01").sessions[0].warnings
    assert "labels do not show the order of the sessions" in warnings[0]


def test_an_unknown_session_is_refused(root):
    """A session that a participant has not is refused with those it has."""
    write_image(root / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", np.ones((2, 2, 2)))
    with pytest.raises(NothingSelected, match="sub-01 has none of the sessions z; it has a"):
        Query(root).participant("01", ["z"])


def test_filter_file_knows_null_and_star(tmp_path):
    """``null`` and ``"*"`` mean none and any; another query's name is refused."""
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"t1w": {"acquisition": None, "run": 2}}))
    assert read_filters(path)["t1w"]["run"] == 2
    path.write_text('{"bold": {}}')
    with pytest.raises(UsageError, match="no query is named 'bold'"):
        read_filters(path)


def regions(root, names, *files):
    """Return the session with regions of the user: name and labels of each file."""
    stem = "sub-01/ses-baseline/anat/sub-01_ses-baseline"
    write_image(root / f"{stem}_ce-gadolinium_T1w.nii.gz", np.ones((4, 4, 4)))
    folder = root / "derivatives" / "manual_masks"
    write_description(folder, "derivative")
    for name, labels in files:
        write_image(folder / f"{stem}_{name}.nii.gz", labels)
    query = Query(root, [folder], regions=names)
    return query.participant("01").sessions[0]


def test_regions_of_the_user_are_found_by_their_names(root):
    """The mask of the reference is one part, an atlas has its labels; others are not read."""
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0], labels[1, 1] = 17, 53
    found = regions(
        root,
        ["reference", "atlas"],
        ("label-reference_mask", 255 * (labels == 17).astype(np.uint8)),
        ("seg-atlas_dseg", labels),
        ("seg-other_dseg", labels),
    )
    assert found.problems == ()
    assert [name for name, _ in found.regions] == ["reference", "atlas"]
    assert [x.index for x in found.region("reference").lesions] == [1]
    assert [x.index for x in found.region("atlas").lesions] == [17, 53]
    assert found.region("other") is None


@pytest.mark.parametrize(
    ("file", "shape", "message"),
    [
        ("label-reference_mask", (4, 4, 4), "the mask is empty; draw the region reference"),
        ("seg-atlas_dseg", (3, 4, 4), "its grid is not that of"),
    ],
)
def test_a_region_that_cannot_be_used_is_named(root, file, shape, message):
    """An empty reference, and a region on another grid, are problems of the session."""
    found = regions(root, ["reference", "atlas"], (file, np.zeros(shape, np.uint8)))
    assert message in found.problems[0]
    assert file in found.problems[0]
    assert found.regions == ()


def test_a_reference_region_that_is_lesion_is_a_warning(root):
    """With its share; one outside of all lesions is none."""
    lesions, mask = np.zeros((2, 4, 4, 4), np.uint8)
    lesions[0], mask[:2, :2, :2] = 3, 1
    files = [("seg-enhancing_dseg", lesions), ("label-reference_mask", mask)]
    (text,) = (t for t in regions(root, ["reference"], *files).warnings if "reference" in t)
    assert "50 % of the reference region are lesion in sub-01_ses-baseline_seg-enh" in text
    mask[:1], mask[2:] = 0, 1
    files[1] = ("label-reference_mask", mask)
    found = regions(root, ["reference"], *files)
    assert not any("reference region" in text for text in found.warnings)


def test_a_reference_is_one_region(root):
    """Of several labels, which the tables would not tell apart, none is taken."""
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0], labels[1] = 1, 2
    found = regions(root, ["reference"], ("label-reference_dseg", labels))
    assert "is a mask of one region, but has the values [1, 2]" in found.problems[0]
    assert found.regions == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "labels must not be negative; it holds -1"),
        (312782574, "labels must not exceed 16777216; it holds 312782574"),
        (1.5, "labels must be whole numbers"),
        (2**24, ""),
    ],
)
def test_labels_of_an_atlas_are_numbers_that_can_be_told_apart(root, value, message):
    """Identifiers beyond single precision would be merged, or have no voxels."""
    labels = np.ones((4, 4, 4))
    labels[0] = value
    found = regions(root, ["atlas"], ("seg-atlas_dseg", labels))
    assert message in " ".join(found.problems)
    assert len(found.regions) == (not message)


def test_several_images_of_a_region_ask_which(root):
    """Two atlases of the same name are not chosen between."""
    labels = np.ones((4, 4, 4), np.uint8)
    found = regions(root, ["atlas"], ("seg-atlas_dseg", labels), ("desc-b_seg-atlas_dseg", labels))
    assert "several images of the region atlas" in found.problems[0]
