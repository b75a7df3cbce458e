"""The plan of a dynamic series: what it is converted with, and which models can be fitted to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from bidsapp.bids.arterial_table import check_coverage, read_arterial_table, table_metadata
from bidsapp.bids.contrast_agents import agent_relaxivity
from bidsapp.bids.records import Dynamic, Session
from bidsapp.bids.sidecar import sidecar_name
from bidsapp.config import Config, field_constant
from bidsapp.errors import BadInput, UsageError
from bidsapp.issues import Issue, from_error
from bidsapp.models import Model
from bidsapp.models.table import DESCRIPTIVE, MODELS, kinetic_rows
from bidsapp.run.graphs.visit_values import describe_origins

_INSTEAD = (
    "; computed instead of Ktrans, ve and vp: semi-quantitative parameters, which need no arterial "
    "input (iAUC60, iAUC90, TTP, wash-in and wash-out)"
)


@dataclass(frozen=True)
class KineticsPlan:
    """What can be done with a dynamic series; without models nothing.

    Attributes
    ----------
    acquisition, relaxation
        Arguments of the SPGR equation, and T1 of tissue and blood in s.
    models
        Models to fit.
    issues
        Failures and missing data.
    """

    acquisition: Mapping[str, float] = field(default_factory=dict)
    relaxation: Mapping[str, float] = field(default_factory=dict)
    models: tuple[Model, ...] = ()
    issues: tuple[Issue, ...] = ()


def plan_kinetics(session: Session, config: Config) -> KineticsPlan:
    """Return the plan of the dynamic series of a session.

    All that an analysis lacks is reported, also of a series whose sidecar is not complete.

    Parameters
    ----------
    session
        Record of the session.
    config
        Configuration of the run.

    Examples
    --------
    >>> from pathlib import Path
    >>> plan = plan_kinetics(Session("01", "a"), Config(Path(), Path(), Path(), "run"))
    >>> [str(issue) for issue in plan.issues]
    ['no DCE: no Ktrans, ve and vp']
    """
    series = session.dynamic or session.incomplete
    issues = []
    if not session.dynamic:
        text = f"{session.lack_of('DCE')}: no Ktrans, ve and vp"
        issues.append(Issue("missing", text, "NoDce"))
    if series is None:
        return KineticsPlan(issues=tuple(issues))
    models = kinetic_rows(config.dce_model, delay=config.fit_delay)
    artery = any(model.needs_artery for model in models)
    lacking = _artery_issues(session, config) if artery else []
    found: list[dict[str, float]] = []
    for step in (_acquisition, partial(_relaxation, blood=artery and not lacking)):
        try:
            found.append(step(series, config))
        except UsageError as error:
            text = f"{sidecar_name(series.image)}: {error}"
            issues.append(Issue("failed", text, UsageError.__name__, remedy=error.remedy))
    if session.dynamic is None or issues:
        return KineticsPlan(issues=(*lacking, *issues))
    if lacking:
        models = (MODELS[DESCRIPTIVE],)
        lacking = [replace(issue, text=f"{issue.text}{_INSTEAD}") for issue in lacking]
    acquisition, relaxation = found
    notes = [*describe_origins(session, config), *_unused_artery(session, config, needed=artery)]
    return KineticsPlan(acquisition, relaxation, models, (*lacking, *notes))


def _unused_artery(session: Session, config: Config, *, needed: bool) -> list[Issue]:
    """Return a note if an arterial input is given that no model needs."""
    if needed or (config.aif == Config.aif and session.artery is None):
        return []
    text = f"--aif {config.aif} has no effect: --dce-model {config.dce_model} needs no artery"
    return [Issue("note", text, "UnusedInput")]


def is_replaced(models: tuple[Model, ...], config: Config) -> bool:
    """Return whether models of a series are not those requested, for want of an arterial input."""
    return models != kinetic_rows(config.dce_model, delay=config.fit_delay)


def _artery_issues(session: Session, config: Config) -> list[Issue]:
    """Return why there is no arterial input; none if there is one, as far as is known."""
    if text := _missing_artery(session, config):
        remedy = "--aif auto" if config.aif == "roi" else ""
        return [Issue("failed", text, "NoArterialInput", remedy=remedy)]
    try:
        _check_arterial_table(session, config)
    except BadInput as error:
        return [from_error(error)]
    return []


def _check_arterial_table(session: Session, config: Config) -> None:
    """Raise an error if the arterial table cannot be read, or does not cover the series."""
    table = session.arterial_table
    if config.aif == "table" and table and session.dynamic:
        found = read_arterial_table(table, table_metadata(table, config.derivatives))
        check_coverage(table, found, session.dynamic.times)


def _missing_artery(session: Session, config: Config) -> str:
    """Return what the arterial input lacks, or an empty text."""
    if config.aif == "table" and session.arterial_table is None:
        return "no label-AIF_timeseries.tsv for --aif table"
    if config.aif != "roi":
        return ""
    if session.artery is None:
        return (
            "no AIF mask (label-AIF_mask) for the DCE series; draw one, "
            "or use --aif auto or --aif parker2006"
        )
    if not session.t1w and session.artery.space != "dce":
        return "the AIF mask is on the grid of the T1w, but there is no T1w"
    return ""


def _acquisition(series: Dynamic, config: Config) -> dict[str, float]:
    """Return the arguments of the SPGR equation; relaxivity from option, sidecar or agent."""
    relaxivity = config.relaxivity or series.relaxivity
    return {
        "repetition_time": series.repetition_time,
        "flip_angle": series.flip_angle,
        "relaxivity": relaxivity or agent_relaxivity(series.agent, series.field_strength),
    }


def _relaxation(series: Dynamic, config: Config, *, blood: bool) -> dict[str, float]:
    """Return T1 of tissue, and if needed of blood, from options or for the field strength, s."""
    strength = series.field_strength
    if np.isnan(strength):  # reported as missing
        return {}
    tissue = config.t1_tissue or field_constant("t1_tissue", strength, "--t1-tissue")
    if not blood:
        return {"t1_tissue": tissue}
    stated = config.t1_blood or (series.t1_blood and series.t1_blood.value)
    return {
        "t1_tissue": tissue,
        "t1_blood": stated or field_constant("t1_blood", strength, "--t1-blood"),
    }
