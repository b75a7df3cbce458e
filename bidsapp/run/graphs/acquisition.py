"""The acquisition of a session: options that change what is known of it, and its description."""

import math
from dataclasses import replace

import numpy as np

from bidsapp.bids.arterial_table import table_haematocrit, table_metadata
from bidsapp.bids.contrast_agents import agent_relaxivity
from bidsapp.bids.records import Diffusion, Dynamic, Participant, Session
from bidsapp.config import Config
from bidsapp.errors import BadInput, UsageError
from bidsapp.models.diffusion.adc import find_shells
from bidsapp.models.diffusion.decay import B_ZERO

_LOWEST_AS_ZERO = 20.0
"""Lowest b-value that may stand in for b = 0 where there is no b = 0, s/mm2."""
_FEWEST_FRAMES = 2
"""Frames that must remain of a series."""


def apply_acquisition_options(participant: Participant, config: Config) -> Participant:
    """Return the record of a participant under ``--skip-frames``, ``--b0-threshold``, ``--aif``.

    With ``--aif table``, the haematocrit stated with the table is preferred to that of the series.

    Parameters
    ----------
    participant
        Record of the participant.
    config
        Configuration of the run.

    Returns
    -------
    Participant
        Applying the options again changes nothing.
    """
    sessions = tuple(_apply(session, config) for session in participant.sessions)
    return replace(participant, sessions=sessions)


def describe_acquisition(session: Session) -> dict[str, str]:
    """Return the settings of a session's series that lesion values depend on, as text.

    Examples
    --------
    >>> from pathlib import Path
    >>> series = Diffusion(Path("dwi.nii.gz"), (0.0, 800.0, 805.0), None)
    >>> describe_acquisition(Session("01", "a", diffusion=series))
    {'b-values': '0, 802 s/mm2'}
    """
    found = {}
    if series := session.diffusion:
        bvalues = np.array(series.bvalues)
        shells = [bvalues[members].mean() for members in find_shells(bvalues)]
        found["b-values"] = f"{', '.join(f'{b:.0f}' for b in shells)} s/mm2"
    if dynamic := session.dynamic:
        seconds = 60 * np.array(dynamic.times)
        found |= {
            "field strength": f"{dynamic.field_strength:g} T",
            "TR of the DCE": f"{1000 * dynamic.repetition_time:.4g} ms",
            "flip angle of the DCE": f"{math.degrees(dynamic.flip_angle):.4g} degrees",
            "contrast agent": _agent(dynamic),
            "frame interval of the DCE": f"{np.median(np.diff(seconds)):.3g} s",
            "duration of the DCE": f"{seconds[-1] - seconds[0]:.0f} s",
        }
    return found


def _agent(series: Dynamic) -> str:
    """Return the relaxivity, which brands of one agent share; else the name of the agent."""
    try:
        value = series.relaxivity or agent_relaxivity(series.agent, series.field_strength)
    except UsageError:
        return (series.agent or "not stated").lower()
    return f"of relaxivity {value:g} 1/s/mM"


def _apply(session: Session, config: Config) -> Session:
    warnings, problems = list(session.warnings), list(session.problems)
    diffusion, dynamic = session.diffusion, session.dynamic
    if diffusion:
        diffusion, warning = count_as_b_zero(diffusion, config.b0_threshold)
        warnings += [warning] if warning else []
    if dynamic and config.skip_frames:
        dynamic = skip_frames(dynamic, config.skip_frames)
        if len(dynamic.times) < _FEWEST_FRAMES:
            problems.append(
                f"{dynamic.image.name}: --skip-frames {config.skip_frames} leaves "
                f"{len(dynamic.times)} of the frames; a smaller number is needed"
            )
            dynamic = None
    try:
        dynamic = dynamic and _with_haematocrit_of_table(dynamic, session, config)
    except BadInput as error:
        problems.append(str(error))
        dynamic = None
    return replace(
        session,
        diffusion=diffusion,
        dynamic=dynamic,
        warnings=tuple(warnings),
        problems=tuple(problems),
    )


def _with_haematocrit_of_table(series: Dynamic, session: Session, config: Config) -> Dynamic:
    """Return a dynamic series with the haematocrit stated with its arterial table, if any is."""
    table = session.arterial_table
    if config.aif != "table" or table is None:
        return series
    stated = table_haematocrit(table, table_metadata(table, config.derivatives))
    return replace(series, haematocrit=stated or series.haematocrit)


def skip_frames(series: Dynamic, count: int) -> Dynamic:
    """Return a dynamic series without the first frames of its image.

    Examples
    --------
    >>> from pathlib import Path
    >>> series = Dynamic(Path("dce.nii"), (0.0, 0.1, 0.2), 0.004, 0.3, 3.0, None, None)
    >>> skip_frames(skip_frames(series, 1), 1).times
    (0.1, 0.2)
    """
    already = sum(frame < count for frame in series.left_out)
    return series.without(range(min(count - already, len(series.times))))


def count_as_b_zero(series: Diffusion, threshold: float | None) -> tuple[Diffusion, str]:
    """Return a series in which low b-values count as 0, and a warning if that was not requested.

    Parameters
    ----------
    series
        A diffusion series.
    threshold
        b-values up to this count as 0, s/mm2. None: the lowest one up to 20 in a series without
        any below 5.

    Examples
    --------
    >>> from pathlib import Path
    >>> series = Diffusion(Path("dwi.nii.gz"), (10.0, 200.0, 800.0), None)
    >>> count_as_b_zero(series, None)[0].bvalues
    (0.0, 200.0, 800.0)
    """
    lowest = min(series.bvalues)
    automatic = threshold is None
    if threshold is None:
        threshold = 1.02 * lowest + 2 if B_ZERO <= lowest <= _LOWEST_AS_ZERO else 0.0
    changed = tuple(0.0 if b <= max(threshold, 0.0) else b for b in series.bvalues)
    warning = ""
    if automatic and changed != series.bvalues and threshold:
        # The signal at b is lower than at 0 by b D and by the perfusion that b has already
        # attenuated, each about b / 100 of f for f = 0.09, D = 0.9e-3 and D* = 0.01 mm2/s.
        warning = (
            f"{series.image.name}: has no b = 0, so its lowest b-value, {lowest:g} s/mm2, counts "
            f"as 0: f is underestimated by about {2 * lowest:.0f} % of its value (--b0-threshold "
            "sets the limit)"
        )
    return replace(series, bvalues=changed), warning
