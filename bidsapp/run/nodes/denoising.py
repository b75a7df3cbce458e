"""Denoising of a diffusion series by its principal components."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from dipy.denoise.localpca import mppca
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
)

from bidsapp.errors import BadInput
from bidsapp.run.nodes.files import load, save_array


def patch_radius(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the radius of the patches along each axis: the smallest with enough voxels.

    A patch has more voxels than there are volumes, as the method requires, and at least 5 x 5 x 5
    where the image has as many slices. Its radius is the same along all axes that are long enough.

    Parameters
    ----------
    shape : (X, Y, Z, N)

    Raises
    ------
    BadInput
        If the image is too small for any such patch.

    Examples
    --------
    >>> patch_radius((128, 128, 30, 16)), patch_radius((64, 64, 30, 150))
    ((2, 2, 2), (3, 3, 3))
    >>> patch_radius((64, 64, 3, 80))
    (3, 3, 1)
    """
    *grid, volumes = shape
    largest = [(size - 1) // 2 for size in grid]
    for radius in range(2, max(largest, default=0) + 1):
        i, j, k = (min(radius, limit) for limit in largest)
        if (2 * i + 1) * (2 * j + 1) * (2 * k + 1) > volumes:
            return i, j, k
    raise BadInput(f"an image of {tuple(grid)} voxels is too small to denoise {volumes} volumes")


class _DenoiseInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="series as acquired, 4D")


class _DenoiseOutput(TraitedSpec):
    out_file = File(exists=True, desc="the denoised series, 4D")


class DenoiseMPPCA(SimpleInterface):
    """Denoise a series by Marchenko-Pastur principal component analysis, with dipy.

    In each patch, the components of the (voxels by volumes) matrix whose variances follow the
    Marchenko-Pastur distribution of pure noise are removed. See Veraart et al., NeuroImage 2016,
    doi:10.1016/j.neuroimage.2016.08.016.
    """

    input_spec = _DenoiseInput
    output_spec = _DenoiseOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        radius = np.array(patch_radius(data.shape))
        clean = mppca(data, patch_radius=radius, out_dtype=np.float32)
        target = Path(runtime.cwd) / "denoised.nii"
        self._results["out_file"] = save_array(clean, image, target)
        return runtime
