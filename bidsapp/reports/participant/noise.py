"""Signal-to-noise ratio and voxel size of a series, from the maps in its native space."""

import nibabel as nib
import numpy as np

from bidsapp.bids import outputs
from bidsapp.models import MODELS
from bidsapp.reports.page.blocks import Block, Cell, Table
from bidsapp.reports.participant.records import ParticipantOutputs, SessionOutputs, load_volume

EXACT = 1e-5
"""Residual relative to the signal below which it is rounding, not noise."""

_HEAD = 0.1
"""Signal of the head, relative to its bright tissue, at least; air has less."""


def voxel_size(session: SessionOutputs, datatype: str) -> tuple[float, ...] | None:
    """Return the voxel size of a series, mm; None if it has no maps in native space.

    Parameters
    ----------
    session : SessionOutputs
    datatype : {"dwi", "perf"}

    Returns
    -------
    size : (float, float, float) or None
    """
    path = session.find(outputs.parameter_map(datatype, "rmse"))
    return tuple(float(z) for z in nib.load(path).header.get_zooms()[:3]) if path else None


def signal_to_noise(session: SessionOutputs) -> float | None:
    """Return the signal at b = 0 divided by the residual of the ADC fit, median over the brain.

    Without a brain mask, as without a T1w, the median is over the head.

    Parameters
    ----------
    session : SessionOutputs

    Returns
    -------
    snr : float or None
        None if there are no such maps, or no residual: two b-values determine the fit exactly.
    """
    model = MODELS["adc"].label
    paths = [session.find(outputs.parameter_map("dwi", n, model)) for n in ("S0", "rmse")]
    if not all(paths):
        return None
    signal, noise = (load_volume(path).data for path in paths if path)
    if signal.shape != noise.shape:
        return None
    inside = np.isfinite(signal) & (noise > EXACT * np.abs(signal))
    if inside.any():
        inside &= signal > _HEAD * np.percentile(signal[inside], 98)
    return float(np.median(signal[inside] / noise[inside])) if inside.any() else None


def noise_table(participant: ParticipantOutputs) -> list[Block]:
    """Return the table of the signal-to-noise ratio of each DWI."""
    rows: list[list[Cell]] = []
    for session in participant.sessions:
        snr = signal_to_noise(session)
        if snr is not None:
            rows.append([session.name, f"{snr:.0f}"])
    columns: list[Cell] = [
        "Session",
        ("SNR", "median over the brain, or the head"),
    ]
    caption = "SNR of the DWI: signal at b = 0 divided by the residual of the mono-exponential fit"
    return [Table(caption, columns, rows)] if rows else []
