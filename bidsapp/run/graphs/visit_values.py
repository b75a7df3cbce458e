"""Timing, agent, haematocrit and T1 that the data of a visit state, and their origin."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bidsapp.bids.contrast_agents import agent_relaxivity, find_agent
from bidsapp.bids.images import check_contents, open_image
from bidsapp.bids.records import Dynamic, Session, Stated
from bidsapp.bids.rois import roi_labels
from bidsapp.bids.sidecar import sidecar_name
from bidsapp.bids.timing import BIDS_TIMES, BIDS_TR
from bidsapp.config import HAEMATOCRIT, Config
from bidsapp.errors import UsageError
from bidsapp.issues import Issue
from bidsapp.lesions import voxel_ml

_HAEMATOCRITS = (0.2, 0.55)
"""Plausible haematocrit of a patient; the plasma fraction is usually 0.55 to 0.6."""


@dataclass(frozen=True)
class UsedValue:
    """A number that an analysis uses, as text with its unit, and the field or option it is from."""

    name: str
    value: str
    source: str


def haematocrit(session: Session, config: Config) -> float:
    """Return the haematocrit from the option, the data of the visit, or by default."""
    if config.haematocrit is not None:
        return config.haematocrit
    stated = session.dynamic and session.dynamic.haematocrit
    return stated.value if stated else HAEMATOCRIT


def value_origins(session: Session, config: Config) -> dict[str, str]:
    """Return where values come from that the data of the visit state, by name.

    Values of options, of the literature and of images at several flip angles are not included.
    """
    found = {}
    if series := session.dynamic:
        fields = {
            "frame_times": series.times_source,
            "repetition_time": series.repetition_time_source,
            "relaxivity": "" if config.relaxivity else _relaxivity_source(series),
        }
        sidecar = sidecar_name(series.image)
        for name, field in fields.items():
            if field:
                found[name] = field if field.startswith("--") else f"{field} in {sidecar}"
        for name in ("haematocrit", "t1_blood"):
            stated: Stated | None = getattr(series, name)
            if stated and getattr(config, name) is None:
                found[name] = stated.source
    if session.t1_map and config.t1_tissue is None:
        found["t1_tissue"] = session.t1_map.source
    return found


def used_values(session: Session, config: Config) -> Iterator[UsedValue]:
    """Yield the b-values of a session, and what its dynamic series is converted with.

    A number that is not known is left out: that it is missing is an issue of the plan.
    """
    if session.diffusion:
        values = ", ".join(f"{b:g}" for b in sorted(set(session.diffusion.bvalues)))
        yield UsedValue("b-values", f"{values} s/mm2", ".bval")
    yield from _used_maps(session)
    series = session.dynamic or session.incomplete
    if series is None:
        return
    if len(series.times) > 1:
        yield UsedValue("frame times", _describe_times(series), series.times_source)
    angle, field = math.degrees(series.flip_angle), series.field_strength
    for name, number, unit, source in (
        ("TR", 1000 * series.repetition_time, "ms", series.repetition_time_source),
        ("flip angle", angle, "degrees", "FlipAngle"),
        ("field strength", field, "T", "MagneticFieldStrength"),
        ("relaxivity", *_relaxivity(series, config)),
    ):
        if not math.isnan(number):
            yield UsedValue(name, f"{number:.4g} {unit}", source)


def _used_maps(session: Session) -> Iterator[UsedValue]:
    """Yield the largest dose of a session, and the number of voxels of its further regions."""
    if session.dose:
        largest = float(np.nanmax(check_contents(session.dose)))
        yield UsedValue("largest dose", f"{largest:.3g} Gy", "label-dose_dosemap")
    for name, rois in session.regions:
        labels = roi_labels(rois)
        ml = np.count_nonzero(labels) * voxel_ml(open_image(rois.image).affine)
        count, entity = len(rois.lesions), "label" if rois.masks else "seg"
        parts = "" if rois.masks else f" in {count} label{'s' * (count != 1)}"
        yield UsedValue(f"region {name}", f"{ml:.2f} ml{parts}", f"{entity}-{name}")


def _describe_times(series: Dynamic) -> str:
    """Return the number of frames and their interval, with its range if it varies."""
    steps = 60 * np.diff(series.times)
    usual, least, most = (f"{f(steps):.4g}" for f in (np.median, np.min, np.max))
    varied = "" if least == most else f" ({least} to {most} s)"
    return f"{len(series.times)} frames every {usual} s{varied}"


def _relaxivity(series: Dynamic, config: Config) -> tuple[float, str, str]:
    """Return the relaxivity, its unit and its source; NaN if it is not known."""
    value, unit = config.relaxivity or series.relaxivity, "1/s/mM"
    if value:
        return value, unit, "--relaxivity" if config.relaxivity else _relaxivity_source(series)
    try:
        known = agent_relaxivity(series.agent, series.field_strength)
    except UsageError:  # an issue of the plan
        return math.nan, unit, ""
    return known, unit, _relaxivity_source(series).removesuffix(",")


def describe_origins(session: Session, config: Config) -> Iterator[Issue]:
    """Yield a note on each value that the data of the visit state."""
    origins, series = value_origins(session, config), session.dynamic
    assert series is not None
    yield from _acquisition_origins(series, origins)
    if "haematocrit" in origins and series.haematocrit:
        yield _haematocrit_origin(series.haematocrit.value, origins["haematocrit"])
    if "t1_blood" in origins and series.t1_blood:
        text = f"T1 of blood {series.t1_blood.value:g} s, from {origins['t1_blood']}"
        yield Issue("note", text, "ValueOfVisit")
    if "t1_tissue" in origins:
        rest = "; the VFA images are not used" if session.flip_angle_series else ""
        yield Issue("note", f"T1 of tissue from {origins['t1_tissue']}{rest}", "ValueOfVisit")


def _relaxivity_source(series: Dynamic) -> str:
    """Return the field from which the relaxivity follows."""
    if series.relaxivity:
        return "ContrastAgentRelaxivity"
    if agent := find_agent(series.agent or ""):
        return f"{agent}, as {series.agent!r} in {series.agent_source},"
    return ""


def _acquisition_origins(series: Dynamic, origins: Mapping[str, str]) -> Iterator[Issue]:
    """Yield a note on timing and agent that fields other than those of BIDS state."""
    if series.times_source not in ("", BIDS_TIMES):
        step = 60 * float(np.median(np.diff(series.times)))
        text = f"frame times, every {step:.4g} s, from {origins['frame_times']}"
        yield Issue("note", text, "ValueOfVisit")
    if series.repetition_time_source not in ("", BIDS_TR):
        text = f"TR {series.repetition_time:g} s, from {origins['repetition_time']}"
        yield Issue("note", text, "ValueOfVisit")
    if "relaxivity" in origins and not series.relaxivity:
        value = agent_relaxivity(series.agent, series.field_strength)
        text = f"relaxivity {value:g} 1/s/mM, of {origins['relaxivity']}"
        yield Issue("note", text, "ValueOfVisit")


def _haematocrit_origin(value: float, source: str) -> Issue:
    """Return a note on a haematocrit that the data state, or a warning if no adult has it."""
    text, (low, high) = f"haematocrit {value:g}, from {source}", _HAEMATOCRITS
    if low <= value <= high:
        return Issue("note", text, "ValueOfVisit")
    hint = ", or is it the plasma fraction, 1 - haematocrit?" if value > high else ""
    text += f": an adult has {low:g} to {high:g}; correct it or give --haematocrit{hint}"
    return Issue("warning", text, "DoubtfulInput")
