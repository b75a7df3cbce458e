"""Nodes that measure maps and series in lesions."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.bids.derivatives import to_tsv
from bidsapp.errors import FitError
from bidsapp.imaging.warps import read_mapping
from bidsapp.lesions import (
    COLUMNS,
    Array,
    MapSummary,
    lesion_series,
    standard_error_of_mean,
    summarise,
    summarise_weighted,
    volume_ml,
    voxel_ml,
    weighted_course,
)
from bidsapp.lesions.diameters import lesion_diameters
from bidsapp.models import combine_for_model, fit
from bidsapp.models.parameters import (
    LONGEST_DIAMETER,
    PERPENDICULAR_DIAMETER,
    SLICES,
    VOLUME,
    Parameter,
)
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

_HEAD_VOXELS = 2000
"""Voxels from which a median is one of the head, rather than of a box about a lesion."""


def read_fractions(path: str) -> Float:
    """Return the fraction of each voxel inside each lesion, (X, Y, Z, L), even for one lesion."""
    fractions, _ = load(path)
    return fractions if fractions.ndim == 4 else fractions[..., None]


class _LesionInput(BaseInterfaceInputSpec):
    rois = File(exists=True, desc="label image")
    fractions = File(
        exists=True, xor=["rois"], desc="4D: fraction of each voxel inside each lesion"
    )
    lesions = traits.List(traits.Tuple(traits.Int, traits.Bool), desc="(index, excluded)")


class RoiStatisticsInput(_LesionInput):
    """The inputs of `RoiStatistics`."""

    maps = InputMultiObject(File(exists=True), desc="parameter maps on the grid of the ROIs")
    errors = InputMultiObject(File(exists=True), desc="standard-error map of each parameter map")
    series = File(exists=True, desc="image on the grid of the fitted series")
    parameters = traits.List(
        traits.Tuple(traits.Str, traits.Str, traits.Str), desc="(name, unit, model) of each map"
    )
    identity = traits.Dict(desc="participant_id, session_id, roi and space of each row")


class RoiStatistics(SimpleInterface):
    """Summarise maps in each lesion; without maps, measure its volume and its diameters."""

    input_spec = RoiStatisticsInput
    output_spec = TableOutput

    def _run_interface(self, runtime: Any) -> Any:
        rows = self._values() if self.inputs.maps else self._sizes()
        self._results |= save_table(COLUMNS, rows, Path(runtime.cwd) / "roistats.tsv")
        return runtime

    def _values(self) -> list[Mapping[str, Any]]:
        like = self.inputs.maps[0]
        ml = voxel_ml(nib.load(like).affine)
        series_ml = voxel_ml(nib.load(self.inputs.series).affine) if self.inputs.series else ml
        errors = self.inputs.errors or [""] * len(self.inputs.maps)
        maps = [
            (row, load(path)[0], load(error)[0] if error else None)
            for row, path, error in zip(
                self.inputs.parameters, self.inputs.maps, errors, strict=True
            )
        ]
        rows: list[Mapping[str, Any]] = []
        for lesion, excluded, region, summary_of in self._regions(like):
            inside = np.nonzero(region)
            share = region[inside]
            for row, values, error in maps:
                spread = np.full(share.shape, np.nan) if error is None else error[inside]
                rows.append(
                    {
                        **self.inputs.identity,
                        "lesion": lesion,
                        "excluded": excluded,
                        **dict(zip(("parameter", "unit", "model"), row, strict=True)),
                        **summary_of(values[inside], share).row(ml),
                        "standard_error": standard_error_of_mean(spread, share, ml, series_ml),
                    }
                )
        return rows

    def _regions(self, like: str) -> Iterator[tuple[int, bool, Any, Callable[..., MapSummary]]]:
        """Yield each lesion, whether it is excluded, its region, and the function for summaries."""
        if self.inputs.fractions:
            fractions = read_fractions(self.inputs.fractions)
            for i, lesion in enumerate(self.inputs.lesions):
                yield *lesion, fractions[..., i], summarise_weighted
        else:
            labels, _ = load_labels(self.inputs.rois, like)
            for lesion in self.inputs.lesions:
                yield *lesion, labels == lesion[0], summarise

    def _sizes(self) -> list[Mapping[str, Any]]:
        labels, image = load_labels(self.inputs.rois)
        return [
            {
                **self.inputs.identity,
                "lesion": lesion,
                "excluded": excluded,
                "parameter": parameter.name,
                "unit": parameter.unit,
                "n_voxels": int((labels == lesion).sum()),
                "mean": value,
            }
            for lesion, excluded in self.inputs.lesions
            for parameter, value in _sizes_of(labels, lesion, image.affine)
        ]


def _sizes_of(labels: Any, lesion: int, affine: Array) -> Iterator[tuple[Parameter, float]]:
    """Yield the volume and the diameters of a whole lesion."""
    yield VOLUME, volume_ml(labels, lesion, affine)
    found = lesion_diameters(labels, lesion, affine)
    yield LONGEST_DIAMETER, found.longest
    yield PERPENDICULAR_DIAMETER, found.perpendicular
    yield SLICES, found.n_slices


class _LesionCurvesInput(_LesionInput):
    series = File(exists=True, mandatory=True, desc="4D")
    to_series = InputMultiObject(
        File(exists=True),
        desc="ITK transforms and shifts, from points of the ROIs to points of the series",
    )
    model = traits.Str(mandatory=True, desc="model to fit to the mean curve of each lesion")
    bvalues = traits.List(traits.Float, desc="s/mm2, for diffusion")
    options = traits.Dict(desc="options of the model")
    learnt = File(exists=True, desc="JSON with the quantities learnt by the voxelwise fit")
    times = traits.List(traits.Float, desc="of each frame, min, for kinetics")
    arterial = File(exists=True, desc="TSV with the column plasma, mM, for kinetics")
    motion = File(exists=True, desc="motion table; its outliers are excluded from the fits")


class _LesionCurvesOutput(TraitedSpec):
    out_file = File(exists=True, desc="TSV: abscissa, mean curve of each lesion, and its fit")


def _median_course(data: Float) -> Array | None:
    """Return the median over the voxels with data; None if they are too few for a head."""
    measured = data[np.isfinite(data).all(axis=-1) & (data != 0).any(axis=-1)]
    return np.median(measured, axis=0) if len(measured) >= _HEAD_VOXELS else None


def _biexponential(course: Array, bvalues: Array) -> Array | None:
    """Return the bi-exponential IVIM fit to a curve; None if there are too few b-values."""
    try:
        return fit("ivim-biexponential", course, bvalues=bvalues).predict()
    except FitError:
        return None


class LesionCurves(SimpleInterface):
    """Average a series over each lesion, and fit the model to the mean curve."""

    input_spec = _LesionCurvesInput
    output_spec = _LesionCurvesOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.series)
        name, abscissa, data, design = self._design(data)
        columns = {name: abscissa}
        for lesion, course in self._courses(data, image.affine).items():
            known = read_learnt(self.inputs.learnt, self.inputs.model, lesion)
            fitted = fit(self.inputs.model, course, **design, **known)
            columns[f"lesion-{lesion}"] = course
            columns[f"lesion-{lesion}_fit"] = fitted.predict()
            if name == "bvalue" and (curve := _biexponential(course, abscissa)) is not None:
                columns[f"lesion-{lesion}_biexponential"] = curve
        if name == "time" and (median := _median_course(data)) is not None:
            columns["median"] = median
        rows = [dict(zip(columns, r, strict=True)) for r in zip(*columns.values(), strict=True)]
        target = Path(runtime.cwd) / "curves.tsv"
        target.write_bytes(to_tsv(list(columns), rows))
        self._results["out_file"] = str(target)
        return runtime

    def _courses(self, data: Any, affine: Array) -> dict[int, Array]:
        """Return the mean curve of each lesion that is present."""
        if self.inputs.fractions:
            fractions = read_fractions(self.inputs.fractions)
            present = [
                (i, n) for i, (n, _) in enumerate(self.inputs.lesions) if fractions[..., i].any()
            ]
            return {n: weighted_course(data, fractions[..., i]) for i, n in present}
        labels, image = load_labels(self.inputs.rois)
        mapping = read_mapping(as_list(self.inputs.to_series))
        here = [n for n, _ in self.inputs.lesions if (labels == n).any()]
        return lesion_series(data, affine, labels, image.affine, mapping, here)

    def _design(self, data: Any) -> tuple[str, Array, Any, dict[str, Any]]:
        """Return name and values of the abscissa, the series, and the design of the fit."""
        motion, options = self.inputs.motion, self.inputs.options or {}
        kept = inlier_volumes(motion, data.shape[3]) if motion else np.ones(data.shape[3], bool)
        if self.inputs.times:
            time = np.array(self.inputs.times)
            design = {"time": time} | ({"weights": kept * 1.0} if motion else {})
            if self.inputs.arterial:
                design["plasma"] = read_column(self.inputs.arterial, "plasma")
            return "time", 60 * time, data, design | options
        bvalues = np.array(self.inputs.bvalues)[kept]
        combined, design = combine_for_model(self.inputs.model, data[..., kept], bvalues)
        return "bvalue", design["bvalues"], combined, design | options
