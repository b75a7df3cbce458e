"""Nodes for T1 and B1 maps."""

import json
from collections.abc import Sequence
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
    traits,
)

from bidsapp.bids.derivatives import to_json
from bidsapp.errors import BadInput, FitError
from bidsapp.imaging.registration.quality import Verdict
from bidsapp.imaging.relaxometry.flip_angles import (
    METRIC,
    STILL_VOXELS,
    Placement,
    place_flip_angles,
    resample_placed,
    same_grid,
)
from bidsapp.models import fit_masked
from bidsapp.models.contrast.relaxometry import b1_ratio
from bidsapp.models.contrast.t1_checks import check_flip_angles, check_t1_level, head_core
from bidsapp.run.nodes.files import load, save_array
from bidsapp.run.nodes.registration import OWN


class _ReadB1Input(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="TB1map")
    scale = traits.Float(mandatory=True, desc="1 for ratios, 0.01 for percent")


class _ReadB1Output(TraitedSpec):
    out_file = File(exists=True, desc="ratio of actual to nominal flip angle; NaN if unknown")


class ReadB1(SimpleInterface):
    """Convert a transmit field map to the ratio of actual to nominal flip angle."""

    input_spec = _ReadB1Input
    output_spec = _ReadB1Output

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        try:
            ratio = b1_ratio(data, self.inputs.scale)
        except FitError as error:
            raise BadInput(f"{self.inputs.in_file}: {error}") from error
        self._results["out_file"] = save_array(ratio, image, Path(runtime.cwd) / "b1.nii")
        return runtime


class _ReadT1Input(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1map")
    scale = traits.Float(mandatory=True, desc="1 for s, 0.001 for ms")
    field_strength = traits.Float(0.0, usedefault=True, desc="T; 0 if unknown")


class _ReadT1Output(TraitedSpec):
    out_file = File(exists=True, desc="T1 map, s; NaN where there is no value")
    quality = File(exists=True, desc="JSON: checks of the map")


class ReadT1(SimpleInterface):
    """Convert a T1 map to s."""

    input_spec = _ReadT1Input
    output_spec = _ReadT1Output

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        t1 = np.where(np.isfinite(data) & (data > 0), self.inputs.scale * data, np.nan)
        self._results["out_file"] = save_array(t1, image, Path(runtime.cwd) / "t1.nii")
        doubts = check_t1_level(
            t1, image.header.get_zooms()[:3], field_strength=self.inputs.field_strength
        )
        self._results["quality"] = _write_quality(doubts, Path(runtime.cwd))
        return runtime


def _write_quality(doubts: list[str], folder: Path, alignment: Path | None = None) -> str:
    """Write the doubts about a T1 map, after those about the alignment of its images."""
    known = json.loads(alignment.read_bytes()) if alignment else {}
    content = {"Description": "Checks of the T1 map", **known}
    path = folder / "quality.json"
    path.write_bytes(to_json(content | {"Warnings": [*known.get("Warnings", ()), *doubts]}))
    return str(path)


class _AlignFlipAnglesInput(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="one image per flip angle")
    flip_angles = traits.List(traits.Float, mandatory=True, desc="nominal, rad")
    fixed = File(exists=True, mandatory=True, desc="mean of the dynamic series")


class _AlignFlipAnglesOutput(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="the images on one grid")
    grid = File(exists=True, desc="the first of them")
    registration = File(exists=True, desc="JSON: Registration and Warnings")


class AlignFlipAngles(SimpleInterface):
    """Register images at several flip angles to the dynamic series.

    The images are resampled to the grid of the series, in one interpolation. If none has moved and
    they share a grid, they are passed on as they are.
    """

    input_spec = _AlignFlipAnglesInput
    output_spec = _AlignFlipAnglesOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        images = [nib.load(path) for path in inputs.in_files]
        fixed = nib.load(inputs.fixed)
        placed = place_flip_angles(images, inputs.flip_angles, fixed)
        files = list(inputs.in_files)
        moved = any(place.applied for place in placed)
        if moved or not all(same_grid(image, images[0]) for image in images):
            done = resample_placed(images, placed, fixed)
            files = [
                save_array(data, fixed, folder / f"{n:02d}_{Path(path).name.split('.')[0]}.nii")
                for n, (data, path) in enumerate(zip(done, files, strict=True))
            ]
        self._results["out_files"], self._results["grid"] = files, files[0]
        target = folder / "registration.json"
        names = [Path(path).name for path in inputs.in_files]
        target.write_bytes(to_json(_describe_placements(names, placed)))
        self._results["registration"] = str(target)
        return runtime


def _describe_placements(names: Sequence[str], placed: Sequence[Placement]) -> dict[str, Any]:
    """Return the registration of each image, and the warnings that follow."""
    return {
        "Registration": {
            "Description": "Rigid registration of each image to the mean of the dynamic series. "
            "It is applied unless it failed, the displacement is up to "
            f"{STILL_VOXELS:g} voxels, or it is below the expected error; an image to which it is "
            "not applied is placed by scanner coordinates. The matrix maps points of the dynamic "
            "series to points of the image, RAS mm",
            "Engine": OWN,
            "Metric": METRIC,
            "Images": {n: place.as_dict() for n, place in zip(names, placed, strict=True)},
        },
        "Warnings": [
            *_failed(names, placed),
            *(t for name, place in zip(names, placed, strict=True) for t in _doubts(name, place)),
        ],
    }


def _failed(names: Sequence[str], placed: Sequence[Placement]) -> list[str]:
    """Return one warning about all images whose registration failed."""
    problems = {
        name: place.problem for name, place in zip(names, placed, strict=True) if place.problem
    }
    if not problems:
        return []
    several = len(problems) > 1
    reasons = "; ".join(dict.fromkeys(problems.values()))
    return [
        f"{', '.join(problems)} could not be registered to the dynamic series ({reasons}) and "
        f"{'are' if several else 'is'} placed by scanner coordinates: check whether the head moved "
        f"between them, and whether {'they are' if several else 'it is'} of this patient"
    ]


def _doubts(name: str, place: Placement) -> list[str]:
    """Return the warning about the registration of one image, if there is one."""
    if place.problem:
        return []
    doubtful = place.quality and place.quality.verdict is Verdict.DOUBTFUL
    if not doubtful or not place.displacement_voxels > STILL_VOXELS:
        return []
    used = "" if place.applied else ", and scanner coordinates place it"
    reason = place.quality.reason if place.quality else ""
    return [f"the registration of {name} to the dynamic series is doubtful ({reason}){used}"]


class _FitT1Input(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="one image per flip angle")
    flip_angles = traits.List(traits.Float, mandatory=True, desc="nominal, rad")
    repetition_time = traits.Float(mandatory=True, desc="s")
    field_strength = traits.Float(0.0, usedefault=True, desc="T; 0 if unknown")
    b1_map = File(exists=True, desc="ratio of actual to nominal flip angle, on the same grid")
    model = traits.Str("vfa-t1", usedefault=True, desc="name of the model")
    alignment = File(exists=True, desc="JSON: Registration and Warnings of the images")


class _FitT1Output(TraitedSpec):
    out_file = File(exists=True, desc="T1 map, s; NaN if the fit failed")
    quality = File(exists=True, desc="JSON: checks of the map")


class FitT1(SimpleInterface):
    """Fit T1 to images at several flip angles."""

    input_spec = _FitT1Input
    output_spec = _FitT1Output

    def _run_interface(self, runtime: Any) -> Any:
        loaded = [load(f) for f in self.inputs.in_files]
        signal = np.stack([data for data, _ in loaded], axis=-1)
        b1 = load(self.inputs.b1_map)[0] if self.inputs.b1_map else None
        target = Path(runtime.cwd) / "t1.nii"
        t1, m0 = self._fit(signal, b1)
        self._results["out_file"] = save_array(t1, loaded[0][1], target)
        doubts = self._judge(signal, b1, t1, m0, loaded[0][1].header.get_zooms()[:3])
        alignment = Path(self.inputs.alignment) if self.inputs.alignment else None
        self._results["quality"] = _write_quality(doubts, Path(runtime.cwd), alignment)
        return runtime

    def _judge(self, signal: Any, b1: Any, t1: Any, m0: Any, zooms: Any) -> list[str]:
        """Return the doubts about the map: its level, and images that do not fit the others."""
        mean = np.nan_to_num(signal.mean(axis=-1))
        bright = mean[mean > 0.1 * np.quantile(mean, 0.98)]
        if not bright.size:
            return []
        head = mean > 0.3 * np.median(bright)
        core = head_core(head, zooms)
        angles = np.array(self.inputs.flip_angles)
        actual = angles if b1 is None else b1[core][:, None] * angles
        design = (actual, self.inputs.repetition_time)
        doubts = check_flip_angles(signal[core], *design, t1[core], m0[core])
        return doubts + check_t1_level(t1, zooms, head, self.inputs.field_strength)

    def _fit(self, signal: Any, b1: Any) -> tuple[Any, Any]:
        """Return T1 and M0, with flip angles of each voxel from the B1 map, if there is one."""
        inside = (signal > 0).all(axis=-1)
        design = {
            "flip_angles": np.array(self.inputs.flip_angles),
            "repetition_time": self.inputs.repetition_time,
        }
        found = fit_masked(self.inputs.model, signal, inside, b1=b1, **design)
        return found.values["T1"], found.values["M0"]
