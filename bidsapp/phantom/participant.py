"""Simulation of one participant: one anatomy, imaged in every session."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import count
from pathlib import Path

import numpy as np

from bidsapp.phantom.acquisition import draw_pose
from bidsapp.phantom.anatomy import Anatomy, draw_anatomy
from bidsapp.phantom.cohort import RETEST, SimulatedParticipant, SimulatedSession, State
from bidsapp.phantom.contents import session_tissues
from bidsapp.phantom.files import Drawing, Place, Visit, write_visit
from bidsapp.phantom.lesions import (
    Shape,
    SimulatedLesion,
    add_patches,
    add_veins,
    draw_shapes,
    grow_lesions,
)
from bidsapp.phantom.reader import draw_reader, redraw_lesions
from bidsapp.phantom.scene import build_scene, coarsen
from bidsapp.phantom.series import (
    PROTOCOLS,
    SimulatedSeries,
    draw_bolus,
    image_dce,
    image_dwi,
    image_reversed,
    image_t1w,
    image_vfa,
)
from bidsapp.phantom.template import Matrix

SESSION_DEGREES, SESSION_MM = 5.0, 8.0
"""Maximum rotation and shift of the head between sessions."""
RETEST_STREAM = 1000
"""Random numbers of the retest, in place of the position of a session."""
ENHANCEMENT = State(volume=0, vp=0.037, Ktrans=0.068, ve=0.108, ADC=1.1e-3, f=0.083, excluded=False)
"""Parameters of a lesion without a known value in the session or an earlier one."""


class _Stream(IntEnum):
    """Streams of random numbers of a participant; that of the cohort is 1."""

    HEAD = 2
    SESSION = 3
    PATCHES = 4
    VEINS = 5
    READER = 6


@dataclass(frozen=True)
class Settings:
    """Settings of the simulation: resolution (a key of `PROTOCOLS`), seed and SNR.

    `vfa`: with images at several flip angles. `fmap`: with a reversed phase-encoding b = 0 image.
    `vfa_motion`: largest shift (mm) and rotation (degrees) of the head in each of the former.
    `uneven`: lesions vary within. `veins`: veins pass the lesions. `roi_error`: SD of the edges of
    ROIs, mm. `retest`: the first session is repeated. `dose`: the first session has a dose map.
    """

    resolution: str
    seed: int
    snr: float
    vfa: bool
    fmap: bool = False
    vfa_motion: float = 0.0
    uneven: bool = False
    veins: bool = False
    roi_error: float = 0.0
    retest: bool = False
    dose: bool = False


def write_participant(
    out: Path, person: SimulatedParticipant, number: int, settings: Settings
) -> tuple[SimulatedParticipant, list[str]]:
    """Simulate and write all sessions of a participant.

    Parameters
    ----------
    out : Path
        The data set.
    person : Participant
    number : int
        Position in the cohort; with the seed it determines all random numbers.
    settings : Settings

    Returns
    -------
    person : Participant
        As simulated, with the actual volumes of the lesions.
    problems : list of str
        Lesions that are smaller or vary less than requested.
    """
    rng = np.random.default_rng([settings.seed, number, _Stream.HEAD])
    anatomy = draw_anatomy(rng)
    shapes = draw_shapes(anatomy, *_sizes(person), rng)
    t1 = {n: float(np.clip(rng.normal(1.6, 0.1), 1.3, 1.9)) for n in shapes}
    shapes = _refine_shapes(shapes, number, settings)
    protocol = PROTOCOLS[settings.resolution]
    imaged: list[SimulatedSession] = []
    problems: list[str] = []
    reference: Matrix | None = None
    streams = _session_streams(person, retest=settings.retest)
    for order, (session, stream) in enumerate(zip(person.sessions, streams, strict=True)):
        states = _known_states(person, order)
        volumes = {n: s.volume for n, s in session.lesions.items()}
        lesions = grow_lesions(anatomy, shapes, volumes)
        done = _imaged_session(session, lesions)
        tissues, limited = session_tissues(states, t1, lesions)
        where = f"{person.label} {session.label}"
        problems += _missing_volume(where, session, done)
        problems += [f"{where}: {problem}" for problem in limited]
        rng = np.random.default_rng([settings.seed, number, _Stream.SESSION, stream])
        pose = draw_pose(rng, SESSION_DEGREES, SESSION_MM)
        reference = pose if reference is None else reference
        scene = build_scene(anatomy, lesions)
        visit = Visit(
            place=Place(out, person.label, session.label),
            session=done,
            anatomy=anatomy,
            lesions=lesions,
            drawing=_drawing(anatomy, lesions, settings, [number, stream]),
            tissues=tissues,
            scene=scene,
            coarse=coarsen(scene, protocol.coarsening) if protocol.coarsening > 1 else scene,
            protocol=protocol,
            bolus=draw_bolus(rng),
            reference=reference,
            has_dose=settings.dose and order == 0,
        )
        write_visit(visit, _acquire(visit, pose, settings, rng))
        imaged.append(done)
    return replace(person, sessions=tuple(imaged)), problems


def _refine_shapes(shapes: dict[int, Shape], number: int, settings: Settings) -> dict[int, Shape]:
    """Add patches and veins; each has random numbers of its own, so that nothing else changes."""
    if settings.uneven:
        rng = np.random.default_rng([settings.seed, number, _Stream.PATCHES])
        shapes = add_patches(shapes, rng)
    if settings.veins:
        shapes = add_veins(shapes, np.random.default_rng([settings.seed, number, _Stream.VEINS]))
    return shapes


def _session_streams(person: SimulatedParticipant, *, retest: bool) -> list[int]:
    """Return the position of each session, as if there were no retest; `RETEST_STREAM` for it."""
    positions = count()
    return [
        RETEST_STREAM if retest and s.label == RETEST else next(positions) for s in person.sessions
    ]


def _drawing(
    anatomy: Anatomy, lesions: dict[int, SimulatedLesion], settings: Settings, stream: list[int]
) -> Drawing | None:
    """Return the ROIs that a reader draws with error, or None without error."""
    if not settings.roi_error:
        return None
    number, session = stream
    rng = np.random.default_rng([settings.seed, number, _Stream.READER, session])
    reader = draw_reader(settings.roi_error, rng)
    return Drawing(reader, redraw_lesions(anatomy, lesions, reader, rng))


def _sizes(person: SimulatedParticipant) -> tuple[dict[int, float], dict[int, float]]:
    """Return the first and the largest volume of every lesion."""
    first: dict[int, float] = {}
    largest: dict[int, float] = {}
    for session in person.sessions:
        for n, state in session.lesions.items():
            first[n] = first.get(n) or state.volume
            largest[n] = max(largest.get(n, 0.0), state.volume)
    return first, largest


def _known_states(person: SimulatedParticipant, order: int) -> dict[int, State]:
    """Return the lesions of a session; unknown parameters are those of the last known session."""
    states = {}
    for n, state in person.sessions[order].lesions.items():
        earlier = [s.lesions[n] for s in person.sessions[: order + 1] if n in s.lesions]
        diffuse = next((s for s in reversed(earlier) if s.diffuses), ENHANCEMENT)
        enhance = next((s for s in reversed(earlier) if s.enhances), ENHANCEMENT)
        states[n] = replace(enhance, ADC=diffuse.ADC, f=diffuse.f, excluded=state.excluded)
    return states


def _imaged_session(
    session: SimulatedSession, lesions: Mapping[int, SimulatedLesion]
) -> SimulatedSession:
    """Return the session with the actual volumes, rounded to 0.1 microlitre."""
    states = {
        n: replace(s, volume=round(lesions[n].volume, 4) if n in lesions else 0.0)
        for n, s in session.lesions.items()
    }
    return replace(session, lesions=states)


def _missing_volume(where: str, wanted: SimulatedSession, done: SimulatedSession) -> list[str]:
    return [
        f"{where}: lesion {n} has {done.lesions[n].volume:g} ml of {state.volume:g} ml: "
        "there is no more space around it"
        for n, state in wanted.lesions.items()
        if abs(done.lesions[n].volume - state.volume) > 1e-3
    ]


def _acquire(
    visit: Visit, pose: Matrix, settings: Settings, rng: np.random.Generator
) -> dict[str, SimulatedSeries]:
    """Return the series of a session by name: t1w, dwi, dce, vfa-1 and so on."""
    scene, protocol, snr = visit.scene, visit.protocol, settings.snr
    tissues = [visit.tissues[name] for name in scene.tissues]
    bolus = visit.bolus
    series = {"t1w": image_t1w(scene, tissues, protocol, pose, bolus, snr, rng)}
    if visit.session.has_dwi:
        series["dwi"] = image_dwi(visit.coarse, tissues, protocol, pose, snr, rng)
        if settings.fmap:  # a separate generator, so that the other series do not change
            noise = rng.spawn(1)[0]
            series["epi"] = image_reversed(
                visit.coarse, tissues, protocol, series["dwi"], snr, noise
            )
    if visit.session.has_dce:
        series["dce"] = image_dce(visit.coarse, tissues, protocol, pose, bolus, snr, rng)
        if settings.vfa:
            dce, motion = series["dce"], settings.vfa_motion
            flips = image_vfa(visit.coarse, tissues, protocol, dce, snr, rng, motion)
            series |= {f"vfa-{n}": image for n, image in enumerate(flips, start=1)}
    return series
