"""EPI distortion: known fields are recovered, zero stays zero; the pipeline applies them once."""

import json
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from datasets import write_description, write_dwi, write_image, write_json
from heads import grid, head, scan
from numpy.testing import assert_allclose
from scipy import ndimage

from bidsapp.bids.query import Query
from bidsapp.bids.records import (
    Diffusion,
    Distortion,
    FieldSource,
    Lesion,
    Rois,
    Session,
    UserTransform,
)
from bidsapp.config import Config
from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.distortion.fieldmap import correct_distortion, field_shift, pair_shift
from bidsapp.imaging.transforms import apply, write_itk
from bidsapp.imaging.warps import Shift, read_shift, write_shift
from bidsapp.phantom.acquisition import reversed_displacement
from bidsapp.run.graphs.branch import begin_branch
from bidsapp.run.graphs.dwi import init_dwi_wf
from bidsapp.run.graphs.plan import plan_participant, plan_session
from bidsapp.run.nodes.distortion import DistortionEffect
from bidsapp.run.status import describe_plan

pytestmark = pytest.mark.usefixtures("short_pages")

WHERE = grid((3, 3, 5), oblique=(4, -3, 2))


def places(where=WHERE):
    """Return the points of a grid, mm."""
    return apply(where[0], np.moveaxis(np.indices(where[1]), 0, -1))


def true_shift(size=4.0):
    """Return a field of an air space before the brain and one beside it, mm."""
    total = np.zeros(WHERE[1])
    for centre, width, share in (((0, 46, -16), 20, 1.0), ((46, -20, -28), 18, -0.6)):
        total += share * np.exp(-((places() - centre) ** 2).sum(-1) / 2 / width**2)
    return Shift((size * total).astype(np.float32), WHERE[0], 1)


@lru_cache
def without_noise(shift):
    """Return the b = 0 image that a shift, as bytes of its values, distorts."""
    data = np.frombuffer(shift, np.float32).reshape(WHERE[1])
    return correct_distortion(scan("b0", WHERE), Shift(data, WHERE[0], 1).inverse())


def distorted(shift, noise=0.0, seed=0):
    """Return the b = 0 image as EPI acquires it: each voxel's signal is displaced by the shift."""
    data = without_noise(shift.data.tobytes())
    rng = np.random.default_rng(seed)
    return np.abs(data + noise * rng.standard_normal(data.shape)).astype(np.float32)


def image(data):
    return nib.Nifti1Image(data, WHERE[0])


def brain():
    """Return the brain of the head on the grid."""
    source = head()
    voxels = np.moveaxis(apply(np.linalg.inv(source.affine), places()), -1, 0)
    return ndimage.map_coordinates(source.brain.astype(float), voxels, order=0) > 0


def test_a_reversed_pair_tells_a_known_field():
    """Shifts to 4 mm are known to 0.15 mm in the mean over the brain, noise or not."""
    truth = true_shift()
    against = Shift(-truth.data, truth.affine, 1)
    one, other = distorted(truth, 5, 1), distorted(against, 5, 2)
    found = pair_shift(image(one), image(other), 1)
    inside = brain()
    error = np.abs(found.shift.data - truth.data)[inside]
    size = np.abs(truth.data)[inside]
    assert size.max() > 3
    assert error.mean() < 0.15
    assert np.sqrt((error**2).mean()) < 0.25 * np.sqrt((size**2).mean())
    assert found.after < 0.7 * found.before


def test_the_other_image_may_be_distorted_more():
    """With twice the readout time the shift doubles; the field is recovered."""
    truth = true_shift(2.0)
    against = Shift(-2 * truth.data, truth.affine, 1)
    found = pair_shift(image(distorted(truth)), image(1.7 * distorted(against)), 1, ratio=2.0)
    assert np.abs(found.shift.data - truth.data)[brain()].mean() < 0.1


def test_no_distortion_stays_none():
    """Two images that differ in noise alone (SNR 17) give a shift of less than a tenth of a mm."""
    still = Shift(np.zeros(WHERE[1], np.float32), WHERE[0], 1)
    found = pair_shift(image(distorted(still, 5, 1)), image(distorted(still, 5, 2)), 1)
    assert np.abs(found.shift.data)[brain()].mean() < 0.1


def test_a_correction_restores_signal_and_place():
    """The image corrected is the undistorted one, better than the acquired one, all signal kept."""
    truth = true_shift()
    clean, acquired = scan("b0", WHERE), distorted(truth)
    fixed = correct_distortion(acquired, truth)
    inside = brain()
    assert np.abs(fixed - clean)[inside].mean() < 0.6 * np.abs(acquired - clean)[inside].mean()
    assert fixed.sum() == pytest.approx(acquired.sum(), rel=5e-3)


def test_a_field_map_on_another_grid_is_scaled():
    """Hz on a coarser grid become mm; where the map is masked, the nearest value holds."""
    truth = true_shift()
    other = grid((4, 4, 4))
    values = np.zeros(other[1])
    for centre, width, share in (((0, 46, -16), 20, 1.0), ((46, -20, -28), 18, -0.6)):
        values += share * np.exp(-((places(other) - centre) ** 2).sum(-1) / 2 / width**2)
    hertz = nib.Nifti1Image(values * 50, other[0])
    found = field_shift(hertz, image(distorted(truth)), 1, 4.0 / 50)
    assert np.abs(found.data - truth.data)[brain()].max() < 0.15
    masked = nib.Nifti1Image(np.where(places(other)[..., 0] < 0, values * 50, 0), other[0])
    assert field_shift(masked, image(distorted(truth)), 1, 0.08).data.min() > -1


def test_what_folds_or_misses_is_refused():
    """A field in the wrong unit folds the image; one elsewhere has no value: both in words."""
    epi = image(distorted(true_shift()))
    truth = true_shift()
    with pytest.raises(RegistrationError, match="folds the image"):
        field_shift(nib.Nifti1Image(truth.data, WHERE[0]), epi, 1, 20.0)
    far = nib.Nifti1Image(truth.data, WHERE[0] + np.eye(4, k=3) * 900)
    with pytest.raises(BadInput, match="does not cover the diffusion series"):
        field_shift(far, epi, 1, 1.0)
    with pytest.raises(BadInput, match="less than half"):
        pair_shift(epi, nib.Nifti1Image(truth.data + 1, far.affine), 1)


def test_the_phantoms_reversed_displacement_is_the_mirror_image():
    """Where signal appears moved by s, it appears moved by -s with the encoding reversed."""
    truth = true_shift(3.0)
    there = truth.inverse().data
    back = reversed_displacement(there, truth.spacing)
    assert_allclose(Shift(back, WHERE[0], 1).inverse().data, -truth.data, atol=0.05)


AFFINE = np.diag([2.0, 2, 2, 1])
EPI = {"PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05}


@pytest.fixture
def root(tmp_path):
    """Write a session with a T1w and a DWI."""
    write_description(tmp_path)
    stem = tmp_path / "sub-01/ses-a"
    write_image(stem / "anat/sub-01_ses-a_ce-gadolinium_T1w.nii.gz", np.ones((4, 4, 4)))
    write_dwi(tmp_path, "sub-01/ses-a/dwi/sub-01_ses-a", np.ones((4, 6, 4, 3)), [0, 500, 1000])
    write_json(stem / "dwi/sub-01_ses-a_dwi.json", EPI)
    return tmp_path


def add(root, name, affine=AFFINE, **sidecar):
    """Write an image of fmap."""
    stem = root / f"sub-01/ses-a/fmap/sub-01_ses-a_{name}"
    write_image(stem.with_name(stem.name + ".nii.gz"), np.ones((4, 6, 4)), affine)
    write_json(stem.with_name(stem.name + ".json"), sidecar)


def outcome(root):
    return Query(root).participant("01").sessions[0].distortion


def test_a_field_map_is_found_and_scaled(root):
    """Hz times readout time times voxel; rad/s are divided by 2 pi; j- turns the sign."""
    add(root, "fieldmap", Units="Hz")
    assert outcome(root).source.kind == "fieldmap"
    assert outcome(root).source.scale == pytest.approx(0.05)
    add(root, "fieldmap", Units="rad/s")
    write_json(
        root / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.json", EPI | {"PhaseEncodingDirection": "j-"}
    )
    assert outcome(root).source.scale == pytest.approx(-0.05 / 2 / np.pi)
    assert outcome(root).axis == 1


def test_a_reversed_epi_is_found_by_where_it_points(root):
    """Opposite in the scanner, whatever the letters; the ratio is that of the shifts in mm."""
    add(root, "dir-PA_epi", **EPI)
    assert outcome(root).source is None
    assert "do not have the reversed phase encoding" in outcome(root).lack
    add(root, "dir-AP_epi", **EPI | {"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.1})
    assert outcome(root).source.kind == "epi"
    assert outcome(root).source.scale == pytest.approx(4)
    add(root, "dir-AP_epi", np.diag([2.0, -2, 2, 1]), **EPI)
    assert outcome(root).source.scale == pytest.approx(2)


def test_fields_belong_to_the_series_they_name(root):
    """IntendedFor and B0FieldIdentifier choose; a field of another series is not taken."""
    add(root, "fieldmap", Units="Hz", IntendedFor="ses-a/func/sub-01_ses-a_task-rest_bold.nii.gz")
    assert "no image in fmap is intended" in outcome(root).lack
    add(root, "fieldmap", Units="Hz", IntendedFor=["ses-a/dwi/sub-01_ses-a_dwi.nii.gz"])
    assert outcome(root).source
    uri = "bids::sub-01/ses-a/dwi/sub-01_ses-a_dwi.nii.gz"
    add(root, "fieldmap", Units="Hz", IntendedFor=uri)
    assert outcome(root).source
    add(root, "fieldmap", Units="Hz", B0FieldIdentifier="b0one")
    assert not outcome(root).source
    write_json(root / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.json", EPI | {"B0FieldSource": "b0one"})
    assert outcome(root).source


def planned(person, distortion):
    """Return the lines of ``--dry-run``."""
    config = Config(Path(), Path(), Path(), "run", distortion=distortion)
    return describe_plan(plan_participant(person, config))


@pytest.mark.parametrize(
    ("sidecar", "message"),
    [
        ({}, "PhaseEncodingDirection is missing"),
        ({"PhaseEncodingDirection": "j"}, "TotalReadoutTime is missing"),
        ({"PhaseEncodingDirection": "j", "TotalReadoutTime": 50}, "is it in seconds"),
    ],
)
def test_what_is_wrong_is_said_in_words(root, sidecar, message):
    """A field that cannot be used stops the DWI of a run that asks for it, and no other run."""
    add(root, "fieldmap", Units="Hz")
    write_json(root / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.json", sidecar)
    assert message in outcome(root).problem
    person = Query(root).participant("01")
    assert message not in "\n".join(planned(person, "none"))
    lines = planned(person, "auto")
    assert any("no DWI with --distortion auto" in line and message in line for line in lines)
    assert "dwi" not in lines[0].split(";")[0]


def test_an_unknown_phase_encode_direction_is_reported(root):
    """Letters of the patient are no axis of the image; the field is not taken."""
    write_json(
        root / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.json", EPI | {"PhaseEncodingDirection": "AP"}
    )
    add(root, "fieldmap", Units="Hz")
    assert "PhaseEncodingDirection is 'AP'" in outcome(root).problem
    assert outcome(root).source is None


def write_2d(root, codes, sizes, direction, **sidecar):
    """Write a 2D series with given axes, voxel sizes and phase encoding; return its outcome."""
    name = root / "sub-01/ses-a/dwi/sub-01_ses-a_dwi"
    affine = np.eye(4)
    for axis, (row, sign) in enumerate(nib.orientations.axcodes2ornt(codes)):
        affine[:3, axis] = sign * sizes[axis] * (np.arange(3) == row)
    assert nib.aff2axcodes(affine) == tuple(codes)
    image = name.with_name(name.name + ".nii.gz")
    image.unlink()
    write_image(image, np.ones((4, 6, 4, 3)), affine)
    fields = {"PhaseEncodingDirection": direction, "MRAcquisitionType": "2D"} | sidecar
    write_json(name.with_name(name.name + ".json"), EPI | fields)
    return outcome(root)


def test_a_2d_series_encodes_no_phase_along_its_slices(root):
    """Along k a 2D acquisition selects its slices: the series is refused, with the way out."""
    found = write_2d(root, "RAS", (2, 2, 2), "k-").problem
    assert "PhaseEncodingDirection is 'k-', which is the slice axis of this 2D series" in found
    assert "BIDS assumes k" in found
    assert write_2d(root, "RAS", (2, 2, 2), "k-", MRAcquisitionType="3D").axis == 2


@pytest.mark.parametrize(
    ("sizes", "stated"), [((5, 2, 2), {}), ((2, 2, 2), {"SliceEncodingDirection": "i"})]
)
def test_slices_may_be_stored_along_any_axis(root, sizes, stated):
    """Axial slices stored as IRA lie along i; phase encoding along k, A, is in plane: accepted."""
    assert write_2d(root, "IRA", sizes, "k", **stated).axis == 2


@pytest.mark.parametrize(
    ("sizes", "stated", "reason"),
    [
        ((5, 2, 2), {}, "its voxels measure 5 mm along it"),
        ((2, 2, 5), {"SliceEncodingDirection": "i-"}, "(SliceEncodingDirection)"),
    ],
)
def test_the_slice_axis_is_refused_wherever_it_is_stored(root, sizes, stated, reason):
    """The statement of the sidecar precedes the voxel size; the message names which was used."""
    assert reason in write_2d(root, "IRA", sizes, "i", **stated).problem
    assert write_2d(root, "IRA", sizes, "k", **stated).axis == 2


def test_slightly_longer_voxels_are_no_slices(root):
    """Voxels of 2.5 mm in plane, in slices of 2 mm, do not make their axis that of the slices."""
    assert write_2d(root, "RAS", (2, 2.5, 2), "j").axis == 1


def test_what_is_missing_is_said_in_words(root):
    """Without a field the DWI is analysed as it is, with a message."""
    lines = planned(Query(root).participant("01"), "auto")
    assert any("EPI distortion not corrected: there is no field map" in line for line in lines)
    add(root, "phasediff", EchoTime1=0.004, EchoTime2=0.006)
    assert "no field map is computed from phasediff in fmap" in outcome(root).lack
    add(root, "run-1_fieldmap", Units="Hz")
    add(root, "run-2_fieldmap", Units="Hz")
    assert "several field maps" in outcome(root).problem


BVALUES = [0.0, 200, 400, 600, 800, 1000]
GRID = (np.diag([2.0, 2, 4, 1]), (24, 28, 12))


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Write a T1w, and a DWI whose lesion appears 4 mm off along j, with the field map of that."""
    folder = tmp_path_factory.mktemp("session")
    fine = (np.diag([2.0, 2, 2, 1]), (24, 28, 24))
    fine[0][2, 3] = -1
    moved = tuple(slice(a, b) for a, b in ((8, 14), (12, 18), (5, 8)))
    labels = np.zeros(fine[1], np.uint8)
    labels[8:14, 10:16, 10:16] = 4
    inside = np.zeros(fine[1], np.uint8)
    inside[3:21, 4:24, 2:22] = 1
    adc = np.full(GRID[1], 0.7e-3)
    adc[moved] = 1.4e-3
    write_image(folder / "t1w.nii", inside * 100.0, fine[0])
    write_image(folder / "brain.nii", inside, fine[0])
    write_image(folder / "rois.nii", labels, fine[0])
    signal = 100 * np.exp(-adc[..., None] * np.array(BVALUES))
    write_image(folder / "dwi.nii", signal.astype(np.float32), GRID[0])
    write_image(folder / "field.nii", np.full(GRID[1], 40.0, np.float32), GRID[0])
    write_itk(np.eye(4), folder / "from-dwi_to-T1w_mode-image_xfm.txt")
    return folder


@pytest.mark.parametrize(
    "options",
    [{}, {"roi_space": "native"}, {"fit_space": "T1w", "output_spaces": ("T1w",)}],
    ids=str,
)
def test_lesions_are_measured_where_their_signal_is(session, tmp_path, options):
    """In each space the lesion's ADC is its own but for the edge; without, a third is beside it."""
    found = {}
    for distortion in ("none", "auto"):
        record = Session(
            "01",
            "a",
            t1w=session / "t1w.nii",
            diffusion=Diffusion(session / "dwi.nii", tuple(BVALUES), None),
            distortion=Distortion(1, FieldSource("fieldmap", session / "field.nii", 0.1)),
            enhancing=(Rois(session / "rois.nii", "T1w", (Lesion(4, "left"),)),),
            transforms=(UserTransform("dwi", session / "from-dwi_to-T1w_mode-image_xfm.txt"),),
        )
        folder = tmp_path / distortion
        config = Config(
            session,
            folder / "out",
            folder / "work",
            "run",
            motion_correction=False,
            distortion=distortion,
            **options,
        )
        workflow = init_dwi_wf(
            begin_branch(
                "dwi",
                record.diffusion,
                plan_session(record, config),
                config,
                frozenset(),
                record.t1w,
            )
        )
        workflow.inputs.inputnode.t1w_mask = str(session / "brain.nii")
        workflow.base_dir = str(folder / "work")
        workflow.run()
        out = folder / "out/sub-01/ses-a/dwi"
        name = "sub-01_ses-a_seg-enhancing_model-ivim_roistats.tsv"
        head_, *rows = (line.split("\t") for line in (out / name).read_text().splitlines())
        table = [dict(zip(head_, r, strict=True)) for r in rows]
        found[distortion] = float(next(r["mean"] for r in table if r["parameter"] == "ADC"))
    assert found["auto"] == pytest.approx(1.4e-3, rel=0.06)
    assert found["none"] < 1.2e-3
    quality = json.loads((out / "sub-01_ses-a_desc-distortion_quality.json").read_text())
    assert quality["method"] == "field map"
    assert quality["mean_abs_shift_mm"] == pytest.approx(4)
    assert quality["max_abs_shift_mm"] == pytest.approx(4)
    shift = read_shift(out / "sub-01_ses-a_desc-distortion_shift.nii.gz")
    assert shift.axis == 1
    sidecar = json.loads((out / "sub-01_ses-a_desc-distortion_shift.json").read_text())
    assert sidecar["Units"] == "mm"


def test_zeros_around_a_field_map_are_no_field():
    """Outside its mask the field is that of the nearest voxel inside."""
    grid_2mm, field = np.diag([2.0, 2, 2, 1]), np.full((6, 6, 6), 20.0)
    field[:2], field[5] = 0, np.nan
    epi = nib.Nifti1Image(np.arange(216.0).reshape(6, 6, 6), grid_2mm)
    found = field_shift(nib.Nifti1Image(field, grid_2mm), epi, 1, 0.1)
    assert_allclose(found.data, 2.0, rtol=1e-6)


def test_the_size_of_a_distortion_has_no_sign(tmp_path):
    """Half of the brain 2 mm forward, half 3 mm back: 2.5 mm in the mean, not 0.5."""
    data = np.full((4, 8, 4), 2.0, np.float32)
    data[:, 4:] = -3
    data[0] = 50  # outside the brain
    inside = np.ones(data.shape, np.uint8)
    inside[0] = 0
    shift = write_shift(Shift(data, np.diag([4.0, 4, 4, 1]), 1), tmp_path / "shift.nii")
    mask = write_image(tmp_path / "mask.nii", inside, np.diag([4.0, 4, 4, 1]))
    node = DistortionEffect(shift=shift, mask=str(mask))
    found = json.loads(Path(node.run(cwd=str(tmp_path)).outputs.quality).read_text())
    assert (found["mean_abs_shift_mm"], found["max_abs_shift_mm"]) == (2.5, 3)
    # Between the halves the slope is -5 mm over two voxels of 4 mm.
    assert (found["least_jacobian"], found["largest_jacobian"]) == (1 - 5 / 8, 1)
