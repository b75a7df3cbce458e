"""The node that measures lesions without the tissue around them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
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
from bidsapp.imaging.edges import SampledLesion, sample_lesion
from bidsapp.imaging.labels import label_fractions
from bidsapp.imaging.transforms import translation
from bidsapp.imaging.warps import chain, read_mapping
from bidsapp.lesions.unmixed_values import (
    EDGE_OFFSETS,
    UNMIXED_COLUMNS,
    LesionCourses,
    position_weights,
    unmixed_values,
)
from bidsapp.lesions.unmixing import UnmixedCourse, unmix
from bidsapp.models import MODELS, combine_for_model, fit
from bidsapp.models.contrast.enhancement import Spgr, to_concentration
from bidsapp.run.nodes.files import (
    Float,
    TableOutput,
    as_list,
    load,
    load_labels,
    save_table,
)
from bidsapp.run.nodes.fitting import read_column, read_learnt
from bidsapp.run.nodes.motion import inlier_volumes

_MARGIN = 6.0
"""Width of the surroundings of a lesion, mm."""
_ENHANCING, _CORE = 1, 2
_LEAST_VOLUME = 0.3
"""Smallest total fraction of a region that is distinguished from the background, voxels."""
_LEAST_RESOLVED = 1.0
"""Smallest number of resolved voxels of a lesion for which values are given."""

Measure = Callable[[Any], Mapping[str, Any]]


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
        for lesion, excluded in self.inputs.lesions:
            if not (enhancing == lesion).any():
                continue
            scene = _Surroundings(data, image.affine, enhancing, whole, drawn.affine, lesion)
            yield from self._lesion_rows(scene, lesion, excluded)

    def _lesion_rows(
        self, scene: "_Surroundings", lesion: int, excluded: bool
    ) -> Iterator[dict[str, Any]]:
        mapping = read_mapping(as_list(self.inputs.transform)) if self._moved else np.eye(4)
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
        }
        learnt = as_list(self.inputs.learnt) or [""] * len(self.inputs.models)
        for (name, parameters, options), path in zip(self.inputs.models, learnt, strict=True):
            known = read_learnt(path, name, lesion)
            measure = self._measure(name, dict(options) | known, scene, sampled)
            found = unmixed_values(courses, measure)
            for parameter in parameters:
                yield {**common, **_describe(name, parameter), **found[parameter].row()}

    @property
    def _moved(self) -> bool:
        return bool(as_list(self.inputs.transform))

    def _position_error(self) -> float:
        """Return the standard deviation of the place of the ROI along each axis, mm."""
        if not self.inputs.quality:
            return 0.0
        quality = json.loads(Path(self.inputs.quality).read_text(encoding="utf-8"))
        expected = quality.get("expected_error_mm")
        return float(expected) / np.sqrt(3) if expected is not None else 0.0

    def _measure(
        self, model: str, options: dict[str, Any], scene: "_Surroundings", sampled: SampledLesion
    ) -> Measure:
        """Return the function from signal courses to the parameters of a model."""
        if self.inputs.arterial:
            return self._measure_kinetics(model, options, scene, sampled)
        kept = self._kept(len(self.inputs.bvalues))
        bvalues = np.array(self.inputs.bvalues)[kept]

        def measure(courses: Any) -> Mapping[str, Any]:
            # A signal below zero has no logarithm.
            positive = np.where(courses > 0, courses, np.nan)[:, kept]
            combined, design = combine_for_model(model, positive, bvalues)
            settings: dict[str, Any] = design | options
            return fit(model, combined, **settings).values

        return measure

    def _measure_kinetics(
        self, model: str, options: dict[str, Any], scene: "_Surroundings", sampled: SampledLesion
    ) -> Measure:
        inputs = self.inputs
        time = read_column(inputs.arterial, "time") / 60
        plasma = read_column(inputs.arterial, "plasma")
        angle = inputs.flip_angle * (scene.mean_of(inputs.b1_map, sampled) or 1.0)
        spgr = Spgr(inputs.repetition_time, angle, inputs.relaxivity)
        t1 = scene.mean_of(inputs.t1_map, sampled) or inputs.t1_tissue
        weights = self._kept(len(time)).astype(float)

        def measure(courses: Any) -> Mapping[str, Any]:
            t1_each = np.full(len(courses), t1)
            curves = to_concentration(courses, inputs.baseline_frames, t1_each, spgr)
            design = {"time": time, "plasma": plasma, "weights": weights}
            return fit(model, curves, **design, **options).values

        return measure

    def _kept(self, count: int) -> Any:
        """Return which volumes are used."""
        if not self.inputs.motion:
            return np.ones(count, bool)
        return inlier_volumes(self.inputs.motion, count)


class _Surroundings:
    """A lesion in a series, with the other lesions and the tissue around it."""

    def __init__(
        self, data: Float, affine: Any, enhancing: Any, whole: Any, drawn: Any, lesion: int
    ) -> None:
        self.data, self.affine, self.drawn = data, affine, drawn
        own = (enhancing == lesion) | (whole == lesion)
        self.parts = np.where(enhancing == lesion, _ENHANCING, np.where(own, _CORE, 0))
        self.labels = [_ENHANCING, *([_CORE] if (self.parts == _CORE).any() else [])]
        others = np.where(enhancing > 0, enhancing, whole)
        self.others = np.where(own, 0, others)

    def courses(self, mapping: Any, position_error: float) -> tuple[LesionCourses, SampledLesion]:
        """Return the lesion's courses for each position of its edge, and shifted along each axis.

        ``position_error`` is the standard deviation of the position along each axis, mm.
        """
        sampled = self._sample(mapping)
        found = self._unmix(sampled, mapping, EDGE_OFFSETS)
        steps = np.eye(3) * position_error if position_error else np.zeros((0, 3))
        shifted = []
        for step in steps:
            moved = chain(translation(step), mapping)
            shifted.append(self._unmix(self._sample(moved), moved, [0.0])[0].course)
        share = sampled.fractions([_ENHANCING])
        return LesionCourses(
            by_offset=found,
            shifted=np.array(shifted).reshape(-1, self.data.shape[-1]),
            recovery=float(np.square(share).sum() / share.sum()),
        ), sampled

    def _sample(self, mapping: Any) -> SampledLesion:
        shape = self.data.shape[:3]
        return sample_lesion(self.parts, self.drawn, mapping, shape, self.affine, _MARGIN)

    def _unmix(
        self, sampled: SampledLesion, mapping: Any, offsets: Sequence[float]
    ) -> list[UnmixedCourse]:
        """Return the lesion's course for each position of its edge."""
        signals = self.data[sampled.box]
        near = sampled.near(_MARGIN) & np.isfinite(signals).all(axis=-1)
        others = self._other_fractions(sampled, mapping)[near]
        inner = [sampled.fractions(self.labels, offset)[near] for offset in offsets]
        return [_unmix_resolved(signals[near], own, others) for own in inner]

    def _other_fractions(self, sampled: SampledLesion, mapping: Any) -> Any:
        """Return the fraction of each voxel inside each other lesion."""
        numbers = [int(n) for n in np.unique(self.others) if n]
        shape = self.data.shape[:3]
        found = label_fractions(self.others, self.drawn, mapping, shape, self.affine, numbers)
        return found[sampled.box]

    def mean_of(self, path: str, sampled: SampledLesion) -> float | None:
        """Return the mean of a map over the lesion, weighted by its fractions; None without one."""
        if not path:
            return None
        values = load(path)[0][sampled.box]
        share = np.where(np.isfinite(values), sampled.fractions([_ENHANCING])[..., 0], 0)
        return float((share * np.nan_to_num(values)).sum() / share.sum()) if share.any() else None


def _unmix_resolved(signals: Any, own: Any, others: Any) -> UnmixedCourse:
    """Return the course of a lesion if its voxels determine it, otherwise NaN."""
    regions = np.hstack([own, others])
    regions = regions[:, [True, *(regions[:, 1:].sum(axis=0) > _LEAST_VOLUME)]]
    # The point spread may let two lesions fill more than a voxel.
    regions /= np.maximum(1, regions.sum(axis=1, keepdims=True))
    found = unmix(signals, regions)
    if found.resolved_voxels >= _LEAST_RESOLVED:
        return found
    return replace(found, course=np.full_like(found.course, np.nan), log_likelihood=-np.inf)


def _describe(model: str, parameter: str) -> dict[str, str]:
    """Return the columns that describe a parameter."""
    row = MODELS[model]
    return {"parameter": parameter, "unit": row.parameter(parameter).unit, "model": row.label}
