"""Nodes for registration with either engine, its quality, and the brain mask."""

from dataclasses import replace
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

from bidsapp.bids.derivatives import to_json
from bidsapp.config import ENGINES, version
from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging import register
from bidsapp.imaging.masks import brain_mask, grow, template_brain, template_path
from bidsapp.imaging.registration.quality import Quality, Verdict, assess, require_success
from bidsapp.imaging.registration.sampling import Points
from bidsapp.imaging.registration.similarity import METRICS
from bidsapp.imaging.registration.starts import mean_distance
from bidsapp.imaging.transforms import Matrix, apply, compose, invert, read_itk, write_itk
from bidsapp.run.nodes.files import load, load_labels, save_array
from bidsapp.run.nodes.niimath import ENGINE, allineate

OWN = f"metperf {version()}"
LESION_MARGIN = 3.0
"""Margin around excluded lesions, mm."""
LOST_MM = 8.0
"""Expected error of the template registration above which no brain is found, mm."""


class _RegisterInput(BaseInterfaceInputSpec):
    moving = File(exists=True, mandatory=True)
    fixed = File(exists=True, mandatory=True)
    fixed_mask = File(exists=True, mandatory=True, desc="brain")
    fixed_lesions = InputMultiObject(File(exists=True), desc="labels to exclude, on the same grid")
    moving_lesions = InputMultiObject(File(exists=True), desc="labels to exclude, on the same grid")
    transform = traits.Enum("affine", "rigid", usedefault=True)
    metric = traits.Enum(*METRICS, usedefault=True)
    symmetric = traits.Bool(False, usedefault=True, desc="treat both images equally")
    engine = traits.Enum(*ENGINES, usedefault=True)
    second_opinion = traits.Bool(
        True, usedefault=True, desc="also run niimath if the result is doubtful"
    )
    named = traits.Str(
        "", usedefault=True, nohash=True, desc="name of the moving image in messages"
    )
    num_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True, desc="of niimath")


class _RegisterOutput(TraitedSpec):
    to_fixed = File(
        exists=True, desc="ITK transform that resamples the moving image to the fixed grid"
    )
    to_moving = File(exists=True, desc="its inverse")
    quality = File(exists=True, desc="JSON")


class Register(SimpleInterface):
    """Register one image to another; implausible results are an error.

    If the result of metperf's engine is doubtful, niimath is also run.
    """

    input_spec = _RegisterInput
    output_spec = _RegisterOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        own = inputs.engine == "metperf"
        matrix, quality, source = self._own() if own else self._niimath(Path(runtime.cwd))
        if inputs.second_opinion and not quality.implausible_measures():
            quality = self._second_opinion(matrix, quality, Path(runtime.cwd))
        require_success(quality, self._pair())
        self._results |= write_alignment(
            Path(runtime.cwd), matrix, quality.as_dict() | {"metric": inputs.metric} | source
        )
        return runtime

    def _pair(self) -> str:
        """Return the names of the two images."""
        inputs = self.inputs
        return f"{inputs.named or Path(inputs.moving).name} on {Path(inputs.fixed).name}"

    def _own(self) -> tuple[Matrix, Quality, dict[str, Any]]:
        """Register with metperf's engine, by the local Pearson correlation."""
        inputs = self.inputs
        try:
            found = register(
                _image(inputs.moving),
                _image(inputs.fixed),
                transform=inputs.transform,
                metric=inputs.metric,
                fixed_mask=_without(inputs.fixed_mask, inputs.fixed_lesions),
                moving_mask=_without(inputs.moving, inputs.moving_lesions, everything=True),
                symmetric=inputs.symmetric,
            )
        except BadInput as error:
            raise BadInput(f"{self._pair()}: {error}") from error
        return found.matrix, found.quality, {"engine": OWN, "cost": found.cost}

    def _niimath(self, folder: Path) -> tuple[Matrix, Quality, dict[str, Any]]:
        """Register with niimath; it has no signed correlation for similar contrasts."""
        inputs = self.inputs
        matrix, cost = allineate(
            inputs.moving,
            inputs.fixed,
            inputs.fixed_mask,
            cost="lpc" if inputs.metric == "lpc" else "lpa",
            transform=inputs.transform,
            num_threads=inputs.num_threads,
            folder=folder,
        )
        mask, fixed = load(inputs.fixed_mask)
        moving = nib.load(inputs.moving)
        quality = assess(matrix, mask, fixed.affine, moving.shape, moving.affine)
        return matrix, quality, {"engine": ENGINE, "cost": cost}

    def _second_opinion(self, matrix: Matrix, quality: Quality, folder: Path) -> Quality:
        """Return the quality with the distance between the results of both engines.

        niimath is run only if metperf's result is doubtful; results of niimath, which does not
        report doubt, are always compared.
        """
        if self.inputs.engine == "niimath":
            return compare_with_own_registration(matrix, quality, self.inputs)
        if quality.verdict is Verdict.GOOD:
            return quality
        apart = mean_distance(matrix, self._niimath(folder)[0], _points(self.inputs.fixed_mask))
        return replace(quality, disagreement_mm=apart)


def compare_with_own_registration(matrix: Matrix, quality: Quality, inputs: Any) -> Quality:
    """Return the quality of a matrix with its distance from metperf's registration."""
    own = register(
        _image(inputs.moving),
        _image(inputs.fixed),
        transform=inputs.transform,
        metric=inputs.metric,
        fixed_mask=_image(inputs.fixed_mask),
    )
    return replace(
        quality,
        expected_error_mm=own.quality.expected_error_mm,
        disagreement_mm=mean_distance(matrix, own.matrix, _points(inputs.fixed_mask)),
    )


def write_alignment(folder: Path, matrix: Matrix, quality: dict[str, Any]) -> dict[str, str]:
    """Write a transform, its inverse and its quality; return their paths by name."""
    path = folder / "quality.json"
    path.write_bytes(to_json(quality))
    return {
        "to_fixed": str(write_itk(matrix, folder / "to_fixed.txt")),
        "to_moving": str(write_itk(invert(matrix), folder / "to_moving.txt")),
        "quality": str(path),
    }


def _without(path: str, lesions: Any, *, everything: bool = False) -> nib.Nifti1Image | None:
    """Return a mask, or the whole image, excluding lesions with a margin."""
    if not lesions:
        return None if everything else _image(path)
    data, image = load(path)
    kept = np.ones(data.shape, bool) if everything else data > 0
    for labels in lesions:
        kept &= ~grow(load_labels(labels, path)[0], image.affine, LESION_MARGIN)
    return nib.Nifti1Image(kept.astype(np.uint8), image.affine)


class _CheckConsistencyInput(BaseInterfaceInputSpec):
    moving = File(exists=True, mandatory=True, desc="average of a series")
    fixed = File(exists=True, mandatory=True, desc="baseline T1w")
    fixed_mask = File(exists=True, mandatory=True, desc="brain mask of the baseline T1w")
    to_t1w = File(exists=True, mandatory=True, desc="ITK, series to the session's T1w")
    to_fixed = File(exists=True, mandatory=True, desc="ITK, session's T1w to the baseline T1w")
    metric = traits.Enum(*METRICS, usedefault=True)


class _CheckConsistencyOutput(TraitedSpec):
    quality = File(exists=True, desc="JSON")


class CheckConsistency(SimpleInterface):
    """Register a series directly to the baseline T1w, and compare with the chained transforms."""

    input_spec = _CheckConsistencyInput
    output_spec = _CheckConsistencyOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        chain = compose(read_itk(inputs.to_fixed), read_itk(inputs.to_t1w))
        direct = register(
            _image(inputs.moving),
            _image(inputs.fixed),
            metric=inputs.metric,
            fixed_mask=_image(inputs.fixed_mask),
        )
        apart = mean_distance(chain, direct.matrix, _points(inputs.fixed_mask))
        content = direct.quality.as_dict() | {"consistency_mm": apart, "metric": inputs.metric}
        path = Path(runtime.cwd) / "quality.json"
        path.write_bytes(to_json(content | {"engine": OWN}))
        self._results["quality"] = str(path)
        return runtime


def _image(path: str) -> nib.Nifti1Image:
    """Return a 3D image; a last axis of length one is dropped."""
    data, image = load(path)
    return nib.Nifti1Image(data, image.affine)


def _points(mask: str) -> Points:
    """Return points distributed over a brain, mm."""
    data, image = load(mask)
    return apply(image.affine, np.argwhere(data > 0)[::997])


class _BrainMaskInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1w")
    margin = traits.Float(3.0, usedefault=True, desc="dilation of the mask, mm")


class _BrainMaskOutput(TraitedSpec):
    mask = File(exists=True)


class BrainMask(SimpleInterface):
    """Register the ICBM152 template to a T1w, and resample its brain mask."""

    input_spec = _BrainMaskInput
    output_spec = _BrainMaskOutput

    def _run_interface(self, runtime: Any) -> Any:
        image = _image(self.inputs.in_file)
        template, template_image = load(str(template_path()))
        brain, affine = template_brain(template, template_image.affine)
        tissue = nib.Nifti1Image((template > 0).astype(np.uint8), template_image.affine)
        found = register(image, template_image, metric="lpa", fixed_mask=tissue)
        grid = (image.shape[:3], image.affine)
        try:
            lost = found.quality.expected_error_mm
            if not lost < LOST_MM:
                raise RegistrationError(
                    f"no brain found: the error of the template registration is {lost:.0f} mm, "
                    f"above {LOST_MM:g} mm; check the T1w and its header"
                )
            mask = brain_mask(brain, affine, found.matrix, *grid, margin=self.inputs.margin)
        except RegistrationError as error:
            raise RegistrationError(f"{self.inputs.in_file}: {error}") from error
        target = Path(runtime.cwd) / "brain_mask.nii"
        self._results["mask"] = save_array(mask.astype(np.uint8), image, target)
        return runtime
