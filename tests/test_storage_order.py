"""Lesion values do not depend on the order and direction of the axes in which images are stored."""

import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from datasets import write_image
from hostile import run, write_study

pytestmark = pytest.mark.usefixtures("short_pages")

TOLERANCE = 0.005
"""Largest relative change of a lesion value."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("stored") / "bids", ("a",))


def turn(folder, codes):
    """Store every image below a folder with other axes: the same voxels in the same places."""
    for path in sorted(folder.rglob("*.nii.gz")):
        image = nib.load(path).as_reoriented(
            nib.orientations.ornt_transform(
                nib.io_orientation(nib.load(path).affine), nib.orientations.axcodes2ornt(codes)
            )
        )
        data, affine = np.asarray(image.dataobj), image.affine
        path.unlink()
        write_image(path, data, affine)


def lesion_values(root, capsys):
    """Run a data set; return the mean of each parameter of the lesion, and its volume."""
    outcome = run(root, capsys)
    assert outcome.code == 0, outcome.err
    tables = [pd.read_csv(p, sep="\t") for p in (root.parent / "out").rglob("*_roistats.tsv")]
    rows = pd.concat(tables).set_index(["model", "parameter"])
    return rows[["mean", "measured_ml"]].sort_index()


@pytest.fixture
def stored(study, capsys):
    """Return what the data set gives as it is stored."""
    return lesion_values(study, capsys)


def test_other_axes_give_the_same_lesion_values(study, stored, tmp_path, capsys):
    """Flipped and exchanged axes, of the series alone or with the ROIs: DWI and DCE parameters."""
    assert {"ADC", "f", "Ktrans", "vp", "ve"} <= set(stored.index.get_level_values("parameter"))
    for codes, part in (("LPI", ""), ("ASR", ""), ("PIL", "sub-01")):
        root = tmp_path / codes / "bids"
        shutil.copytree(study, root)
        turn(root / part, codes)
        found = lesion_values(root, capsys)
        pd.testing.assert_frame_equal(found, stored, rtol=TOLERANCE, atol=0)
