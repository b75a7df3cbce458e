"""nipype interfaces of niimath, which contains AFNI's 3dAllineate and 3dvolreg."""

import json
import os
import re
import shlex
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import niimath
import numpy as np
from nipype.interfaces.base import (
    CommandLine,
    CommandLineInputSpec,
    File,
    TraitedSpec,
    isdefined,
    traits,
)

from bidsapp.errors import RegistrationError
from bidsapp.imaging.masks import centroid
from bidsapp.imaging.registration.recentring import mask_fixed, recentre, restore_centre
from bidsapp.imaging.transforms import Matrix, nearest_rigid
from bidsapp.run.nodes.files import load

ENGINE = f"niimath {version('niimath')}"
_FINE_COST = re.compile(r"Fine cost = (-?[\d.]+)")


class _NiimathInput(CommandLineInputSpec):
    in_file = File(exists=True, mandatory=True, argstr="%s -gz 0", position=0)
    num_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, argstr="-p %d", position=1, desc="threads"
    )


class _Niimath(CommandLine):
    """Base class that runs niimath without a shell, and raises an error if it fails."""

    _cmd = niimath.bin

    def _run_interface(self, runtime: Any, correct_return_codes: tuple[int, ...] = (0,)) -> Any:
        done = subprocess.run(  # noqa: S603 (nipype would use a shell)
            shlex.split(self.cmdline),
            cwd=runtime.cwd,
            env={**os.environ, "OMP_NUM_THREADS": str(self.inputs.num_threads)},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        runtime.stdout, runtime.stderr = done.stdout, done.stderr
        runtime.returncode, runtime.success_codes = done.returncode, correct_return_codes
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
        argstr="-cost %s",
        usedefault=True,
        desc="lpc: opposite contrast; lpa: any local contrast",
    )
    warp = traits.Enum(
        "aff",
        "srs",
        "shr",
        "sho",
        argstr="-warp %s",
        desc="transform with 12, 9, 6 or 3 parameters",
    )
    interp = traits.Enum(
        "linear", "NN", "cubic", argstr="-interp %s", desc="interpolation during registration"
    )
    final = traits.Enum(
        "cubic", "linear", "NN", argstr="-final %s", desc="interpolation of the output"
    )
    source_automask = traits.Bool(argstr="-source_automask", desc="recommended with lpc and lpa")
    com = traits.Bool(argstr="-com", desc="start with aligned centres of mass")
    matrix = File("matrix.json", usedefault=True, argstr="-savemat %s", position=-2)
    out_file = File("aligned.nii", usedefault=True, argstr="%s", position=-1)


class _AllineateOutput(TraitedSpec):
    out_file = File(exists=True, desc="in_file on the grid of base")
    matrix = File(exists=True, desc="JSON; fixed_to_moving is the 4x4 matrix, RAS mm")
    final_cost = traits.Float()


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


def allineate(
    moving: str,
    fixed: str,
    fixed_mask: str,
    *,
    cost: str,
    transform: str,
    num_threads: int,
    folder: Path,
) -> tuple[Matrix, float | None]:
    """Register with 3dAllineate, after moving both heads to the origin.

    Parameters
    ----------
    moving, fixed, fixed_mask
        Images; the mask is that of the brain on the grid of the fixed image.
    cost
        ``lpc`` or ``lpa``.
    transform
        ``affine`` or ``rigid``.
    num_threads
        Number of threads; it does not affect the result.
    folder
        Working folder.

    Returns
    -------
    matrix : (4, 4) array
        Fixed points to moving points, RAS mm.
    cost : float or None
        Final cost, as printed by niimath.
    """
    mask, image = load(fixed_mask)
    centre = centroid(mask, image.affine)
    kept = mask_fixed(load(fixed)[0], mask, image.affine, 0.0)
    data, source = load(moving)
    base, target = folder / "recentred_fixed.nii", folder / "recentred_moving.nii"
    nib.save(nib.Nifti1Image(kept, recentre(image.affine, centre)), base)
    nib.save(nib.Nifti1Image(np.nan_to_num(data), recentre(source.affine, centre)), target)
    engine = Allineate(in_file=str(target), base=str(base), cost=cost, source_automask=True)
    engine.inputs.warp = "aff" if transform == "affine" else "shr"
    engine.inputs.num_threads = num_threads
    found = engine.run(cwd=str(folder)).outputs
    recentred = json.loads((folder / Path(found.matrix).name).read_text())["fixed_to_moving"]
    matrix = restore_centre(np.array(recentred, float), centre)
    if transform == "rigid":
        matrix = nearest_rigid(matrix, centre)
    return matrix, found.final_cost if isdefined(found.final_cost) else None


class _MotionCorrectInput(_NiimathInput):
    reference = traits.Range(
        low=0, value=0, usedefault=True, argstr="-moco -ref %d", position=2, desc="volume"
    )
    parameters = File("motion.1D", usedefault=True, argstr="-1Dfile %s", position=-2)
    out_file = File("corrected.nii", usedefault=True, argstr="%s", position=-1)


class _MotionCorrectOutput(TraitedSpec):
    out_file = File(exists=True, desc="the series, with each volume aligned with the reference")
    parameters = File(exists=True, desc="roll pitch yaw dS dL dP of each volume, degrees and mm")


class MotionCorrect(_Niimath):
    """Align each volume of a series rigidly with one of them (3dvolreg).

    References
    ----------
    Cox and Jesmanowicz, Magn Reson Med 1999,
    doi:10.1002/(SICI)1522-2594(199912)42:6<1014::AID-MRM4>3.0.CO;2-F.
    """

    input_spec = _MotionCorrectInput
    output_spec = _MotionCorrectOutput
