"""Nodes that bring maps and lesion labels together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.bids.derivatives import to_json, to_tsv
from bidsapp.imaging.transforms import read_itk
from bidsapp.interfaces.files import load, load_labels
from bidsapp.interfaces.fitting import read_column, read_learnt
from bidsapp.models import combine_directions, count_directions, fit
from bidsapp.rois import COLUMNS, Array, lesion_series, summarise, volume_ml


class _LesionInput(BaseInterfaceInputSpec):
    rois = File(exists=True, mandatory=True, desc="label image")
    lesions = traits.List(traits.Tuple(traits.Int, traits.Bool), desc="(index, excluded)")


class _RoiStatisticsInput(_LesionInput):
    maps = InputMultiObject(File(exists=True), desc="parameter maps on the ROIs' grid")
    parameters = traits.List(
        traits.Tuple(traits.Str, traits.Str, traits.Str), desc="(name, unit, model) of each map"
    )
    identity = traits.Dict(desc="participant_id, session_id and roi of each row")


class _RoiStatisticsOutput(TraitedSpec):
    out_file = File(exists=True, desc="TSV table")
    dictionary = File(exists=True, desc="JSON that says what the columns are")


class RoiStatistics(SimpleInterface):
    """Summarise maps in each lesion; without maps, measure the lesions' volumes."""

    input_spec = _RoiStatisticsInput
    output_spec = _RoiStatisticsOutput

    def _run_interface(self, runtime: Any) -> Any:
        like = self.inputs.maps[0] if self.inputs.maps else None
        labels, image = load_labels(self.inputs.rois, like)
        rows = self._values(labels) if like else self._volumes(labels, image.affine)
        table, dictionary = (Path(runtime.cwd) / f"roistats.{e}" for e in ("tsv", "json"))
        table.write_bytes(to_tsv(list(COLUMNS), rows))
        dictionary.write_bytes(to_json({k: {"Description": v} for k, v in COLUMNS.items()}))
        self._results.update(out_file=str(table), dictionary=str(dictionary))
        return runtime

    def _values(self, labels: Any) -> list[Mapping[str, Any]]:
        maps = [
            (*row, load(path)[0])
            for path, row in zip(self.inputs.maps, self.inputs.parameters, strict=True)
        ]
        return [
            {
                **self.inputs.identity,
                "lesion": lesion,
                "excluded": excluded,
                "parameter": name,
                "unit": unit,
                "model": model,
                **summarise(values, labels == lesion).row(),
            }
            for lesion, excluded in self.inputs.lesions
            for name, unit, model, values in maps
        ]

    def _volumes(self, labels: Any, affine: Array) -> list[Mapping[str, Any]]:
        return [
            {
                **self.inputs.identity,
                "lesion": lesion,
                "excluded": excluded,
                "parameter": "volume",
                "unit": "ml",
                "n_voxels": int((labels == lesion).sum()),
                "mean": volume_ml(labels, lesion, affine),
            }
            for lesion, excluded in self.inputs.lesions
        ]


class _LesionCurvesInput(_LesionInput):
    series = File(exists=True, mandatory=True, desc="4D")
    to_series = File(exists=True, desc="ITK transform from the ROIs' points to the series' points")
    model = traits.Str(mandatory=True, desc="model to fit to each lesion's mean course")
    bvalues = traits.List(traits.Float, desc="s/mm2, for diffusion")
    options = traits.Dict(desc="options of the model")
    learnt = File(exists=True, desc="JSON, what the fit of the voxels learnt")
    arterial = File(exists=True, desc="TSV with time (s) and plasma (mM), for kinetics")


class _LesionCurvesOutput(TraitedSpec):
    out_file = File(exists=True, desc="TSV: the abscissa, and each lesion's course and its fit")


class LesionCurves(SimpleInterface):
    """Average a series over each lesion and fit the model to that course."""

    input_spec = _LesionCurvesInput
    output_spec = _LesionCurvesOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.series)
        labels, roi_image = load_labels(self.inputs.rois)
        matrix = read_itk(self.inputs.to_series) if self.inputs.to_series else np.eye(4)
        name, abscissa, data, design = self._design(data)
        present = [n for n, _ in self.inputs.lesions if (labels == n).any()]
        courses = lesion_series(data, image.affine, labels, roi_image.affine, matrix, present)
        columns = {name: abscissa}
        for lesion, course in courses.items():
            known = read_learnt(self.inputs.learnt, self.inputs.model, lesion)
            fitted = fit(self.inputs.model, course, **design, **known)
            columns[f"lesion-{lesion}"] = course
            columns[f"lesion-{lesion}_fit"] = fitted.predict()
        rows = [dict(zip(columns, r, strict=True)) for r in zip(*columns.values(), strict=True)]
        target = Path(runtime.cwd) / "curves.tsv"
        target.write_bytes(to_tsv(list(columns), rows))
        self._results["out_file"] = str(target)
        return runtime

    def _design(self, data: Any) -> tuple[str, Array, Any, dict[str, Any]]:
        """Return the abscissa's name and values, the series, and the design of the fit."""
        if self.inputs.arterial:
            seconds = read_column(self.inputs.arterial, "time")
            plasma = read_column(self.inputs.arterial, "plasma")
            return "time", seconds, data, {"time": seconds / 60, "plasma": plasma}
        shells, combined = combine_directions(data, self.inputs.bvalues)
        design = {"bvalues": shells, "averages": count_directions(self.inputs.bvalues)}
        return "bvalue", shells, combined, design | (self.inputs.options or {})
