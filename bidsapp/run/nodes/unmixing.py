"""The node that measures lesions without the tissue around them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    traits,
)

from bidsapp.errors import BadInput
from bidsapp.imaging.edges import SampledLesion
from bidsapp.imaging.warps import read_mapping
from bidsapp.lesions.surroundings import LesionSurroundings, find_surroundings, mean_over
from bidsapp.lesions.unmixed_values import (
    EDGE_OFFSETS,
    REAL_HEADS,
    T1_UNCERTAINTY,
    UNMIXED_COLUMNS,
    Effects,
    Measure,
    position_weights,
    unmixed_values,
)
from bidsapp.models.arterial_error import arterial_effects, arterial_noise
from bidsapp.models.contrast.enhancement import Spgr
from bidsapp.recovery.kinetic_signal import KineticSignal
from bidsapp.recovery.signals import DiffusionSignal, ModelFit
from bidsapp.run.nodes.files import TableOutput, as_list, load, load_labels, save_table
from bidsapp.run.nodes.fitting import read_column, read_learnt
from bidsapp.run.nodes.motion import inlier_volumes


class _UnmixLesionsInput(BaseInterfaceInputSpec):
    series = File(exists=True, mandatory=True, desc="signal, 4D, after motion correction")
    enhancing = File(exists=True, mandatory=True, desc="label image of the enhancing parts")
    whole = File(exists=True, desc="label image of the whole lesions, on the same grid")
    lesions = traits.List(traits.Tuple(traits.Int, traits.Bool), desc="(index, excluded)")
    transform = InputMultiObject(
        File(exists=True), desc="ITK transforms and shifts, from points of the series to the ROIs"
    )
    quality = File(exists=True, desc="JSON of the registration, with the expected error")
    models = traits.List(
        traits.Tuple(traits.Str, traits.List(traits.Str), traits.Dict),
        mandatory=True,
        desc="name, tabulated parameters and options of each model",
    )
    learnt = InputMultiObject(
        File(exists=True), desc="JSON with the quantities learnt by the voxelwise fit of each model"
    )
    motion = File(exists=True, desc="motion table; its outliers are excluded")
    bvalues = traits.List(traits.Float, desc="s/mm2, for diffusion")
    arterial = File(exists=True, desc="TSV with time (s) and plasma (mM), for kinetics")
    baseline_frames = traits.Int(desc="frames before the contrast agent arrives")
    repetition_time = traits.Float(desc="s")
    flip_angle = traits.Float(desc="rad")
    relaxivity = traits.Float(desc="1/s/mM")
    t1_tissue = traits.Float(desc="s")
    t1_map = File(exists=True, desc="T1 on the grid of the series, s; replaces t1_tissue")
    b1_map = File(exists=True, desc="B1 on the grid of the series, relative to nominal")
    identity = traits.Dict(desc="participant_id, session_id and roi of each row")


class UnmixLesions(SimpleInterface):
    """Fit models to the own course of each lesion, from which its surroundings are removed."""

    input_spec = _UnmixLesionsInput
    output_spec = TableOutput

    def _run_interface(self, runtime: Any) -> Any:
        rows = list(self._rows())
        self._results |= save_table(UNMIXED_COLUMNS, rows, Path(runtime.cwd) / "unmixed.tsv")
        return runtime

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield a row for each lesion and parameter."""
        data, image = load(self.inputs.series)
        enhancing, drawn = load_labels(self.inputs.enhancing)
        whole = enhancing
        if self.inputs.whole:
            whole = load_labels(self.inputs.whole, self.inputs.enhancing)[0]
        mapping = read_mapping(as_list(self.inputs.transform)) if self._moved else np.eye(4)
        scenes = find_surroundings(data, image.affine, enhancing, whole, drawn.affine, mapping)
        for lesion, excluded in self.inputs.lesions:
            if lesion in scenes:
                yield from self._lesion_rows(scenes[lesion], mapping, lesion, excluded)

    def _lesion_rows(
        self, scene: LesionSurroundings, mapping: Any, lesion: int, excluded: bool
    ) -> Iterator[dict[str, Any]]:
        try:
            courses, sampled = scene.courses(mapping, self._position_error())
        except BadInput:
            # The lesion lies outside the series: it has no row here, as in the table of the means.
            return
        weights = position_weights(courses)
        common = {
            **self.inputs.identity,
            "lesion": lesion,
            "excluded": excluded,
            "recovery": courses.recovery,
            "resolved_voxels": courses.by_offset[EDGE_OFFSETS.index(0.0)].resolved_voxels,
            "edge_offset": float(weights @ np.array(EDGE_OFFSETS)),
            "point_spread": str(scene.spread),
        }
        learnt = as_list(self.inputs.learnt) or [""] * len(self.inputs.models)
        for (name, parameters, options), path in zip(self.inputs.models, learnt, strict=True):
            known = read_learnt(path, name, lesion)
            model = ModelFit(name, tuple(parameters), dict(options) | known)
            measure, effects = self._measure(model, sampled)
            found, described = unmixed_values(courses, measure, effects), model.parameter_rows()
            for parameter in parameters:
                yield {**common, **described[parameter], **found[parameter].row()}

    @property
    def _moved(self) -> bool:
        return bool(as_list(self.inputs.transform))

    def _position_error(self) -> float:
        """Return the standard deviation of the place of the ROI, mm; 0 without registration."""
        return read_position_error(self.inputs.quality) if self.inputs.quality else 0.0

    def _measure(
        self, model: ModelFit, sampled: SampledLesion
    ) -> tuple[Measure, dict[str, Effects]]:
        """Return the function from courses to parameters, and those to the effects of inputs."""
        if not self.inputs.arterial:
            bvalues = np.array(self.inputs.bvalues)
            series = DiffusionSignal(bvalues, self._kept(len(bvalues)))
            return partial(series.fit, model), {}
        signal, measured_t1 = self._kinetic_signal(sampled)

        def arterial(course: Any) -> Mapping[str, Any]:
            noise = arterial_noise(signal.plasma, signal.baseline_frames)
            curve = signal.curves(course[None])[0]
            settings = signal.design() | dict(model.options)
            return arterial_effects(model.name, curve, noise=noise, **settings)

        def assumed_t1(course: Any) -> Mapping[str, Any]:
            longer = replace(signal, t1=signal.t1 * (1 + T1_UNCERTAINTY)).fit(model, course[None])
            return {n: longer[n] - v for n, v in signal.fit(model, course[None]).items()}

        effects: dict[str, Effects] = {"arterial": arterial}
        if not measured_t1:
            effects["t1"] = assumed_t1
        return partial(signal.fit, model), effects

    def _kinetic_signal(self, sampled: SampledLesion) -> tuple[KineticSignal, bool]:
        """Return the series as it is in the lesion, and whether T1 was measured there."""
        inputs = self.inputs
        time = read_column(inputs.arterial, "time") / 60
        b1, measured_t1 = (_mean_of(path, sampled) for path in (inputs.b1_map, inputs.t1_map))
        angle = inputs.flip_angle * (1.0 if b1 is None else b1)
        return KineticSignal(
            time=time,
            plasma=read_column(inputs.arterial, "plasma"),
            baseline_frames=inputs.baseline_frames,
            spgr=Spgr(inputs.repetition_time, angle, inputs.relaxivity),
            t1=inputs.t1_tissue if measured_t1 is None else measured_t1,
            kept=self._kept(len(time)),
        ), measured_t1 is not None

    def _kept(self, count: int) -> Any:
        """Return which volumes are used."""
        if not self.inputs.motion:
            return np.ones(count, bool)
        return inlier_volumes(self.inputs.motion, count)


def read_position_error(path: Path | str) -> float:
    """Return the standard deviation of the place of an ROI along each axis, mm.

    Parameters
    ----------
    path
        JSON file with the quality of a registration.

    Returns
    -------
    float, mm
        NaN if the registration has no expected error: that of niimath, or of the user.
    """
    quality = json.loads(Path(path).read_text(encoding="utf-8"))
    expected = quality.get("expected_error_mm")
    return float(REAL_HEADS * (np.nan if expected is None else expected) / np.sqrt(3))


def _mean_of(path: str, sampled: SampledLesion) -> float | None:
    """Return the mean of a map over the lesion: NaN without a value there, None without a map."""
    return mean_over(load(path)[0], sampled) if path else None
