"""Tissues of the lesions of a session, from their parameters and levels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bidsapp.phantom import physics
from bidsapp.phantom.cohort import FACTORS, RANGES, State
from bidsapp.phantom.lesions import SimulatedLesion
from bidsapp.phantom.physics import TISSUES, Tissue
from bidsapp.phantom.uneven import Level, level_factors

CONTRASTS = (1.0, 0.5, 0.25, 0.125, 0.0)
"""Variation of the parameters over a lesion, relative to the full one, in order of preference."""


def session_tissues(
    states: Mapping[int, State], t1: Mapping[int, float], lesions: Mapping[int, SimulatedLesion]
) -> tuple[dict[str, Tissue], list[str]]:
    """Return the tissues of a session.

    Parameters
    ----------
    states : mapping of lesion to State
    t1 : mapping of lesion to float, s
    lesions : mapping of lesion to SimulatedLesion

    Returns
    -------
    tissues : dict of Tissue
        By the names of `bidsapp.phantom.scene.build_scene`.
    problems : list of str
        Lesions with less than the full variation, because a parameter would leave its range.
    """
    found, problems = dict(TISSUES), []
    for n, state in states.items():
        found |= {f"lesion-{n}_{k}": tissue for k, tissue in _tissues_of(state, t1[n]).items()}
        found[f"lesion-{n}_vein"] = TISSUES["vein"]
        levels = lesions[n].levels if n in lesions else ()
        varied, contrast = vary(state, levels)
        for number, level in enumerate(varied, start=1):
            found[f"lesion-{n}_rim-{number}"] = _tissues_of(level, t1[n])["rim"]
        if contrast < 1:
            problems.append(
                f"lesion {n} varies by {contrast:g} of the full variation, because a parameter "
                "would leave its range"
            )
    return found, problems


def _tissues_of(state: State, t1: float) -> dict[str, Tissue]:
    return physics.lesion_tissues(
        Ktrans=state.Ktrans,
        ve=state.ve,
        vp=state.vp,
        adc=state.ADC,
        f=state.f,
        t1=t1,
        haemorrhagic=state.excluded,
    )


def vary(state: State, levels: Sequence[Level]) -> tuple[list[State], float]:
    """Return the parameters of every level of a lesion, and the contrast between the levels.

    Parameters
    ----------
    state : State
        The means over the rim.
    levels : sequence of Level

    Returns
    -------
    states : list of State
        Their mean, weighted by the volumes of the levels, is `state`.
    contrast : float
        The largest of `CONTRASTS` for which all levels can be simulated.
    """
    for contrast in CONTRASTS:
        factors = level_factors(levels, contrast) if levels else {}
        states = [
            replace(state, **{k: getattr(state, k) * float(v[n]) for k, v in factors.items()})
            for n in range(len(levels))
        ]
        if all(_is_possible(s) for s in states):
            break
    return states, contrast


def _is_possible(state: State) -> bool:
    """Return whether all parameters are in range, and a diffusivity has the ADC, given f."""
    inside = [
        low * FACTORS[name] <= getattr(state, name) <= high * FACTORS[name]
        for name, (low, high) in RANGES.items()
    ]
    return all(inside) and physics.adc_of([0.0] * 3, state.f) < state.ADC
