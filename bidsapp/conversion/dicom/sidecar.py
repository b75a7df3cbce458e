"""Sidecars: what dcm2niix states of the acquisition and nothing else, completed from DICOM."""

from collections.abc import Mapping
from typing import Any

from bidsapp.bids.contrast_agents import find_agent
from bidsapp.bids.records import TR_RANGE
from bidsapp.bids.timing import BIDS_TIMES, BIDS_TR
from bidsapp.conversion.dicom.records import Series
from bidsapp.conversion.dicom.timing import find_times
from bidsapp.conversion.personal import remove_personal

ACQUISITION = frozenset((
    "Modality", "MagneticFieldStrength", "ImagingFrequency", "Manufacturer",
    "ManufacturersModelName", "SoftwareVersions", "InternalPulseSequenceName", "PatientPosition",
    "BodyPart", "MRAcquisitionType", "ScanningSequence", "SequenceVariant", "ScanOptions",
    "SequenceName", "PulseSequenceName", "PulseSequenceType", "ImageType", "SliceThickness",
    "SpacingBetweenSlices", "EchoTime", "EchoTime1", "EchoTime2", "EchoNumber", "RepetitionTime",
    "RepetitionTimeExcitation", "InversionTime", "FlipAngle", "SpoilingState", "NumberOfAverages",
    "EchoTrainLength", "PercentPhaseFOV", "PercentSampling", "PartialFourier",
    "PhaseEncodingSteps", "PhaseEncodingStepsNoPartialFourier", "AcquisitionMatrixPE",
    "ReconMatrixPE", "BaseResolution", "MultibandAccelerationFactor",
    "ParallelReductionFactorInPlane", "ParallelReductionFactorOutOfPlane",
    "ParallelAcquisitionTechnique", "EffectiveEchoSpacing", "EstimatedEffectiveEchoSpacing",
    "DerivedVendorReportedEchoSpacing", "TotalReadoutTime", "EstimatedTotalReadoutTime",
    "WaterFatShift", "PixelBandwidth", "BandwidthPerPixelPhaseEncode", "DwellTime",
    "PhaseEncodingDirection", "PhaseEncodingAxis", "PhaseEncodingPolarityGE",
    "InPlanePhaseEncodingDirectionDICOM", "ImageOrientationPatientDICOM", "SliceTiming",
    "AcquisitionDuration", "DiffusionScheme", "ReceiveCoilName", "CoilString", "MatrixCoilMode",
    "PhilipsRescaleSlope", "PhilipsRescaleIntercept", "PhilipsScaleSlope",
    "UsePhilipsFloatNotDisplayScaling", "NonlinearGradientCorrection", "MTState",
    "ConversionSoftware", "ConversionSoftwareVersion",
))  # fmt: skip
"""Fields that are kept: none of them describes the patient, the day, the hospital or the device."""
_FREE_TEXT = frozenset((
    "ManufacturersModelName", "SoftwareVersions", "InternalPulseSequenceName", "BodyPart",
    "SequenceName", "PulseSequenceName", "PulseSequenceType", "ImageType", "ScanOptions",
    "DiffusionScheme", "ReceiveCoilName", "CoilString", "MatrixCoilMode",
))  # fmt: skip
"""Those into which people can type anything."""


def keep_acquisition(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a sidecar of dcm2niix that describe the acquisition.

    Examples
    --------
    >>> keep_acquisition({"EchoTime": 0.002, "InstitutionName": "St. Mary's"})
    {'EchoTime': 0.002}
    """
    return {name: value for name, value in fields.items() if name in ACQUISITION}


def complete(
    fields: Mapping[str, Any], series: Series, use: str, times: list[float], source: str
) -> dict[str, Any]:
    """Return a sidecar with what metperf needs for the use of a series.

    Parameters
    ----------
    fields
        The sidecar of dcm2niix.
    series
        The series.
    use
        Its use.
    times : list of float, s
        Start of each volume of a dynamic series, if known.
    source
        The field that states them.
    """
    found = keep_acquisition(fields)
    for name in _FREE_TEXT & found.keys():
        value = found[name]
        texts = value if isinstance(value, list) else [value]
        plain = [remove_personal(t, series.words) if isinstance(t, str) else t for t in texts]
        found[name] = plain if isinstance(value, list) else plain[0]
    found["SeriesDescription"] = series.description
    excitation = series.repetition_time
    if use in ("dce", "vfa", "t1w") and excitation and excitation / 1000 <= TR_RANGE[1]:
        found[BIDS_TR] = round(excitation / 1000, 9)
    if use == "dce":
        found.pop("RepetitionTime", None)  # BIDS has either this or the time of each volume
        if times:
            found[BIDS_TIMES] = times
            found["VolumeTimingSource"] = source
            # That of dcm2niix is the duration of the series, that of BIDS of a volume.
            found.pop("AcquisitionDuration", None)
    if use in ("dce", "t1w"):
        found |= series.agent
        agent = series.agent.get("ContrastBolusAgent")
        if "ContrastBolusIngredient" not in found and agent and find_agent(str(agent)):
            found["ContrastBolusIngredient"] = "GADOLINIUM"
    return found


def volume_times(series: Series, volumes: int) -> tuple[list[float], str, str]:
    """Return the start of each volume, its source, and a warning; see `find_times`."""
    times, source, doubt = find_times(series)
    if times and len(times) != volumes:
        return [], "", f"the headers state {len(times)} times, but the image has {volumes} volumes"
    return times, source, doubt
