"""Images that are missing, truncated, invalid or without orientation: each reported in one line."""

import gc
import gzip
import sqlite3
import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from bids.layout import BIDSLayout
from datasets import write_image
from hostile import dry, raw, rewrite, roi, run, write_study

from bidsapp.bids.index import index
from bidsapp.bids.records import Diffusion, Session
from bidsapp.run.image_checks import check_images

pytestmark = pytest.mark.usefixtures("short_pages")


@pytest.fixture
def root(tmp_path):
    """One session, in a folder whose name has a space and an umlaut."""
    return write_study(tmp_path / "bids dät", ("a",))


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def link_nowhere(path):
    path.unlink()
    path.symlink_to("../../../.git/annex/objects/aa/bb/MD5E-s3--0.nii.gz")


def pointer(path):
    path.write_text("/annex/objects/MD5E-s3232--0123.nii.gz\n")


def with_header(path, **fields):
    """Write the image again with other fields of its header, as they are."""
    image = nib.load(path)
    data = np.asarray(image.dataobj, "<f4").tobytes("F")
    header = image.header.copy()
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + data))


def dims(*shape):
    return lambda path: with_header(path, dim=[4, *shape, 1, 1, 1])


def complex_voxels(path):
    rewrite(path, lambda data: data.astype(np.complex64))


REFUSED = {
    "empty": (lambda p: p.write_bytes(b""), "cannot be read as NIfTI (Empty file"),
    "a text": (lambda p: p.write_bytes(gzip.compress(b"no" * 900)), "cannot be read as NIfTI"),
    "a PNG": (lambda p: p.write_bytes(b"\x89PNG" * 99), "is not a gzip file"),
    "truncated": (cut_short, "is truncated: 3232 bytes are expected from the header"),
    "not downloaded": (link_nowhere, "run `datalad get sub-01_ses-a_dwi.nii.gz`"),
    "annex pointer": (pointer, "not downloaded: run `datalad get sub-01_ses-a_dwi.nii.gz`"),
    "3D": (
        lambda p: rewrite(p, lambda d: d[..., 0]),
        "4 dimensions are required; join its volumes",
    ),
    "two echoes": (
        lambda p: rewrite(p, lambda d: np.stack([d, d], 3)),
        "(6, 6, 4, 2, 5), but 4 dimensions are required; write one 4D image for each echo",
    ),
    "huge header": (dims(32000, 32000, 30000, 5), "specifies 153600000000000 voxels"),
    "gzip bomb": (dims(800, 800, 400, 5), "is truncated: 5120000000 bytes are expected"),
    "no voxel": (dims(0, 6, 4, 5), "so there are no voxels"),
    "complex": (complex_voxels, "real numbers (magnitude) are required"),
    "singular": (lambda p: with_header(p, srow_x=[0, 0, 0, 0]), "(sform, qform) is invalid"),
    "NaN affine": (lambda p: with_header(p, srow_x=[np.nan] * 4), "(sform, qform) is invalid"),
    "in metres": (
        lambda p: with_header(p, srow_x=[1e-3, 0, 0, 0], srow_y=[0, 1e-3, 0, 0]),
        "is the header in mm?",
    ),
}


@pytest.mark.parametrize("spoil", [s for s, _ in REFUSED.values()], ids=REFUSED)
def test_a_bad_image_is_refused_and_the_rest_goes_on(root, capsys, spoil):
    """The series is not done, its file and reason are reported, exit 1; the DCE is still done."""
    message = next(m for s, m in REFUSED.values() if s is spoil)
    spoil(raw(root, "dwi.nii.gz"))
    outcome = dry(root, capsys)
    assert outcome.code == 1
    line = next(line for line in outcome.out.splitlines() if "failed:" in line)
    assert "sub-01_ses-a_dwi.nii.gz" in line
    assert message in line
    assert "sub-01 ses-a (day 0): dce, rois" in outcome.out


def gzip_members(path):
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:999]) + gzip.compress(content[999:]))


def scaling(slope, intercept):
    fields = {"scl_slope": slope, "scl_inter": intercept, "vox_offset": 352}
    return lambda path: with_header(path, **fields)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (gzip_members, None),
        (scaling(np.nan, np.nan), None),
        (scaling(0, 5), None),
        (scaling(1, np.inf), "cannot be read as NIfTI (Valid slope but invalid intercept inf)"),
    ],
    ids=["several gzip members", "no scaling", "slope 0", "infinite intercept"],
)
def test_a_header_as_converters_write_it_keeps_the_values(root, capsys, spoil, message):
    """What NIfTI defines as no scaling is none; what has no meaning is refused."""
    path = raw(root, "dce.nii.gz")
    before = np.asarray(nib.load(path).dataobj)
    spoil(path)
    outcome = dry(root, capsys)
    assert outcome.code == (message is not None)
    if message:
        assert message in outcome.out
    else:
        np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), before)


def test_a_fifth_axis_of_length_one_changes_nothing(tmp_path, capsys):
    """Series stored as (x, y, z, 1, t) or (x, y, z, t, 1) give the values of those in four axes."""
    root = write_study(tmp_path / "bids", ("a", "b"))
    rewrite(raw(root, "dce.nii.gz", "b"), lambda d: d[:, :, :, None])
    rewrite(raw(root, "dwi.nii.gz", "b"), lambda d: d[..., None])
    assert nib.load(raw(root, "dce.nii.gz", "b")).shape == (6, 6, 4, 1, 20)
    assert run(root, capsys).code == 0
    tables = [
        pd.concat(
            pd.read_csv(path, sep="\t").drop(columns=["session_id"])
            for path in sorted((root.parent / f"out/sub-01/ses-{session}").rglob("*roistats.tsv"))
        )
        for session in "ab"
    ]
    assert {"ADC", "Ktrans"} <= set(tables[0]["parameter"])
    pd.testing.assert_frame_equal(*tables)


def test_a_file_for_each_time_point_is_refused_with_the_command_that_joins_them(root, capsys):
    """One message for the whole series, with all files in order of their numbers."""
    series = raw(root, "dce.nii.gz")
    frames = np.moveaxis(np.asarray(nib.load(series).dataobj), 3, 0)
    for number, frame in enumerate(frames, 1):
        write_image(series.with_name(f"sub-01_ses-a_run-{number}_dce.nii.gz"), frame)
    series.unlink()
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert outcome.out.count("failed:") == 1
    text = "20 images of one volume each, sub-01_ses-a_run-1_dce.nii.gz to sub-01_ses-a_run-20_dce"
    assert text in outcome.out
    names = "sub-01_ses-a_dce.nii.gz $(ls -v sub-01_ses-a_run-*_dce.nii.gz)"
    assert f"cd '{series.parent}' && fslmerge -t {names}" in outcome.out
    assert "describe the series in sub-01_ses-a_dce.json" in outcome.out


def test_a_4d_t1w_is_refused(root, capsys):
    """A T1w with volumes is reported with its shape; the series are analysed without it."""
    path = root / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"
    write_image(path, np.ones((4, 4, 4, 3), np.float32))
    assert "(4, 4, 4, 3), but 3 dimensions are required" in dry(root, capsys).out


def test_a_folder_in_place_of_an_image_is_no_image(root, capsys):
    """A folder with an image's name does not stop the run: there is no DWI."""
    path = raw(root, "dwi.nii.gz")
    path.unlink()
    path.mkdir()
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert "no DWI: no ADC and no IVIM" in outcome.out


def test_the_same_image_twice_is_not_guessed_between(root, capsys):
    """``.nii`` and ``.nii.gz`` of one name are reported, with a filter that chooses."""
    path = raw(root, "dwi.nii.gz")
    nib.save(nib.load(path), path.with_name("sub-01_ses-a_dwi.nii"))
    assert 'for example {"dwi": {"extension": ".nii"}}' in dry(root, capsys).out


def test_a_hidden_file_of_a_mac_is_passed_over(root, capsys):
    """``._`` files that a Mac leaves are no images."""
    path = raw(root, "dwi.nii.gz")
    path.with_name("._" + path.name).write_bytes(b"Mac")
    assert dry(root, capsys).code == 0


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        ((None, None), "has no orientation (sform and qform code 0)"),
        ((np.eye(4), np.diag([2.0, 2, 2, 1])), "sform and qform disagree by up to"),
    ],
)
def test_a_doubtful_orientation_is_a_warning(root, capsys, forms, message):
    """No orientation, or two that differ, are reported for the series."""
    path = raw(root, "dce.nii.gz")
    image = nib.Nifti1Image(np.asarray(nib.load(path).dataobj), np.eye(4))
    sform, qform = forms
    image.set_sform(sform, 0 if sform is None else 1)
    image.set_qform(qform, 0 if qform is None else 1)
    nib.save(image, path)
    assert f"warning: {path.name}: {message}" in dry(root, capsys).out


def examine(root, name="dwi.nii.gz", bvalues=(0, 50, 200, 500, 1000)):
    """Return the problem found when the voxels of a diffusion series are read."""
    return check_images(Session("01", "a", diffusion=Diffusion(raw(root, name), bvalues, None)))


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def without_volume(data):
    data = data.copy()
    data[..., 3] = np.nan
    return data


UNUSABLE = {
    "a flipped byte": (flip_a_byte, "is damaged"),
    "all NaN": (lambda p: rewrite(p, lambda d: d * np.nan), "no voxel has a finite value"),
    "all zero": (lambda p: rewrite(p, lambda d: d * 0), "all voxels have the value 0"),
    "an empty volume": (lambda p: rewrite(p, without_volume), "(the first is number 4)"),
}


@pytest.mark.parametrize(("spoil", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_voxels_that_say_nothing_are_refused(root, spoil, message):
    """Damage inside the file, which nibabel does not see, and empty data take the series out."""
    spoil(raw(root, "dwi.nii.gz"))
    found = examine(root)
    assert found.diffusion is None
    assert message in found.problems[0]


def infinite(data):
    data = data.copy()
    data[0, 0, 0, 0] = np.inf
    return data


ODD = {
    "infinity": (infinite, "0.69% of the voxels contain NaN or infinity"),
    "negative": (lambda d: -d, "100.0% of the values are negative"),
    "b-values in another order": (lambda d: d[..., ::-1], "are the b-values in the order"),
}


@pytest.mark.parametrize(("change", "message"), ODD.values(), ids=ODD)
def test_odd_voxels_are_a_warning(root, change, message):
    """A voxel that is not finite never ends a volume: it is counted and reported."""
    rewrite(raw(root, "dwi.nii.gz"), change)
    found = examine(root)
    assert found.diffusion
    assert any(message in text for text in found.warnings)


def test_sound_voxels_raise_no_doubt(root):
    """The untouched series gives neither problem nor warning."""
    found = examine(root)
    assert (found.problems, found.warnings) == ((), ())


STORED = {
    "int16 with a slope": np.int16,
    "float64": np.float64,
    "uint8 with a slope": np.uint8,
}


@pytest.mark.parametrize("kind", STORED.values(), ids=STORED)
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_how_voxels_are_stored_does_not_matter(root, kind, extension):
    """Integers with a slope, doubles and uncompressed files are read as they are meant."""
    path = raw(root, "dwi.nii.gz")
    data = np.asarray(nib.load(path).dataobj)
    image = nib.Nifti1Image(data, np.eye(4))
    image.set_data_dtype(kind)
    path.unlink()
    nib.save(image, path.with_name(f"sub-01_ses-a_dwi{extension}"))
    found = examine(root, f"dwi{extension}")
    assert found.problems == ()
    stored = np.asarray(nib.load(found.diffusion.image).dataobj)
    np.testing.assert_allclose(stored, data, atol=data.max() / 200)


def test_a_run_with_a_damaged_series_tells_it_and_does_the_rest(root, capsys):
    """Exit 1, the reason on the screen and the page, no DWI result, and the DCE's table."""
    flip_a_byte(raw(root, "dwi.nii.gz"))
    outcome = run(root, capsys)
    out = root.parent / "out"
    assert outcome.code == 1
    assert "is damaged" in outcome.err
    assert "is damaged" in (out / "sub-01.html").read_text(encoding="utf-8")
    assert not list(out.glob("sub-01/ses-a/dwi/*map*"))
    assert len(list(out.glob("sub-01/ses-a/perf/*etofts_roistats.tsv"))) == 1
    assert not list(out.rglob(".part-*"))


@pytest.mark.parametrize("axes", [(-1, 0), (0, 2), (1, 0)])
def test_axes_may_run_anywhere(root, capsys, axes):
    """A series whose axes are flipped or swapped, with an ROI likewise, gives no complaint."""
    first, second = axes
    for path in (raw(root, "dwi.nii.gz"), roi(root, "space-dwi_seg-enhancing_dseg.nii.gz")):
        image = nib.load(path)
        data = np.asarray(image.dataobj)
        affine = np.eye(4)
        if first < 0:
            data, affine[0] = data[::-1], [-1, 0, 0, data.shape[0] - 1]
        else:
            data = np.swapaxes(data, first, second)
            affine[:, [first, second]] = affine[:, [second, first]]
        path.unlink()
        write_image(path, data, affine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dry(root, capsys).code == 0


def test_an_index_that_is_gone_leaves_no_database_open(root):
    """Pybids closes none; hundreds of runs in one process would hold as many."""
    layout = index(root, "bids", ["01"])
    connection = layout.connection_manager.engine.raw_connection().driver_connection
    assert connection.execute("select 1").fetchone() == (1,)
    BIDSLayout.config.fget.cache_clear()  # pybids remembers the last 128 indices
    del layout
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("select 1")
