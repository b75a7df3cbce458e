"""Contours of a DICOM RT structure set."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bidsapp.conversion.contours.drawing import Drawing, ImageSeries, Points, Region
from bidsapp.conversion.contours.planes import (
    build_contours,
    find_normal,
    plane_positions,
    usual_distance,
)
from bidsapp.conversion.contours.references import image_series
from bidsapp.errors import BadInput

FORMAT = "RTSTRUCT"
LPS = np.array([-1.0, -1.0, 1.0])
"""Signs of the coordinates of DICOM, LPS, relative to RAS."""
_EXCLUSIVE = "CLOSEDPLANAR_XOR"
_CLOSED = ("CLOSED_PLANAR", _EXCLUSIVE)


@dataclass(frozen=True)
class _Roi:
    """An ROI of a structure set: closed contours, and how many others it has by type.

    `exclusive`: what lies inside an even number of its contours is outside, by their type.
    """

    number: int
    name: str
    frame: str
    polygons: tuple[Points, ...] = ()
    unused: tuple[str, ...] = ()
    problem: str = ""
    exclusive: bool = False


def read_structure_set(dataset: Any) -> Drawing:
    """Return the regions of a structure set.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Of SOP class RT Structure Set Storage.

    Returns
    -------
    Drawing
        Coordinates in RAS. ROIs without closed contours are regions that cannot be used.

    Raises
    ------
    BadInput
        If ROIs have several frames of reference.

    Notes
    -----
    Contours belong to the ROI whose number they refer to, whatever the order of both lists. Those
    in one plane are combined by even-odd rule, so that a contour within another one is a hole;
    keyhole contours enclose their hole by the same rule. Contours that overlap, neither within the
    other, are united, unless their type is ``CLOSEDPLANAR_XOR``, which demands the rule for them.
    """
    rois = [*_rois(dataset)]
    frames = {roi.frame for roi in rois if roi.frame and roi.polygons}
    if len(frames) > 1:
        raise BadInput(
            f"its ROIs have {len(frames)} frames of reference; export those of one image at a time"
        )
    distance = _common_distance(rois)
    repeated = {name for name, count in Counter(roi.name for roi in rois).items() if count > 1}
    regions = tuple(_region(roi, distance, alone=roi.name not in repeated) for roi in rois)
    text = ", ".join(sorted(repr(name) for name in repeated))
    doubts = (
        (f"several ROIs are called {text}: they are distinguished by their numbers",)
        if repeated
        else ()
    )
    return Drawing(FORMAT, regions, next(iter(frames), ""), _series(dataset), doubts)


def _rois(dataset: Any) -> Sequence[_Roi]:
    """Return the ROIs in the order of their list, then those that are only in the other list."""
    listed = {int(one.ROINumber): one for one in dataset.get("StructureSetROISequence") or ()}
    drawn: dict[int, list[Any]] = {}
    for one in dataset.get("ROIContourSequence") or ():
        contours = drawn.setdefault(int(one.ReferencedROINumber), [])
        contours.extend(one.get("ContourSequence") or ())
    unicode = "SpecificCharacterSet" in dataset
    rois = []
    for number in dict.fromkeys([*listed, *drawn]):
        entry = listed.get(number, {})
        name = _clean_name(str(entry.get("ROIName") or ""), declared=unicode) or f"ROI {number}"
        frame = str(entry.get("ReferencedFrameOfReferenceUID") or "")
        rois.append(_read_contours(_Roi(number, name, frame), drawn.get(number, [])))
    return rois


def _clean_name(name: str, *, declared: bool) -> str:
    r"""Return a name in one line; UTF-8 in a file without a character set is recognised.

    Examples
    --------
    >>> _clean_name("ges\u00c3\u00a4t\t1 ", declared=False)
    'gesät 1'
    """
    text = " ".join(name.split())
    if declared or text.isascii():
        return text
    try:  # without a character set, each byte has become a character
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _read_contours(roi: _Roi, items: Sequence[Any]) -> _Roi:
    """Return an ROI with its closed contours in RAS."""
    polygons, unused, problem, exclusive = [], Counter[str](), "", False
    for item in items:
        kind = str(item.get("ContourGeometricType") or "").strip().upper()
        values = np.asarray(item.get("ContourData") or (), float)
        if len(values) % 3 or not np.isfinite(values).all():
            problem = "the coordinates of one of its contours are incomplete"
            continue
        points = values.reshape(-1, 3) * LPS
        if kind in _CLOSED and len(points) >= 3:
            polygons.append(points)
            exclusive |= kind == _EXCLUSIVE
        else:
            unused["contour of fewer than 3 points" if kind in _CLOSED else kind or "no type"] += 1
    texts = tuple(f"{count} x {kind}" for kind, count in unused.items())
    return _Roi(roi.number, roi.name, roi.frame, tuple(polygons), texts, problem, exclusive)


def _common_distance(rois: Sequence[_Roi]) -> float:
    """Return the distance of the planes of most ROIs, for those with few planes; NaN if unknown."""
    found = []
    for roi in rois:
        normal = find_normal(roi.polygons)
        if normal is not None:
            found.append(usual_distance(plane_positions(roi.polygons, normal)))
    known = [distance for distance in found if np.isfinite(distance)]
    return float(np.median(known)) if known else float("nan")


def _region(roi: _Roi, distance: float, *, alone: bool) -> Region:
    """Return an ROI as a region; `alone` if no other one has its name."""
    name = roi.name if alone else f"{roi.name} ({roi.number})"
    key, shape, warnings = str(roi.number), None, list[str]()
    problem = roi.problem or ("" if roi.polygons else "has no closed contours")
    if roi.unused:
        warnings.append(f"not used: {', '.join(roi.unused)}")
    if not problem:
        try:
            shape, more = build_contours(roi.polygons, distance, exclusive=roi.exclusive)
            warnings += more
        except BadInput as error:
            problem = str(error)
    if problem and roi.unused:
        problem += f" ({', '.join(roi.unused)})"
    empty = not (roi.polygons or roi.unused or roi.problem)
    return Region(name, key, shape, problem, tuple(warnings), empty)


def _series(dataset: Any) -> tuple[ImageSeries, ...]:
    """Return the series that the structure set refers to."""
    return tuple(
        image_series(series, "ContourImageSequence")
        for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
    )
