"""niimath, which holds AFNI's 3dAllineate and 3dvolreg, as nipype interfaces."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import niimath
from nipype.interfaces.base import CommandLine, CommandLineInputSpec, File, TraitedSpec, traits

from bidsapp.errors import RegistrationError

ENGINE = f"niimath {version('niimath')}"
_FINE_COST = re.compile(r"Fine cost = (-?[\d.]+)")


class _NiimathInput(CommandLineInputSpec):
    in_file = File(exists=True, mandatory=True, argstr="%s -gz 0", position=0)
    num_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, argstr="-p %d", position=1, desc="threads"
    )


class _Niimath(CommandLine):
    """Raise on failure: nipype leaves a non-zero exit to its caller outside of a node."""

    _cmd = niimath.bin

    def _run_interface(self, runtime: Any, correct_return_codes: tuple[int, ...] = (0,)) -> Any:
        runtime.environ["OMP_NUM_THREADS"] = str(self.inputs.num_threads)
        runtime = super()._run_interface(runtime, correct_return_codes)
        if runtime.returncode not in correct_return_codes:
            said = "\n".join((runtime.stdout + "\n" + runtime.stderr).strip().splitlines()[-5:])
            raise RegistrationError(
                f"{Path(self.inputs.in_file).name}: niimath ended with exit code "
                f"{runtime.returncode} ({self.cmdline}):\n{said}"
            )
        return runtime

    def _list_outputs(self) -> dict[str, Any]:
        names = (
            n
            for n in ("out_file", "matrix", "parameters")
            if n in self.inputs.copyable_trait_names()
        )
        return {name: str(Path(getattr(self.inputs, name)).absolute()) for name in names}


class _AllineateInput(_NiimathInput):
    base = File(exists=True, mandatory=True, argstr="-allineate %s", position=2, desc="fixed image")
    cost = traits.Enum(
        "lpc",
        "lpa",
        "hel",
        "nmi",
        "ls",
        "fast",
        argstr="-cost %s",
        usedefault=True,
        desc="lpc: opposite contrast; lpa: any local contrast; fast: another, quick engine",
    )
    warp = traits.Enum(
        "aff", "srs", "shr", "sho", argstr="-warp %s", desc="12, 9, 6 or 3 parameters; not for fast"
    )
    interp = traits.Enum("linear", "NN", "cubic", argstr="-interp %s", desc="while matching")
    final = traits.Enum("cubic", "linear", "NN", argstr="-final %s", desc="of the output")
    source_automask = traits.Bool(argstr="-source_automask", desc="advised with lpc and lpa")
    com = traits.Bool(argstr="-com", desc="start with the centres of brightness together")
    matrix = File("matrix.json", usedefault=True, argstr="-savemat %s", position=-2)
    out_file = File("aligned.nii", usedefault=True, argstr="%s", position=-1)


class _AllineateOutput(TraitedSpec):
    out_file = File(exists=True, desc="in_file on the grid of base")
    matrix = File(exists=True, desc="JSON; fixed_to_moving is the 4x4 matrix, RAS mm")
    final_cost = traits.Float(desc="undefined for fast, which does not tell")


class Allineate(_Niimath):
    """Register an image to another with up to 12 parameters (3dAllineate).

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037.
    """

    input_spec = _AllineateInput
    output_spec = _AllineateOutput

    def aggregate_outputs(self, runtime: Any = None, needed_outputs: Any = None) -> Any:
        """Collect the outputs, and the final cost from what niimath printed."""
        outputs = super().aggregate_outputs(runtime, needed_outputs)
        found = _FINE_COST.search(runtime.stdout + runtime.stderr) if runtime else None
        if found:
            outputs.final_cost = float(found.group(1))
        return outputs


class _MotionCorrectInput(_NiimathInput):
    reference = traits.Range(
        low=0, value=0, usedefault=True, argstr="-moco -ref %d", position=2, desc="volume"
    )
    parameters = File("motion.1D", usedefault=True, argstr="-1Dfile %s", position=-2)
    out_file = File("corrected.nii", usedefault=True, argstr="%s", position=-1)


class _MotionCorrectOutput(TraitedSpec):
    out_file = File(exists=True, desc="the series, each volume moved onto the reference")
    parameters = File(exists=True, desc="roll pitch yaw dS dL dP of each volume, degrees and mm")


class MotionCorrect(_Niimath):
    """Move each volume of a series rigidly onto one of them (3dvolreg).

    References
    ----------
    Cox and Jesmanowicz, Magn Reson Med 1999,
    doi:10.1002/(SICI)1522-2594(199912)42:6<1014::AID-MRM4>3.0.CO;2-F.
    """

    input_spec = _MotionCorrectInput
    output_spec = _MotionCorrectOutput
