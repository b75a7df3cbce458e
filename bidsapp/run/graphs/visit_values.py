"""Timing, agent, haematocrit and T1 that the data of a visit state, and their origin."""

from collections.abc import Iterator, Mapping

import numpy as np

from bidsapp.bids.contrast_agents import agent_relaxivity, find_agent
from bidsapp.bids.records import Dynamic, Session, Stated
from bidsapp.bids.sidecar import sidecar_name
from bidsapp.bids.timing import BIDS_TIMES, BIDS_TR
from bidsapp.config import HAEMATOCRIT, Config
from bidsapp.issues import Issue

_HAEMATOCRITS = (0.2, 0.55)
"""Plausible haematocrit of a patient; the plasma fraction is usually 0.55 to 0.6."""


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
