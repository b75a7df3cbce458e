"""The node that replaces a registration by a transform of the user."""

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
from bidsapp.imaging.registration.quality import Quality, Verdict, assess, require_success
from bidsapp.imaging.registration.similarity import METRICS
from bidsapp.imaging.transforms import Matrix, read_itk
from bidsapp.run.nodes.files import load
from bidsapp.run.nodes.registration import compare_with_own_registration, write_alignment


class _TakeTransformInput(BaseInterfaceInputSpec):
    transforms = InputMultiObject(
        File(exists=True),
        mandatory=True,
        desc="exactly one ITK transform that resamples the moving image to the fixed grid",
    )
    moving = File(exists=True, mandatory=True)
    fixed = File(exists=True, mandatory=True)
    fixed_mask = File(exists=True, mandatory=True, desc="brain")
    transform = traits.Enum("affine", "rigid", usedefault=True, desc="of the registration")
    metric = traits.Enum(*METRICS, usedefault=True, desc="of the registration")
    second_opinion = traits.Bool(True, usedefault=True, desc="compare with a registration")
    source = traits.Str(mandatory=True, desc="source of the transform, for the quality file")


class _TakeTransformOutput(TraitedSpec):
    to_fixed = File(
        exists=True, desc="ITK transform that resamples the moving image to the fixed grid"
    )
    to_moving = File(exists=True, desc="its inverse")
    quality = File(exists=True, desc="JSON")


class TakeTransform(SimpleInterface):
    """Check the user's transform, and return it in place of a registration.

    Only implausible transforms are refused; the distance from metperf's registration is reported.
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
        require_success(quality, f"{path}, the transform provided")
        record = {"engine": "given", "source": self.inputs.source}
        record |= (
            self._compare(matrix, quality) if self.inputs.second_opinion else quality.as_dict()
        )
        self._results |= write_alignment(Path(runtime.cwd), matrix, record)
        return runtime

    def _compare(self, matrix: Matrix, quality: Quality) -> dict[str, Any]:
        """Return the quality compared with metperf's registration; doubtful transforms are used."""
        try:
            quality = compare_with_own_registration(matrix, quality, self.inputs)
        except MetperfError as error:
            doubt = f"it could not be compared with the registration by metperf: {error}"
            return quality.as_dict() | {"verdict": Verdict.DOUBTFUL.value, "reason": doubt}
        record = quality.as_dict()
        if quality.verdict is Verdict.FAILED:
            record["verdict"] = Verdict.DOUBTFUL.value
        return record
