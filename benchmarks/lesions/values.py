"""The values of a lesion: means over its voxels, and those of its own course."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.lesions.images import Crop
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import invert
from bidsapp.lesions.surroundings import find_surroundings
from bidsapp.lesions.unmixed_values import (
    EDGE_OFFSETS,
    UnmixedValue,
    position_weights,
    unmixed_values,
)
from bidsapp.models import combine_for_model, fit
from bidsapp.models.contrast.aif import plasma_from_blood
from bidsapp.models.contrast.enhancement import Spgr, to_concentration
from bidsapp.phantom import physics, series

Measure = Callable[[Any], Mapping[str, Any]]

FITTED = ("Ktrans", "ve", "vp", "ADC", "f", "f D* held")


@dataclass(frozen=True)
class Drawn:
    """A lesion as it was drawn, on the T1w."""

    enhancing: Any
    whole: Any
    affine: Any
    lesion: int


def dce_measure(bolus: series.Bolus, t1: float) -> Measure:
    """Return the extended Tofts fit with the true arterial input and T1."""
    onset, blood = series.frame_blood(bolus)
    plasma = plasma_from_blood(blood, physics.HAEMATOCRIT)
    flip = np.deg2rad(series.DCE_FLIP)
    spgr = Spgr(series.DCE_TR, float(flip), physics.RELAXIVITY)

    def measure(courses: Any) -> Mapping[str, Any]:
        curves = to_concentration(courses, 6, np.full(courses.shape[:-1], t1), spgr)
        found = fit("extended-tofts", curves, time=onset / 60, plasma=plasma).values
        return {name: found[name] for name in ("Ktrans", "ve", "vp")}

    return measure


def dwi_measure(bvalues: Any) -> Measure:
    """Return the fits of ADC and f, f also with D* held at the truth."""

    def measure(courses: Any) -> Mapping[str, Any]:
        positive = np.where(courses > 0, courses, np.nan)
        found = {}
        rows = ("adc", "ADC", {}), ("ivim-asymptotic", "f", {})
        for model, name, options in (*rows, ("ivim-fixed-dstar", "f", {"dstar": physics.DSTAR})):
            combined, design = combine_for_model(model, positive, bvalues)
            key = "f D* held" if options else name
            found[key] = fit(model, combined, **design, **options).values[name]
        return found

    return measure


def mean_values(crop: Crop, drawn: Drawn, mapping: Any, measure: Measure) -> dict[str, float]:
    """Return the means of the maps over the voxels of the ROI on the T1w."""
    inside = np.argwhere(drawn.enhancing == drawn.lesion)
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    start = np.eye(4)
    start[:3, 3] = low
    region = drawn.enhancing[box] == drawn.lesion
    maps = measure(crop.data.reshape(-1, crop.data.shape[-1]))
    to_series = invert(mapping)
    return {
        name: float(
            np.nanmean(
                resample(
                    values.reshape(crop.data.shape[:3]),
                    crop.affine,
                    to_series,
                    region.shape,
                    drawn.affine @ start,
                )[region]
            )
        )
        for name, values in maps.items()
    }


def own_values(
    crop: Crop, drawn: Drawn, mapping: Any, error: float, measure: Measure
) -> dict[str, tuple[UnmixedValue, float]]:
    """Return the values of the own course of a lesion, and the displacement of its edge, mm."""
    own = np.where(drawn.enhancing == drawn.lesion, drawn.lesion, 0)
    scene = find_surroundings(crop.data, crop.affine, own, drawn.whole, drawn.affine, mapping)[
        drawn.lesion
    ]
    courses, _ = scene.courses(mapping, error)
    edge = float(position_weights(courses) @ np.array(EDGE_OFFSETS))
    return {name: (value, edge) for name, value in unmixed_values(courses, measure).items()}
