"""Curves of the viewer: concentration and S(b) of the voxels near lesions, with their fits."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.bids import outputs
from bidsapp.errors import FitError
from bidsapp.imaging.transforms import apply, compose, invert, read_itk
from bidsapp.models import MODELS, Model, combine_directions
from bidsapp.reports.participant.records import (
    Array,
    SessionOutputs,
    Volume,
    load_volume,
    model_label,
    read_frame,
    read_json,
)
from bidsapp.reports.participant.viewer_volumes import box_around, pack

KEPT_MM = 3.0
"""Curves are kept of the voxels whose centre is at most this far from a lesion, mm."""

LEVELS = 254
"""Steps of the range of a curve and its fit: they are rounded to half a step, 0.2 % of it."""


@dataclass(frozen=True)
class Curves:
    """The curves of one series of a session, and the fit of the model, in boxes around lesions.

    Each box has ``data`` and ``fit``, bytes for each voxel and point, the points slowest: value =
    low + (code - 1) * step of the voxel; code 0 is a missing value.
    """

    kind: str
    x: list[float]
    model: str
    boxes: list[dict[str, Any]]
    note: str = ""


Fitted = Callable[[Mapping[str, Array]], Array]


def session_curves(session: SessionOutputs) -> list[dict[str, Any]]:
    """Return the curves of a session near its lesions.

    Parameters
    ----------
    session : SessionOutputs
        With a T1w.

    Returns
    -------
    curves : list of dict
        Of the dynamic and of the diffusion series, if they were written.
    """
    assert session.t1w is not None
    anatomy = load_volume(session.t1w)
    labels = session.lesions(anatomy, "anat")
    if labels is None or not (labels > 0).any():
        return []
    inside = Volume((labels > 0).astype(np.float64), anatomy.affine)
    found = [_dynamic(session, inside), _diffusion(session, inside)]
    return [asdict(curves) for curves in found if curves is not None and curves.boxes]


def _dynamic(session: SessionOutputs, inside: Volume) -> Curves | None:
    """Return the concentration over time, min, with the fit of the kinetic model."""
    path = session.find(outputs.CONCENTRATION)
    table = session.find(outputs.LESION_CURVES["perf"]) or session.find(outputs.ARTERIAL_INPUT)
    to_series = _to_series(session, "perf", "dce")
    if path is None or table is None or to_series is None:
        return None
    time = read_frame(table)["time"].to_numpy(float) / 60
    design: dict[str, Any] = {"time": time}
    arterial = session.find(outputs.ARTERIAL_INPUT)
    if arterial is not None:
        design["plasma"] = read_frame(arterial)["plasma"].to_numpy(float)
    image = nib.as_closest_canonical(nib.load(path))
    data = np.asarray(image.dataobj, np.float32)
    if data.shape[-1] != len(time):
        return None
    return _collect(session, "perf", (time, data, image.affine), design, (inside, to_series))


def _diffusion(session: SessionOutputs, inside: Volume) -> Curves | None:
    """Return the signal over b, s/mm2, relative to that at the lowest b, with its fit."""
    path = session.find(outputs.CORRECTED_DWI)
    bvals = session.find(outputs.CORRECTED_DWI, extension=".bval")
    to_series = _to_series(session, "dwi", "dwi")
    if path is None or bvals is None or to_series is None:
        return None
    image = nib.as_closest_canonical(nib.load(path))
    data = np.asarray(image.dataobj, np.float32)
    b = np.loadtxt(bvals).ravel()
    motion = session.find(outputs.MOTION, "dwi")
    if motion is not None and "outlier" in (moved := read_frame(motion)):
        kept = moved["outlier"].to_numpy(float) != 1
        if kept.shape == b.shape:
            data, b = data[..., kept], b[kept]
    if data.shape[-1] != len(b):
        return None
    shells = combine_directions(np.ones(len(b)), b)[0]
    given = (shells, data, image.affine)
    return _collect(session, "dwi", given, {"bvalues": shells}, (inside, to_series), b)


def _to_series(session: SessionOutputs, datatype: str, kind: str) -> Array | None:
    """Return the matrix from points of the T1w to points of a series."""
    path = session.find(outputs.TO_T1W.with_fixed(from_=kind, to="T1w"), datatype)
    return None if path is None else np.asarray(read_itk(path))


def _collect(
    session: SessionOutputs,
    kind: str,
    given: tuple[Array, NDArray[np.float32], Array],
    design: Mapping[str, Any],
    place: tuple[Volume, Array],
    bvalues: Array | None = None,
) -> Curves:
    """Return the curves in a box around each lesion on the grid of the series."""
    x, data, affine = given
    near = _near(data.shape[:3], affine, *place)
    model, maps, options = _fitted_maps(session, kind, near)
    boxes = []
    for part in _boxes(near, affine):
        kept = near[part]
        curves = np.where(kept[..., None], data[part].astype(float), np.nan)
        if bvalues is not None:
            curves = combine_directions(curves[kept], bvalues)[1]
            curves, scale = _spread(curves / curves[:, :1], kept), curves[:, :1]
        fit = None
        if model is not None and maps:
            values = {name: volume[part][kept] for name, volume in maps.items()}
            fit = _predict(model, values, {**options, **design})
            if fit is not None and bvalues is not None:
                fit = fit / scale
        moved = affine.copy()
        moved[:3, 3] += affine[:3, :3] @ [s.start for s in part]
        inverse = compose(place[1], invert(moved))
        spread = None if fit is None else _spread(fit, kept)
        boxes.append(_store(curves, spread, inverse))
    name = "" if model is None else model.name
    note = "" if not (kind == "dwi" and session.find(outputs.SHIFT)) else (
        "The place of S(b) does not include the correction of the EPI distortion."
    )  # fmt: skip
    return Curves(kind, [float(v) for v in x], name, boxes, note)


def _spread(values: Array, kept: NDArray[np.bool_]) -> Array:
    """Return curves of the kept voxels in their box; NaN elsewhere."""
    result = np.full((*kept.shape, values.shape[-1]), np.nan)
    result[kept] = values
    return result


def _near(
    shape: tuple[int, ...], affine: Array, inside: Volume, to_series: Array
) -> NDArray[np.bool_]:
    """Return the voxels of a series that lie in a lesion or near one."""
    distance = ndimage.distance_transform_edt(inside.data == 0, sampling=inside.zooms)
    voxels = np.moveaxis(np.indices(shape), 0, -1)
    points = apply(compose(affine, invert(to_series), invert(inside.affine)), voxels)
    found = ndimage.map_coordinates(
        distance, np.moveaxis(points, -1, 0), order=1, mode="constant", cval=np.inf
    )
    return np.asarray(found <= KEPT_MM)


def _boxes(near: NDArray[np.bool_], affine: Array) -> list[tuple[slice, ...]]:
    """Return a box around each connected part."""
    parts, _ = ndimage.label(near, np.ones((3, 3, 3)))
    found = ndimage.find_objects(parts)
    grid = Volume(np.zeros(near.shape), affine)
    return [box_around(parts == n + 1, grid, 0.0) for n in range(len(found))]


def _fitted_maps(
    session: SessionOutputs, kind: str, near: NDArray[np.bool_]
) -> tuple[Model | None, dict[str, Array], dict[str, Any]]:
    """Return the model of a series, its maps on the grid of the series, and its options."""
    labels = [model_label(table) for table in session.files(outputs.LESION_VALUES, kind)]
    model = next((row for row in MODELS.values() if row.label in labels[:1]), None)
    if model is None:
        return None, {}, {}
    maps, options = {}, {}
    for parameter in model.parameters:
        output = outputs.parameter_map(kind, parameter.name, model.label)
        path = session.find(output, space="")
        if path is None:
            return model, {}, {}
        volume = load_volume(path)
        if volume.data.shape != near.shape:
            return model, {}, {}
        maps[parameter.name] = volume.data
        sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
        if sidecar.exists():
            options = read_json(sidecar).get("Model", {}).get("Parameters", {})
    return model, maps, {k: v for k, v in options.items() if v is not None}


def _predict(model: Model, values: Mapping[str, Array], design: Mapping[str, Any]) -> Array | None:
    """Return the fitted curves; NaN where a parameter is missing, None if not computable."""
    known = np.all([np.isfinite(v) for v in values.values()], axis=0)
    points = len(design["time"] if "time" in design else design["bvalues"])
    result = np.full((known.size, points), np.nan)
    wanted = {k: v for k, v in design.items() if k not in ("values_from", "arterial_input")}
    try:
        if known.any():
            result[known] = model.predict({k: v[known] for k, v in values.items()}, **wanted)
    except (FitError, KeyError, TypeError, ValueError):
        return None
    return result


def _store(data: Array, fit: Array | None, inverse: Array) -> dict[str, Any]:
    """Return the curves of a box as bytes; those of a voxel and their fit share one scale."""
    both = data if fit is None else np.concatenate([data, fit], axis=-1)
    known = np.isfinite(both)
    low = np.min(both, axis=-1, where=known, initial=np.inf)
    high = np.max(both, axis=-1, where=known, initial=-np.inf)
    empty = ~known.any(axis=-1)
    low, high = np.where(empty, 0.0, low), np.where(empty, 0.0, high)
    low = low.astype(np.float32).astype(np.float64)
    step = np.maximum((high - low) / LEVELS, 1e-12).astype(np.float32).astype(np.float64)
    return {
        "shape": list(data.shape[:3]),
        "inverse": inverse.tolist(),
        "low": _floats(low),
        "step": _floats(step),
        "data": _encode(data, low, step),
        "fit": None if fit is None else _encode(fit, low, step),
    }


def _floats(values: Array) -> str:
    """Return single-precision numbers, the first axis fastest."""
    return pack(values.astype("<f4").ravel(order="F").tobytes())


def _encode(curves: Array, low: Array, step: Array) -> str:
    """Return curves as bytes, the first axis of space fastest and the points slowest."""
    codes = np.clip(np.rint((curves - low[..., None]) / step[..., None]) + 1, 1, 255)
    coded = np.where(np.isfinite(curves), codes, 0).astype(np.uint8)
    return pack(coded.ravel(order="F").tobytes())
