"""Our transforms, read and applied by SimpleITK and nitransforms; and theirs by us."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from heads import grid, pose, scan, write
from nitransforms.linear import Affine
from nitransforms.resampling import apply as resample_elsewhere

from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import compose, read_itk, write_itk

FIXED = grid((4, 4, 5))
MOVING = {
    "axial": grid((4, 4, 6)),
    "oblique": grid((4, 4, 6), oblique=(12, -7, 20)),
    "sagittal": grid((4, 4, 8), axes=(1, 2, 0)),
}
STRETCH = np.array([[1.03, 0.02, 0, 4], [0, 0.97, -0.01, -3], [0, 0, 1.02, 2], [0, 0, 0, 1]])
MATRIX = compose(STRETCH, pose((6, -5, 9), (3, 4, -6)))


@pytest.mark.parametrize("kind", MOVING)
def test_others_apply_it_as_we_do(kind, tmp_path):
    """SimpleITK and nitransforms resample the moving image onto what our own resampling gives."""
    affine, shape = MOVING[kind]
    moving = write(tmp_path / "moving.nii", scan("dce", (affine, shape), MATRIX), affine)
    fixed = write(tmp_path / "fixed.nii", np.zeros(FIXED[1], np.float32), FIXED[0])
    path = str(write_itk(MATRIX, tmp_path / "x.txt"))
    data = nib.load(moving).get_fdata(dtype=np.float32)
    ours = resample(data, affine, MATRIX, FIXED[1], FIXED[0])
    simple = sitk.Resample(
        sitk.ReadImage(moving), sitk.ReadImage(fixed), sitk.ReadTransform(path), sitk.sitkLinear
    )
    theirs = sitk.GetArrayFromImage(simple).T
    given = Affine.from_filename(path, fmt="itk", reference=fixed)
    again = resample_elsewhere(given, nib.load(moving), order=1, prefilter=False).get_fdata()
    inside = np.isfinite(ours) & (ours > 5)
    assert inside.sum() > 10_000
    for other in (theirs, again):
        kept = inside & (other > 0)
        assert kept.sum() > 0.97 * inside.sum()
        np.testing.assert_allclose(other[kept], ours[kept], atol=1.5)


def test_theirs_are_read(tmp_path):
    """A file of SimpleITK's, with a centre of rotation and in double precision, is that matrix."""
    transform = sitk.AffineTransform(3)
    flip = np.diag([-1.0, -1, 1, 1])
    lps = flip @ MATRIX @ flip
    centre = np.array([10.0, -20, 30])
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetCenter(centre.tolist())
    transform.SetTranslation((lps[:3, 3] - centre + lps[:3, :3] @ centre).tolist())
    sitk.WriteTransform(transform, str(tmp_path / "theirs.txt"))
    np.testing.assert_allclose(read_itk(tmp_path / "theirs.txt"), MATRIX, atol=1e-5)
