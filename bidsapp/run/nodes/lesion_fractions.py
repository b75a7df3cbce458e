"""The node that resamples lesions to the grid of a series, with preserved volume."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.imaging.labels import label_fractions
from bidsapp.imaging.warps import read_mapping
from bidsapp.run.nodes.files import load_labels, save_array


class _LesionFractionsInput(BaseInterfaceInputSpec):
    rois = File(exists=True, mandatory=True, desc="label image")
    lesions = traits.List(traits.Int, mandatory=True, desc="labels, in the order of the volumes")
    reference = File(exists=True, mandatory=True, desc="image that defines the grid")
    transform = InputMultiObject(
        File(exists=True),
        mandatory=True,
        desc="ITK transforms and shifts, from points of the grid to points of the ROI",
    )


class _LesionFractionsOutput(TraitedSpec):
    out_file = File(exists=True, desc="4D: fraction of each voxel inside each lesion, 0 to 1")


class LesionFractions(SimpleInterface):
    """Calculate the fraction of each voxel of a grid inside each lesion."""

    input_spec = _LesionFractionsInput
    output_spec = _LesionFractionsOutput

    def _run_interface(self, runtime: Any) -> Any:
        labels, image = load_labels(self.inputs.rois)
        reference = nib.load(self.inputs.reference)
        fractions = label_fractions(
            labels,
            image.affine,
            read_mapping(self.inputs.transform),
            reference.shape[:3],
            reference.affine,
            self.inputs.lesions,
        )
        target = Path(runtime.cwd) / "fractions.nii"
        self._results["out_file"] = save_array(fractions.astype(np.float32), reference, target)
        return runtime
