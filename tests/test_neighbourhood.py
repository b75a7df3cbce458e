"""Regions that are not drawn: rings, mirror images, and the reference region in white matter."""

from functools import cache

import nibabel as nib
import numpy as np
import pytest
from heads import grid, pose
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.masks import template_path
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import apply, compose, invert
from bidsapp.lesions.neighbourhood import mirror_lesions, partial_images, surrounding_rings
from bidsapp.lesions.reference import LEAST_ML, LESION_MARGIN, find_reference, follow_region

ZOOMS = (2.0, 2.0, 3.0)


@cache
def template_map(kind):
    """Return a probability map of the template, 0 to 1, and its affine."""
    path = template_path("wm")
    image = nib.load(path.with_name(path.name.replace("_wm_", f"_{kind}_")))
    return image.get_fdata(dtype=np.float32) / 255, image.affine


def ball(affine, shape, centre, radius):
    """Return the voxels within a radius of a point, mm."""
    points = apply(affine, np.moveaxis(np.indices(shape), 0, -1))
    return np.linalg.norm(points - centre, axis=-1) < radius


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(1, 6))
def test_rings_are_the_tissue_within_a_distance_of_a_lesion(seed, width):
    """Every voxel within the width is in the ring of its nearest lesion; lesions are not."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((9, 8, 6)) > 0.97) * rng.integers(1, 4, (9, 8, 6))
    tissue = rng.random(labels.shape) > 0.2
    affine = np.diag([*rng.uniform(0.5, 2, 3), 1])
    rings = surrounding_rings(labels, affine, tissue, width)
    places = apply(affine, np.argwhere(labels))
    voxels = np.argwhere((labels == 0) & tissue)
    if not len(places):
        assert not rings.any()
        return
    apart = np.linalg.norm(apply(affine, voxels)[:, None] - places, axis=-1)
    found = rings[tuple(voxels.T)]
    np.testing.assert_array_equal(found > 0, apart.min(axis=1) <= width)
    for ring, distances in zip(found, apart, strict=True):
        nearest = labels[labels > 0][np.isclose(distances, distances.min())]
        assert ring == 0 or ring in nearest
    assert not rings[~tissue].any()
    assert not rings[labels > 0].any()


@pytest.mark.parametrize("size", [1.0, 2.5, 5.0])
def test_a_ring_does_not_depend_on_the_rounding_of_the_header(size):
    """Slices at just its width are in it, whether the header says 5, 4.9999998 or 5.0000002 mm."""
    labels = np.zeros((1, 1, 21), int)
    labels[0, 0, 10] = 1
    found = [
        surrounding_rings(labels, np.diag([1, 1, size * one, 1]), np.ones(labels.shape))
        for one in (1, 1 - 5e-8, 1 + 5e-8)
    ]
    assert (found[0] > 0).sum() == 2 * round(5 / size)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


@pytest.mark.parametrize("rotation", [(0, 0, 0), (0, 0, 12), (5, -8, 10)])
def test_a_mirror_image_is_across_the_midline_of_a_tilted_head(rotation):
    """It has the lesion's volume, at the opposite place of the head, wherever the head is."""
    affine, shape = grid(ZOOMS)
    head = pose(rotation, (6, -4, 8))
    lesions = ball(affine, shape, apply(head, [[30, -20, 30]])[0], 12) * 4
    found = mirror_lesions(lesions, affine, np.ones(shape), head)
    assert set(np.unique(found)) == {0, 4}
    assert (found > 0).sum() == pytest.approx((lesions > 0).sum(), rel=0.06)
    centre = apply(affine, np.argwhere(found)).mean(axis=0)
    np.testing.assert_allclose(apply(invert(head), centre[None])[0], [-30, -20, 30], atol=0.3)


def test_a_mirror_image_holds_no_lesion_and_stays_in_the_brain():
    """A second lesion at the mirrored place, and what is outside the tissue, are left out."""
    affine, shape = grid(ZOOMS)
    lesions = ball(affine, shape, [30, -20, 30], 8) * 1
    lesions[ball(affine, shape, [-34, -20, 30], 6)] = 2
    tissue = apply(affine, np.moveaxis(np.indices(shape), 0, -1))[..., 2] < 32
    found = mirror_lesions(lesions, affine, tissue, np.eye(4))
    assert not found[lesions > 0].any()
    assert not found[~tissue].any()
    assert (found == 1).any()


@pytest.mark.parametrize(("x", "stated"), [(0, "0 %"), (3, "44 %"), (6, ""), (12, "")])
def test_a_lesion_at_the_midline_has_part_of_a_mirror_image_and_it_is_said(x, stated):
    """Less than half of the lesion is reported with its share; more is not."""
    affine, shape = grid(ZOOMS)
    lesions = ball(affine, shape, [x, -20, 30], 10) * 2
    texts = partial_images(lesions, mirror_lesions(lesions, affine, np.ones(shape), np.eye(4)))
    assert texts == [] if not stated else f"of lesion 2 has {stated} of its volume" in texts[0]


@pytest.fixture(scope="module")
def scan():
    """Return a T1w of the template's brain with noise, tilted, its affine and its matrix."""
    affine, shape = grid(ZOOMS)
    head = pose((4, -3, 6), (5, 3, -4))
    (white, at), (grey, _) = template_map("wm"), template_map("gm")
    there = invert(head)
    wm, gm = (resample(data, at, there, shape, affine, cval=0) for data in (white, grey))
    t1w = 100 * wm + 70 * gm + 25 * (1 - wm - gm)
    noise = np.random.default_rng(0).normal(0, 2.5, shape)
    return t1w + noise, affine, wm, head


def reference(scan, lesions=None, t1w=None, earlier=None):
    """Return the reference region of the scan."""
    image, affine, _, head = scan
    drawn = np.zeros(image.shape) if lesions is None else lesions
    image = image if t1w is None else t1w
    return find_reference(image, affine, drawn, *template_map("wm"), head, earlier)


def lesion(scan, place, radius=8):
    """Return a lesion at a place of the template."""
    image, affine, _, head = scan
    return ball(affine, image.shape, apply(head, [place])[0], radius)


def test_the_reference_region_is_compact_white_matter(scan):
    """It is 1 to 3 ml of white matter in one piece, above the ventricles, on one side."""
    _, affine, white, head = scan
    found = reference(scan)
    assert white[found.mask].min() > 0.85
    assert LEAST_ML <= found.ml <= 3
    _, pieces = ndimage.label(found.mask, np.ones((3, 3, 3)))
    assert pieces == 1
    places = apply(invert(head), apply(affine, np.argwhere(found.mask)))
    assert (places[:, 0] < 0).all()
    assert found.side == "left"
    assert np.ptp(places, axis=0).max() < 30
    assert places[:, 2].min() > 22


@pytest.mark.parametrize(("x", "side"), [(-35, "right"), (35, "left")])
def test_the_reference_region_is_contralateral(scan, x, side):
    """A lesion in one hemisphere puts it into the other."""
    found = reference(scan, lesion(scan, [x, -60, -10]))
    assert (found.side, found.contralateral) == (side, True)


def test_a_distant_lesion_does_not_decide_the_side(scan):
    """A larger lesion in the cerebellum leaves the region opposite a small one next to it."""
    found = reference(scan, lesion(scan, [22, -65, -45], 12) | lesion(scan, [-35, -45, 30], 6))
    assert (found.side, found.contralateral) == ("right", True)


def test_the_reference_region_keeps_its_distance_from_lesions(scan):
    """With a lesion in either centrum semiovale, it is 15 mm away from both, or there is none."""
    drawn = lesion(scan, [-24, 20, 36], 9) | lesion(scan, [24, -40, 36], 5)
    found = reference(scan, drawn)
    _, affine, _, _ = scan
    far = ndimage.distance_transform_edt(~drawn, sampling=nib.affines.voxel_sizes(affine))
    assert far[found.mask].min() > LESION_MARGIN


def test_a_small_contralateral_region_gives_way_to_the_other_side_and_says_so(scan):
    """If the side with less lesion volume has no room, the region is on the other side."""
    here = lesion(scan, [-24, -10, 36], 24)
    there = lesion(scan, [45, -60, 0], 27)
    found = reference(scan, here | there)
    assert (found.side, found.contralateral) == ("right", False)


def test_vessels_and_oedema_are_not_in_the_reference_region(scan):
    """Bright and dark voxels of the centrum semiovale are left out, with their neighbours."""
    image = scan[0]
    vessel, oedema = lesion(scan, [-20, -14, 35], 2.5), lesion(scan, [-22, 6, 36], 9)
    t1w = np.where(vessel, 220, np.where(oedema, 80, image))
    found = reference(scan, t1w=t1w)
    assert found.side == "left"
    assert not (found.mask & (vessel | oedema)).any()
    assert found.ml >= LEAST_ML


def test_without_white_matter_there_is_no_region(scan):
    """Lesions throughout both hemispheres leave none; the message says what to do."""
    drawn = lesion(scan, [-24, -10, 36], 25) | lesion(scan, [24, -10, 36], 25)
    with pytest.raises(BadInput, match=r"less than 1 ml .*draw a region as label-reference_mask"):
        reference(scan, drawn)


def test_the_region_of_an_earlier_visit_is_kept(scan):
    """The same tissue is measured again, also if a new lesion would now move it; else not."""
    before = reference(scan).mask
    shifted = np.roll(before, 2, axis=1)
    again = reference(scan, lesion(scan, [40, -60, -10]), earlier=shifted)
    assert again.followed
    assert again.side == "left"
    assert not (again.mask & ~shifted).any()
    new = reference(scan, lesion(scan, [-35, -70, 10], 8), earlier=shifted)
    assert (new.side, new.followed, new.contralateral) == ("left", True, False)
    elsewhere = reference(scan, lesion(scan, [-22, -10, 36], 5), earlier=before)
    assert not elsewhere.followed
    assert "no longer normal white matter: another one" in elsewhere.record()["Warnings"][0]
    assert "Warnings" not in again.record()
    assert np.isnan(reference(scan).kept)
    assert elsewhere.side == "right"


def test_position_and_tilt_of_the_head_do_not_matter(scan):
    """The same head in another pose has its region in the same place of the template."""
    image, affine, _, head = scan
    turn = pose((0, 0, -8), (0, 5, 0))
    other = find_reference(
        image, compose(affine, turn), np.zeros(image.shape), *template_map("wm"),
        compose(head, turn),
    )  # fmt: skip
    np.testing.assert_array_equal(other.mask, reference(scan).mask)


def drawn_region(scan, place=(-22, 42, 4)):
    """Return a region of frontal white matter, where no region is found."""
    return lesion(scan, place, 9) & (scan[2] > 0.9)


def test_a_region_that_was_drawn_is_followed_wherever_it_is(scan):
    """It keeps at least 90 % of its voxels without lesions, and loses those that became lesion."""
    image, affine, _, head = scan
    region = drawn_region(scan)
    assert not reference(scan, earlier=region).followed
    found = follow_region(region, image, affine, np.zeros(image.shape), head)
    assert (found.side, found.followed) == ("left", True)
    assert found.kept > 0.9
    assert not (found.mask & ~region).any()
    new = lesion(scan, [-22, 44, 4], 9)
    less = follow_region(region, image, affine, new, head)
    assert not (less.mask & new).any()
    assert less.kept < 0.5
    assert "% of the reference region of the baseline are measured" in less.record()["Warnings"][0]


def test_a_region_that_became_lesion_is_not_replaced_by_another(scan):
    """There is none, and the message says what to do."""
    image, affine, _, head = scan
    region = drawn_region(scan)
    with pytest.raises(BadInput, match=r"outside of all lesions here; draw one at this session"):
        follow_region(region, image, affine, region, head)


def test_a_region_on_both_sides_keeps_both(scan):
    """It is one region, as its reader drew it."""
    image, affine, _, head = scan
    both = drawn_region(scan) | drawn_region(scan, (22, 42, 4))
    found = follow_region(both, image, affine, np.zeros(image.shape), head)
    assert found.side == "both"
    assert found.kept > 0.9
