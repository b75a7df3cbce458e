"""The node that resamples images to another grid."""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import nibabel as nib
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

from bidsapp.imaging.labels import resample_labels
from bidsapp.imaging.resample import resample, resample_each
from bidsapp.imaging.warps import Mapping, read_mapping
from bidsapp.run.nodes.files import as_list, load, load_labels, save_map


class _ApplyTransformInput(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="3D or 4D, on any grids")
    reference = File(exists=True, mandatory=True, desc="image that defines the grid")
    transform = InputMultiObject(
        File(exists=True),
        desc="ITK transforms and shifts; default: identity in scanner coordinates",
    )
    then = File(exists=True, desc="ITK; from the fixed image of the transform to the reference")
    order = traits.Range(low=0, high=5, value=1, usedefault=True, desc="order of the spline")
    labels = traits.Bool(
        False, usedefault=True, desc="label that fills most of each voxel, 0 outside"
    )


class _ApplyTransformOutput(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="NaN outside the field of view")


class ApplyTransform(SimpleInterface):
    """Resample images to the grid of a reference, in one step through all transforms."""

    input_spec = _ApplyTransformInput
    output_spec = _ApplyTransformOutput

    def _run_interface(self, runtime: Any) -> Any:
        reference = nib.load(self.inputs.reference)
        then = [self.inputs.then] if isdefined(self.inputs.then) else []
        mapping = read_mapping([*then, *as_list(self.inputs.transform)])
        done = []
        # Maps of one fit have the same grid: their weights are calculated once.
        groups = groupby(enumerate(self.inputs.in_files), key=lambda one: _grid(one[1]))
        for _, group in groups:
            numbers, paths = zip(*group, strict=True)
            for i, path, data in zip(
                numbers, paths, self._resample(paths, mapping, reference), strict=True
            ):
                name = f"{i:02d}_{Path(path).name.split('.nii')[0]}.nii.gz"
                done.append(save_map(data, reference, Path(runtime.cwd) / name))
        self._results["out_files"] = done
        return runtime

    def _resample(
        self, paths: Sequence[str], mapping: Mapping, reference: nib.Nifti1Image
    ) -> Iterator[Any]:
        """Yield images of one grid on that of the reference."""
        affine, grid = nib.load(paths[0]).affine, (reference.shape[:3], reference.affine)
        if self.inputs.labels:
            for path in paths:
                yield resample_labels(load_labels(path)[0], affine, mapping, *grid)
            return
        series = (load(path)[0] for path in paths)
        first = next(series)
        order = self.inputs.order
        if first.ndim == 3:
            yield from resample_each(chain([first], series), affine, mapping, *grid, order=order)
            return
        for data in chain([first], series):
            yield resample(data, affine, mapping, *grid, order=order)


def _grid(path: str) -> tuple[Any, ...]:
    """Return what identifies the grid of an image: shape and affine."""
    image = nib.load(path)
    return (*image.shape, *image.affine.ravel())
