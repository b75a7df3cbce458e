"""Rigid registration of two images of a head outside a graph, with the nodes of the graphs."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bidsapp.imaging.transforms import Matrix, read_itk
from bidsapp.run.nodes.registration import BrainMask, Register


@dataclass(frozen=True, eq=False)
class RigidRegistration:
    """A rigid registration.

    Attributes
    ----------
    matrix : (4, 4) array
        Points of the fixed image to points of the moving one, RAS mm.
    basis : str
        Its size and quality, in words.
    warnings : tuple of str
        Why it is doubtful, if it is.
    error : float or None, mm
        Its expected error.
    """

    matrix: Matrix
    basis: str
    warnings: tuple[str, ...] = ()
    error: float | None = None


def register_rigidly(
    moving: Path,
    fixed: Path,
    metric: str,
    lesions: tuple[Sequence[Path], Sequence[Path]] = ((), ()),
) -> RigidRegistration:
    """Return a rigid registration of one image of a head to another, with its quality.

    Parameters
    ----------
    moving, fixed
        The images.
    metric
        See `bidsapp.imaging.register`.
    lesions
        Label images of lesions to exclude: of the moving image, and of the fixed one.

    Raises
    ------
    RegistrationError
        If it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        mask = Path(folder, "brain.nii")
        mask.write_bytes(_brain(fixed))
        node = Register(moving=str(moving), fixed=str(fixed), fixed_mask=str(mask), metric=metric)
        node.inputs.transform, node.inputs.symmetric = "rigid", True
        for name, files in zip(("moving_lesions", "fixed_lesions"), lesions, strict=True):
            if files:
                setattr(node.inputs, name, [str(path) for path in files])
        found = node.run(cwd=folder).outputs
        matrix = read_itk(found.to_fixed)
        quality = json.loads(Path(found.quality).read_text(encoding="utf-8"))
    error = quality["expected_error_mm"]
    basis = (
        f"{quality['translation_mm']:.1f} mm, {quality['rotation_degrees']:.1f} degrees, expected "
        f"error {'unknown' if error is None else f'{error:.2f} mm'}, {quality['verdict']}"
    )
    doubts = (
        ()
        if quality["verdict"] == "good"
        else (f"{moving.name} on {fixed.name}: doubtful registration: {quality['reason']}",)
    )
    return RigidRegistration(matrix, basis, doubts, error)


@lru_cache(maxsize=1)
def _brain(image: Path) -> bytes:
    """Return the brain mask of a T1w, to which several images are registered in turn."""
    with tempfile.TemporaryDirectory() as folder:
        mask = BrainMask(in_file=str(image)).run(cwd=folder).outputs.mask
        return Path(mask).read_bytes()
