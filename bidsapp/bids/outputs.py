"""The files that metperf writes for a session: their names, folders and content."""

from collections.abc import Mapping

from bidsapp.bids.output import IMAGE, Output
from bidsapp.bids.records import Space

DATATYPES: Mapping[Space, str] = {"T1w": "anat", "dwi": "dwi", "dce": "perf"}
"""The BIDS data type of each image."""

CONTRAST = "gadolinium"
"""The contrast agent in the names of the T1w and of its ROIs."""

_TABLE = (".tsv", ".json")
_SERIES = ("dwi", "perf")


T1W = Output(
    ("anat",),
    "T1w",
    "Post-contrast T1w; with `space-individual`, on the grid of the baseline T1w",
    fixed={"ce": CONTRAST, "desc": "preproc"},
    free=("space",),
)
BRAIN_MASK = Output(("anat",), "mask", "Brain mask", fixed={"ce": CONTRAST, "desc": "brain"})
T1_MAP = Output(("anat",), "T1map", "T1 from variable flip angles, s", fixed={"desc": "vfa"})
T1_QUALITY = Output(("anat",), "quality", "Checks of the T1 map", (".json",), {"desc": "t1"})
ROIS = Output(
    ("anat", *_SERIES),
    "dseg",
    "Lesion ROIs as drawn, with the table of their names",
    (*IMAGE, ".tsv"),
    {"desc": "manual"},
    ("ce", "seg"),
)
PROPAGATED_ROIS = Output(
    ("anat",),
    "dseg",
    "Lesion ROIs of another session, carried to one without ROIs, with `--propagate-rois`",
    (*IMAGE, ".tsv"),
    {"desc": "propagated"},
    ("ce", "seg"),
)
REGIONS = Output(
    ("anat",),
    "dseg",
    "Ring of tissue around each lesion, or mirror image of each lesion, with `--rois ring mirror`",
    fixed={"ce": CONTRAST},
    free=("seg",),
)
REFERENCE = Output(
    ("anat",),
    "mask",
    "Reference region in white matter, with `--rois reference`",
    fixed={"ce": CONTRAST, "label": "reference"},
)
VOLUMES = Output(
    ("anat",), "roistats", "Volume and diameters of each whole lesion", _TABLE, {"seg": "whole"}
)
TO_BASELINE = Output(
    ("anat",),
    "xfm",
    "ITK transform between the T1w of a session and that of the baseline",
    (".txt",),
    {"mode": "image"},
    ("from", "to"),
)
TO_BASELINE_QUALITY = Output(
    ("anat",),
    "quality",
    "Quality of the registration to the baseline T1w",
    (".json",),
    {"desc": "longitudinal"},
)
CORRECTED_DWI = Output(
    ("dwi",),
    "dwi",
    "Diffusion series after motion correction",
    (*IMAGE, ".bval", ".bvec"),
    {"desc": "preproc"},
)
MOTION = Output(
    _SERIES,
    "timeseries",
    "Motion parameters and framewise displacement of each volume, and outliers",
    _TABLE,
    {"desc": "motion"},
)
MEAN_IMAGE: Mapping[str, Output] = {
    "dwi": Output(
        ("dwi",),
        "dwiref",
        "Mean b = 0 image, which is registered",
        fixed={"desc": "b0"},
        free=("space",),
    ),
    "perf": Output(
        ("perf",),
        "dceref",
        "Mean dynamic image, which is registered",
        fixed={"desc": "mean"},
        free=("space",),
    ),
}
"""The mean image of each series, by its folder."""
TO_T1W = Output(
    _SERIES,
    "xfm",
    "ITK transform between a series and the T1w of its session",
    (".txt",),
    {"mode": "image", "desc": "coreg"},
    ("from", "to"),
)
TO_T1W_QUALITY = Output(
    _SERIES, "quality", "Quality of the registration to the T1w", (".json",), {"desc": "coreg"}
)
CONSISTENCY = Output(
    _SERIES,
    "quality",
    "Distance between the direct registration to the baseline T1w and that via the session's T1w",
    (".json",),
    {"desc": "consistency"},
)
SHIFT = Output(
    ("dwi",),
    "shift",
    "Displacement along the phase-encode axis by EPI distortion, mm",
    fixed={"desc": "distortion"},
)
SHIFT_SUMMARY = Output(
    ("dwi",),
    "quality",
    "Summary of the displacement in the brain",
    (".json",),
    {"desc": "distortion"},
)
DWI_MAP = Output(
    ("dwi",),
    "dwimap",
    "Map of a diffusion model; `desc-stderr`: its standard error; `param-rsquared`, `-rmse`, "
    "`-aicc`, `-status`: quality of the fit",
    free=("space", "model", "param", "desc"),
)
ADC_MAP = Output(
    ("dwi",),
    "ADC",
    "Apparent diffusion coefficient, mm2/s",
    fixed={"desc": "monoexp"},
    free=("space",),
)
DCE_MAP = Output(
    ("perf",),
    "dcemap",
    "Map of a kinetic model; the same entities",
    free=("space", "model", "param", "desc"),
)
BEST_MODEL_MAP = Output(
    ("perf",),
    "dcemap",
    "Best kinetic model of each voxel, with `--dce-model auto`",
    fixed={"desc": "modelchoice"},
    free=("space",),
)
BEST_MODEL_TABLE = Output(
    ("perf",),
    "roistats",
    "Best kinetic model of each lesion, with `--dce-model auto`",
    _TABLE,
    {"seg": "enhancing", "desc": "modelchoice"},
)
LESION_VALUES = Output(
    _SERIES,
    "roistats",
    "Statistics of each parameter over each lesion",
    _TABLE,
    {"seg": "enhancing"},
    ("model",),
)
REGION_VALUES = Output(
    _SERIES,
    "roistats",
    "Statistics of each parameter over the other regions that `--rois` names",
    _TABLE,
    free=("seg", "model"),
    other_than={"seg": ("enhancing", "whole")},
)
UNMIXED_VALUES = Output(
    _SERIES,
    "roistats",
    "Each parameter of each lesion without the tissue around it, with its standard error",
    _TABLE,
    {"seg": "enhancing", "desc": "unmixed"},
    ("model",),
)
DSTAR_TABLE = Output(
    ("dwi",),
    "roistats",
    "Perfusion fraction of each lesion for several values of D*",
    _TABLE,
    {"seg": "enhancing", "desc": "dstar"},
)
DOSE = Output(
    ("anat",),
    "dosemap",
    "Physical dose on the T1w, Gy, if one is given for any session",
    fixed={"label": "dose"},
)
DOSE_STATISTICS = Output(("anat",), "roistats", "Dose of each lesion, Gy", _TABLE, {"desc": "dose"})
DOSE_VALUES = Output(
    _SERIES,
    "roistats",
    "Statistics of each parameter over the parts of each lesion by dose, and over the brain around "
    "it with at least 12 Gy",
    _TABLE,
    {"desc": "dosebin"},
)
RECOVERY = Output(
    _SERIES,
    "roistats",
    "Changes put into the series, and what is recovered of them, by `metperf recovery`",
    _TABLE,
    {"desc": "recovery"},
)
LESION_FRACTIONS = Output(
    _SERIES,
    "probseg",
    "Fraction of each voxel inside each lesion, with `--roi-space native`",
    fixed={"seg": "enhancing"},
)
LESION_CURVES: Mapping[str, Output] = {
    "dwi": Output(
        ("dwi",),
        "timeseries",
        "Mean signal of each lesion at each b-value, and its fit",
        (".tsv",),
        {"seg": "enhancing", "desc": "signal"},
    ),
    "perf": Output(
        ("perf",),
        "timeseries",
        "Mean concentration of each lesion over time, and its fit",
        (".tsv",),
        {"seg": "enhancing", "desc": "concentration"},
    ),
}
"""The mean curves of the lesions, by the folder of the series."""
ARTERIAL_INPUT = Output(
    ("perf",),
    "timeseries",
    "Arterial input: concentration in blood and plasma",
    _TABLE,
    {"label": "AIF"},
)
ARTERIAL_QUALITY = Output(
    ("perf",), "quality", "Checks of the arterial input", (".json",), {"label": "AIF"}
)
BOLUS_QUALITY = Output(
    ("perf",),
    "quality",
    "Arrival of the bolus, from which semi-quantitative parameters are counted",
    (".json",),
    {"desc": "bolus"},
)
ARTERIAL_VOXELS = Output(
    ("perf",),
    "mask",
    "Voxels over which the arterial input is averaged",
    fixed={"space": "dce", "label": "AIF"},
    free=("desc",),
)
ARTERIAL_CURVES = Output(
    ("perf",),
    "timeseries",
    "Concentration in each arterial voxel",
    _TABLE,
    {"space": "dce", "label": "AIF"},
    ("desc",),
)
VENOUS_VOXELS = Output(
    ("perf",),
    "mask",
    "Venous voxels to whose area under the curve the arterial input is scaled",
    fixed={"space": "dce", "label": "VOF"},
)
CONCENTRATION = Output(
    ("perf",), "dce", "Concentration of contrast agent, mmol/l", fixed={"desc": "concentration"}
)
UNEXPLAINED = Output(
    ("perf",),
    "quality",
    "Where, and in how many voxels, no concentration explains the signal",
    IMAGE,
    {"desc": "concentration"},
    ("space",),
)

OUTPUTS: tuple[Output, ...] = (
    T1W, BRAIN_MASK, T1_MAP, T1_QUALITY, ROIS, PROPAGATED_ROIS, REGIONS, REFERENCE, VOLUMES,
    TO_BASELINE, TO_BASELINE_QUALITY, CORRECTED_DWI, MOTION, *MEAN_IMAGE.values(), TO_T1W,
    TO_T1W_QUALITY, CONSISTENCY, SHIFT, SHIFT_SUMMARY, ADC_MAP, DWI_MAP, DCE_MAP, BEST_MODEL_MAP,
    BEST_MODEL_TABLE, LESION_VALUES, REGION_VALUES, UNMIXED_VALUES, DSTAR_TABLE, DOSE,
    DOSE_STATISTICS, DOSE_VALUES, RECOVERY, LESION_FRACTIONS, *LESION_CURVES.values(),
    ARTERIAL_INPUT, ARTERIAL_QUALITY, ARTERIAL_VOXELS, ARTERIAL_CURVES, VENOUS_VOXELS,
    BOLUS_QUALITY, CONCENTRATION, UNEXPLAINED,
)  # fmt: skip
"""All files of a session."""


def parameter_map(datatype: str, name: str, model: str = "") -> Output:
    """Return the map of a parameter, of its standard error, or of the quality of a fit.

    Parameters
    ----------
    datatype
        ``dwi`` or ``perf``.
    name
        Name of the parameter; with ``_stderr``, its standard error.
    model
        Label of the model; any model if empty.

    Examples
    --------
    >>> from bidsapp.bids.records import Session
    >>> session = Session("01", "1week")
    >>> parameter_map("perf", "vp_stderr", "patlak").path(session).name
    'sub-01_ses-1week_model-patlak_param-vp_desc-stderr_dcemap.nii.gz'
    >>> parameter_map("dwi", "ADC", "monoexp").path(session, space="T1w").name
    'sub-01_ses-1week_space-T1w_desc-monoexp_ADC.nii.gz'
    """
    if (datatype, name) == ("dwi", "ADC"):
        return ADC_MAP
    param, _, desc = name.partition("_")
    output = (DWI_MAP if datatype == "dwi" else DCE_MAP).with_fixed(param=param, desc=desc)
    return output.with_fixed(model=model) if model else output
