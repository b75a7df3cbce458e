"""Contents of the JSON files of the phantom."""

from importlib.metadata import version
from typing import Any

import numpy as np

from bidsapp.phantom import dose, physics, rois, series
from bidsapp.phantom.reader import CORRELATION, Reader
from bidsapp.phantom.series import DWI_TR, FRAME_TIME, FRAMES, SimulatedSeries

__all__ = [
    "DWI_TR",
    "artery_sidecar",
    "dose_sidecar",
    "lesion_sidecar",
    "series_sidecar",
    "true_map_sidecar",
]

BIDS_VERSION = "1.10.0"
COMMON = {
    "Manufacturer": "metperf",
    "ManufacturersModelName": "digital reference object",
    "MagneticFieldStrength": 3,
}
CONTRAST = {
    "ContrastBolusIngredient": "GADOLINIUM",
    "ContrastBolusAgent": physics.AGENT,
    "ContrastAgentRelaxivity": physics.RELAXIVITY,
}
GRADIENT_ECHO = {
    "ScanningSequence": "GR",
    "SequenceVariant": "SP",
    "MRAcquisitionType": "3D",
    "PulseSequenceType": "spoiled gradient echo",
}
TRANSFORM_SIDECAR = {
    "Description": "Transform between the simulated head poses at the first volume of each image. "
    "The matrix maps points of the fixed image (to-) to points of the moving image (from-).",
    "Type": "rigid",
}
BLOOD_SIDECAR = {
    "time": {"Description": "Start of the frame; the contrast is that at its middle", "Units": "s"},
    "blood": {"Description": "True concentration in whole arterial blood", "Units": "mM"},
    "plasma": {"Description": "True concentration in arterial plasma", "Units": "mM"},
    "Haematocrit": physics.HAEMATOCRIT,
}
MAPS: dict[str, tuple[str, str]] = {
    "f": ("1", "Perfusion fraction of the intravoxel incoherent motion model"),
    "D": ("mm2/s", "Diffusivity of the tissue, mean over three orthogonal directions"),
    "Dstar": ("mm2/s", "Pseudo-diffusivity of the blood"),
    "ADC": ("mm2/s", "Mono-exponential apparent diffusion coefficient over all b-values"),
    "Ktrans": ("1/min", "Volume transfer constant"),
    "ve": ("1", "Extravascular extracellular volume fraction"),
    "vp": ("1", "Plasma volume fraction"),
    "T1": ("s", "Longitudinal relaxation time before the contrast agent"),
}


def series_sidecar(kind: str, image: SimulatedSeries, number: str = "") -> dict[str, Any]:
    """Return the sidecar of a raw image.

    Parameters
    ----------
    kind : str
        ``t1w``, ``dwi``, ``epi``, ``dce`` or ``vfa``.
    image : Series
    number : str
        Number of the flip angle, from 1.

    Returns
    -------
    dict
    """
    if kind == "dwi":
        return COMMON | _epi()
    if kind == "epi":
        return COMMON | _epi() | {"PhaseEncodingDirection": "j-"}
    excitation = {
        "t1w": (series.T1W_TR, series.T1W_TE, series.T1W_FLIP),
        "dce": (series.DCE_TR, series.DCE_TE, series.DCE_FLIP),
        "vfa": (series.DCE_TR, series.DCE_TE, series.VFA_FLIPS[int(number or 1) - 1]),
    }
    repetition, echo, flip = excitation[kind]
    content = COMMON | GRADIENT_ECHO
    content |= {"RepetitionTimeExcitation": repetition, "EchoTime": echo, "FlipAngle": flip}
    if kind != "vfa":
        content |= CONTRAST
    if kind == "dce":
        times = np.arange(FRAMES) * FRAME_TIME
        content |= {"VolumeTiming": times.round(3).tolist(), "Haematocrit": physics.HAEMATOCRIT}
    return content


def _epi() -> dict[str, Any]:
    return {
        "ScanningSequence": ["SE", "EP"],
        "SequenceVariant": "SK",
        "ScanOptions": "FS",
        "MRAcquisitionType": "2D",
        "PulseSequenceType": "spin echo EPI",
        "RepetitionTime": DWI_TR,
        "EchoTime": series.DWI_TE,
        "FlipAngle": 90,
        "PhaseEncodingDirection": "j",
        "EffectiveEchoSpacing": series.ECHO_SPACING,
        "TotalReadoutTime": round(series.ECHO_SPACING * (series.EPI_LINES - 1), 6),
    }


def dose_sidecar(source: str) -> dict[str, Any]:
    """Return the sidecar of the dose map."""
    what = (
        f"Physical dose of a simulated plan: {dose.PRESCRIBED:g} Gy at the edge of each lesion, "
        f"{dose.CENTRAL:g} Gy in its middle, falling to 1/e in {dose.FALL_OFF:g} mm outside"
    )
    return {"Description": what, "Units": "Gy", "Sources": [source]}


def lesion_sidecar(kind: str, source: str, reader: Reader | None = None) -> dict[str, Any]:
    """Return the sidecar of a label image, ``enhancing`` or ``whole``, exact or of a reader."""
    what = {
        "enhancing": "the enhancing rim, without the necrotic core",
        "whole": "the whole lesion: enhancing rim and necrotic core",
    }
    content: dict[str, Any] = {
        "Description": f"Lesions: {what[kind]}. Voxels have the number of the lesion that fills "
        f"more than half of them; each lesion has at least {rois.LEAST_VOXELS} voxels.",
        "Manual": False,
        "Sources": [source],
    }
    if reader is None:
        return content
    content["Description"] += (
        " The outer edges are those of a reader: displaced by a smooth random field, and outwards "
        "by an offset that all lesions of the session share."
    )
    edges = {
        "StandardDeviation": reader.spread,
        "CorrelationLength": CORRELATION,
        "Offset": round(reader.offset, 4),
        "Units": "mm",
    }
    return content | {"EdgeDisplacement": edges}


def artery_sidecar(source: str) -> dict[str, Any]:
    """Return the sidecar of the arterial mask."""
    return {
        "Description": f"Up to {rois.ARTERY_VOXELS} voxels with the highest fraction of arterial "
        f"blood, each with at least {rois.ARTERY_SHARE:g} of the highest fraction.",
        "Type": "ROI",
        "Manual": False,
        "Sources": [source],
        "SpatialReference": source,
    }


def true_map_sidecar(name: str, reference: str) -> dict[str, Any]:
    """Return the sidecar of a true map."""
    unit, description = MAPS[name]
    return {
        "Description": f"{description}, of the dominant tissue of the voxel; NaN if there is no "
        "tissue, or if the parameter is undefined.",
        "Units": unit,
        "SkullStripped": False,
        "SpatialReference": reference,
    }


def dataset_description(name: str, kind: str) -> dict[str, Any]:
    """Return a dataset_description; that of a derivative includes the location of the raw data."""
    description: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "GeneratedBy": [{"Name": "metperf phantom", "Version": version("metperf")}],
    }
    if kind == "raw":
        return description | {"License": "CC0"}
    return description | {"DatasetLinks": {"raw": "../.."}, "SourceDatasets": [{"URL": "../.."}]}
