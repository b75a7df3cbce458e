"""What makes the phantom less ideal: uneven lesions, veins, drawing errors, and a retest."""

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from bidsapp.bids.query import Query
from bidsapp.cli.main import main
from bidsapp.errors import BadInput, UsageError
from bidsapp.lesions.dose import summarise_dose
from bidsapp.phantom import write_phantom
from bidsapp.phantom.acquisition import ImageGrid
from bidsapp.phantom.anatomy import Anatomy, TissuePart, gaussian_field
from bidsapp.phantom.cohort import State, add_retest, draw_cohort, study_rows
from bidsapp.phantom.contents import session_tissues
from bidsapp.phantom.lesions import (
    SimulatedLesion,
    add_patches,
    add_veins,
    ball_cover,
    draw_shapes,
    grow_lesions,
)
from bidsapp.phantom.reader import Reader, draw_reader, edge_distance, redraw_lesions
from bidsapp.phantom.rois import label_lesions, tissue_labels, true_parameters
from bidsapp.phantom.scene import build_scene
from bidsapp.phantom.series import FIELDS_OF_VIEW
from bidsapp.phantom.uneven import LEVELS, OUTER, PATCH_SD, perfusion_pattern
from bidsapp.phantom.vessels import GAP, RADIUS, vein_cover
from bidsapp.study.read import load_study_table
from bidsapp.study.tables.repeatability import repeatability_table
from bidsapp.study.tables.timepoints import assign_timepoints

VOLUMES = {1: 4.0, 2: 0.3, 3: 1.2}
STATE = State(volume=1.0, vp=0.037, Ktrans=0.068, ve=0.108, ADC=1.1e-3, f=0.083, excluded=False)
VARYING = ("Ktrans", "vp", "ve", "f", "ADC")
NONE = TissuePart(np.zeros(0, np.int32), np.zeros(0, np.float32))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def block():
    """A block of white matter, 120 x 120 x 100 mm; all but its outer 10 mm is brain."""
    shape = (120, 120, 100)
    index = np.arange(int(np.prod(shape)), dtype=np.int32)
    third = np.full(len(index), 1 / 3, np.float32)
    full, brain = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    brain[10:-10, 10:-10, 10:-10] = 1
    affine = np.eye(4)
    affine[:3, 3] = [-60, -78, -40]
    parts = {f"white_{axis}": TissuePart(index, third) for axis in "xyz"}
    return Anatomy(affine, shape, parts, full, brain, brain, np.zeros_like(full))


@pytest.fixture(scope="module")
def shapes(block):
    return draw_shapes(block, VOLUMES, VOLUMES, rng(5))


@pytest.fixture(scope="module")
def plain(block, shapes):
    return grow_lesions(block, shapes, VOLUMES)


@pytest.fixture(scope="module")
def uneven(block, shapes):
    return grow_lesions(block, add_patches(shapes, rng(1)), VOLUMES)


@pytest.fixture(scope="module")
def veined(block, shapes):
    return grow_lesions(block, add_veins(shapes, rng(2)), VOLUMES)


def same(one, other):
    return np.array_equal(one.index, other.index) and np.array_equal(one.fraction, other.fraction)


def covered(block, *parts):
    """Coverage of the voxels of a head by parts."""
    total = np.zeros(block.shape, np.float32)
    for part in parts:
        total.ravel()[part.index] += part.fraction
    return total


def rim_means(tissues, lesions, number):
    """Mean of each parameter over the volume of a rim, from the tissues that are imaged."""
    parts = {k: p for k, p in lesions[number].parts.items() if k.startswith("rim")}
    volumes = [part.fraction.sum(dtype=float) for part in parts.values()]
    values = [true_parameters(tissues[f"lesion-{number}_{kind}"]) for kind in parts]
    return {n: np.average([v[n] for v in values], weights=volumes) for n in VARYING}


def test_the_truth_is_the_mean_of_an_uneven_lesion(uneven):
    """In a lesion of any size, volume-weighted means of the levels are the values of the table."""
    tissues, problems = session_tissues(
        dict.fromkeys(VOLUMES, STATE), dict.fromkeys(VOLUMES, 1.6), uneven
    )
    assert not problems
    for number in VOLUMES:
        means = rim_means(tissues, uneven, number)
        assert means == pytest.approx({n: getattr(STATE, n) for n in VARYING}, rel=1e-6)
        spread = [tissues[f"lesion-{number}_rim-{n}"].Ktrans for n in range(1, LEVELS + 1)]
        assert spread == sorted(spread)
        assert 1.6 < spread[-1] / spread[0] < 3


def test_parameters_vary_as_documented(uneven):
    """Ktrans, vp and f are proportional; ve varies less, and ADC less in the other direction."""
    tissues, _ = session_tissues({1: STATE}, {1: 1.6}, uneven)
    low, high = (true_parameters(tissues[f"lesion-1_rim-{n}"]) for n in (1, LEVELS))
    ratio = {n: high[n] / low[n] for n in VARYING}
    assert ratio["vp"] == pytest.approx(ratio["Ktrans"])
    assert ratio["f"] == pytest.approx(ratio["Ktrans"])
    assert 1 < ratio["ve"] < ratio["Ktrans"] ** 0.5
    assert 0.7 < ratio["ADC"] < 1
    assert high["T1"] == low["T1"]


def test_variation_stops_at_what_is_possible(uneven):
    """A value near its limit varies less, with the same mean, and this is reported."""
    state = State(volume=1.0, vp=0.04, Ktrans=0.1, ve=0.9, ADC=1.1e-3, f=0.1, excluded=False)
    tissues, problems = session_tissues({1: state}, {1: 1.6}, uneven)
    assert "lesion 1 varies by 0.5 of the full variation" in problems[0]
    assert rim_means(tissues, uneven, 1)["ve"] == pytest.approx(0.9, rel=1e-6)
    assert tissues[f"lesion-1_rim-{LEVELS}"].ve <= 1


def test_uneven_lesions_keep_their_extent(plain, uneven):
    """Only the content of the rim changes: every part and volume is that of a uniform lesion."""
    for number, lesion in plain.items():
        other = uneven[number]
        assert other.volume == lesion.volume
        assert all(same(getattr(lesion, k), getattr(other, k)) for k in ("rim", "core", "oedema"))
        index = np.concatenate([level.part.index for level in other.levels])
        assert np.array_equal(np.sort(index), lesion.rim.index)


def test_a_lesion_of_few_voxels_has_as_many_levels(block, shapes):
    """Smaller than the number of levels, a lesion still has its mean."""
    tiny = grow_lesions(block, add_patches(shapes, rng(1)), {2: 0.002})
    assert 1 <= len(tiny[2].levels) < LEVELS
    tissues, _ = session_tissues({2: STATE}, {2: 1.6}, tiny)
    assert rim_means(tissues, tiny, 2)["Ktrans"] == pytest.approx(STATE.Ktrans, rel=1e-6)


def test_perfusion_is_a_gradient_times_patches():
    """The edges differ by the stated ratio; the patches have the stated SD and size."""
    across = np.array([4.0, 8.0, 12.0])
    pattern = perfusion_pattern(across, 4.0, 12.0, np.zeros(3))
    assert pattern == pytest.approx([1, (1 + OUTER) / 2, OUTER])
    field = np.array([gaussian_field((30, 30, 30), 5.0, rng(n)) for n in range(30)])
    patches = np.log(perfusion_pattern(np.zeros_like(field), 0.0, 1.0, field))
    assert patches.std() == pytest.approx(PATCH_SD, rel=0.05)
    distant = np.corrcoef(patches[:, 5:].ravel(), patches[:, :-5].ravel())[0, 1]
    assert distant == pytest.approx(np.exp(-1), abs=0.06)


def test_true_maps_show_the_levels(block, uneven):
    """Voxels of a ROI have the levels of the rim, and nearly its mean."""
    scene = build_scene(block, uneven)
    grid = ImageGrid((56, 56, 46), block.affine @ np.diag([2.0, 2, 2, 1]))
    rois = label_lesions(block, uneven, grid, np.eye(4), (2, 2, 2))
    labels = tissue_labels(scene, grid, np.eye(4), rois)
    tissues, _ = session_tissues(dict.fromkeys(VOLUMES, STATE), dict.fromkeys(VOLUMES, 1.6), uneven)
    values = np.array([np.nan, *(tissues[name].Ktrans for name in scene.tissues)])[labels]
    inside = values[rois["enhancing"] == 1]
    assert len(np.unique(inside)) == LEVELS
    assert inside.mean() == pytest.approx(STATE.Ktrans, rel=0.05)


def distance_between(lesion, vein):
    """Smallest distance between the edges of a lesion and a vein, mm."""
    box = ndimage.find_objects((lesion + vein > 0).astype(int))[0]
    away = edge_distance(lesion[box])
    return away[vein[box] > 0.5].min() - 0.5  # from the centre of a voxel of the vein to its edge


def test_veins_pass_the_lesion_at_their_distance(block, veined, plain):
    """A vein of the stated radius lies beside the lesion, which keeps its volume and voxels."""
    for number, lesion in veined.items():
        assert lesion.volume == plain[number].volume
        assert same(lesion.rim, plain[number].rim)
        whole = covered(block, lesion.rim, lesion.core)
        vein = covered(block, lesion.vein)
        assert GAP[0] - 0.6 < distance_between(whole, vein) < GAP[1] + 0.6
        depth = ndimage.distance_transform_edt(vein > 0.5).max()
        assert RADIUS[0] - 0.7 <= depth <= RADIUS[1] + 0.7
        everything = covered(block, lesion.rim, lesion.core, lesion.oedema, lesion.vein)
        assert everything.max() <= 1 + 1e-5


def test_a_vein_takes_only_free_space(block, shapes):
    """Outside the brain or in another lesion there is none of it."""
    shape = add_veins(shapes, rng(2))[1]
    whole = np.clip(9.5 - shape.distance, 0, 1)
    free = 1 - whole
    everywhere = vein_cover(shape.veins[0], whole, shape.centre, free)
    free[:, :, : shape.centre[2]] *= 0.25
    here = vein_cover(shape.veins[0], whole, shape.centre, free)
    assert (everywhere[:, :, : shape.centre[2]] > 0.25).any()
    assert np.array_equal(here, np.minimum(everywhere, free))


def test_a_growing_lesion_displaces_its_veins(block, shapes):
    """In a session with a larger lesion, the vein passes at the same distance, further out."""
    beside = add_veins(shapes, rng(2))
    for volume in (1.0, 4.0):
        lesion = grow_lesions(block, beside, {1: volume})[1]
        whole = covered(block, lesion.rim, lesion.core)
        gaps = [vein.gap for vein in beside[1].veins]
        distance = distance_between(whole, covered(block, lesion.vein))
        assert distance == pytest.approx(min(gaps), abs=0.6)


def test_veins_carry_venous_blood(block, veined):
    """They are imaged as the venous sinuses are, and no map has a Ktrans there."""
    scene = build_scene(block, veined)
    tissues, _ = session_tissues(dict.fromkeys(VOLUMES, STATE), dict.fromkeys(VOLUMES, 1.6), veined)
    assert {"lesion-1_vein", "lesion-2_vein"} <= set(scene.tissues)
    assert tissues["lesion-1_vein"].blood == "vein"
    assert np.isnan(true_parameters(tissues["lesion-1_vein"])["Ktrans"])


@pytest.fixture(scope="module")
def ball(block):
    """A spherical lesion with a radius of 14 mm, without a core."""
    axes = np.meshgrid(*[np.arange(n) - n // 2 for n in block.shape], indexing="ij")
    cover, _ = ball_cover(np.linalg.norm(axes, axis=0).astype(np.float32), block.brain, 11.494)
    index = np.flatnonzero(cover).astype(np.int32)
    rim = TissuePart(index, cover.ravel()[index])
    return {1: SimulatedLesion(rim, NONE, NONE, 11.494)}


def displacements(block, ball, reader, seed):
    """Distances of the drawn edge from the centre of a sphere, less its radius, on all sides."""
    drawn = redraw_lesions(block, ball, reader, rng(seed))[1]
    cover = covered(block, drawn.rim, drawn.core)
    sides = rng(9).standard_normal((200, 3))
    sides /= np.linalg.norm(sides, axis=1, keepdims=True)
    reach = np.arange(0, 28, 0.1)
    places = np.array(block.shape)[:, None, None] // 2 + sides.T[:, :, None] * reach
    along = ndimage.map_coordinates(cover, places, order=1)
    last = along.shape[1] - 1 - (along[:, ::-1] >= 0.5).argmax(axis=1)
    return sides, reach[last] + 0.05 - 14


def test_drawn_edges_have_the_stated_error(block, ball):
    """SD, offset and correlation length of the distances between drawn and true edges."""
    found = [displacements(block, ball, Reader(1.0, 0.0), seed) for seed in range(8)]
    sides, moved = found[0][0], np.array([d for _, d in found])
    assert moved.std() == pytest.approx(1.0, rel=0.15)
    assert moved.mean() == pytest.approx(0, abs=0.25)
    apart = 14 * np.linalg.norm(sides[:, None] - sides, axis=2)
    product = (moved[:, :, None] * moved[:, None]).mean(axis=0)
    near, far = product[(apart > 1) & (apart < 3)].mean(), product[apart > 20].mean()
    at_length = product[(apart > 7.5) & (apart < 8.5)].mean()
    assert near > 0.75
    assert at_length == pytest.approx(np.exp(-1), abs=0.2)
    assert abs(far) < 0.25


def test_the_offset_displaces_all_edges(block, ball):
    """Without a random field, a sphere is drawn as a sphere with another radius."""
    for offset in (-1.3, 0.8):
        _, moved = displacements(block, ball, Reader(0.0, offset), 0)
        assert moved == pytest.approx(offset, abs=0.2)
    offsets = [draw_reader(2.0, rng(n)).offset for n in range(2000)]
    assert np.std(offsets) == pytest.approx(1.0, rel=0.06)
    assert np.mean(offsets) == pytest.approx(0, abs=0.08)


def test_the_distance_to_an_edge_has_no_bias():
    """Of spheres of known radius, between the centres of voxels as well."""
    distance = np.linalg.norm(np.meshgrid(*[np.arange(-20, 21.0)] * 3, indexing="ij"), axis=0)
    for radius in (3.0, 7.3, 12.5):
        cover = np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)
        wrong = edge_distance(cover) - (distance - radius)
        assert abs(wrong[np.abs(distance - radius) < 3].mean()) < 0.08
        assert np.abs(wrong[np.abs(distance - radius) < 3]).max() < 0.3


def test_every_lesion_is_drawn(block, shapes):
    """With the largest error, the smallest lesion has voxels, and no lesion loses its own."""
    volumes = {1: 2.1, 2: 0.02, 3: 0.1}
    lesions = grow_lesions(block, shapes, volumes)
    grid = ImageGrid((60, 60, 50), block.affine @ np.diag([2.0, 2, 2, 1]))
    for reader in (Reader(5.0, -2.5), Reader(5.0, 2.5), Reader(0.5, -9.0)):
        drawn = redraw_lesions(block, lesions, reader, rng())
        rois = label_lesions(block, drawn, grid, np.eye(4), (1, 1, 1))
        for name in ("enhancing", "whole"):
            assert np.unique(rois[name]).tolist() == [0, 1, 2, 3]


def test_a_lesion_is_not_drawn_over_another(block, ball):
    """However far an edge is displaced, the true extent of the others is left out."""
    voxels = np.array(np.unravel_index(ball[1].rim.index, block.shape)) - [[30], [0], [0]]
    index = np.ravel_multi_index(tuple(voxels), block.shape).astype(np.int32)
    beside = SimulatedLesion(TissuePart(index, ball[1].rim.fraction), NONE, NONE, 11.494)
    lesions = {**ball, 2: beside}  # 2 mm apart
    drawn = redraw_lesions(block, lesions, Reader(0.0, 5.0), rng())
    for number, other in ((1, 2), (2, 1)):
        here = covered(block, drawn[number].rim, drawn[number].core)
        assert here.sum() > 1.5 * 11_494
        assert (here + covered(block, lesions[other].rim)).max() <= 1 + 1e-5


def test_a_retest_repeats_the_first_session():
    """The same lesions, one day later; nothing else in the course changes."""
    person = draw_cohort(1, seed=0)[0]
    again = add_retest(person, "table")
    assert [s.label for s in again.sessions] == [
        "ses-baseline",
        "ses-retest",
        "ses-1week",
        "ses-1month",
        "ses-followup",
    ]
    assert again.sessions[1].lesions == person.sessions[0].lesions
    assert again.sessions[1].days == person.sessions[0].days + 1
    assert (again.sessions[0], *again.sessions[2:]) == person.sessions
    with pytest.raises(BadInput, match="--retest adds ses-retest on day -4"):
        add_retest(again, "table")


def test_the_group_level_takes_the_retest_as_repeats(tmp_path):
    """Of the truth, all lesions are repeated, and none differs."""
    people = [add_retest(person, "table") for person in draw_cohort(3, seed=1)]
    rows = pd.DataFrame([row for person in people for row in study_rows(person)])
    rows.to_csv(tmp_path / "lesions.tsv", sep="\t", index=False, na_rep="n/a")
    cohort = load_study_table(tmp_path / "lesions.tsv")
    kept = assign_timepoints(cohort).lesions
    table = repeatability_table(cohort, kept, ("ses-baseline", "ses-retest"))
    repeated = table.set_index("parameter")
    assert {"vp", "Ktrans", "ve", "ADC", "f"} <= set(repeated.index)
    assert (repeated["n"] == 4).all()
    assert (repeated["within_sd"] == 0).all()


def test_the_command_line_requests_what_is_written(tmp_path, monkeypatch):
    """Every option reaches the simulation; none is on by default."""
    asked = []
    monkeypatch.setattr("bidsapp.phantom.write_phantom", lambda _, **given: asked.append(given))
    words = ["--uneven-lesions", "--veins", "--retest", "--dose", "--roi-error", "0.8"]
    assert main(["phantom", str(tmp_path), *words]) == main(["phantom", str(tmp_path)]) == 0
    names = ("uneven", "veins", "retest", "dose", "roi_error")
    assert [[given[n] for n in names] for given in asked] == [
        [True, True, True, True, 0.8],
        [False, False, False, False, 0.0],
    ]


COHORT = """\
participant_id lesion session_id days_from_srs vp Ktrans ve ADC f volume_ml excluded
sub-01 1 ses-baseline -5 n/a n/a n/a n/a n/a 2.5 0
sub-01 1 ses-followup 90 n/a n/a n/a n/a n/a 1.5 0
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory, block):
    """Write data sets of T1w images of the block, by the options that were used."""
    root = tmp_path_factory.mktemp("written")
    table = root / "lesions.tsv"
    table.write_text(COHORT.replace(" ", "\t"))
    cases = {
        "none": {},
        "uneven": {"uneven": True},
        "veins": {"veins": True},
        "roi_error": {"roi_error": 1.5},
        "retest": {"retest": True, "roi_error": 1.5},
        "dose": {"dose": True},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bidsapp.phantom.participant.draw_anatomy", lambda _: block)
        patch.setitem(FIELDS_OF_VIEW, "t1w", (140.0, 140.0, 120.0))
        for name, options in cases.items():
            write_phantom(root / name, cohort=table, seed=2, **options)
    return root


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def differing(written, one, other):
    """Kinds of files that differ between two data sets, of those that both have."""
    first, second = digests(written / one), digests(written / other)
    names = [n for n in first.keys() & second.keys() if first[n] != second[n]]
    return {"_".join(n.split("/")[-1].split("_")[2:]) or n.split("/")[-1] for n in names}


ABOUT = {"README.md", "lesions.json"}


def test_every_option_changes_what_it_concerns(written):
    """Uneven lesions and veins change contrast, errors only ROIs; the rest is byte-identical."""
    image = "ce-gadolinium_T1w.nii.gz"
    assert differing(written, "none", "uneven") == {image, *ABOUT}
    assert differing(written, "none", "veins") == {image, "space-T1w_T1map.nii.gz", *ABOUT}
    rois = {
        f"ce-gadolinium_seg-{kind}_dseg{extension}"
        for kind in ("enhancing", "whole")
        for extension in (".nii.gz", ".json")
    }
    assert differing(written, "none", "roi_error") == rois | ABOUT


def test_a_dose_is_a_map_of_the_first_session_that_a_run_accepts(written):
    """It adds that file alone; the lesion receives its prescription, and there is no doubt."""
    assert differing(written, "none", "dose") == ABOUT
    (added,) = {
        name.partition(".")[0]
        for name in digests(written / "dose").keys() - digests(written / "none").keys()
    }
    assert "ses-baseline" in added
    masks = written / "dose/derivatives/manual_masks"
    first, second = Query(written / "dose", [masks]).participant("01").sessions
    assert first.dose.name == f"{Path(added).name}.nii.gz"
    assert second.dose is None
    assert not any("dose" in text for text in (*first.problems, *first.warnings))
    whole = nib.load(next(first.dose.parent.glob("*seg-whole_dseg.nii.gz"))).get_fdata() > 0
    found = summarise_dose(nib.load(first.dose).get_fdata(), whole, 1.0)
    assert (found.minimum, found.maximum) == (20, 28)


def test_a_retest_leaves_the_other_sessions_as_they_are(written):
    """It adds its own files; those of other sessions are byte-identical."""
    assert differing(written, "roi_error", "retest") == {
        "lesions.tsv",
        "sub-01_sessions.tsv",
        *ABOUT,
    }
    added = digests(written / "retest").keys() - digests(written / "roi_error").keys()
    assert added
    assert all("/ses-retest/" in name for name in added)


def test_a_retest_is_imaged_and_drawn_anew(written):
    """Pose, noise and edges of the second session differ from those of the first."""
    root = written / "retest"
    sessions = pd.read_csv(root / "sub-01/sub-01_sessions.tsv", sep="\t")
    assert sessions["session_id"].tolist() == ["ses-baseline", "ses-retest", "ses-followup"]
    assert sessions["days_since_treatment"].tolist() == [-5, -4, 90]
    truth = pd.read_csv(root / "derivatives/truth/lesions.tsv", sep="\t").set_index("session_id")
    assert truth.loc["ses-retest", "volume_ml"] == truth.loc["ses-baseline", "volume_ml"]
    name = "sub-01/{0}/anat/sub-01_{0}_ce-gadolinium_{1}"
    first, second = (nib.load(root / name.format(f"ses-{s}", "T1w.nii.gz")) for s in NAMES)
    assert not np.allclose(first.affine, second.affine, atol=0.1)
    masks = root / "derivatives/manual_masks"
    sidecars = [
        json.loads((masks / name.format(f"ses-{s}", "seg-whole_dseg.json")).read_text())
        for s in NAMES
    ]
    edges = [sidecar["EdgeDisplacement"] for sidecar in sidecars]
    assert edges[0]["Offset"] != edges[1]["Offset"]
    assert edges[0]["StandardDeviation"] == 1.5


NAMES = ("baseline", "retest")


def test_the_data_set_says_what_it_is(written):
    """README and lesions.json describe the options that were used, and only those."""
    words = {"uneven": "uneven", "veins": "veins", "roi_error": "--roi-error", "retest": "--retest"}
    words["dose"] = "--dose"
    for name, word in words.items():
        assert word in (written / name / "README.md").read_text()
        assert word not in (written / "none/README.md").read_text()
    about = json.loads((written / "retest/derivatives/truth/lesions.json").read_text())
    assert about["Phantom"]["ROIError"] == 1.5
    assert about["Phantom"]["Retest"] is True
    assert "Veins" not in about["Phantom"]


def test_errors_of_rois_are_limited(tmp_path):
    """An error larger than most lesions is refused before anything is written."""
    with pytest.raises(UsageError, match="--roi-error must be from 0 to 5 mm, got 6"):
        write_phantom(tmp_path / "new", roi_error=6.0)
    assert not (tmp_path / "new").exists()
