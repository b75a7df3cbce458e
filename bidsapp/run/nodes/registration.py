"""Nodes for registration with either engine, its quality, and the brain mask."""

from dataclasses import dataclass, replace
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
from bidsapp.imaging import Registration, register
from bidsapp.imaging.masks import brain_mask, grow, template_brain, template_path
from bidsapp.imaging.registration.fallback import refine_solution, register_or_fall_back
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
        folder = Path(runtime.cwd)
        found = self._own() if self.inputs.engine == "metperf" else self._niimath(folder)
        if self.inputs.second_opinion:
            found = self._second_opinion(found, folder)
        require_success(found.quality, self._pair())
        self._results |= write_alignment(
            folder, found.matrix, found.quality.as_dict() | found.record
        )
        return runtime

    def _pair(self) -> str:
        """Return the names of the two images."""
        inputs = self.inputs
        return f"{inputs.named or Path(inputs.moving).name} on {Path(inputs.fixed).name}"

    def _masks(self) -> dict[str, nib.Nifti1Image | None]:
        """Return the voxels of both images to use: without lesions."""
        inputs = self.inputs
        return {
            "fixed_mask": _without(inputs.fixed_mask, inputs.fixed_lesions),
            "moving_mask": _without(inputs.moving, inputs.moving_lesions, everything=True),
        }

    def _own(self) -> "_Solution":
        """Register with metperf's engine, by the local Pearson correlation."""
        inputs = self.inputs
        try:
            found = register_or_fall_back(
                _image(inputs.moving),
                _image(inputs.fixed),
                transform=inputs.transform,
                metric=inputs.metric,
                symmetric=inputs.symmetric,
                **self._masks(),
            )
        except BadInput as error:
            raise BadInput(f"{self._pair()}: {error}") from error
        return _Solution(found.matrix, found.quality, _record(found, OWN))

    def _niimath(self, folder: Path) -> "_Solution":
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
        record = {"metric": inputs.metric, "engine": ENGINE, "cost": cost}
        return _Solution(matrix, quality, record)

    def _second_opinion(self, found: "_Solution", folder: Path) -> "_Solution":
        """Return the solution compared with that of the other engine, or replaced by it.

        niimath is run only if metperf's result is doubtful or failed; results of niimath, which
        does not report doubt, are always compared.
        """
        quality = found.quality
        if self.inputs.engine == "niimath":
            if quality.implausible_measures():
                return found
            return replace(
                found, quality=compare_with_own_registration(found.matrix, quality, self.inputs)
            )
        # niimath would accept a mirrored image as readily.
        if quality.verdict is Verdict.GOOD or quality.looks_mirrored:
            return found
        other = self._niimath(folder)
        apart = mean_distance(found.matrix, other.matrix, _points(self.inputs.fixed_mask))
        compared = replace(found, quality=replace(quality, disagreement_mm=apart))
        # Two solutions that disagree, of which neither failed by itself, leave the matter open.
        if quality.verdict is compared.quality.verdict is Verdict.FAILED:
            return self._rescue(found, other) or compared
        return compared

    def _rescue(self, failed: "_Solution", other: "_Solution") -> "_Solution | None":
        """Return niimath's solution, refined, in place of one that failed; None if it fails."""
        inputs = self.inputs
        if other.quality.implausible_measures():
            return None
        found = refine_solution(
            other.matrix,
            _image(inputs.moving),
            _image(inputs.fixed),
            transform=inputs.transform,
            metric=inputs.metric,
            symmetric=inputs.symmetric,
            **self._masks(),
        )
        if found is None:
            return None
        reason = (
            f"the solution of {ENGINE}, refined, was used, because metperf's search failed "
            f"({failed.quality.reason})"
        )
        quality = replace(found.quality, fallback=reason)
        return _Solution(found.matrix, quality, _record(found, f"{ENGINE}, refined by {OWN}"))


@dataclass(frozen=True)
class _Solution:
    """A registration by either engine: matrix, quality, and how it was found, for the JSON."""

    matrix: Matrix
    quality: Quality
    record: dict[str, Any]


def _record(found: Registration, engine: str) -> dict[str, Any]:
    """Return how a registration was found."""
    return {
        "metric": found.metric,
        "engine": engine,
        "cost": found.cost,
        "background_excluded": list(found.stripped),
    }


def compare_with_own_registration(matrix: Matrix, quality: Quality, inputs: Any) -> Quality:
    """Return the quality of a matrix with its distance from metperf's registration.

    If that registration fails, it does not tell anything about the matrix: the distance is then
    that from the solution of metperf next to the matrix.
    """
    images = _image(inputs.moving), _image(inputs.fixed)
    mask = _image(inputs.fixed_mask)
    options = {"transform": inputs.transform, "metric": inputs.metric}
    own = register_or_fall_back(*images, fixed_mask=mask, **options)
    apart = mean_distance(matrix, own.matrix, _points(inputs.fixed_mask))
    if own.quality.verdict is not Verdict.FAILED or own.quality.looks_mirrored:
        return replace(
            quality,
            expected_error_mm=own.quality.expected_error_mm,
            mirror=own.quality.mirror,
            disagreement_mm=apart,
        )
    near = refine_solution(matrix, *images, mask, **options)
    failure = f"metperf's own registration, for comparison, failed ({own.quality.reason})"
    if near is None:
        return replace(quality, expected_error_mm=float("inf"), fallback=failure)
    return replace(
        quality,
        expected_error_mm=near.quality.expected_error_mm,
        disagreement_mm=near.quality.disagreement_mm,
        fallback=f"{failure}, but it finds the same if it starts there",
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
        direct = register_or_fall_back(
            _image(inputs.moving),
            _image(inputs.fixed),
            metric=inputs.metric,
            fixed_mask=_image(inputs.fixed_mask),
        )
        apart = mean_distance(chain, direct.matrix, _points(inputs.fixed_mask))
        content = direct.quality.as_dict() | {"consistency_mm": apart, "metric": direct.metric}
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
    from_template = File(exists=True, desc="ITK, points of the template to points of the T1w")


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
        transform = write_itk(found.matrix, target.with_name("from_template.txt"))
        self._results["from_template"] = str(transform)
        return runtime
