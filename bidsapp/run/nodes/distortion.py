"""Nodes for EPI distortion: estimation of the shift, and its effect in the brain."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.bids.derivatives import to_json
from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging import register
from bidsapp.imaging.distortion.fieldmap import (
    ShiftFit,
    correct_distortion,
    field_shift,
    pair_shift,
)
from bidsapp.imaging.distortion.t1w import t1w_shift
from bidsapp.imaging.registration.quality import require_success
from bidsapp.imaging.warps import Shift, read_shift, write_shift
from bidsapp.run.nodes.files import load, load_mask, save_array

METHODS = {"fieldmap": "field map", "epi": "reversed phase-encode pair", "T1w": "T1w"}
"""Source of the estimated shift, by its kind."""


class _EstimateShiftInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="EPI, 3D")
    source = File(
        exists=True, mandatory=True, desc="field map, EPI with reversed phase encoding, or T1w"
    )
    kind = traits.Enum(*METHODS, mandatory=True)
    axis = traits.Range(low=0, high=2, mandatory=True, desc="phase-encoding axis")
    scale = traits.Float(
        mandatory=True, desc="mm per unit of the field map, or relative distortion of the EPI"
    )
    mask = File(exists=True, desc="brain mask on the grid of the T1w")
    transform = traits.Enum("affine", "rigid", usedefault=True, desc="of the registration to a T1w")
    named = traits.Str("", usedefault=True, nohash=True, desc="the EPI, for messages")


class _EstimateShiftOutput(TraitedSpec):
    shift = File(exists=True, desc="mm; from undistorted to distorted positions")
    unshift = File(exists=True, desc="mm; from distorted to undistorted positions")
    out_file = File(exists=True, desc="corrected EPI, with intensity modulation by the Jacobian")
    estimate = traits.Dict(desc="method and quality of the estimate")


class EstimateShift(SimpleInterface):
    """Estimate the distortion of an EPI from a field map, reversed pair or T1w, and correct it."""

    input_spec = _EstimateShiftInput
    output_spec = _EstimateShiftOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        try:
            shift, estimate = self._estimate(nib.Nifti1Image(data, image.affine))
        except (BadInput, RegistrationError) as error:
            raise type(error)(f"{self._subject()}: {error}") from error
        folder = Path(runtime.cwd)
        self._results |= {
            "shift": write_shift(shift, folder / "shift.nii"),
            "unshift": write_shift(shift.inverse(), folder / "unshift.nii"),
            "out_file": save_array(
                correct_distortion(data, shift), image, folder / "corrected.nii"
            ),
            "estimate": {"source": Path(self.inputs.source).name} | estimate,
        }
        return runtime

    def _subject(self) -> str:
        """Return the subject of an error message: the source, or the EPI if it is a T1w."""
        inputs = self.inputs
        if inputs.kind != "T1w":
            return str(inputs.source)
        epi = inputs.named or Path(inputs.in_file).name
        return f"{epi} on {Path(inputs.source).name}, for its distortion"

    def _estimate(self, image: nib.Nifti1Image) -> tuple[Shift, dict[str, Any]]:
        """Return the shift, and the method and quality of its estimate."""
        inputs = self.inputs
        estimate = {"method": METHODS[inputs.kind]}
        data, like = load(inputs.source)
        source = nib.Nifti1Image(data if data.ndim == 3 else data.mean(axis=-1), like.affine)
        if inputs.kind == "fieldmap":
            return field_shift(source, image, inputs.axis, inputs.scale), estimate
        if inputs.kind == "epi":
            found, name = pair_shift(image, source, inputs.axis, inputs.scale), "difference"
        else:
            found, name = self._shift_from_t1w(image, source), "cost"
        return found.shift, estimate | {
            f"{name}_before": found.before,
            f"{name}_after": found.after,
        }

    def _shift_from_t1w(self, image: nib.Nifti1Image, t1w: nib.Nifti1Image) -> ShiftFit:
        """Estimate the shift from the T1w, after registration of the distorted EPI to it.

        The registration engine of metperf is always used, because errors of a less accurate
        registration would be mistaken for distortion.
        """
        data, like = load(self.inputs.mask)
        mask = nib.Nifti1Image(data, like.affine)
        transform = self.inputs.transform
        found = register(image, t1w, transform=transform, metric="lpc", fixed_mask=mask)
        require_success(found.quality, "as it was acquired")
        return t1w_shift(image, t1w, mask, found.matrix, self.inputs.axis)


class _DistortionEffectInput(BaseInterfaceInputSpec):
    shift = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True, desc="brain, on the grid of the shift")
    estimate = traits.Dict(desc="method and quality of the estimate, for the JSON")


class _DistortionEffectOutput(TraitedSpec):
    quality = File(exists=True, desc="JSON")


class DistortionEffect(SimpleInterface):
    """Summarise the displacement and the stretching of the brain by the distortion."""

    input_spec = _DistortionEffectInput
    output_spec = _DistortionEffectOutput

    def _run_interface(self, runtime: Any) -> Any:
        shift = read_shift(self.inputs.shift)
        brain = load_mask(self.inputs.mask)
        if brain is None or not brain.any():
            raise BadInput(f"{self.inputs.mask}: the diffusion series does not contain the brain")
        size, stretch = np.abs(shift.data[brain]), shift.jacobian()[brain]
        effect = {
            "mean_abs_shift_mm": float(size.mean()),
            "max_abs_shift_mm": float(size.max()),
            "least_jacobian": float(stretch.min()),
            "largest_jacobian": float(stretch.max()),
        }
        path = Path(runtime.cwd) / "quality.json"
        path.write_bytes(to_json({**(self.inputs.estimate or {}), **effect}))
        self._results["quality"] = str(path)
        return runtime
