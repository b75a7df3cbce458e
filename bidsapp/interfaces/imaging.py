"""Nodes around registration: what the engine is given, what comes of it, images on other grids."""

import json
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

from bidsapp.bids.derivatives import to_json, to_tsv
from bidsapp.errors import RegistrationError
from bidsapp.imaging.labels import resample_labels
from bidsapp.imaging.masks import brain_mask, centroid, template_brain, template_path
from bidsapp.imaging.motion import COLUMNS, framewise_displacement, read_volreg
from bidsapp.imaging.quality import accept, assess
from bidsapp.imaging.recentring import mask_fixed, recentre, restore_centre
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import Matrix, compose, invert, nearest_rigid, read_itk, write_itk
from bidsapp.interfaces.files import load, load_labels, save

TEMPLATE = str(template_path())


def _read_matrix(path: str) -> Matrix:
    """Return fixed points to moving points from niimath's file."""
    return np.array(json.loads(Path(path).read_text())["fixed_to_moving"], float)


class _PrepareRegistrationInput(BaseInterfaceInputSpec):
    moving = File(exists=True, mandatory=True)
    fixed = File(exists=True, mandatory=True)
    fixed_mask = File(exists=True, mandatory=True, desc="brain")
    margin = traits.Float(0.0, usedefault=True, desc="kept around the brain, mm")


class _PrepareRegistrationOutput(TraitedSpec):
    moving = File(exists=True, desc="recentred")
    fixed = File(exists=True, desc="recentred, zero outside the brain and its margin")
    centre = traits.List(traits.Float, desc="centroid of the fixed brain, mm")


class PrepareRegistration(SimpleInterface):
    """Recentre both images on the fixed brain, and mask the fixed one."""

    input_spec = _PrepareRegistrationInput
    output_spec = _PrepareRegistrationOutput

    def _run_interface(self, runtime: Any) -> Any:
        fixed, fixed_image = load(self.inputs.fixed)
        moving, moving_image = load(self.inputs.moving)
        mask, _ = load(self.inputs.fixed_mask)
        centre = centroid(mask, fixed_image.affine)
        kept = mask_fixed(fixed, mask, fixed_image.affine, self.inputs.margin)
        images = {
            "fixed": nib.Nifti1Image(kept, recentre(fixed_image.affine, centre)),
            "moving": nib.Nifti1Image(np.nan_to_num(moving), recentre(moving_image.affine, centre)),
        }
        for name, image in images.items():
            self._results[name] = str(Path(runtime.cwd) / f"{name}.nii")
            nib.save(image, self._results[name])
        self._results["centre"] = centre.tolist()
        return runtime


class _FinishRegistrationInput(BaseInterfaceInputSpec):
    matrix = File(exists=True, mandatory=True, desc="between the recentred images, niimath's JSON")
    centre = traits.List(traits.Float, mandatory=True, desc="that they were recentred on, mm")
    moving = File(exists=True, mandatory=True)
    fixed_mask = File(exists=True, mandatory=True, desc="brain")
    rigid = traits.Bool(False, usedefault=True, desc="take the nearest rigid transform")
    cost = traits.Float(desc="final value of the metric")
    engine = traits.Str(mandatory=True, desc="program and version")
    metric = traits.Str(mandatory=True)


class _FinishRegistrationOutput(TraitedSpec):
    to_fixed = File(exists=True, desc="ITK transform that resamples moving on the fixed grid")
    to_moving = File(exists=True, desc="its inverse")
    quality = File(exists=True, desc="JSON")


class FinishRegistration(SimpleInterface):
    """Refuse a transform that cannot be right; else write it, its inverse and its quality."""

    input_spec = _FinishRegistrationInput
    output_spec = _FinishRegistrationOutput

    def _run_interface(self, runtime: Any) -> Any:
        given = self.inputs
        matrix = restore_centre(_read_matrix(given.matrix), given.centre)
        if given.rigid:
            matrix = nearest_rigid(matrix, given.centre)
        mask, fixed = load(given.fixed_mask)
        moving = nib.load(given.moving)
        quality = assess(matrix, mask, fixed.affine, moving.shape, moving.affine)
        accept(quality, f"{Path(given.moving).name} on the image of {Path(given.fixed_mask).name}")
        folder = Path(runtime.cwd)
        content = quality.as_dict() | {"engine": given.engine, "metric": given.metric}
        content["cost"] = given.cost if isdefined(given.cost) else None
        (folder / "quality.json").write_bytes(to_json(content))
        self._results["to_fixed"] = str(write_itk(matrix, folder / "to_fixed.txt"))
        self._results["to_moving"] = str(write_itk(invert(matrix), folder / "to_moving.txt"))
        self._results["quality"] = str(folder / "quality.json")
        return runtime


class _BrainMaskInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w")
    matrix = File(exists=True, mandatory=True, desc="template to T1w, niimath's JSON")
    margin = traits.Float(3.0, usedefault=True, desc="by which the mask is grown, mm")


class _BrainMaskOutput(TraitedSpec):
    mask = File(exists=True)


class BrainMask(SimpleInterface):
    """Bring the template's brain to a T1w."""

    input_spec = _BrainMaskInput
    output_spec = _BrainMaskOutput

    def _run_interface(self, runtime: Any) -> Any:
        image = nib.load(self.inputs.in_file)
        template, template_image = load(TEMPLATE)
        brain, affine = template_brain(template, template_image.affine)
        try:
            mask = brain_mask(
                brain,
                affine,
                _read_matrix(self.inputs.matrix),
                image.shape[:3],
                image.affine,
                margin=self.inputs.margin,
            )
        except RegistrationError as error:
            raise RegistrationError(f"{self.inputs.in_file}: {error}") from error
        target = Path(runtime.cwd) / "brain_mask.nii"
        self._results["mask"] = save(mask.astype(np.uint8), image, target)
        return runtime


class _ApplyTransformInput(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="3D or 4D, on any grids")
    reference = File(exists=True, mandatory=True, desc="gives the grid")
    transform = File(exists=True, desc="ITK; scanner coordinates alone without one")
    then = File(exists=True, desc="ITK; from the transform's fixed image on to the reference")
    order = traits.Range(low=0, high=5, value=1, usedefault=True, desc="of the spline")
    labels = traits.Bool(False, usedefault=True, desc="take what fills most of a voxel, 0 outside")


class _ApplyTransformOutput(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="NaN outside the field of view")


class ApplyTransform(SimpleInterface):
    """Resample images on a reference's grid, once, through one or two transforms."""

    input_spec = _ApplyTransformInput
    output_spec = _ApplyTransformOutput

    def _run_interface(self, runtime: Any) -> Any:
        reference = nib.load(self.inputs.reference)
        chain = [p for p in (self.inputs.then, self.inputs.transform) if isdefined(p)]
        matrix = compose(*(read_itk(path) for path in chain))
        done = []
        for i, path in enumerate(self.inputs.in_files):
            data = self._resample(path, matrix, reference)
            target = Path(runtime.cwd) / f"{i:02d}_{Path(path).name.split('.nii')[0]}.nii"
            done.append(save(data, reference, target))
        self._results["out_files"] = done
        return runtime

    def _resample(self, path: str, matrix: Matrix, reference: nib.Nifti1Image) -> Any:
        data, image = load_labels(path) if self.inputs.labels else load(path)
        grid = (image.affine, matrix, reference.shape[:3], reference.affine)
        if self.inputs.labels:
            return resample_labels(data, *grid)
        return resample(data, *grid, order=self.inputs.order)


class _MotionTableInput(BaseInterfaceInputSpec):
    parameters = File(exists=True, mandatory=True, desc="roll pitch yaw dS dL dP, degrees and mm")


class _MotionTableOutput(TraitedSpec):
    out_file = File(exists=True, desc="TSV: six parameters (mm, rad) and framewise displacement")


class MotionTable(SimpleInterface):
    """Write a series' motion as a table."""

    input_spec = _MotionTableInput
    output_spec = _MotionTableOutput

    def _run_interface(self, runtime: Any) -> Any:
        parameters = read_volreg(self.inputs.parameters)
        columns = [*COLUMNS, "framewise_displacement"]
        values = np.column_stack([parameters, framewise_displacement(parameters)])
        rows = [dict(zip(columns, row, strict=True)) for row in values.tolist()]
        target = Path(runtime.cwd) / "motion.tsv"
        target.write_bytes(to_tsv(columns, rows))
        self._results["out_file"] = str(target)
        return runtime
