"""The plan of a run: what can be done with a participant's data under the given options.

``--dry-run`` prints the plan, the graphs are built from it, and status.json includes its issues.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bidsapp.bids.problems import remedy_of
from bidsapp.bids.records import (
    Diffusion,
    FieldSource,
    Participant,
    Session,
    Space,
)
from bidsapp.config import HAEMATOCRIT, Config, constants
from bidsapp.errors import BadInput
from bidsapp.issues import Issue
from bidsapp.models import MODELS, Model, combine_directions
from bidsapp.models.table import ivim_row
from bidsapp.run.graphs.acquisition import apply_acquisition_options
from bidsapp.run.graphs.diffusion_steps import blood_signal, optional_step_issues
from bidsapp.run.graphs.dose_sources import find_dose_sources
from bidsapp.run.graphs.kinetics_plan import plan_kinetics
from bidsapp.run.graphs.regions import missing_regions, reference_issues
from bidsapp.run.graphs.sidecars import analysis_space, lesion_rois
from bidsapp.run.graphs.visit_values import haematocrit


@dataclass(frozen=True)
class SessionPlan:
    """The plan of one session.

    Attributes
    ----------
    session
        Record of the session.
    branches
        The branches to run, of ``anat``, ``dwi``, ``dce`` and ``rois``.
    diffusion_models, kinetic_models
        Models to fit in ``dwi`` and ``dce``. The last of several kinetic models is tabulated.
        Without an arterial input, `DESCRIPTIVE` replaces the models that need one.
    field_source
        Source for the EPI distortion, if it is to be corrected.
    acquisition, relaxation, haematocrit
        Arguments of the SPGR equation, T1 of tissue and blood in s, and fraction of cells in blood.
    blood_signal
        Signal of blood relative to that of tissue, if f is to be corrected for relaxation.
    issues
        Failures, warnings and missing data.
    """

    session: Session
    branches: tuple[str, ...] = ()
    diffusion_models: tuple[Model, ...] = ()
    kinetic_models: tuple[Model, ...] = ()
    field_source: FieldSource | None = None
    acquisition: Mapping[str, float] = field(default_factory=dict)
    relaxation: Mapping[str, float] = field(default_factory=dict)
    haematocrit: float = HAEMATOCRIT
    blood_signal: float | None = None
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The plan of one participant.

    Attributes
    ----------
    participant
        Record of the participant.
    sessions
        The plan of each session.
    baseline
        The session with the reference T1w.
    lesions
        Every lesion in the ROI tables of the participant, and whether any table excludes it.
    doses
        See `find_dose_sources`.
    further
        Issues that result from the comparison of sessions.
    """

    participant: Participant
    sessions: tuple[SessionPlan, ...]
    baseline: Session | None
    lesions: Mapping[int, bool]
    doses: Mapping[str, str] = field(default_factory=dict)
    further: tuple[Issue, ...] = ()

    @property
    def excluded_lesions(self) -> frozenset[int]:
        """Lesions marked as excluded in any table."""
        return frozenset(number for number, is_excluded in self.lesions.items() if is_excluded)

    @property
    def issues(self) -> tuple[Issue, ...]:
        """The issues of all sessions."""
        own = tuple(issue for session in self.sessions for issue in session.issues)
        return (*own, *self.further)


def plan_participant(participant: Participant, config: Config) -> Plan:
    """Return the plan of a participant.

    Parameters
    ----------
    participant
        Record of the participant.
    config
        Configuration of the run.

    Returns
    -------
    Plan
        Problems are issues of the plan and are never raised.
    """
    participant = apply_acquisition_options(participant, config)
    lesions: dict[int, bool] = {}
    for session in participant.sessions:
        for rois in (*session.enhancing, *session.whole):
            for lesion in rois.lesions:
                lesions[lesion.index] = lesions.get(lesion.index, False) or lesion.excluded
    baseline = participant.baseline(config.baseline_session)
    further: list[Issue] = []
    for session in participant.sessions:
        further += reference_issues(session, baseline, config)
    planned = tuple(plan_session(session, config) for session in participant.sessions)
    doses = find_dose_sources(participant.sessions)
    return Plan(participant, planned, baseline, lesions, doses, tuple(further))


def plan_session(session: Session, config: Config) -> SessionPlan:
    """Return the plan of a session.

    Examples
    --------
    >>> from pathlib import Path
    >>> config = Config(Path(), Path(), Path(), "run")
    >>> series = Diffusion(Path(), (0.0, 1000.0), None)
    >>> plan = plan_session(Session("01", "a", diffusion=series), config)
    >>> plan.branches, [model.name for model in plan.diffusion_models]
    (('dwi',), ['adc'])
    >>> str(plan.issues[1]).split(";")[0]
    'no IVIM: the asymptotic fit needs b = 0 and two b-values from 200 s/mm2'
    """
    diffusion = _diffusion_issues(session, config)
    dwi = session.diffusion is not None and not any(i.level == "failed" for i in diffusion)
    kinetics = plan_kinetics(session, config)
    present = {
        "anat": session.t1w is not None,
        "dwi": dwi,
        "dce": bool(kinetics.models),
        "rois": bool(session.enhancing or session.whole),
    }
    issues = [
        Issue("failed", text, BadInput.__name__, remedy=remedy_of(text))
        for text in session.problems
    ]
    issues += [Issue("warning", text, "DoubtfulInput") for text in session.warnings]
    issues += [Issue("note", text, "InferredInput") for text in session.notes]
    if not session.t1w:
        text = f"{session.lack_of('T1w')}: analysed in the native space of each series"
        issues.append(Issue("missing", text, "NoT1w"))
    issues += [*diffusion, *kinetics.issues, *_missing_rois(session, config)]
    issues += missing_regions(session, config)
    participant = f"sub-{session.participant}"
    return SessionPlan(
        session,
        tuple(branch for branch, there in present.items() if there),
        _diffusion_models(session.diffusion, config) if session.diffusion and dwi else (),
        kinetics.models,
        _field_source(session, config) if dwi else None,
        kinetics.acquisition,
        kinetics.relaxation,
        haematocrit(session, config),
        blood_signal(session.diffusion, config) if session.diffusion and dwi else None,
        tuple(replace(i, participant=participant, session=session.id) for i in issues),
    )


def fit_options(model: Model, config: Config, blood_signal: float | None = None) -> dict[str, Any]:
    """Return the options of the run for a diffusion model; the ADC is fitted from b = 0.

    Parameters
    ----------
    model
        A diffusion model.
    config
        Configuration of the run.
    blood_signal
        For a model that corrects f for relaxation.

    Examples
    --------
    >>> from pathlib import Path
    >>> config = Config(Path(), Path(), Path(), "run", b_max=1000.0)
    >>> fit_options(MODELS["adc"], config)
    {'b_max': 1000.0, 'noise': 'gaussian'}
    """
    own = [name for name in model.options if model.name != "adc" or name != "b_min"]
    assumed = {"dstar": constants()["dstar"]["value"], "blood_signal": blood_signal}
    required = {name: value for name, value in assumed.items() if name in model.design}
    return required | config.fit_options([*own, *model.numbers])


def _diffusion_models(series: Diffusion, config: Config) -> tuple[Model, ...]:
    """Return the models that the b-values allow, of ADC and IVIM."""
    corrected = blood_signal(series, config) is not None
    models = (MODELS["adc"], ivim_row(config.ivim_model, corrected=corrected))
    return tuple(model for model in models if not _unmet_needs(model, series, config))


def _diffusion_issues(session: Session, config: Config) -> list[Issue]:
    """Return the issues of the diffusion series."""
    series = session.diffusion
    if not series:
        return [Issue("missing", f"{session.lack_of('DWI')}: no ADC and no IVIM", "NoDwi")]
    issues = []
    if problem := _unusable_distortion(session, config):
        assert session.distortion is not None
        remedy = remedy_of(session.distortion.problem)
        issues.append(Issue("failed", problem, "UnusableDistortion", remedy=remedy))
    elif unmet := _unmet_needs(MODELS["adc"], series, config):
        issues.append(Issue("failed", f"no ADC: {unmet}", "TooFewBValues"))
    row = ivim_row(config.ivim_model)
    if unmet := _unmet_needs(row, series, config):
        issues.append(Issue("missing", f"no IVIM: {unmet}", "TooFewBValues"))
    elif config.noise != "gaussian" and "noise" not in row.options:
        text = (
            f"no --noise {config.noise} in the {config.ivim_model} IVIM fit, which assumes "
            "Gaussian noise: only in the ADC fit"
        )
        issues.append(Issue("missing", text, "NoiseModelNotApplied"))
    if text := _uncorrected_distortion(session, config):
        issues.append(Issue("missing", text, "DistortionNotCorrected"))
    elif config.distortion == "auto" and session.distortion and session.distortion.note:
        issues.append(Issue("note", session.distortion.note, "InferredInput"))
    return [*issues, *optional_step_issues(series, config)]


def _unmet_needs(model: Model, series: Diffusion, config: Config) -> str:
    """Return the requirements of a fit and the b-values, if these are not sufficient."""
    shells = combine_directions(np.ones(len(series.bvalues)), series.bvalues)[0]
    needs = model.needs(bvalues=shells, **fit_options(model, config))
    if all(need.met for need in needs):
        return ""
    required = " and ".join(need.text for need in needs)
    limit = f" up to {config.b_max:g} s/mm2" if np.isfinite(config.b_max) else ""
    kind = model.name.removeprefix("ivim-") if model.name != "adc" else ""
    return (
        f"the {kind + ' ' if kind else ''}fit needs {required}{limit}; "
        f"the series has {', '.join(f'{b:g}' for b in shells)} s/mm2"
    )


def _unusable_distortion(session: Session, config: Config) -> str:
    """Return the problem with the data for the distortion, or an empty text.

    Estimation from the T1w requires only the phase-encoding axis.
    """
    known = session.distortion
    if config.distortion == "none" or not known or not known.problem:
        return ""
    if config.distortion == "t1w" and (known.axis is not None or not session.t1w):
        return ""
    return f"no DWI with --distortion {config.distortion}: {known.problem}"


def _uncorrected_distortion(session: Session, config: Config) -> str:
    """Return why the distortion is not corrected as requested or from better data."""
    if config.distortion == "none":
        return ""
    if not session.t1w:
        return "EPI distortion not corrected: without a T1w, maps remain in the space of the series"
    known = session.distortion
    if config.distortion == "auto":
        return f"EPI distortion not corrected: {known.lack}" if known and known.lack else ""
    if not known or not known.source:
        return ""
    return (
        f"EPI distortion estimated from the T1w, although {known.source.image.name} is available: "
        "--distortion auto would use it"
    )


def _field_source(session: Session, config: Config) -> FieldSource | None:
    """Return the source for the distortion, if it is to be corrected."""
    if config.distortion == "none" or not session.t1w or not session.distortion:
        return None
    if config.distortion == "t1w":
        return FieldSource("T1w", session.t1w)
    return session.distortion.source


def _missing_rois(session: Session, config: Config) -> Iterator[Issue]:
    """Yield an issue for each ROI that is missing in the space of the analysis."""
    series: list[Space] = ["dwi"] if session.diffusion else []
    series += ["dce"] if session.dynamic else []
    if not session.enhancing:
        yield Issue("missing", "no ROI of the enhancing part: no lesion values", "NoRoi")
        series = []
    for name in series:
        if not lesion_rois(session, name, config):
            text = (
                f"no ROI of the enhancing part on the {analysis_space(session, name, config)} "
                f"grid: no lesion values of the {name.upper()}"
            )
            yield Issue("missing", text, "NoRoi")
    if not session.whole:
        yield Issue("missing", "no ROI of the whole lesion: no volumes", "NoWholeRoi")
