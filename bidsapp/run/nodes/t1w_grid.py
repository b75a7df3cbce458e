"""Nodes for fits on the grid of the T1w: resampling of series, and embedding of maps."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bidsapp.errors import BadInput
from bidsapp.imaging.labels import bounding_box
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import compose, translation
from bidsapp.imaging.warps import Mapping, chain, read_mapping
from bidsapp.run.nodes.files import create, load, save_array


class _SeriesOnT1wInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="4D")
    transform = InputMultiObject(
        File(exists=True),
        mandatory=True,
        desc="ITK transforms and shifts that resample the series to the T1w",
    )
    motion = File(
        exists=True, desc=".npy, (N, 4, 4): points of the reference volume to points of each volume"
    )
    mask = File(
        exists=True,
        mandatory=True,
        desc="brain on the grid of the T1w; only its bounding box is resampled",
    )


class _SeriesOnT1wOutput(TraitedSpec):
    out_file = File(exists=True, desc="4D, on the bounding box of the brain in the grid of the T1w")
    mask = File(exists=True, desc="the brain in the same box")


class SeriesOnT1w(SimpleInterface):
    """Resample each volume to the grid of the T1w in one step through all transforms."""

    input_spec = _SeriesOnT1wInput
    output_spec = _SeriesOnT1wOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        brain, t1w = load(self.inputs.mask)
        box = bounding_box(brain > 0)
        affine = compose(translation([s.start for s in box]), t1w.affine)
        folder = Path(runtime.cwd)
        mask = nib.Nifti1Image((brain[box] > 0).astype(np.uint8), affine, t1w.header)
        self._results["mask"] = save_array(mask.dataobj, mask, folder / "mask.nii")
        self._results["out_file"] = str(folder / "series.nii")
        shape = (*mask.shape, data.shape[3])
        result = create(folder / "series.nii", shape, mask)
        for i, mapping in enumerate(self._mappings(data.shape[3])):
            result[..., i] = resample(data[..., i], image.affine, mapping, mask.shape, affine)
        return runtime

    def _mappings(self, volumes: int) -> list[Mapping]:
        """Return the mapping from points of the T1w to points of each volume."""
        to_series = read_mapping(self.inputs.transform)
        if not isdefined(self.inputs.motion):
            return [to_series] * volumes
        motion = np.load(self.inputs.motion)
        if motion.shape != (volumes, 4, 4):
            raise BadInput(
                f"{self.inputs.motion}: has matrices of shape {motion.shape}, but the series has "
                f"{volumes} volumes"
            )
        return [chain(to_series, m) for m in motion]


class _EmbedInGridInput(BaseInterfaceInputSpec):
    in_files = InputMultiObject(
        File(exists=True), mandatory=True, desc="3D images that cover a part of the grid"
    )
    reference = File(exists=True, mandatory=True, desc="image that defines the whole grid")
    outside = traits.Int(
        0, usedefault=True, desc="value of integer maps outside; other maps are NaN"
    )


class _EmbedInGridOutput(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True))


class EmbedInGrid(SimpleInterface):
    """Embed images that cover a part of a grid in the whole grid."""

    input_spec = _EmbedInGridInput
    output_spec = _EmbedInGridOutput

    def _run_interface(self, runtime: Any) -> Any:
        whole = nib.load(self.inputs.reference)
        done = []
        for i, path in enumerate(self.inputs.in_files):
            image = nib.load(path)
            part = np.asanyarray(image.dataobj)
            start = np.rint(np.linalg.inv(whole.affine) @ image.affine)[:3, 3].astype(int)
            outside = self.inputs.outside if part.dtype.kind in "iu" else np.nan
            data = np.full(whole.shape[:3], outside, part.dtype)
            data[tuple(slice(a, a + n) for a, n in zip(start, part.shape, strict=True))] = part
            name = f"{i:02d}_{Path(path).name.split('.nii')[0]}.nii"
            done.append(save_array(data, whole, Path(runtime.cwd) / name))
        self._results["out_files"] = done
        return runtime
