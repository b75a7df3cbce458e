"""The node that takes a user's transform in place of a registration."""

from pathlib import Path
from typing import Any

import nibabel as nib
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.errors import BadInput, MetperfError
from bidsapp.imaging.registration.quality import Quality, Verdict, accept, assess
from bidsapp.imaging.registration.similarity import METRICS
from bidsapp.imaging.transforms import Matrix, read_itk
from bidsapp.run.nodes.files import load
from bidsapp.run.nodes.registration import compare_with_own_registration, write_alignment


class _TakeTransformInput(BaseInterfaceInputSpec):
    transforms = InputMultiObject(
        File(exists=True), mandatory=True, desc="ITK; one, that resamples moving on the fixed grid"
    )
    moving = File(exists=True, mandatory=True)
    fixed = File(exists=True, mandatory=True)
    fixed_mask = File(exists=True, mandatory=True, desc="brain")
    transform = traits.Enum("affine", "rigid", usedefault=True, desc="of the registration")
    metric = traits.Enum(*METRICS, usedefault=True, desc="of the registration")
    second_opinion = traits.Bool(True, usedefault=True, desc="hold it against a registration")
    source = traits.Str(mandatory=True, desc="what the quality names as the transform's source")


class _TakeTransformOutput(TraitedSpec):
    to_fixed = File(exists=True, desc="ITK transform that resamples moving on the fixed grid")
    to_moving = File(exists=True, desc="its inverse")
    quality = File(exists=True, desc="JSON")


class TakeTransform(SimpleInterface):
    """Check a transform that was given, and hand it on as a registration would.

    Only what cannot be is refused; how far our own registration ends from it is told.
    """

    input_spec = _TakeTransformInput
    output_spec = _TakeTransformOutput

    def _run_interface(self, runtime: Any) -> Any:
        path, *others = self.inputs.transforms
        if others:
            names = ", ".join(sorted(Path(p).name for p in self.inputs.transforms))
            raise BadInput(
                f"several transforms were given for one registration: {names}; keep one, or choose "
                'with --bids-filter-file, for example {"xfm": {"desc": "mine"}}'
            )
        matrix = read_itk(path)
        mask, fixed = load(self.inputs.fixed_mask)
        moving = nib.load(self.inputs.moving)
        quality = assess(matrix, mask, fixed.affine, moving.shape, moving.affine)
        accept(quality, f"{path}, the transform that was given")
        told = {"engine": "given", "source": self.inputs.source}
        told |= self._judged(matrix, quality) if self.inputs.second_opinion else quality.as_dict()
        self._results |= write_alignment(Path(runtime.cwd), matrix, told)
        return runtime

    def _judged(self, matrix: Matrix, quality: Quality) -> dict[str, Any]:
        """Return what our own registration says of it; the user's word stands, doubt is told."""
        try:
            quality = compare_with_own_registration(matrix, quality, self.inputs)
        except MetperfError as error:
            doubt = f"it could not be held against a registration of our own: {error}"
            return quality.as_dict() | {"verdict": Verdict.DOUBTFUL.value, "reason": doubt}
        told = quality.as_dict()
        if quality.verdict is Verdict.FAILED:
            told["verdict"] = Verdict.DOUBTFUL.value
        return told
