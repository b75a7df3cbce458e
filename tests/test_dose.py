"""Dose: its statistics and its biological effect, RTDOSE files, and the dose of a visit."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from contour_files import dose_set, write_dicom
from datasets import write_description, write_image, write_json
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation
from test_rois_command import GRID, LEFT, RIGHT, SHAPE, VISIT, balls, roi, rois, study, t1w

from bidsapp.bids.derivatives import to_tsv
from bidsapp.bids.query import Query
from bidsapp.bids.records import Diffusion, Lesion, Participant, Rois, Session
from bidsapp.config import Config
from bidsapp.conversion.contours.read import read_dose
from bidsapp.errors import BadInput
from bidsapp.lesions.dose import (
    ALPHA_BETA,
    DELTA,
    DOSE_COLUMNS,
    dose_regions,
    doubtful_dose,
    effective_dose,
    region_names,
    summarise_dose,
)
from bidsapp.reports.participant.dose import show_dose
from bidsapp.reports.participant.records import read_participant
from bidsapp.run.graphs.participant import init_participant_wf
from bidsapp.run.graphs.plan import plan_participant
from bidsapp.run.group import run_stats
from bidsapp.run.group_files import write_result
from bidsapp.study.read import read_dose_values, read_lesion_doses
from bidsapp.study.tables import Cohort
from bidsapp.study.tables.dose import add_effective_dose, dose_changes
from bidsapp.study.tables.response import characteristics

DOSES = st.lists(st.floats(0.1, 90), min_size=1, max_size=60)


def radial(centre=(0.0, 0, 0), affine=GRID, shape=SHAPE, peak=30.0, slope=1.0):
    """Return a dose that falls linearly with the distance from a point, 0 at least."""
    points = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    distance = np.linalg.norm(points - np.asarray(centre), axis=-1)
    return np.clip(peak - slope * distance, 0, None), distance


# Statistics


def test_a_sphere_in_a_linear_fall_off_has_the_doses_of_its_radii():
    """In a ball of radius R, p percent of the volume lie within R (p / 100)^(1/3)."""
    affine = np.diag([0.4, 0.4, 0.4, 1.0])
    affine[:3, 3] = -16
    dose, distance = radial(affine=affine, shape=(80, 80, 80))
    found = summarise_dose(dose, distance < 12, 0.4**3 / 1000)
    assert found.volume_ml == pytest.approx(4 / 3 * np.pi * 1.2**3, rel=0.005)
    assert found.mean == pytest.approx(30 - 0.75 * 12, abs=0.05)
    for percent, value in ((98, found.d98), (95, found.d95), (50, found.d50), (2, found.d2)):
        assert value == pytest.approx(30 - 12 * (percent / 100) ** (1 / 3), abs=0.15)
    assert found.minimum == pytest.approx(18, abs=0.1)
    assert found.v12_ml == found.volume_ml


@given(DOSES, st.data())
def test_dose_statistics_are_ordered(doses, data):
    """Minimum <= D98 <= D95 <= D50 <= D2 <= maximum, each a dose of a voxel, in any weights."""
    size = len(doses)
    weights = data.draw(st.lists(st.floats(0.01, 1), min_size=size, max_size=size))
    found = summarise_dose(doses, weights, 1.0)
    order = (found.minimum, found.d98, found.d95, found.d50, found.d2, found.maximum)
    assert list(order) == sorted(order)
    assert set(order) <= set(doses)
    for percent, value in ((95, found.d95), (50, found.d50)):
        received = sum(w for w, d in zip(weights, doses, strict=True) if d >= value)
        assert received >= percent / 100 * sum(weights) * (1 - 1e-6)


def test_each_voxel_counts_by_its_fraction_inside():
    """Half of a voxel counts half, and equal weights give what a mask gives."""
    found = summarise_dose([10.0, 20.0, 14.0], [1, 0.5, 0], 0.2)
    assert (found.mean, found.volume_ml, found.v12_ml) == pytest.approx((40 / 3, 0.3, 0.1))
    dose = np.linspace(1, 40, 100)
    halves, whole = (summarise_dose(dose, np.full(100, w), 1.0) for w in (0.5, 1.0))
    assert (halves.mean, halves.d95) == pytest.approx((whole.mean, whole.d95))
    assert whole.d95 == dose[5]  # 95 of 100 voxels receive at least this


def test_outside_the_grid_the_dose_is_unknown_not_zero():
    """Statistics are of the covered part, whose fraction is stated; without any, missing."""
    found = summarise_dose([20.0, np.nan, 10.0, np.nan], [1, 1, 1, 1], 1.0)
    assert (found.mean, found.minimum, found.covered) == (15, 10, 0.5)
    lost = summarise_dose([np.nan], [1], 1.0)
    assert lost.covered == 0
    assert np.isnan([lost.mean, lost.d95, lost.v12_ml]).all()


def test_lesions_are_divided_by_dose_and_the_ring_is_brain_outside():
    """Every enhancing voxel is in one region; the ring has 12 Gy, no lesion, the nearest number."""
    dose, _ = radial((-10, 0, 0))
    other, _ = radial((14, 0, 0))
    dose = np.maximum(dose, other)
    whole = np.zeros(SHAPE, int)
    for number, centre in ((1, (-10, 0, 0)), (2, (14, 0, 0))):
        whole[radial(centre)[1] < 8] = number
    enhancing = np.where(dose < 28, whole, 0)
    brain = radial()[1] < 26
    found = dict(
        zip(
            region_names(),
            np.moveaxis(dose_regions(dose, enhancing, whole, brain, GRID), -1, 0),
            strict=True,
        )
    )
    ring = found.pop("ring12")
    np.testing.assert_array_equal(sum(found.values()), enhancing)
    assert (dose[found["dose16to20"] > 0] < 20).all()
    assert (dose[found["dose20"] > 0] >= 20).all()
    np.testing.assert_array_equal(ring > 0, brain & (whole == 0) & (dose >= 12))
    x = np.indices(SHAPE)[0] + GRID[0, 3]
    assert set(ring[(ring > 0) & (x < 1)]) == {1}
    assert set(ring[(ring > 0) & (x > 3)]) == {2}


def test_the_dose_around_a_lesion_that_is_gone_is_in_no_ring():
    """It is not given to the nearest lesion that is left."""
    dose = np.maximum(radial((-14, 0, 0), peak=20)[0], radial((14, 0, 0), peak=20)[0])
    left = (radial((-14, 0, 0))[1] < 4).astype(int)
    ring = dose_regions(dose, left, left, dose >= 0, GRID)[..., -1]
    x = np.indices(SHAPE)[0] + GRID[0, 3]
    assert ring[x < 0].any()
    assert (dose[x > 0] >= 12).any()
    assert not ring[x > 0].any()


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 0.9), st.floats(15, 24), st.floats(0, 2), st.integers(0, 10**6))
def test_a_plan_for_one_of_the_lesions_is_not_doubted(isodose, prescribed, margin, seed):
    """Whatever its isodose line and margin, and whatever other lesions are not treated."""
    rng = np.random.default_rng(seed)
    _, distance = radial(rng.uniform(-8, 8, 3))
    radius = rng.uniform(3, 8)
    reach = radius + margin
    inside = prescribed / isodose * (1 - (1 - isodose) * (distance / reach) ** 2)
    dose = np.where(distance < reach, inside, prescribed * np.exp(-(distance - reach) / 5))
    lesions = np.where(distance < radius, 1, 0)
    lesions[0, 0, 0] = 2
    assert doubtful_dose(dose, lesions) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda dose: np.roll(dose, 12, axis=0), "no lesion receives more than"),
        (lambda dose: dose[::-1], "is it of this patient, on this T1w"),
        (lambda dose: np.where(dose > 0, np.nan, dose) + 20, "inside the grid"),
        (lambda dose: dose * 100 / 20, "outside 5 to 90: is it in Gy"),
        (lambda dose: dose / 20, "outside 5 to 90: is it in Gy"),
    ],
)
def test_a_dose_of_another_patient_place_or_unit_is_doubted(change, text):
    """Displaced, mirrored, beside the lesions, in percent, or relative to the prescription."""
    dose, distance = radial((10.0, 0, 0), slope=3)
    assert text in " ".join(doubtful_dose(change(dose), np.where(distance < 4, 1, 0)))


def test_a_voxel_without_dose_is_in_no_region():
    """Neither below 12 Gy, nor in the ring."""
    dose = np.full((2, 1, 1), np.nan)
    lesion = np.array([1, 0]).reshape(2, 1, 1)
    assert not dose_regions(dose, lesion, lesion, dose != 0, np.eye(4)).any()


# Biologically effective dose


@pytest.mark.parametrize(
    ("dose", "fractions", "alpha_beta", "expected"),
    [(60, 30, 10, 72), (60, 20, 3, 120), (60, 20, 2, 150), (20, 1, 10, 60), (24, 3, 10, 43.2)],
)
def test_worked_values_of_the_linear_quadratic_model(dose, fractions, alpha_beta, expected):
    """D (1 + d / (alpha / beta)): textbook schedules."""
    assert effective_dose(dose, fractions, alpha_beta) == pytest.approx(expected)


@given(st.floats(0.5, 40), st.floats(1, 20), st.floats(0.01, 1))
def test_the_modified_model_lies_between_the_dose_and_the_linear_quadratic_one(dose, ratio, delta):
    """It rises with the dose, and tends to the linear-quadratic model as delta tends to 0."""
    found = effective_dose([dose, dose + 1], 1, ratio, delta)
    assert dose < found[0] < effective_dose(dose, 1, ratio)
    assert found[1] > found[0]
    assert effective_dose(dose, 1, ratio, 1e-7) == pytest.approx(
        effective_dose(dose, 1, ratio), rel=1e-5
    )


def test_the_series_and_the_closed_form_agree():
    """Where one is replaced by the other, at delta d = 1e-3."""
    near = effective_dose(20.0, 1, 10, np.array([0.9999e-3, 1.0001e-3])[0] / 20)
    far = effective_dose(20.0, 1, 10, 1.0001e-3 / 20)
    assert near == pytest.approx(far, rel=1e-6)


def test_at_high_doses_survival_is_a_straight_line():
    """With the slope 1 + 2 / (delta alpha / beta) of the BED."""
    low, high = effective_dose([400.0, 401.0], delta=DELTA)
    assert high - low == pytest.approx(1 + 2 / (DELTA * ALPHA_BETA), rel=1e-3)


def test_the_modified_model_solves_its_kinetics():
    """Damage that is made in proportion to the dose and converted at the rate delta per Gy.

    With u' = 1 - delta u and e' = u over the dose, beta 2 e is the quadratic part of the effect.
    """
    solved = solve_ivp(
        lambda _, y: [1 - DELTA * y[0], y[0]], (0, 20), [0, 0], rtol=1e-10, atol=1e-12
    )
    expected = 20 + 2 * solved.y[1, -1] / ALPHA_BETA
    assert effective_dose(20, delta=DELTA) == pytest.approx(expected, rel=1e-8)


def test_what_is_no_dose_has_no_effect():
    """Missing, zero and negative doses and fractions are missing; arguments are checked."""
    assert np.isnan(effective_dose([np.nan, 0, -1, 20], [1, 1, 1, 0])).all()
    with pytest.raises(BadInput, match="alpha/beta is 0, but a positive number of Gy"):
        effective_dose(20, alpha_beta=0)
    with pytest.raises(BadInput, match="delta is -1, but a number of 1/Gy from 0"):
        effective_dose(20, delta=-1)


# RTDOSE


def oblique(step=1.0):
    """Return the matrix of an oblique grid; a negative step is against the normal of its planes."""
    axes = Rotation.from_euler("xyz", [20, -15, 30], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag([1.5, 2.0, 2.5 * step])
    affine[:3, 3] = (-20, -18, 25 if step < 0 else -25)
    return affine


@pytest.mark.parametrize("step", [1.0, -1.0])
def test_voxels_of_an_oblique_dose_lie_where_it_was_written(tmp_path, step):
    """Orientation, position, spacing and offsets of either sign; values to the scaling."""
    values = np.random.default_rng(3).uniform(0, 40, (6, 7, 5))
    found = read_dose(write_dicom(tmp_path / "RD", dose_set(values, oblique(step))))
    np.testing.assert_allclose(found.affine, oblique(step), atol=1e-5)
    np.testing.assert_allclose(found.values, values, atol=40 / 60000)
    assert (found.frame, found.patient) == ("1.2.3", "MRN77")
    assert "MRN77" not in repr(found)


@pytest.mark.parametrize(("flip", "first"), [(1, 25.0), (-1, 25.0), (1, 0.0)])
def test_absolute_offsets_of_transverse_planes(tmp_path, flip, first):
    """They are z coordinates, whatever the direction of the normal."""
    values = np.random.default_rng(4).uniform(0, 40, (4, 5, 6))
    affine = np.diag([-2.0, -2.0 * flip, 3.0, 1])
    affine[:3, 3] = (10, 12, first)
    offsets = first + 3.0 * np.arange(6)
    found = read_dose(write_dicom(tmp_path / "RD", dose_set(values, affine, offsets=offsets)))
    np.testing.assert_allclose(found.affine, affine, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"DoseUnits": "RELATIVE"}, "its DoseUnits are RELATIVE, not GY"),
        ({"DoseType": "EFFECTIVE"}, "its DoseType is EFFECTIVE, not PHYSICAL"),
        ({"DoseSummationType": "BEAM"}, "its DoseSummationType is BEAM, a part of what is given"),
        ({"DoseGridScaling": "0"}, "its DoseGridScaling is 0, not positive"),
        ({"DoseGridScaling": "0.1"}, "outside 0 to 200: is the scaling that of another unit"),
        ({"GridFrameOffsetVector": [0, 1, 2]}, "has 3 numbers for 5 planes"),
        ({"GridFrameOffsetVector": [0, 1, 2, 4, 5]}, "the distances of its planes are 1 to 2 mm"),
        ({"GridFrameOffsetVector": [9, 10, 11, 12, 13]}, "begins with 9, neither 0 nor the z"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "planes are not orthonormal"),
        ({"PixelSpacing": None}, "has no complete ImageOrientationPatient"),
        ({"PixelData": b"\0\0"}, "cannot be read as DICOM"),
    ],
)
def test_doses_that_cannot_be_used_are_refused(tmp_path, fields, text):
    """With the reason, and what to do."""
    dataset = dose_set(np.ones((6, 7, 5)), oblique())
    for name, value in fields.items():
        setattr(dataset, name, value)
    path = write_dicom(tmp_path / "RD.dcm", dataset)
    with pytest.raises(BadInput, match="RD") as error:
        read_dose(path)
    assert text in str(error.value)


def test_all_that_is_wrong_with_a_dose_is_named_at_once(tmp_path):
    """Units, type and sum."""
    wrong = {"DoseUnits": "RELATIVE", "DoseType": "ERROR", "DoseSummationType": "FRACTION"}
    path = write_dicom(tmp_path / "RD", dose_set(np.ones((6, 7, 5)), oblique(), **wrong))
    with pytest.raises(BadInput, match=r"RELATIVE.*ERROR.*FRACTION"):
        read_dose(path)


# metperf rois


def dose_image(root, session="a"):
    """Return the path of the dose of a visit."""
    whole = roi(root, session=session)
    return whole.with_name(whole.name.replace("seg-whole_dseg", "label-dose_dosemap"))


def write_dose(path, centre=LEFT, plan="1.2.5", frame="1.2.3", **fields):
    """Write an RTDOSE on an oblique grid that contains the head."""
    affine = oblique()
    affine[:3, 3] = -affine[:3, :3] @ [24, 18, 14.5]
    values, _ = radial(centre, affine, (49, 37, 30))
    return write_dicom(path, dose_set(values, affine, frame, plan, **fields))


WHOLE = ("--use", "*", "--as", "whole")


def test_a_dose_is_written_on_the_t1w_with_its_contours(tmp_path):
    """It has the frame of the contours, which lie on the slices of the T1w; nothing personal."""
    root = study(tmp_path / "bids", ("a",))
    balls(tmp_path / "src/01/a/RS.dcm", ("Met", LEFT))
    write_dose(tmp_path / "src/01/a/RD.dcm")
    assert rois(root, tmp_path / "src", *WHOLE) == 0
    image = nib.load(dose_image(root))
    np.testing.assert_allclose(image.affine, GRID)
    truth, distance = radial(LEFT)
    near = (distance > 5) & (distance < 16)
    # Linear interpolation of a cone on voxels of 1.5 x 2 x 2.5 mm.
    np.testing.assert_allclose(np.asarray(image.dataobj)[near], truth[near], atol=0.25)
    sidecar = json.loads(dose_image(root).with_name(image_name(root)).read_text())
    assert sidecar["Units"] == "Gy"
    assert sidecar["Placement"][0].startswith("RTDOSE: on the slices of the T1w")
    assert (root / "derivatives/manual_masks/.bidsignore").read_text() == "*_dosemap.*\n"
    for path in (root / "derivatives").rglob("*"):
        assert not path.is_file() or b"MRN77" not in path.read_bytes()


def image_name(root):
    """Return the name of the sidecar of a dose."""
    return dose_image(root).name.replace(".nii.gz", ".json")


def test_a_dose_without_contours_needs_the_frame_of_the_t1w(tmp_path, capsys):
    """Stated by the sidecar, or by the user; otherwise it is refused, not assumed."""
    root = study(tmp_path / "bids", ("a",))
    words = (root, write_dose(tmp_path / "RD.dcm"), *VISIT)
    assert rois(*words) == 1
    assert "nothing states that their frame of reference is the same" in capsys.readouterr().err
    assert rois(*words, "--aligned") == 0
    beside = t1w(root).with_name(t1w(root).name.replace(".nii.gz", ".json"))
    write_json(beside, {"FrameOfReferenceUID": "1.2.3"})
    assert rois(*words, "--overwrite") == 0
    assert rois(*words) == 1
    assert "exists; --overwrite replaces it" in capsys.readouterr().err
    write_json(beside, {"FrameOfReferenceUID": "1.2.9"})
    assert rois(*words, "--overwrite") == 1
    assert "its frame of reference is not that of" in capsys.readouterr().err


def test_a_dose_beside_the_contours_is_a_warning(tmp_path, capsys):
    """Also in a rehearsal; the dose of the contours is none."""
    for centre, doubted in ((LEFT, False), ((25.0, -25, 20), True)):
        root = study(tmp_path / f"bids{doubted}", ("a",))
        files = tmp_path / f"files{doubted}"
        files.mkdir()
        balls(files / "plan.dcm", ("Met 1", LEFT))
        write_dose(files / "dose.dcm", centre)
        capsys.readouterr()
        rois(root, files, *VISIT, "--as", "whole", "--aligned", "--dry-run")
        assert ("no lesion receives more than" in capsys.readouterr().err) is doubted


def test_doses_of_several_plans_are_added_only_if_asked(tmp_path, capsys):
    """And never two doses of one plan."""
    root = study(tmp_path / "bids", ("a",))
    files = [
        write_dose(tmp_path / f"{n}.dcm", centre, plan=f"1.2.{n}")
        for n, centre in ((5, LEFT), (6, RIGHT))
    ]
    words = (root, *files, *VISIT, "--aligned")
    assert rois(*words) == 1
    assert "2 RTDOSE (5.dcm, 6.dcm): --dose sum adds" in capsys.readouterr().err
    assert rois(*words, "--dose", "sum") == 0
    image = np.asarray(nib.load(dose_image(root)).dataobj)
    place = tuple(np.rint(np.subtract((0, 0, 0), GRID[:3, 3])).astype(int))
    expected = sum(radial(centre)[0][place] for centre in (LEFT, RIGHT))
    assert image[place] == pytest.approx(expected, abs=0.3)
    write_dose(files[1], plan="1.2.5")
    assert rois(*words, "--dose", "sum", "--overwrite") == 1
    assert "two of the dose files are of the same plan" in capsys.readouterr().err


def test_an_unusable_dose_can_be_left_out(tmp_path, capsys):
    """It is reported with all else, and the option is named."""
    root = study(tmp_path / "bids", ("a",))
    balls(tmp_path / "src/01/a/RS.dcm", ("Met", LEFT))
    write_dose(tmp_path / "src/01/a/RD.dcm", DoseUnits="RELATIVE")
    assert rois(root, tmp_path / "src", *WHOLE) == 1
    text = capsys.readouterr().err
    assert "its DoseUnits are RELATIVE" in text
    assert "or leave the dose out by --dose none" in text
    assert rois(root, tmp_path / "src", *WHOLE, "--dose", "none") == 0
    assert roi(root).exists()
    assert not dose_image(root).exists()


# Group level


def test_the_effective_dose_follows_the_prescribed_one():
    """Of one fraction unless the table states more; in cGy or Gy; missing if it is no number."""
    table = pd.DataFrame(
        {"dose_gy": ["20", "24", "boost", ""], "fractions": ["1", "3", "1", "1"], "age": range(4)}
    )
    found = add_effective_dose(table)
    assert list(found) == ["dose_gy", "bed_lq_gy", "bed_mlq_gy", "fractions", "age"]
    assert found["bed_lq_gy"].tolist() == pytest.approx([60, 43.2, np.nan, np.nan], nan_ok=True)
    single = add_effective_dose(pd.DataFrame({"dose_cgy": [2000]}))
    assert single["bed_lq_gy"].item() == pytest.approx(60)
    assert list(add_effective_dose(table[["age"]])) == ["age"]


def test_changes_by_dose_are_those_of_lesions_with_both_time_points():
    """Mean and SD of the changes of a region; lesions without a pair do not count."""
    regions = ["dose20", "dose20", "dose20", "dose20", "dose20", "ring12"]
    values = pd.DataFrame(
        {
            "participant_id": ["sub-1"] * 5 + ["sub-2"],
            "lesion": [1, 1, 2, 2, 3, 1],
            "session_id": ["ses-a", "ses-b", "ses-a", "ses-b", "ses-a", "ses-a"],
            "region": regions,
            "parameter": "Ktrans",
            "unit": "1/min",
            "value": [0.2, 0.1, 0.4, 0.1, 0.9, 0.3],
        }
    )
    timepoints = pd.DataFrame(
        {
            "participant_id": ["sub-1", "sub-1", "sub-2"],
            "session_id": ["ses-a", "ses-b", "ses-a"],
            "timepoint": ["before", "after", "before"],
        }
    )
    (row,) = dose_changes(values, timepoints, ["before", "after"]).to_dict("records")
    assert (row["region"], row["n"], row["n_participants"]) == ("dose20", 2, 1)
    assert row["mean_difference"] == pytest.approx(-0.2)
    assert row["sd_difference"] == pytest.approx(np.sqrt(2) * 0.1)
    assert row["mean_percent"] == pytest.approx(-200 / 3)


# The graph of a participant


def visit(folder, label, *, dose=False):
    """Return a session with a T1w, a diffusion series and lesions; the files are empty."""

    def path(name):
        target = folder / f"sub-01_ses-{label}_{name}"
        target.touch()
        return target

    lesions = (Lesion(1, "left"),)
    return Session(
        "01",
        label,
        t1w=path("T1w.nii.gz"),
        diffusion=Diffusion(path("dwi.nii.gz"), (0.0, 200, 400, 600, 800), None),
        enhancing=(Rois(path("enhancing.nii.gz"), "T1w", lesions),),
        whole=(Rois(path("whole.nii.gz"), "T1w", lesions),),
        dose=path("dose.nii.gz") if dose else None,
    )


def graph(folder, sessions, **options):
    """Return the plan and the flat graph of a participant: edges by target and input."""
    config = Config(folder, folder / "out", folder, "run", **options)
    plan = plan_participant(Participant("01", tuple(sessions)), config)
    flat = init_participant_wf(plan, config)._create_flat_graph()
    edges = {
        f"{target.fullname}.{field}": f"{source.fullname}.{output}"
        for source, target, data in flat.edges(data=True)
        for output, field in data["connect"]
    }
    return plan, {node.fullname: node for node in flat.nodes}, edges


def test_a_dose_is_carried_through_the_baseline_in_one_interpolation(tmp_path):
    """Unmoved at its own visit; from there to the baseline space and back to each T1w."""
    sessions = [
        visit(tmp_path, "a", dose=True),
        visit(tmp_path, "b"),
        visit(tmp_path, "c", dose=True),
        visit(tmp_path, "d"),
    ]
    plan, nodes, edges = graph(tmp_path, sessions)
    assert dict(plan.doses) == {"a": "a", "b": "a", "c": "c", "d": "c"}
    for label, source in plan.doses.items():
        node = nodes[f"sub_01.ses_{label}.dose.dose_to_T1w"]
        assert node.inputs.in_files == [str(sessions["abcd".index(source)].dose)]
        assert node.inputs.reference == str(sessions["abcd".index(label)].t1w)
    mapped = {k.removeprefix("sub_01."): v for k, v in edges.items() if "dose_to_T1w" in k}
    inner = "sub_01.ses_d.dose.inputnode"
    assert mapped == {
        "ses_b.dose.dose_to_T1w.transform": "sub_01.ses_b.dose.inputnode.from_individual",
        "ses_d.dose.dose_to_T1w.transform": f"{inner}.source_to_individual",
        "ses_d.dose.dose_to_T1w.then": f"{inner}.from_individual",
    }
    assert edges[f"{inner}.source_to_individual"] == "sub_01.ses_d.inputnode.source_to_individual"
    values = nodes["sub_01.ses_d.dwi.dose_values"].inputs
    assert values.regions[-1] == (len(region_names()), 1, "ring12")
    assert edges["sub_01.ses_d.dwi.dose_values.rois"].endswith("ses_d.dwi.inputnode.dose_regions")


def test_the_baseline_uses_the_dose_of_another_visit(tmp_path):
    """Registered as for that visit, which waits for the baseline; nothing without a dose."""
    sessions = [visit(tmp_path, "a"), visit(tmp_path, "b", dose=True), visit(tmp_path, "c")]
    plan, nodes, edges = graph(tmp_path, sessions)
    assert dict(plan.doses) == dict.fromkeys("abc", "b")
    own, there = nodes["sub_01.ses_a.dose.to_baseline"], nodes["sub_01.ses_b.anat.to_baseline"]
    assert own.inputs.get() == there.inputs.get()
    assert edges["sub_01.ses_a.dose.to_baseline.fixed_mask"] == "sub_01.ses_a.dose.inputnode.brain"
    mapped = {k: v for k, v in edges.items() if k.startswith("sub_01.ses_a.dose.dose_to_T1w")}
    assert mapped == {
        "sub_01.ses_a.dose.dose_to_T1w.transform": "sub_01.ses_a.dose.to_baseline.to_fixed"
    }
    assert nodes["sub_01.ses_a.dose.dose_to_T1w"].inputs.in_files == [str(sessions[1].dose)]
    plan, nodes, _ = graph(tmp_path, [visit(tmp_path, "a")])
    assert not any("dose" in name for name in nodes)


# Maps of the dose in a data set


def given_dose(tmp_path, values=None, affine=GRID, unit="Gy", name="label-dose_dosemap"):
    """Return the record of a session with a dose map."""
    root = study(tmp_path / "bids", ("a",))
    path = dose_image(root).with_name(dose_image(root).name.replace("label-dose_dosemap", name))
    write_image(path, np.asarray(radial()[0] if values is None else values, np.float32), affine)
    write_json(path.with_name(path.name.replace(".nii.gz", ".json")), {"Units": unit})
    write_description(root / "derivatives/manual_masks")
    return Query(root, [root / "derivatives/manual_masks"]).participant("01").sessions[0]


def test_a_given_dose_is_read(tmp_path):
    """By its name, on the grid of the T1w, with NaN where it is not known, and some ringing."""
    values = radial()[0]
    values[:4], values[4] = np.nan, -0.05
    session = given_dose(tmp_path, values)
    assert session.dose.name == "sub-01_ses-a_ce-gadolinium_label-dose_dosemap.nii.gz"
    assert session.problems == ()


def test_a_dose_beside_the_lesions_is_a_warning_of_its_session(tmp_path):
    """Also if its axes differ from those of the T1w; the dose of the lesions is none."""
    root = study(tmp_path / "bids", ("a",))
    masks = root / "derivatives/manual_masks"
    write_description(masks)
    path = dose_image(root)
    place = path.name.replace("label-dose_dosemap", "seg-whole_dseg")
    write_image(path.with_name(place), (radial(LEFT)[1] < 6).astype(np.uint8), GRID)
    turned = GRID @ np.diag([-1.0, 1, 1, 1])
    turned[:3, 3] = GRID[:3, 3] + GRID[:3, 0] * (SHAPE[0] - 1)
    for centre, count in ((LEFT, 0), (RIGHT, 1)):
        dose = radial(centre, slope=2)[0].astype(np.float32)
        for values, affine in ((dose, GRID), (dose[::-1], turned)):
            write_image(path, values, affine)
            (one,) = Query(root, [masks]).participant("01").sessions
            found = [text for text in one.warnings if "no lesion receives" in text]
            assert len(found) == count
            assert all(text.startswith(f"{path.name}: its largest dose") for text in found)


def test_a_dose_of_another_name_is_a_warning(tmp_path):
    """It is not used in silence; nor is it taken for an ROI."""
    one = given_dose(tmp_path, name="desc-plan_dose")
    assert one.dose is None
    (text,) = (text for text in one.warnings if "its name is not that of a dose" in text)
    assert "ce-gadolinium_desc-plan_dose.nii.gz" in text


def test_a_dose_without_a_t1w_is_a_warning(tmp_path):
    """It cannot be carried, nor does it lie on any lesion."""
    given_dose(tmp_path)
    root = tmp_path / "bids"
    for path in root.glob("sub-01/ses-a/anat/*T1w.nii.gz"):
        path.unlink()
    (root / "sub-01/ses-a/dwi").mkdir(exist_ok=True)
    (root / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.json").write_text("{}")
    (one,) = Query(root, [root / "derivatives/manual_masks"]).participant("01").sessions
    (text,) = (text for text in one.warnings if "dose" in text)
    assert "is not used: a dose lies on a T1w, and ses-a has none" in text


def test_a_dose_among_the_raw_data_is_a_warning(tmp_path):
    """It belongs in a derivative; a dose that is refused is not said to have a wrong name, too."""
    one = given_dose(tmp_path, unit="cGy")
    assert not any("its name" in text for text in (*one.warnings, *one.notes))
    root = tmp_path / "bids"
    path = dose_image(root)
    path.rename(root / path.relative_to(root / "derivatives/manual_masks"))
    (one,) = Query(root, [root / "derivatives/manual_masks"]).participant("01").sessions
    assert any("a dose belongs in a derivative" in text for text in one.warnings)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"values": radial()[0] * 100}, "its values are 0 to 3000, outside 0 to 200 Gy"),
        ({"values": radial()[0] - 1}, "its values are -1 to 29, outside 0 to 200 Gy"),
        ({"unit": "cGy"}, "its sidecar states Units 'cGy'; write the dose in 'Gy'"),
        ({"affine": GRID + np.eye(4, k=3) * 5}, "its grid is not that of"),
    ],
)
def test_a_dose_that_cannot_be_used_is_a_problem_of_its_session(tmp_path, changed, text):
    """It is not used, and the reason is stated."""
    session = given_dose(tmp_path, **changed)
    assert session.dose is None
    assert text in " ".join(session.problems)


# Tables and pages


def write_table(path, columns, rows):
    """Write a table of an output folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_tsv(list(columns), rows))


def dose_row(session, roi="whole", source="ses-a", lesion=1, **numbers):
    """Return a row of the table of doses."""
    values = dict.fromkeys(DOSE_COLUMNS, 1.0) | {"mean": 22.0, "d95": 18.0, "excluded": False}
    where = {"participant_id": "sub-01", "session_id": session, "lesion": lesion, "roi": roi}
    return {**values, **where, "dose_session": source, **numbers}


def value_row(session, region, mean, lesion=1, parameter="Ktrans", *, excluded=False):
    """Return a row of the table of values by dose."""
    where = {"participant_id": "sub-01", "session_id": session, "lesion": lesion, "roi": region}
    return {**where, "parameter": parameter, "unit": "1/min", "mean": mean, "excluded": excluded}


def test_the_dose_of_a_lesion_is_that_of_its_own_visit(tmp_path):
    """Of the whole lesion where the dose was given, not of a visit to which it was carried."""
    for session, row in (
        ("ses-0", dose_row("ses-0", mean=11.0)),
        ("ses-a", dose_row("ses-a", "enhancing", mean=12.0)),
    ):
        rows = (
            [row, dose_row("ses-a")] if session == "ses-a" else [row, dose_row("ses-0", lesion=2)]
        )
        name = f"sub-01/{session}/anat/sub-01_{session}_desc-dose_roistats.tsv"
        write_table(tmp_path / name, DOSE_COLUMNS, rows)
    doses, problems = read_lesion_doses(tmp_path)
    assert problems == ()
    assert doses["dose_mean_gy"].tolist() == [22.0, 22.0]
    assert doses["dose_d95_gy"].tolist() == [18.0, 18.0]
    assert doses["lesion"].tolist() == [1, 2]
    table = characteristics(
        Cohort(pd.DataFrame(), pd.DataFrame(), {}, doses=doses),
        pd.DataFrame(
            {
                "participant_id": "sub-01",
                "lesion": [1, 3],
                "followup_days": 1.0,
                "volume_change_percent": 0.0,
                "response": "SD",
            }
        ),
        pd.DataFrame(),
        "baseline",
    )
    assert table["dose_d95_gy"].tolist() == pytest.approx([18, np.nan], nan_ok=True)


def test_values_by_dose_are_those_of_lesions_that_are_not_excluded(tmp_path):
    """In any session; a table that cannot be read is a problem, and the others are used."""
    for session in ("ses-a", "ses-b"):
        rows = [
            value_row(session, "dose20", 0.2),
            value_row(session, "dose20", None),
            value_row(session, "dose20", 0.3, lesion=2, excluded=session == "ses-b"),
            value_row(session, "dose20", 9.0, parameter="kep"),
        ]
        name = f"sub-01/{session}/perf/sub-01_{session}_desc-dosebin_roistats.tsv"
        write_table(tmp_path / name, rows[0], rows)
    bad = tmp_path / "sub-02/ses-a/dwi/sub-02_ses-a_desc-dosebin_roistats.tsv"
    write_table(bad, ["lesion"], [{"lesion": 1}])
    values, problems = read_dose_values(tmp_path)
    assert len(problems) == 1
    assert problems[0].startswith("sub-02/ses-a/dwi/")
    assert values[["lesion", "region", "value"]].values.tolist() == [[1, "dose20", 0.2]] * 2


def test_the_page_shows_the_dose_and_isodose_lines(tmp_path):
    """A row per lesion, ROI and session, which session the dose is of, and one figure."""
    anat = tmp_path / "sub-01/ses-a/anat"
    image, lesion = radial()[0], (radial()[1] < 6).astype(np.uint8)
    stem = "sub-01_ses-a"
    for name, data in (
        ("ce-gadolinium_desc-preproc_T1w", image + 1),
        ("label-dose_dosemap", image),
        ("ce-gadolinium_seg-whole_desc-manual_dseg", lesion),
    ):
        write_image(anat / f"{stem}_{name}.nii.gz", np.asarray(data, np.float32), GRID)
    write_table(anat / f"{stem}_desc-dose_roistats.tsv", DOSE_COLUMNS, [dose_row("ses-a")])
    later = tmp_path / "sub-01/ses-b/anat/sub-01_ses-b_desc-dose_roistats.tsv"
    write_table(later, DOSE_COLUMNS, [dose_row("ses-b", covered=0.5, ring_ml=None)])
    participant = read_participant(tmp_path, "sub-01")
    participant.__dict__["lesion_names"] = {1: "lesion 1"}
    table, picture = show_dose(participant)
    assert [row[:3] for row in table.rows] == [
        ["Lesion 1", "a", "this session"],
        ["Lesion 1", "b", "carried from a"],
    ]
    assert table.rows[1][3] == ("whole", "50 % covered")
    assert table.rows[1][-1] == "–"
    axes = picture.figure.axes[0]
    assert len(axes.collections) == 1 + 3  # the lesion, and the lines of 12, 16 and 20 Gy
    assert show_dose(read_participant(tmp_path / "empty", "sub-01")) == []


def test_the_group_page_and_methods_show_changes_by_dose(tmp_path, empty_figures):
    """Tables, section and text of a study whose sessions have values by dose, and traits a dose."""
    reference = Path(__file__).parent / "data" / "reference_cohort"
    result = run_stats(reference / "lesions.tsv", tmp_path, traits=reference / "lesion_traits.tsv")
    values = pd.DataFrame(
        {
            "participant_id": "sub-01",
            "lesion": 1,
            "session_id": ["ses-baseline", "ses-1month"],
            "region": "ring12",
            "parameter": "Ktrans",
            "unit": "1/min",
            "value": [0.05, 0.04],
        }
    )
    statistics = result.statistics
    changes = dose_changes(values, statistics.lesions, list(statistics.timepoints))
    write_result(tmp_path, replace(result, dose=changes))
    page = (tmp_path / "group.html").read_text()
    assert "brain, from 12 Gy" in page
    assert "−20 %" in page
    text = (tmp_path / "logs/CITATION_group.md").read_text()
    assert "Guerrero and Li 2004, doi:10.1088/0031-9155/49/20/012" in text
    assert "divided at 12, 16 and 20 Gy" in text


def test_values_by_dose_on_the_grid_of_the_series_are_weighted(tmp_path):
    """With --roi-space native, by the fraction of each voxel inside each region."""
    _, nodes, edges = graph(tmp_path, [visit(tmp_path, "a", dose=True)], roi_space="native")
    inside = "sub_01.ses_a.dwi"
    assert edges[f"{inside}.dose_values.fractions"] == f"{inside}.dose_fractions.out_file"
    assert edges[f"{inside}.dose_fractions.rois"] == f"{inside}.inputnode.dose_regions"
    labels = [label for label, *_ in nodes[f"{inside}.dose_values"].inputs.regions]
    assert nodes[f"{inside}.dose_fractions"].inputs.lesions == labels
    assert nodes[f"{inside}.dose_values"].inputs.identity["space"] == "dwi"
