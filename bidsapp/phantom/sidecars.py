"""What the JSON files say, and the texts of the data sets."""

from importlib.metadata import version
from typing import Any

import numpy as np

from bidsapp.phantom import physics, rois, series
from bidsapp.phantom.series import DWI_TR, FRAME_TIME, FRAMES, SimulatedSeries

__all__ = [
    "DWI_TR",
    "artery_sidecar",
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
    "Description": "The pose of the head at the first volume of each image, as simulated. The "
    "matrix takes points of the fixed image (to-) to points of the moving image (from-).",
    "Type": "rigid",
}
BLOOD_SIDECAR = {
    "time": {"Description": "Start of the frame; the contrast is that of its middle", "Units": "s"},
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
        Of the flip angle, from 1.

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


def lesion_sidecar(kind: str, source: str) -> dict[str, Any]:
    """Return the sidecar of a label image, ``enhancing`` or ``whole``."""
    what = {
        "enhancing": "the enhancing rim, without the necrotic core",
        "whole": "the whole lesion: enhancing rim and necrotic core",
    }
    return {
        "Description": f"Lesions: {what[kind]}. A voxel bears the number of the lesion that fills "
        f"more than half of it; a lesion has {rois.LEAST_VOXELS} voxels or more.",
        "Manual": False,
        "Sources": [source],
    }


def artery_sidecar(source: str) -> dict[str, Any]:
    """Return the sidecar of the arterial mask."""
    return {
        "Description": f"The {rois.ARTERY_VOXELS} voxels or fewer with the highest share of "
        f"arterial blood, each at least {rois.ARTERY_SHARE:g} of the highest.",
        "Type": "ROI",
        "Manual": False,
        "Sources": [source],
        "SpatialReference": source,
    }


def true_map_sidecar(name: str, reference: str) -> dict[str, Any]:
    """Return the sidecar of a true map."""
    unit, description = MAPS[name]
    return {
        "Description": f"{description}, of the tissue that fills most of the voxel; NaN where "
        "there is none, or it has no such parameter.",
        "Units": unit,
        "SkullStripped": False,
        "SpatialReference": reference,
    }


def dataset_description(name: str, kind: str) -> dict[str, Any]:
    """Return a dataset_description; a derivative says where the raw data set is."""
    description: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "GeneratedBy": [{"Name": "metperf phantom", "Version": version("metperf")}],
    }
    if kind == "raw":
        return description | {"License": "CC0"}
    return description | {"DatasetLinks": {"raw": "../.."}, "SourceDatasets": [{"URL": "../.."}]}
