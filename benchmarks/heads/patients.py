"""Simulated patients: anatomy with two lesions in several states, as noise-free volumes."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from bidsapp.imaging.masks import template_brain
from bidsapp.phantom import physics, series
from bidsapp.phantom.anatomy import Anatomy, draw_anatomy
from bidsapp.phantom.lesions import SimulatedLesion, draw_shapes, grow_lesions
from bidsapp.phantom.physics import Array, Tissue
from bidsapp.phantom.scene import Scene, build_scene
from bidsapp.phantom.template import FloatVolume, Matrix

SEED = 71_000
"""Of everything here; no test draws from it."""
LESIONS, CAVITY = (1, 2), 3
LARGE, SMALL, HOLE = (4.0, 20.0), (0.4, 2.0), (12.0, 30.0)
"""Ranges of the volumes of the two lesions and of a resection cavity, ml."""
FACTORS = {"baseline": 1.0, "shrunk": 0.1, "grown": 3.0, "cavity": 1.0}
"""Of the lesions' volumes, by state."""
PRECONTRAST, PEAK = 5, 3
"""Frames that the pre-contrast and the peak-enhanced image are the mean of."""


@dataclass(frozen=True)
class Patient:
    """A patient: anatomy, and lesions with their tissues.

    Attributes
    ----------
    anatomy : Anatomy
    lesions : dict of str to dict of int to Lesion
        By state, by number.
    tissues : dict of Tissue
    bolus : Bolus
    mask : (i, j, k) array of bool
        The brain with the fluid of its sulci, every second voxel.
    mask_affine : (4, 4) array
        From its voxels to mm in the head.
    """

    anatomy: Anatomy
    lesions: dict[str, dict[int, SimulatedLesion]]
    tissues: dict[str, Tissue]
    bolus: series.Bolus
    mask: Array
    mask_affine: Matrix


@lru_cache(maxsize=2)
def patient(number: int) -> Patient:
    """Draw a patient, which takes about ten seconds; the result is cached."""
    rng = np.random.default_rng([SEED, number])
    anatomy = draw_anatomy(rng)
    ranges = (LARGE, SMALL, HOLE)
    usual = {n: float(rng.uniform(*r)) for n, r in zip((*LESIONS, CAVITY), ranges, strict=True)}
    largest = {n: v * (1 if n == CAVITY else max(FACTORS.values())) for n, v in usual.items()}
    shapes = draw_shapes(anatomy, usual, largest, rng)
    wanted = {
        state: {n: usual[n] * factor for n in LESIONS} | ({CAVITY: usual[CAVITY]} if hole else {})
        for state, factor in FACTORS.items()
        for hole in [state == "cavity"]
    }
    mask, affine = template_brain(anatomy.brain > 0.5, anatomy.affine)
    return Patient(
        anatomy=anatomy,
        lesions={state: grow_lesions(anatomy, shapes, v) for state, v in wanted.items()},
        tissues=physics.TISSUES | _lesion_tissues(rng),
        bolus=series.draw_bolus(rng),
        mask=mask,
        mask_affine=affine,
    )


def _lesion_tissues(rng: np.random.Generator) -> dict[str, Tissue]:
    """Return the tissues of the lesions, near the means of the study, and of the cavity."""
    found: dict[str, Tissue] = {}
    for n in LESIONS:
        spread = rng.uniform(0.7, 1.3, 5)
        names = ("Ktrans", "ve", "vp", "adc", "f")
        means = (0.068, 0.20, 0.037, 1.1e-3, 0.083)
        drawn = {k: float(m * s) for k, m, s in zip(names, means, spread, strict=True)}
        parts = physics.lesion_tissues(**drawn, t1=float(rng.uniform(1.4, 1.8)))
        found |= {f"lesion-{n}_{kind}": tissue for kind, tissue in parts.items()}
    fluid, oedema = physics.TISSUES["csf"], found["lesion-1_oedema"]
    hole = {"rim": fluid, "core": fluid, "oedema": oedema}
    return found | {f"lesion-{CAVITY}_{kind}": tissue for kind, tissue in hole.items()}


@lru_cache(maxsize=1)
def _scene(number: int, state: str) -> Scene:
    drawn = patient(number)
    return build_scene(drawn.anatomy, drawn.lesions[state])


@lru_cache(maxsize=24)
def volume(number: int, state: str, contrast: str) -> tuple[FloatVolume, int]:
    """Return a noise-free image on the patient's grid of 1 mm.

    Parameters
    ----------
    number : int
        Of the patient.
    state : str
        A key of `FACTORS`.
    contrast : str
        ``t1w``, ``b0``, ``dce-mean``, ``dce-peak`` or ``dce-precontrast``.

    Returns
    -------
    volume : (I, J, K) array of float16
        White matter is near `series.WHITE_LEVEL`.
    frames : int
        Number of averaged images.
    """
    scene = _scene(number, state)
    drawn = patient(number)
    tissues = [drawn.tissues[name] for name in scene.tissues]
    signals, frames = _signals(contrast, tissues, drawn.bolus)
    white = [scene.tissues.index(f"white_{axis}") for axis in "xyz"]
    level = series.WHITE_LEVEL / float(signals[white].mean())
    return scene.image(signals * level).astype(np.float16), frames


def _signals(contrast: str, tissues: list[Tissue], bolus: series.Bolus) -> tuple[Array, int]:
    """Return the signal of each tissue, and the number of averaged frames."""
    if contrast == "b0":
        rest = [physics.spin_echo_epi(t, series.DWI_TR, series.DWI_TE) for t in tissues]
        return np.array(rest), 1
    if contrast == "t1w":
        time = np.arange(0, series.T1W_DELAY, series.FRAME_TIME / series.FINE_STEPS / 60)
        late = physics.concentrations(
            tissues, time, physics.arterial_blood(time, 0.0, bolus.scale)
        )[:, -1:]
        flip = np.deg2rad(series.T1W_FLIP)
        return physics.spoiled_gradient_echo(tissues, late, series.T1W_TR, flip)[:, 0], 1
    frames = _frames(contrast, bolus)
    return series.dce_signals(tissues, bolus)[:, frames].mean(axis=1), len(frames)


def _frames(contrast: str, bolus: series.Bolus) -> list[int]:
    if contrast == "dce-mean":
        return list(range(series.FRAMES))
    if contrast == "dce-precontrast":
        return list(range(PRECONTRAST))
    if contrast == "dce-peak":
        first = int(np.argmax(series.frame_blood(bolus)[1])) - PEAK // 2
        return list(range(first, first + PEAK))
    raise ValueError(f"no such contrast: {contrast!r}")


def points_of(number: int, count: int) -> tuple[Array, Array]:
    """Return points in the head, mm: `count` inside each lesion, and in the brain.

    Returns
    -------
    lesion : (2 count, 3) array
        With the same number for every lesion.
    brain : (n, 3) array
    """
    drawn = patient(number)
    rng = np.random.default_rng([SEED, number, 1])
    inside = []
    for lesion in (drawn.lesions["baseline"][n] for n in LESIONS):
        index = np.concatenate([p.index[p.fraction > 0.5] for p in (lesion.rim, lesion.core)])
        chosen = rng.choice(index, count, replace=len(index) < count)
        inside.append(np.array(np.unravel_index(chosen, drawn.anatomy.shape)).T)
    brain = np.argwhere(ndimage.binary_erosion(drawn.mask))
    brain = rng.choice(brain, 3 * count, replace=False)
    return _transform_points(drawn.anatomy.affine, np.concatenate(inside)), _transform_points(
        drawn.mask_affine, brain
    )


def _transform_points(matrix: Matrix, points: Array) -> Array:
    result: Array = points @ matrix[:3, :3].T + matrix[:3, 3]
    return result


def lesion_volume(number: int) -> FloatVolume:
    """Return the coverage by the lesions at baseline, on the patient's grid of 1 mm."""
    drawn = patient(number)
    cover = np.zeros(int(np.prod(drawn.anatomy.shape)), np.float32)
    for lesion in drawn.lesions["baseline"].values():
        for part in (lesion.rim, lesion.core):
            cover[part.index] += part.fraction
    return cover.reshape(drawn.anatomy.shape)
