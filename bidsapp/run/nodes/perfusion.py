"""Nodes of the DCE branch: arterial input, and conversion of signal to concentration."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.bids.arterial_table import check_coverage, read_arterial_table
from bidsapp.bids.derivatives import to_json, to_tsv
from bidsapp.errors import BadInput, FitError
from bidsapp.models.contrast.aif import plasma_from_blood
from bidsapp.models.contrast.aif_checks import (
    check_arterial_input,
    check_clipping,
    compare_with_artery,
)
from bidsapp.models.contrast.artery import find_artery, select_arterial_voxels
from bidsapp.models.contrast.enhancement import (
    ArterialInput,
    Spgr,
    count_baseline_frames,
    enhancing_curve,
    head_course,
    measured_input,
    population_input,
    to_concentration,
)
from bidsapp.models.contrast.spgr import Conversion, concentration_status
from bidsapp.models.contrast.t1_checks import check_t1_contrast
from bidsapp.models.contrast.vein import ScaledArtery, Vein, check_scale, find_vein, scale_to_vein
from bidsapp.run.nodes.files import (
    Float,
    Mask,
    create,
    load,
    load_labels,
    load_mask,
    save_array,
)
from bidsapp.run.nodes.motion import inlier_volumes

NOT_CONVERTED = 255
_WITHOUT = (
    "; if there is no usable arterial input, --dce-model semi-quantitative describes the curves "
    "without one"
)
_HEAD = 0.2
"""Signal of a voxel of the head before the bolus, relative to the bright ones, at least."""
_LEVELS = {
    str(int(Conversion.OK)): "every frame has a concentration",
    str(int(Conversion.BEYOND_RANGE)): "some frames have a signal that no concentration explains",
    str(int(Conversion.UNUSABLE)): "baseline, T1 or flip angle is missing or not positive",
    str(NOT_CONVERTED): "outside the mask",
}


class _AcquisitionInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="dynamic series, 4D")
    repetition_time = traits.Float(mandatory=True, desc="s")
    flip_angle = traits.Float(mandatory=True, desc="nominal, rad")
    b1_map = File(
        exists=True, desc="ratio of actual to nominal flip angle, on the grid of the series"
    )
    relaxivity = traits.Float(mandatory=True, desc="1/s/mM")


def _spgr(inputs: Any) -> Spgr:
    return Spgr(inputs.repetition_time, inputs.flip_angle, inputs.relaxivity)


def _scale_flip_angles(spgr: Spgr, b1: Any) -> Spgr:
    """Return the acquisition with the actual flip angles."""
    return spgr if b1 is None else replace(spgr, flip_angle=spgr.flip_angle * b1)


def _load_b1(inputs: Any) -> Any:
    return np.asarray(load(inputs.b1_map)[0], float) if inputs.b1_map else None


class _FindArterialInputInput(_AcquisitionInput):
    source = traits.Str(mandatory=True, desc="roi, auto, table, or a population function")
    scale = traits.Enum("none", "vein", usedefault=True, desc="to what roi and auto are scaled")
    raw_file = File(exists=True, desc="the series as acquired, in which clipping is looked for")
    artery = File(exists=True, desc="mask on the grid of the series, for roi")
    table = File(exists=True, desc="TSV with time and blood or plasma, for table")
    table_fields = traits.Dict({}, usedefault=True, desc="metadata of the table, with its Units")
    times = traits.List(traits.Float, mandatory=True, desc="of each frame, min")
    t1_blood = traits.Float(mandatory=True, desc="s")
    haematocrit = traits.Float(mandatory=True)
    baseline_frames = traits.Int(
        0, usedefault=True, desc="frames before the bolus; 0 to detect them"
    )
    motion = File(exists=True, desc="motion table; outlying frames are interpolated")


class _FindArterialInputOutput(TraitedSpec):
    out_file = File(exists=True, desc="TSV: time (s), blood and plasma (mM)")
    quality = File(exists=True, desc="JSON: checks of a measured arterial input")
    baseline_frames = traits.Int()
    mask = File(desc="averaged voxels, for roi and auto")
    voxels = File(desc="TSV: time (s) and concentration in blood (mM) of each averaged voxel")
    vein = File(desc="averaged venous voxels, if the artery is scaled to the vein")


class FindArterialInput(SimpleInterface):
    """Obtain the arterial input from an artery, a table or a population function."""

    input_spec = _FindArterialInputInput
    output_spec = _FindArterialInputOutput

    def _run_interface(self, runtime: Any) -> Any:
        self._scaling: dict[str, Any] = {}
        self._doubts: list[str] = []
        try:
            found = self._find(Path(runtime.cwd))
        except (BadInput, FitError) as error:
            raise type(error)(f"{error}{_WITHOUT}", error.remedy) from error
        rows = [
            {"time": t * 60, "blood": b, "plasma": p}
            for t, b, p in zip(found.time, found.blood, found.plasma, strict=True)
        ]
        target = Path(runtime.cwd) / "aif.tsv"
        target.write_bytes(to_tsv(["time", "blood", "plasma"], rows))
        self._results["out_file"] = str(target)
        self._results["baseline_frames"] = found.baseline_frames
        quality = target.with_name("quality.json")
        quality.write_bytes(to_json(self._judge(found)))
        self._results["quality"] = str(quality)
        return runtime

    def _judge(self, found: ArterialInput) -> dict[str, Any]:
        """Return the checks of a measured arterial input; population functions are not checked."""
        doubts = []
        if self.inputs.source in ("roi", "auto", "table"):
            data = load(self.inputs.in_file)[0]
            doubts = check_arterial_input(found.blood, found.time, head_course(data))
            if self.inputs.source == "table":
                doubts += self._compare_table(data, found)
            doubts = self._clipping() + doubts + self._doubts
        return {
            "Description": "Checks of the arterial input",
            "PeakBlood": float(np.max(found.blood)),
            "BaselineFrames": found.baseline_frames,
            **self._scaling,
            "Warnings": doubts,
        }

    def _clipping(self) -> list[str]:
        """Return how the signal of the averaged voxels is cut off in the series as acquired."""
        mask = load_mask(self._results.get("mask"))
        if mask is None or not self.inputs.raw_file:
            return []
        return check_clipping(load(self.inputs.raw_file)[0], mask)

    def _compare_table(self, data: Float, table: ArterialInput) -> list[str]:
        """Return how a table contradicts the artery in the series, if there is one."""
        b1 = _load_b1(self.inputs)
        setting = {
            "t1_blood": self.inputs.t1_blood,
            "baseline_frames": self.inputs.baseline_frames,
        }
        spgr = _scale_flip_angles(_spgr(self.inputs), b1)
        try:
            taken = find_artery(data, table.time, spgr=spgr, **setting)
            spgr = _scale_flip_angles(_spgr(self.inputs), _mean_b1(b1, taken))
            artery = measured_input(
                data[taken].mean(axis=0), table.time, spgr=spgr, haematocrit=0.0, **setting
            )
        except FitError:  # not every series shows an artery
            return []
        return compare_with_artery(table.blood, artery.blood)

    def _find(self, folder: Path) -> ArterialInput:
        data, image = load(self.inputs.in_file)
        time = np.array(self.inputs.times)
        common = {
            "haematocrit": self.inputs.haematocrit,
            "baseline_frames": self.inputs.baseline_frames,
        }
        t1_blood = self.inputs.t1_blood
        if self.inputs.source in ("roi", "auto"):
            b1 = _load_b1(self.inputs)
            taken = self._choose(data, time, b1)
            spgr = _scale_flip_angles(_spgr(self.inputs), _mean_b1(b1, taken))
            signal = self._bridge_outliers(data[taken].mean(axis=0), time)
            found = measured_input(signal, time, t1_blood=t1_blood, spgr=spgr, **common)
            courses = to_concentration(data[taken], found.baseline_frames, t1_blood, spgr)
            self._results["mask"] = save_array(taken.astype(np.uint8), image, folder / "artery.nii")
            self._results["voxels"] = _write_courses(courses, time, folder / "voxels.tsv")
            if self.inputs.scale == "none":
                return found
            vein, scaled, signal = self._scale_to_vein(signal, data, found, spgr, b1)
            mask = vein.mask.astype(np.uint8)
            self._results["vein"] = save_array(mask, image, folder / "vein.nii")
            self._scaling = _describe_scaling(vein, scaled, float(found.blood.max()))
            self._doubts = check_scale(scaled)
            common["baseline_frames"] = found.baseline_frames
            return measured_input(signal, time, t1_blood=t1_blood, spgr=spgr, **common)
        if self.inputs.source == "table":
            return _from_table(Path(self.inputs.table), self.inputs.table_fields, time, **common)
        blood = {"t1_blood": t1_blood, "spgr": _spgr(self.inputs)}
        return population_input(self.inputs.source, enhancing_curve(data), time, **blood, **common)

    def _kept(self, frames: int) -> Mask:
        """Return which frames are no outliers of motion."""
        motion = self.inputs.motion
        return inlier_volumes(motion, frames) if motion else np.ones(frames, bool)

    def _bridge_outliers(self, signal: Any, time: Any) -> Any:
        """Return the arterial signal, with outliers interpolated between their neighbours."""
        kept = self._kept(len(time))
        return np.interp(time, time[kept], signal[kept])

    def _scale_to_vein(
        self, signal: Any, data: Float, found: ArterialInput, spgr: Spgr, b1: Any
    ) -> tuple[Vein, ScaledArtery, Any]:
        """Return the vein, and the signal of the artery scaled to it, outliers interpolated."""
        kept = self._kept(len(signal))
        setting = {
            "t1_blood": self.inputs.t1_blood,
            "baseline_frames": int(kept[: found.baseline_frames].sum()),
        }
        everywhere = _scale_flip_angles(_spgr(self.inputs), b1)
        artery, time = signal[kept], found.time[kept]
        vein = find_vein(data[..., kept], time, artery, spgr=everywhere, **setting)
        scaled = scale_to_vein(artery, time, vein, spgr=spgr, **setting)
        return vein, scaled, np.interp(found.time, time, scaled.signal)

    def _choose(self, data: Float, time: Any, b1: Any) -> Mask:
        """Return the arterial voxels, found in the whole series or in the AIF mask.

        A voxel without a value in the B1 map cannot be converted, and is not selected.
        """
        spgr = _scale_flip_angles(_spgr(self.inputs), b1)
        setting = {
            "t1_blood": self.inputs.t1_blood,
            "baseline_frames": self.inputs.baseline_frames,
        }
        if self.inputs.source == "auto":
            return find_artery(data, time, spgr=spgr, **setting)
        inside: Mask = load_labels(self.inputs.artery, self.inputs.in_file)[0] > 0
        if not inside.any():
            raise BadInput(f"{self.inputs.artery}: the AIF mask contains no voxel of the series")
        if b1 is not None and not np.isfinite(b1[inside]).any():
            raise BadInput(f"{self.inputs.b1_map}: the B1 map has no value in the AIF mask")
        inside[inside] = select_arterial_voxels(data[inside], time, spgr=spgr.at(inside), **setting)
        return inside


def _describe_scaling(vein: Vein, scaled: ScaledArtery, peak: float) -> dict[str, Any]:
    """Return the results of the scaling to a vein; `peak` is that of the artery as measured, mM."""
    return {
        "VenousScale": scaled.scale,
        "VenousScaleStandardError": scaled.error,
        "VenousVoxels": int(vein.mask.sum()),
        "VenousDelay": 60 * vein.delay,
        "BloodShare": scaled.share,
        "MeasuredPeakBlood": peak,
    }


def _mean_b1(b1: Any, taken: Mask) -> float | None:
    """Return the mean B1 of the arterial voxels."""
    return None if b1 is None else float(b1[taken].mean())


def _write_courses(courses: Any, time: Any, path: Path) -> str:
    """Write concentrations (V, N) as a table with one column per voxel."""
    names = ["time", *(f"voxel-{n + 1}" for n in range(len(courses)))]
    lines = np.column_stack([time * 60, courses.T]).tolist()
    path.write_bytes(to_tsv(names, [dict(zip(names, line, strict=True)) for line in lines]))
    return str(path)


def _from_table(
    path: Path, fields: Any, time: Any, *, haematocrit: float, baseline_frames: int
) -> ArterialInput:
    """Return the arterial input of a table, interpolated to the frames, which it must cover."""
    table = read_arterial_table(path, fields)
    check_coverage(path, table, time)
    curve = np.interp(time, table.times, table.values)
    if table.compartment == "plasma":
        blood, plasma = curve * (1 - haematocrit), curve
    else:
        blood, plasma = curve, plasma_from_blood(curve, haematocrit)
    return ArterialInput(time, blood, plasma, count_baseline_frames(curve, baseline_frames))


class _FindReferenceFrameInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="dynamic series, 4D")
    baseline_frames = traits.Int(
        0, usedefault=True, desc="frames before the bolus; 0 to detect them"
    )


class _FindReferenceFrameOutput(TraitedSpec):
    frame = traits.Int()


class FindReferenceFrame(SimpleInterface):
    """Find the last frame before the contrast agent, with which the others are aligned."""

    input_spec = _FindReferenceFrameInput
    output_spec = _FindReferenceFrameOutput

    def _run_interface(self, runtime: Any) -> Any:
        curve = enhancing_curve(load(self.inputs.in_file)[0])
        self._results["frame"] = count_baseline_frames(curve, self.inputs.baseline_frames) - 1
        return runtime


class _SignalToConcentrationInput(_AcquisitionInput):
    baseline_frames = traits.Int(mandatory=True, desc="frames before the contrast agent")
    t1_tissue = traits.Float(desc="s, without a map")
    t1_map = File(exists=True, desc="s, on the grid of the series")
    mask = File(exists=True, desc="voxels to convert; default: all")
    lesions = File(exists=True, desc="numbers of the lesions, for a check of the T1 map")


class _SignalToConcentrationOutput(TraitedSpec):
    out_file = File(exists=True, desc="concentration, mM, 4D; NaN if there is none")
    status = File(exists=True, desc="a `Conversion` in each voxel, 255 where not converted")
    counts = File(exists=True, desc="JSON: number of voxels and frames beyond range")


class SignalToConcentration(SimpleInterface):
    """Convert a dynamic series to concentrations of contrast agent."""

    input_spec = _SignalToConcentrationInput
    output_spec = _SignalToConcentrationOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        t1 = load(self.inputs.t1_map)[0] if self.inputs.t1_map else self.inputs.t1_tissue
        tissue = np.broadcast_to(np.asarray(t1, float), data.shape[:3])
        mask = load_mask(self.inputs.mask or None)
        inside = np.ones(data.shape[:3], bool) if mask is None else mask
        b1 = _load_b1(self.inputs)
        folder = Path(runtime.cwd)
        result = create(folder / "concentration.nii", data.shape, image)
        status = np.full(data.shape[:3], NOT_CONVERTED, np.uint8)
        counted = inside if mask is not None else _head(data, self.inputs.baseline_frames)
        missing = 0
        for z in range(data.shape[2]):  # slice by slice, to save memory
            here = inside[..., z]
            spgr = _scale_flip_angles(_spgr(self.inputs), None if b1 is None else b1[..., z][here])
            found = to_concentration(
                data[:, :, z][here], self.inputs.baseline_frames, tissue[..., z][here], spgr
            )
            result[:, :, z] = np.nan
            result[:, :, z][here] = found
            status[..., z][here] = concentration_status(found)
            partly = (status[..., z] == Conversion.BEYOND_RANGE) & counted[..., z]
            missing += int(np.isnan(found[partly[here]]).sum())
        self._results["out_file"] = str(folder / "concentration.nii")
        self._results["status"] = save_array(status, image, folder / "status.nii")
        content = _counts(status[counted], missing) | {"Warnings": self._judge(data, tissue, image)}
        (folder / "counts.json").write_bytes(to_json(content))
        self._results["counts"] = str(folder / "counts.json")
        return runtime

    def _judge(self, data: Float, t1: Any, image: Any) -> list[str]:
        """Return how the T1 map contradicts the series before the contrast agent."""
        if not self.inputs.t1_map:
            return []
        rest = data[..., : self.inputs.baseline_frames].mean(axis=-1)
        given = self.inputs.lesions
        lesions = load_labels(given, self.inputs.in_file)[0] if given else None
        spgr = _scale_flip_angles(_spgr(self.inputs), _load_b1(self.inputs))
        return check_t1_contrast(t1, rest, image.header.get_zooms()[:3], spgr, lesions)


def _head(data: Float, frames: int) -> Mask:
    """Return the voxels that are not air: in air, noise is beyond the range of concentrations."""
    rest = np.nan_to_num(data[..., :frames].mean(axis=-1))
    head: Mask = rest > _HEAD * np.percentile(rest, 98)
    return head


def _counts(status: Any, missing: int) -> dict[str, Any]:
    """Return the numbers of voxels and frames with a signal that no concentration explains."""
    return {
        "Description": "Whether a concentration explains the signal of each voxel; the numbers "
        "are those of the mask or, without one, of the head",
        "Levels": _LEVELS,
        "Voxels": int((status != NOT_CONVERTED).sum()),
        "VoxelsBeyondRange": int((status == Conversion.BEYOND_RANGE).sum()),
        "FramesBeyondRange": missing,
        "VoxelsUnusable": int((status == Conversion.UNUSABLE).sum()),
    }
