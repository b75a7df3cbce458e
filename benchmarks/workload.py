"""Seeded data with known parameters, generated independently of the tested code.

The bi-exponential signal is a formula; the tissue curve is the exact response to a plasma curve
that is linear between points 0.05 s apart, sampled at the frames.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SEED = 20240501
VOXELS = 20000

B6 = np.array([0, 200, 400, 600, 800, 1000.0])
B16 = np.array([0, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 600, 800, 1000.0])
FRAMES, FRAME_SECONDS, FINE_SECONDS = 60, 5.2, 0.05
ARRIVAL_SECONDS, HAEMATOCRIT = 30.0, 0.42
FLIP_ANGLES, REPETITION_TIME = np.deg2rad([2, 5, 10, 15, 20.0]), 0.005
TITLES = {
    "ivim6": f"IVIM, {len(B6)} b-values",
    "ivim16": f"IVIM, {len(B16)} b-values",
    "dce": f"DCE, {FRAMES} frames",
    "vfa": f"{len(FLIP_ANGLES)} flip angles",
}
RANGES = {
    "f": (0.02, 0.25),
    "D": (0.5e-3, 2e-3),
    "Dstar": (5e-3, 50e-3),
    "Ktrans": (0.01, 0.3),
    "ve": (0.05, 0.5),
    "vp": (0.005, 0.1),
    "T1": (0.5, 3.0),
}


@dataclass(frozen=True)
class Workload:
    """Voxels to fit: noisy and clean signal (V, N), the design, the truth and the noise."""

    name: str
    signal: Array
    clean: Array
    design: dict[str, Any]
    truth: dict[str, Array]
    sigma: Array | float
    facts: dict[str, float] = field(default_factory=dict)

    def arrays(self) -> dict[str, Any]:
        """Return the data that a peer needs, for a file."""
        truth = {f"truth_{name}": value for name, value in self.truth.items()}
        return {"signal": self.signal, **self.design, **self.facts, **truth}


def by_name(name: str, voxels: int = VOXELS) -> Workload:
    """Return the workload ``ivim6``, ``ivim16``, ``dce`` or ``vfa``, always with the same data."""
    makers = {
        "ivim6": lambda: ivim(B6, voxels, SEED),
        "ivim16": lambda: ivim(B16, voxels, SEED + 1),
        "dce": lambda: dce(voxels, SEED + 2),
        "vfa": lambda: vfa(voxels, SEED + 3),
    }
    return makers[name]()


def rician(clean: Array, sigma: Array | float, rng: np.random.Generator) -> Array:
    """Return the magnitude of the signal with Gaussian noise in both channels."""
    real = clean + sigma * rng.standard_normal(clean.shape)
    result: Array = np.hypot(real, sigma * rng.standard_normal(clean.shape))
    return result


def ivim(bvalues: Array, voxels: int, seed: int, snr: float = 40.0, s0: float = 1000.0) -> Workload:
    """Return bi-exponential signals with Rician noise, ``snr`` at b = 0."""
    rng = np.random.default_rng(seed)
    truth = {name: rng.uniform(*RANGES[name], voxels) for name in ("f", "D", "Dstar")}
    f, d, dstar = (value[:, None] for value in truth.values())
    clean = s0 * (f * np.exp(-bvalues * dstar) + (1 - f) * np.exp(-bvalues * d))
    sigma = s0 / snr
    noisy = rician(clean, sigma, rng)
    name = f"ivim{len(bvalues)}"
    return Workload(name, noisy, clean, {"bvalues": bvalues}, truth, sigma)


def dce(voxels: int, seed: int, cnr: float | tuple[float, float] = (10.0, 20.0)) -> Workload:
    """Return extended Tofts curves with Gaussian noise; the CNR is peak over noise."""
    rng = np.random.default_rng(seed)
    truth = {name: rng.uniform(*RANGES[name], voxels) for name in ("Ktrans", "ve", "vp")}
    seconds, plasma, response = _tissue_response(truth["Ktrans"] / truth["ve"] / 60)
    ktrans, vp = truth["Ktrans"][:, None], truth["vp"][:, None]
    clean = ktrans / 60 * response + vp * plasma
    ratio = rng.uniform(*cnr, voxels) if isinstance(cnr, tuple) else cnr
    sigma = clean.max(axis=1) / ratio
    noisy = clean + sigma[:, None] * rng.standard_normal(clean.shape)
    design = {"time": seconds / 60, "plasma": plasma}
    return Workload("dce", noisy, clean, design, truth, sigma, {"haematocrit": HAEMATOCRIT})


def vfa(voxels: int, seed: int, snr: float = 100.0, m0: float = 1000.0) -> Workload:
    """Return spoiled gradient echoes at several flip angles with Rician noise."""
    rng = np.random.default_rng(seed)
    t1 = rng.uniform(*RANGES["T1"], voxels)
    decay = np.exp(-REPETITION_TIME / t1)[:, None]
    clean = m0 * np.sin(FLIP_ANGLES) * (1 - decay) / (1 - np.cos(FLIP_ANGLES) * decay)
    sigma = clean.max() / snr
    design = {"flip_angles": FLIP_ANGLES, "repetition_time": REPETITION_TIME}
    return Workload("vfa", rician(clean, sigma, rng), clean, design, {"T1": t1}, sigma)


def parker_blood(minutes: Array) -> Array:
    """Return Parker's population blood concentration in mM (doi:10.1002/mrm.21066)."""
    waves = sum(
        area / (width * np.sqrt(2 * np.pi)) * np.exp(-((minutes - centre) ** 2) / (2 * width**2))
        for area, centre, width in ((0.809, 0.17046, 0.0563), (0.330, 0.365, 0.132))
    )
    washout = 1.050 * np.exp(-0.1685 * minutes) / (1 + np.exp(-38.078 * (minutes - 0.483)))
    return np.where(minutes > 0, waves + washout, 0.0)


def plasma_curve() -> tuple[Array, Array, Array]:
    """Return the frame times in s, the plasma in mM at the fine times, and where the frames are."""
    frames = np.arange(FRAMES) * FRAME_SECONDS
    fine = np.arange(0, frames[-1] + FINE_SECONDS / 2, FINE_SECONDS)
    plasma = parker_blood((fine - ARRIVAL_SECONDS) / 60) / (1 - HAEMATOCRIT)
    return frames, plasma, np.rint(frames / FINE_SECONDS).astype(int)


def _tissue_response(rate: Array, block: int = 500) -> tuple[Array, Array, Array]:
    """Return frame times in s, plasma there, and plasma convolved with exp(-rate t) (V, N)."""
    frames, plasma, at_frame = plasma_curve()
    response = np.zeros((len(rate), len(frames)))
    for first in range(0, len(rate), block):
        part = rate[first : first + block]
        response[first : first + block] = _respond(part, plasma, at_frame)
    return frames, plasma[at_frame], response


def _respond(rate: Array, plasma: Array, at_frame: Array) -> Array:
    """Step through the fine points; in each interval the integral has a closed form."""
    decay = np.exp(-rate * FINE_SECONDS)
    area = (1 - decay) / rate
    late = (FINE_SECONDS - area) / (rate * FINE_SECONDS)
    early = area - late
    state, kept = np.zeros_like(rate), [np.zeros_like(rate)]
    wanted = set(at_frame[1:].tolist())
    for i in range(1, len(plasma)):
        state = state * decay + early * plasma[i - 1] + late * plasma[i]
        if i in wanted:
            kept.append(state)
    return np.stack(kept, axis=1)
