"""Contours and masks of other programs: from files to fractions of the voxels of a grid."""

import gzip
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import pytest
from contour_files import Roi, ellipsoid, structure_set, write_dicom, write_seg_nrrd
from datasets import write_image
from heads import pose
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from bidsapp.conversion import optional
from bidsapp.conversion.contours.choice import Use, choose_regions
from bidsapp.conversion.contours.dicom_seg import read_segmentation
from bidsapp.conversion.contours.drawing import Region, VoxelMask
from bidsapp.conversion.contours.lesions import (
    Drawn,
    assemble_lesions,
    check_overlap,
    label_voxels,
    split_lesions,
)
from bidsapp.conversion.contours.planes import build_contours
from bidsapp.conversion.contours.rasterise import Fractions, lies_on_grid, rasterise
from bidsapp.conversion.contours.read import is_drawing, read_drawing
from bidsapp.conversion.contours.rtstruct import read_structure_set
from bidsapp.errors import BadInput, UsageError

DATA = Path(__file__).parent / "data" / "contours"
SHAPE = (60, 60, 60)
GRID = np.eye(4)
GRID[:3, 3] = -30
SQUARE = np.array([[0.0, 0, 0], [10, 0, 0], [10, 10, 0], [0, 10, 0]])


def volume(polygons, shape=SHAPE, grid=GRID, matrix=None) -> float:
    """Return the volume of contours on a grid, mm3."""
    contours, _ = build_contours(polygons)
    part = rasterise(contours, shape, grid, np.eye(4) if matrix is None else matrix)
    return part.voxels * abs(np.linalg.det(grid[:3, :3]))


def stack(square: np.ndarray, planes=range(10)) -> list[np.ndarray]:
    """Return a contour in several planes."""
    return [np.add(square, (0, 0, z)) for z in planes]


@settings(max_examples=12)
@given(
    radii=st.tuples(*[st.floats(5, 12)] * 3),
    centre=st.tuples(*[st.floats(-8, 8)] * 3),
    tilt=st.tuples(*[st.floats(-60, 60)] * 3),
    zooms=st.tuples(*[st.floats(0.6, 2.5)] * 3),
)
def test_an_ellipsoid_keeps_its_volume(radii, centre, tilt, zooms):
    """Whatever the orientation of the planes and the voxels of the image, to 2 %."""
    axes = pose(tilt)[:3, :3]
    grid = np.diag([*zooms, 1.0])
    shape = tuple(int(80 / z) for z in zooms)
    grid[:3, 3] = -40
    exact = 4 / 3 * np.pi * np.prod(radii)
    found = volume(ellipsoid(centre, radii, axes), shape, grid)
    assert found == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("spacing", [0.5, 1.0, 2.0, 3.0])
def test_planes_need_not_be_the_slices_of_the_image(spacing):
    """The first and the last plane reach half a spacing beyond, and the sum is that of a ball."""
    planes = np.arange(-30, 30, spacing) + 0.3
    found = volume(ellipsoid([1, 2, 3], [10] * 3, positions=planes))
    assert found == pytest.approx(4 / 3 * np.pi * 1000, rel=0.02)


def test_a_registered_image_moves_the_contours():
    """The matrix maps points of the grid to points of the contours, as everywhere."""
    matrix = pose((10, 20, -15), (4, -3, 2))
    centre = np.array([3.0, 5, -4])
    contours, _ = build_contours(ellipsoid((matrix @ [*centre, 1])[:3], [6] * 3))
    part = rasterise(contours, SHAPE, GRID, matrix)
    places = np.argwhere(part.values >= 0.5) + [s.start for s in part.box]
    assert places.mean(axis=0) + GRID[:3, 3] == pytest.approx(centre, abs=0.1)


def test_the_fraction_of_a_voxel_is_the_part_inside():
    """A square that ends within voxels fills them partly, and what is beyond them not at all."""
    contours, _ = build_contours(stack(SQUARE * 0.925 + 0.1, (1, 2, 3)))
    part = rasterise(contours, SHAPE, GRID, np.eye(4)).on(SHAPE)
    # From 0.1 to 9.35 mm: voxel 0 reaches from -0.5 to 0.5, voxel 9 from 8.5 to 9.5.
    row = part[29:41, 35, 32]
    assert row[[0, 1, 5, 10, 11]].tolist() == pytest.approx([0, 0.5, 1, 0.75, 0], abs=0.13)
    assert set(np.flatnonzero(part.any(axis=(0, 1)))) == {31, 32, 33}


def test_a_contour_within_another_is_a_hole_and_one_within_that_an_island():
    """Contours of a plane are combined by even-odd rule."""
    hole, island = SQUARE * 0.6 + [2, 2, 0], SQUARE * 0.2 + [4, 4, 0]
    assert volume([*stack(SQUARE), *stack(hole)]) == pytest.approx(1000 - 360, rel=0.01)
    everything = [*stack(SQUARE), *stack(hole), *stack(island)]
    assert volume(everything) == pytest.approx(1000 - 360 + 40, rel=0.01)


def test_a_keyhole_contour_encloses_its_hole():
    """One contour runs round the outside, through a slit, and round the hole the other way."""
    hole = (SQUARE * 0.6 + [2, 2, 0])[[0, 3, 2, 1, 0]]
    keyhole = np.concatenate([SQUARE, SQUARE[:1], hole, SQUARE[:1]])
    assert volume(stack(keyhole)) == pytest.approx(1000 - 360, rel=0.01)


def test_a_contour_that_is_stored_twice_does_not_cancel_itself():
    """It is used once, and this is reported."""
    contours, warnings = build_contours([*stack(SQUARE), *stack(SQUARE, (3,))])
    assert rasterise(contours, SHAPE, GRID, np.eye(4)).voxels == pytest.approx(1000, rel=0.01)
    assert warnings == ("1 of its contours are stored twice: used once",)


@pytest.mark.parametrize(
    "again",
    [SQUARE[::-1], np.roll(SQUARE, 1, axis=0), np.vstack([SQUARE, SQUARE[:1]]), SQUARE + 0.2],
    ids=["other direction", "other first point", "closed by its first point", "drawn again"],
)
def test_a_contour_that_is_drawn_twice_is_one(again):
    """Whatever its direction and first point, or if the second one is drawn nearly there."""
    contours, (text,) = build_contours([*stack(SQUARE), *stack(again * [1, 1, 0], range(4))])
    assert rasterise(contours, SHAPE, GRID, np.eye(4)).voxels == pytest.approx(1000, rel=0.03)
    assert "stored twice" in text or "united" in text


def test_contours_that_overlap_partly_are_united():
    """With a warning of the area; holes in them remain, and a thin shell stays a shell."""
    moved = SQUARE * [0.5, 0.5, 1] + [7, 2, 0]
    contours, (text,) = build_contours([*stack(SQUARE), *stack(moved)])
    union = 10 * (100 + 25 - 15)
    assert rasterise(contours, SHAPE, GRID, np.eye(4)).voxels == pytest.approx(union, rel=0.01)
    assert "overlap in 10 of its planes (by 148 mm2 in all)" in text
    hole = SQUARE * 0.2 + [7.5, 3, 0]
    assert volume([*stack(SQUARE), *stack(moved), *stack(hole)]) == pytest.approx(
        union - 40, rel=0.01
    )
    shell = [*stack(SQUARE), *stack(SQUARE * 0.9 + [0.5, 0.5, 0])]
    assert volume(shell) == pytest.approx(190, rel=0.05)
    exclusive, _ = build_contours([*stack(SQUARE), *stack(moved)], exclusive=True)
    assert rasterise(exclusive, SHAPE, GRID, np.eye(4)).voxels == pytest.approx(950, rel=0.01)


def test_one_missing_plane_is_filled_and_a_wide_gap_is_left_open():
    """Both are reported with their size."""
    contours, warnings = build_contours(stack(SQUARE, (0, 1, 2, 4, 5)))
    assert rasterise(contours, SHAPE, GRID, np.eye(4)).voxels == pytest.approx(600, rel=0.01)
    assert "a plane is missing between two that are 2 mm apart (others: 1 mm)" in warnings[0]
    contours, warnings = build_contours(stack(SQUARE, (0, 1, 2, 8, 9, 10)))
    assert rasterise(contours, SHAPE, GRID, np.eye(4)).voxels == pytest.approx(600, rel=0.01)
    assert "a gap of 6 mm between planes 1 mm apart: taken for separate parts" in warnings[0]


def test_contours_that_are_no_region_are_refused():
    """They are not planar, in no common orientation, in one plane of unknown distance, or lines."""
    bent = SQUARE + np.array([[0, 0, 0], [0, 0, 0], [0, 0, 3], [0, 0, 0]])
    with pytest.raises(BadInput, match="do not lie in parallel planes"):
        build_contours(stack(bent))
    with pytest.raises(BadInput, match="do not lie in parallel planes"):
        build_contours([*stack(SQUARE), SQUARE[:, [2, 0, 1]]])
    with pytest.raises(BadInput, match="drawn in one plane only"):
        rasterise(build_contours([SQUARE])[0], SHAPE, GRID, np.eye(4))
    with pytest.raises(BadInput, match="enclose no area"):
        build_contours([SQUARE * [1, 0, 0]])
    assert rasterise(build_contours([SQUARE], 2.0)[0], SHAPE, GRID, np.eye(4)).voxels == (
        pytest.approx(200, rel=0.01)
    )


def test_a_region_beyond_the_image_is_refused():
    """It would be cut off, and its volume wrong."""
    contours, _ = build_contours(stack(SQUARE * 5))
    with pytest.raises(BadInput, match=r"beyond the field of view of the image by 20\.5 voxels"):
        rasterise(contours, SHAPE, GRID, np.eye(4))


def test_planes_on_the_slices_of_an_image_are_told_from_others():
    """In any orientation of the slices; planes between them were drawn on another image."""
    tilted = pose((20, 10, 0)) @ GRID
    axes = (tilted[:3, :3].T)[[0, 1, 2]]
    start = float(tilted[:3, 3] @ axes[2])
    on_slices, _ = build_contours(ellipsoid([0, 0, 0], [8] * 3, axes, start + np.arange(60.0)), 1.0)
    between, _ = build_contours(
        ellipsoid([0, 0, 0], [8] * 3, axes, start + np.arange(60.0) + 0.4), 1.0
    )
    assert lies_on_grid(on_slices, SHAPE, tilted)
    assert not lies_on_grid(between, SHAPE, tilted)
    assert not lies_on_grid(on_slices, SHAPE, GRID)


def test_an_rtstruct_is_read_by_numbers_whatever_the_order():
    """Names, contours and what is unusable; the list of contours is in another order."""
    dataset = structure_set(
        [
            Roi("Met A", stack(SQUARE), 7),
            Roi("Isocentre", [SQUARE[:1]], 3, "POINT"),
            Roi("", stack(np.add(SQUARE, (15, 0, 0))), 9),
            Roi("Met A", stack(SQUARE - (20, 0, 0)), 4),
            Roi("not drawn", [], 5),
            Roi(
                "mixed",
                [*stack(SQUARE), SQUARE[:2]],
                6,
                kinds=["CLOSED_PLANAR"] * 10 + ["OPEN_PLANAR"],
            ),
        ]
    )
    drawing = read_structure_set(dataset)
    names = {region.key: region.name for region in drawing.regions}
    assert names["7"] == "Met A (7)"
    assert names["4"] == "Met A (4)"
    assert names["9"] == "ROI 9"
    assert drawing.warnings == (
        "several ROIs are called 'Met A': they are distinguished by their numbers",
    )
    by_key = {region.key: region for region in drawing.regions}
    assert by_key["3"].problem == "has no closed contours (1 x POINT)"
    assert by_key["5"].problem == "has no closed contours"
    assert by_key["6"].warnings == ("not used: 1 x OPEN_PLANAR",)
    part = rasterise(by_key["9"].require_shape(), SHAPE, GRID, np.eye(4))
    assert (part.box[0].start + GRID[0, 3], part.voxels) == (15, pytest.approx(1000, rel=0.01))
    assert (drawing.frame, [one.uid for one in drawing.images]) == ("1.2.3", ["1.2.4"])
    with pytest.raises(BadInput, match="'not drawn': has no closed contours"):
        by_key["5"].require_shape()


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_holes_of_an_rtstruct(kind):
    """Separate contours are combined by exclusive or, whether the type says so or not."""
    hole = SQUARE * 0.6 + [2, 2, 0]
    dataset = structure_set([Roi("ring", [*stack(SQUARE), *stack(hole)], 1, kind)])
    shape = read_structure_set(dataset).regions[0].require_shape()
    assert rasterise(shape, SHAPE, GRID, np.eye(4)).voxels == pytest.approx(640, rel=0.01)


def test_an_roi_in_one_plane_has_the_distance_of_the_others():
    """A small lesion in one slice of an RTSTRUCT has the thickness of the other regions."""
    dataset = structure_set([Roi("big", stack(SQUARE), 1), Roi("small", [SQUARE], 2)])
    small = read_structure_set(dataset).regions[1].require_shape()
    assert rasterise(small, SHAPE, GRID, np.eye(4)).voxels == pytest.approx(100, rel=0.01)


def test_several_frames_of_reference_in_one_file_are_refused():
    """Coordinates of two images cannot be those of one."""
    dataset = structure_set([Roi("a", stack(SQUARE), 1), Roi("b", stack(SQUARE), 2)])
    dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "9.9"
    with pytest.raises(BadInput, match="its ROIs have 2 frames of reference"):
        read_structure_set(dataset)


@pytest.mark.parametrize(
    ("charset", "encoding"), [("ISO_IR 192", "utf-8"), ("ISO_IR 100", "latin-1"), (None, "utf-8")]
)
def test_names_in_any_character_set(tmp_path, charset, encoding):
    """UTF-8 is recognised even if the file does not state it."""
    name = "Gefäß µ"
    dataset = structure_set([Roi("PLACEHOLD", stack(SQUARE), 1)])
    if charset:
        dataset.SpecificCharacterSet = charset
    path = write_dicom(tmp_path / "rs.dcm", dataset)
    raw = name.encode(encoding).ljust(9)[:10].ljust(10)
    path.write_bytes(path.read_bytes().replace(b"PLACEHOLD ", raw))
    assert read_drawing(path).regions[0].name == name


def test_volumes_of_an_rtstruct_and_a_segmentation_of_a_planning_system(tmp_path):
    """True volumes of an oblique series to 0.5 %, and every voxel of the segmentation."""
    files = {}
    for name in ("RS.dcm", "seg.dcm"):
        files[name] = tmp_path / name
        files[name].write_bytes(gzip.decompress((DATA / f"{name}.gz").read_bytes()))
    segments = read_drawing(files["seg.dcm"])
    grid = segments.regions[0].require_shape().affine.copy()
    grid[:3, 3] -= 20 * grid[:3, 2]
    shape = (180, 180, 80)
    truth = {"Met1 R frontal": 1407.4, "Met2 cerebellum": 268.1, "PTV_1": 3015.9}
    contours = {region.name: region for region in read_drawing(files["RS.dcm"]).regions}
    for name, exact in truth.items():
        region = contours[name].require_shape()
        assert lies_on_grid(region, shape, grid)
        assert rasterise(region, shape, grid, np.eye(4)).voxels == pytest.approx(exact, rel=0.005)
    counts = {}
    for region in segments.regions:
        mask = region.require_shape()
        assert lies_on_grid(mask, shape, grid)
        counts[region.name] = rasterise(mask, shape, grid, np.eye(4)).voxels
    assert counts == {"Met1": 1392, "Met2": 268}
    assert segments.frame == read_drawing(files["RS.dcm"]).frame


def segmentation(pixels: np.ndarray, numbers, positions, **fields) -> Dataset:
    """Return a segmentation whose pixels are decoded already."""

    class Decoded(Dataset):
        pixel_array = pixels

    dataset = Decoded()
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [2, 3], 4
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number, z in zip(numbers, positions, strict=True):
        frame, place, owner = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [10, 20, z]
        frame.PlanePositionSequence = [place]
        if number is not None:
            owner.ReferencedSegmentNumber = number
            frame.SegmentIdentificationSequence = [owner]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.SegmentSequence = []
    for number, label in ((1, "one"), (2, "two")):
        segment = Dataset()
        segment.SegmentNumber, segment.SegmentLabel = number, label
        dataset.SegmentSequence.append(segment)
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def test_frames_of_a_segmentation_are_placed_by_their_positions():
    """In any order, with slices that have no frame; rows and columns have their own spacing."""
    pixels = np.zeros((3, 5, 6), np.uint8)
    pixels[0, 1, 2] = pixels[1, 4, 0] = pixels[2, 0, 5] = 1
    dataset = segmentation(pixels, [1, 2, 1], [8, 0, 4], SegmentationType="BINARY")
    one, two = (r.require_shape() for r in read_segmentation(dataset).regions)
    assert np.argwhere(one.inside).tolist() == [[2, 1, 2], [5, 0, 1]]
    assert np.argwhere(two.inside).tolist() == [[0, 4, 0]]
    # LPS (10 + 3 * 2, 20 + 2 * 1, 8) in RAS.
    assert (one.affine @ [2, 1, 2, 1])[:3].tolist() == [-16, -22, 8]


def test_fractional_and_label_map_segmentations():
    """A fraction counts from one half; the pixels of a label map are numbers of segments."""
    pixels = np.array([[[100, 127, 128, 255]]], np.uint8)
    fractional = segmentation(
        pixels, [1], [0], SegmentationType="FRACTIONAL", MaximumFractionalValue=255
    )
    one, two = read_segmentation(fractional).regions
    assert one.require_shape().inside.ravel().tolist() == [False, False, True, True]
    assert two.problem == "has no voxels"
    label_map = segmentation(
        np.array([[[0, 1, 2, 2]]], np.uint8), [None], [0], SegmentationType="LABELMAP"
    )
    both = [r.require_shape().inside.sum() for r in read_segmentation(label_map).regions]
    assert both == [1, 2]


def test_frames_at_uneven_positions_are_refused():
    """They are not the slices of an image."""
    dataset = segmentation(np.ones((3, 2, 2), np.uint8), [1, 1, 1], [0, 4, 10])
    with pytest.raises(BadInput, match="not slices at one distance"):
        read_segmentation(dataset)


@pytest.mark.parametrize(
    ("positions", "stated", "step", "last"),
    [
        ([5, -9], {"SpacingBetweenSlices": 1, "SliceThickness": 1}, 1, 14),
        ([5, -9], {"SliceThickness": 2}, 2, 7),
        ([0, 4, 8, 12], {"SliceThickness": 2}, 4, 3),  # 2 mm thick, with gaps of 2 mm
        ([0, 6, 18], {"SpacingBetweenSlices": 5, "SliceThickness": 5}, 6, 3),  # stated wrongly
        ([0, 14], {"SpacingBetweenSlices": 5}, 14, 1),
        ([0, 0.999, 2.002, 3.001, 1.001, 5], {"SpacingBetweenSlices": 1}, 1, 5),
        (np.arange(200) * 1.005, {"SpacingBetweenSlices": 1}, 1.005, 199),
    ],
)
def test_the_distance_of_slices_of_which_some_have_no_frame(positions, stated, step, last):
    """It is the stated one where all gaps are multiples of it, not the smallest gap."""
    pixels = np.ones((len(positions), 2, 2), np.uint8)
    dataset = segmentation(pixels, [1] * len(positions), positions)
    measures = Dataset()
    measures.PixelSpacing = [2, 3]
    for name, value in stated.items():
        setattr(measures, name, value)
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [measures]
    mask = read_segmentation(dataset).regions[0].require_shape()
    assert mask.inside.shape[2] == last + 1
    assert np.linalg.norm(mask.affine[:3, 2]) == pytest.approx(step, abs=1e-3)
    assert mask.affine[2, 3] == pytest.approx(min(positions), abs=2e-3)


def test_frames_between_the_slices_of_others_are_refused():
    """However many slices there are, and however far from one another."""
    positions = [*range(-32, 0), *(z + 0.5 for z in range(10, 20))]
    dataset = segmentation(np.ones((42, 2, 2), np.uint8), [1] * 42, positions)
    with pytest.raises(BadInput, match="not slices at one distance"):
        read_segmentation(dataset)
    dataset = segmentation(np.ones((3, 2, 2), np.uint8), [1] * 3, [0, 4, 8])
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[0] = 9
    read_segmentation(dataset)
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient[0] = 6
    with pytest.raises(BadInput, match="shifted within their planes"):
        read_segmentation(dataset)


def test_segments_of_3d_slicer_keep_names_places_and_parts_of_the_grid(tmp_path):
    """A segmentation that covers a part of the image lies on its voxels."""
    labels = np.zeros((10, 12, 8), np.uint8)
    labels[2:5, 3:6, 2:4], labels[7, 8, 5] = 1, 4
    part = GRID.copy()
    part[:3, 3] += [5, 6, 7]
    path = write_seg_nrrd(tmp_path / "m.seg.nrrd", labels, part, {1: "Met left", 4: "Met right"})
    regions = read_drawing(path).regions
    assert [(r.name, r.key) for r in regions] == [("Met left", "1"), ("Met right", "4")]
    assert all(lies_on_grid(r.require_shape(), SHAPE, GRID) for r in regions)
    found = rasterise(regions[1].require_shape(), SHAPE, GRID, np.eye(4))
    assert [s.start for s in found.box] == [12, 14, 12]
    assert found.voxels == 1


def test_segments_of_3d_slicer_that_overlap_are_in_layers(tmp_path):
    """The axis of the layers is not one of space, and each segment names its layer."""
    layers = np.zeros((2, 6, 6, 6), np.uint8)
    layers[0, 1:4], layers[1, 3:6] = 1, 1
    header = {
        "space": "right-anterior-superior",
        "space directions": np.vstack([np.full(3, np.nan), np.eye(3)]),
        "space origin": GRID[:3, 3],
        "kinds": ["list", "domain", "domain", "domain"],
    }
    for number in (0, 1):
        header |= {
            f"Segment{number}_ID": f"s{number}",
            f"Segment{number}_Name": f"Met {number}",
            f"Segment{number}_LabelValue": "1",
            f"Segment{number}_Layer": str(number),
        }
    nrrd.write(str(tmp_path / "m.seg.nrrd"), layers, header)
    regions = read_drawing(tmp_path / "m.seg.nrrd").regions
    assert [region.key for region in regions] == ["0:1", "1:1"]
    found = [region.require_shape() for region in regions]
    assert [np.flatnonzero(r.inside.any(axis=(1, 2))).tolist() for r in found] == [
        [1, 2, 3],
        [3, 4, 5],
    ]
    assert all(np.array_equal(region.affine, GRID) for region in found)
    nrrd.write(str(tmp_path / "same.seg.nrrd"), layers, header | {"Segment1_Layer": "0"})
    with pytest.raises(BadInput, match="two of its segments have the same layer and label"):
        read_drawing(tmp_path / "same.seg.nrrd")


def test_names_of_regions_do_not_name_the_patient(tmp_path):
    """Dates and names are removed; names that differ only in these get a number."""
    ball = ellipsoid((0, 0, 0), (3, 3, 3))
    names = ("Met frontal", "Met 1 Doe", "Met_2021-09-02", "Met_2021-10-02")
    rois = [Roi(name, ball, number) for number, name in enumerate(names, 1)]
    path = write_dicom(tmp_path / "RS.dcm", structure_set(rois))
    found = [region.name for region in read_drawing(path).regions]
    assert found == ["Met frontal", "Met 1 ***", "Met_*** 3", "Met_*** 4"]


def test_nrrd_files_without_a_place_are_refused(tmp_path):
    """Whose axes point where is not stated."""
    nrrd.write(str(tmp_path / "a.nrrd"), np.ones((3, 3, 3), np.uint8), {})
    with pytest.raises(BadInput, match=r"a\.nrrd: its place in space is not stated"):
        read_drawing(tmp_path / "a.nrrd")
    (tmp_path / "b.nrrd").write_text("nonsense")
    with pytest.raises(BadInput, match=r"b\.nrrd: cannot be read as NRRD"):
        read_drawing(tmp_path / "b.nrrd")


def test_label_images_have_the_names_of_itk_snap_of_a_table_or_of_the_file(tmp_path):
    """Whichever is beside the image; labels without a name have their numbers."""
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0], labels[2] = 1, 3
    image = write_image(tmp_path / "snap.nii.gz", labels)
    assert [r.name for r in read_drawing(image).regions] == ["1", "3"]
    (tmp_path / "snap.txt").write_text(
        "# ITK-SnAP Label Description File\n"
        '    0     0    0    0        0  0  0    "Clear Label"\n'
        '    1   255    0    0        1  1  1    "Met frontal"\n'
        '    3   255    0    0     0.50  1  1    "Met cerebellum"\n'
    )
    assert [r.name for r in read_drawing(image).regions] == ["Met frontal", "Met cerebellum"]
    (tmp_path / "snap.tsv").write_text("index\tname\n1\tleft\n3\tright\n")
    assert [r.name for r in read_drawing(image).regions] == ["left", "right"]
    mask = write_image(tmp_path / "sub-01_ses-a_met7.nii", (labels == 3).astype(np.uint8))
    (tmp_path / "snap.txt").unlink()
    assert [(r.name, r.key) for r in read_drawing(mask).regions] == [("met7", "1")]


def test_images_of_whole_numbers_are_no_labels(tmp_path):
    """Neither an MR image nor a part of one; with names, any labels are accepted."""
    rng = np.random.default_rng(3)
    signal = rng.integers(100, 900, (12, 12, 12)).astype(np.int16)
    brain = np.where(np.add.outer(np.arange(12), np.zeros((12, 12))) > 3, signal // 100, 0)
    for name, values in (("t1w", signal), ("brain", brain.astype(np.int16))):
        image = write_image(tmp_path / f"{name}.nii.gz", values)
        with pytest.raises(BadInput, match="looks like an image rather than labels"):
            read_drawing(image)
        space = {"space": "RAS", "space directions": np.eye(3), "space origin": GRID[:3, 3]}
        nrrd.write(str(tmp_path / f"{name}.nrrd"), values, space)
        with pytest.raises(BadInput, match="looks like an image rather than labels"):
            read_drawing(tmp_path / f"{name}.nrrd")
    (tmp_path / "brain.tsv").write_text("index\tname\n3\tthird\n")
    assert "third" in [r.name for r in read_drawing(tmp_path / "brain.nii.gz").regions]
    lesions = np.zeros((40, 40, 40), np.uint8)
    for number in range(1, 60):  # lesions of a few voxels, also next to one another
        x, y, z = rng.integers(0, 36, 3)
        lesions[x : x + 3, y : y + 3, z : z + 3] = number
    kept = len(np.unique(lesions)) - 1
    assert len(read_drawing(write_image(tmp_path / "m.nii", lesions)).regions) == kept


def test_files_are_recognised_by_content(tmp_path):
    """A DICOM file may have any name; images among the contours are not contours."""
    contours = write_dicom(tmp_path / "RS1", structure_set([Roi("a", stack(SQUARE), 1)]))
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2"
    image.Modality = "CT"
    slice_ = write_dicom(tmp_path / "CT1.dcm", image)
    text = tmp_path / "notes.txt"
    text.write_text("drawn by AB")
    assert [is_drawing(path) for path in (contours, slice_, text)] == [True, False, False]
    with pytest.raises(BadInput, match="is a DICOM file of modality CT, not an RTSTRUCT or SEG"):
        read_drawing(slice_)
    with pytest.raises(BadInput, match=r"notes\.txt: is none of RTSTRUCT"):
        read_drawing(text)


@pytest.mark.parametrize("name", ["RS.dcm", "m.seg.nrrd"])
def test_damaged_files_are_refused_or_read(tmp_path, name):
    """Whichever bytes are lost or changed: no other error, and no warning, comes through."""
    path = tmp_path / name
    if name == "RS.dcm":
        write_dicom(path, structure_set([Roi("a", stack(SQUARE, range(3)), 1)]))
    else:
        write_seg_nrrd(path, np.ones((3, 3, 3), np.uint8), GRID, {1: "a"})
    sound, refused = path.read_bytes(), []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        content = bytearray(sound)
        for _ in range(rng.integers(1, 5)):
            content[rng.integers(132 * (name == "RS.dcm"), len(content))] = rng.integers(256)
        cut = rng.integers(200, len(content)) if seed % 4 == 0 else len(content)
        path.write_bytes(bytes(content[:cut]))
        assert is_drawing(path) in (True, False)
        try:
            read_drawing(path)
        except BadInput as error:
            refused.append(str(error))
    assert all(text.startswith(str(path)) for text in refused)
    assert 10 < len(refused) < 120


def test_a_missing_package_says_what_to_install(tmp_path, monkeypatch):
    """The extra is optional, and needed for DICOM and NRRD only."""

    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(optional, "import_module", absent)
    path = tmp_path / "a.nrrd"
    path.write_bytes(b"NRRD0004\n")
    with pytest.raises(UsageError, match=r"need the package nrrd.*pip install 'metperf\[dicom\]'"):
        read_drawing(path)
    path = tmp_path / "rs.dcm"
    path.write_bytes(bytes(128) + b"DICM")
    with pytest.raises(UsageError, match="need the package pydicom"):
        read_drawing(path)


def test_regions_are_chosen_by_pattern_name_or_number():
    """In any letter case; names with brackets are names before they are patterns."""
    regions = [
        Region(name, key, None) for name, key in (("Met [1]", "4"), ("MET 2", "5"), ("PTV", "6"))
    ]
    both = choose_regions(regions, [Use("met*", "whole")])
    assert [region.key for region, _ in both] == ["4", "5"]
    assert choose_regions(regions, [Use("Met [1]", "both")])[0][0].key == "4"
    assert choose_regions(regions, [Use("6", "core")]) == [(regions[2], "core")]
    with pytest.raises(BadInput, match=r"no region matches 'GTV\*'; there is 'Met \[1\]', 'MET 2'"):
        choose_regions(regions, [Use("GTV*", "whole")])
    with pytest.raises(BadInput, match="'MET 2' is chosen as whole and as core"):
        choose_regions(regions, [Use("MET*", "whole"), Use("5", "core")])


def box_part(start, stop, value=1.0) -> Fractions:
    """Return a box with one fraction in all its voxels."""
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return Fractions(box, np.full([s.stop - s.start for s in box], value, np.float32))


def counts(lesion) -> dict[str, float]:
    """Return the voxels of each part of a lesion."""
    return {part: found.voxels for part, found in lesion.parts.items()}


def test_parts_belong_to_the_lesion_that_they_overlap():
    """A core is taken from the enhancing part of its lesion, whichever way both were drawn."""
    whole, far = box_part((2, 2, 2), (8, 8, 8)), box_part((12, 2, 2), (15, 5, 5))
    core = box_part((3, 3, 3), (6, 6, 6))
    drawn = [Drawn("A", "whole", whole), Drawn("B", "whole", far), Drawn("n", "core", core)]
    lesions = assemble_lesions(drawn, (20, 20, 20))
    assert [lesion.name for lesion in lesions] == ["A", "B"]
    assert counts(lesions[0]) == {"whole": 216, "enhancing": 216 - 27}
    assert counts(lesions[1]) == {"whole": 27}
    rim = np.ones((6, 6, 6), np.float32)
    rim[1:4, 1:4, 1:4] = 0
    ring = Drawn("A", "enhancing", Fractions(whole.box, rim))
    for enhancing in (ring, Drawn("A", "enhancing", whole)):
        (lesion,) = assemble_lesions([enhancing, Drawn("n", "core", core)], (20, 20, 20))
        assert counts(lesion) == {"whole": 216, "enhancing": 189}
    (both,) = assemble_lesions([Drawn("A", "both", whole)], (20, 20, 20))
    assert counts(both) == {"whole": 216, "enhancing": 216}


def test_parts_without_a_lesion_are_refused_all_at_once():
    """A core alone is no lesion, and parts that touch none are named."""
    core = Drawn("n1", "core", box_part((3, 3, 3), (6, 6, 6)))
    with pytest.raises(BadInput, match="no lesion is drawn: a core alone is not a lesion"):
        assemble_lesions([core], (20, 20, 20))
    lesion = Drawn("A", "whole", box_part((10, 10, 10), (12, 12, 12)))
    other = Drawn("e2", "enhancing", box_part((15, 15, 15), (16, 16, 16)))
    with pytest.raises(BadInput, match=r"'n1' \(core\) touches no lesion; 'e2' \(enhancing\)"):
        assemble_lesions([core, lesion, other], (20, 20, 20))


def test_classes_are_split_into_lesions():
    """BraTS: enhancing and core make the whole lesion; each connected part is one."""
    shape = (30, 30, 30)
    enhancing, core = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    enhancing[2:8, 2:8, 2:8] = 1
    core[3:6, 3:6, 3:6] = 1
    enhancing -= core
    enhancing[20:22, 20:22, 20:22] = enhancing[28, 28, 28] = 1
    whole_grid = (slice(0, 30),) * 3
    drawn = [
        Drawn("3", "enhancing", Fractions(whole_grid, enhancing)),
        Drawn("1", "core", Fractions(whole_grid, core)),
    ]
    lesions, small = split_lesions(drawn, shape, smallest=2)
    assert small == 1
    assert [counts(lesion) for lesion in lesions] == [
        {"enhancing": 189, "whole": 216},
        {"enhancing": 8, "whole": 8},
    ]


def test_lesions_that_overlap():
    """A little is resolved by the larger fraction, and reported; more is refused."""
    one, two = box_part((0, 0, 0), (10, 10, 10)), box_part((9, 0, 0), (20, 10, 2), 0.75)
    labels, overlaps = label_voxels([one, two], (20, 10, 10))
    assert overlaps == [(1, 2, 20)]
    assert (int((labels == 1).sum()), int((labels == 2).sum())) == (1000, 200)
    lesions = assemble_lesions([Drawn("A", "whole", one), Drawn("B", "whole", two)], (20, 10, 10))
    with pytest.raises(BadInput, match="'A' and 'B' overlap in 20 voxels"):
        check_overlap(lesions, "whole", overlaps)
    (text,) = check_overlap(lesions, "whole", [(1, 2, 3)])
    assert "given to the lesion that fills more of each" in text


def test_a_mask_on_the_voxels_of_the_image_is_not_resampled():
    """With axes in another order and direction each voxel is kept; on another grid its volume."""
    inside = np.zeros((20, 30, 10), bool)
    inside[3:6, 20:29, 4] = True
    turned = GRID @ nib.orientations.inv_ornt_aff([[1, -1], [2, 1], [0, -1]], (60, 60, 60))
    mask = VoxelMask(inside, turned)
    assert lies_on_grid(mask, SHAPE, GRID)
    part = rasterise(mask, SHAPE, GRID, np.eye(4))
    assert set(np.unique(part.values)) <= {0.0, 1.0}
    assert part.voxels == 27
    shifted = turned.copy()
    shifted[:3, 3] += 0.4
    assert not lies_on_grid(VoxelMask(inside, shifted), SHAPE, GRID)
    moved = rasterise(VoxelMask(inside, shifted), SHAPE, GRID, np.eye(4))
    assert moved.voxels == pytest.approx(27, rel=0.01)


def test_pydicom_remarks_are_warnings_of_the_file(tmp_path):
    """What pydicom finds odd is neither hidden nor printed."""
    dataset = structure_set([Roi("a", stack(SQUARE), 1)])
    path = write_dicom(tmp_path / "rs.dcm", dataset)
    text = path.read_bytes()
    assert pydicom.dcmread(path).PatientID == "MRN77"
    path.write_bytes(text.replace(b"1.2.4", b"1.2.x"))
    drawing = read_drawing(path)
    assert drawing.regions[0].shape is not None
    assert all(warning.startswith("pydicom: ") for warning in drawing.warnings)
