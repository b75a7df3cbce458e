"""Settings of a run: a frozen record, created from the command line."""

import dataclasses
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version as installed_version
from importlib.resources import files
from pathlib import Path
from typing import Any

from bidsapp.errors import UsageError

SPACES = ("native", "T1w", "individual")
FIT_SPACES = ("native", "T1w")
ROI_SPACES = ("T1w", "native")
ENGINES = ("metperf", "niimath")
DISTORTION = ("none", "auto", "t1w")
AIF_MEASURED = ("roi", "auto")
"""Sources of an arterial input that is measured in the series."""
AIF_SOURCES = (*AIF_MEASURED, "table", "parker2006", "georgiou2019")
AIF_SCALES = ("none", "vein")
NOISE = ("gaussian", "rician")
DENOISING = ("none", "mppca")

ROIS = ("enhancing", "whole")
"""ROIs of lesions that are always measured."""
FOUND_ROIS = ("ring", "mirror", "reference")
"""Regions that metperf finds itself."""

HAEMATOCRIT = 0.42
"""Haematocrit of large vessels, if none is stated."""

_HOW = {
    *("bids_dir", "output_dir", "work_dir", "run_id", "command", "derivatives"),
    *("participants", "sessions", "filter_file"),
    *("nprocs", "omp_nthreads", "memory_gb", "plugin_file"),
    *("stop_on_first_crash", "write_graph", "resource_monitor"),
}
"""Fields of a Config that do not affect results, or only through the inputs found."""


@dataclass(frozen=True)
class Config:
    """All settings of a run.

    Attributes
    ----------
    bids_dir, output_dir, work_dir
        The data set, the derivatives, and intermediate files.
    run_id
        Name of the log folder of this run.
    command
        The command line of this run.
    participants, sessions
        Labels without prefix; empty for all.
    derivatives
        Folders with ROIs.
    filter_file
        ``--bids-filter-file``.
    baseline_session
        Session with the reference T1w of the participant; None for the first.
    ivim_model, b_min, b_max
        The IVIM fit and its range of b-values, s/mm2.
    b0_threshold
        b-values up to this count as 0, s/mm2; None for those below 5, or the lowest without any.
    noise
        Noise model of the diffusion series.
    denoise
        Denoising of the diffusion series before any other step.
    correct_t2
        Whether the perfusion fraction is also given corrected for relaxation.
    t2_blood, t2_tissue
        For that correction, s; None for the values at the field strength.
    model_options
        Further options of models, as (name, number).
    dce_model, fit_delay, aif
        The kinetic model, whether the delay of the bolus between artery and tissue is fitted, and
        the source of the arterial input function.
    aif_scale
        To what a measured artery is scaled.
    t1_model
        The fit of a T1 map to several flip angles.
    t1_tissue, t1_blood
        s; None for the map or value of the visit, or else the value at the field strength.
    relaxivity
        1/s/mM; None for that of the sidecar or of the contrast agent.
    haematocrit
        Fraction; None for that of the visit, or else `HAEMATOCRIT`.
    baseline_frames
        Frames before the contrast agent; 0 to detect them.
    frame_time, repetition_time
        Time between two frames and TR of the dynamic series, s; None for those of its sidecar.
    skip_frames
        First frames of the dynamic series that are not analysed.
    motion_correction, drop_outliers
        Whether series are corrected for motion, and whether outlying volumes are excluded.
    registration_engine
        Registration algorithm: that of metperf, or AFNI's in niimath.
    distortion
        Correction of EPI distortion in the diffusion series: none, from ``fmap``, or estimated
        from the T1w.
    fit_space
        Grid on which models are fitted: that of the series, or that of the T1w.
    roi_space
        Grid on which lesions are measured: that of the T1w, or that of the series, with voxels
        weighted by their fraction inside the ROI.
    rois
        Regions with tables: those of lesions, those that metperf finds, and names of the user's.
    output_spaces
        Spaces in which maps are written.
    match_lesions, propagate_rois
        Whether lesions are numbered by their place, and whether visits without ROIs get those of
        the nearest visit.
    keep_dates
        Whether sidecars of maps contain the date and time of acquisition.
    nprocs, omp_nthreads, memory_gb
        Resources of the run.
    plugin_file
        YAML file with a nipype plugin.
    sloppy
        Register rigidly, without a cross-check, for a quick look and for tests.
    stop_on_first_crash, write_graph, resource_monitor
        Passed on to nipype.
    """

    bids_dir: Path
    output_dir: Path
    work_dir: Path
    run_id: str
    command: str = ""
    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    derivatives: tuple[Path, ...] = ()
    filter_file: Path | None = None
    baseline_session: str | None = None
    ivim_model: str = "asymptotic"
    b_min: float = 200.0
    b_max: float = float("inf")
    b0_threshold: float | None = None
    noise: str = "gaussian"
    denoise: str = DENOISING[0]
    correct_t2: bool = False
    t2_blood: float | None = None
    t2_tissue: float | None = None
    model_options: tuple[tuple[str, float], ...] = ()
    dce_model: str = "extended-tofts"
    fit_delay: bool = False
    aif: str = "roi"
    aif_scale: str = AIF_SCALES[0]
    t1_model: str = "vfa-t1"
    t1_tissue: float | None = None
    t1_blood: float | None = None
    relaxivity: float | None = None
    haematocrit: float | None = None
    baseline_frames: int = 0
    frame_time: float | None = None
    repetition_time: float | None = None
    skip_frames: int = 0
    motion_correction: bool = True
    drop_outliers: bool = False
    registration_engine: str = ENGINES[0]
    distortion: str = DISTORTION[0]
    fit_space: str = "native"
    roi_space: str = "T1w"
    rois: tuple[str, ...] = ROIS
    output_spaces: tuple[str, ...] = ("native", "T1w")
    match_lesions: bool = False
    propagate_rois: bool = False
    keep_dates: bool = False
    nprocs: int = 1
    omp_nthreads: int = 1
    memory_gb: float = 4.0
    plugin_file: Path | None = None
    sloppy: bool = False
    stop_on_first_crash: bool = False
    write_graph: bool = False
    resource_monitor: bool = False

    def result_options(self) -> dict[str, Any]:
        """Return the settings that affect results: not folders, selection and resources."""
        names = {f.name for f in dataclasses.fields(self)} - _HOW
        return {name: getattr(self, name) for name in sorted(names)}

    def fit_options(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the options of a model that are set on the command line, with their values.

        Examples
        --------
        >>> here = Path()
        >>> config = Config(here, here, here, "run", model_options=(("delay", 0.1),))
        >>> config.fit_options(("delay", "b_min", "weights"))
        {'delay': 0.1, 'b_min': 200.0}
        """
        chosen = vars(self) | dict(self.model_options)
        return {name: chosen[name] for name in names if name in chosen}

    def to_toml(self) -> str:
        """Return the record as TOML; None is omitted."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return "".join(f"{k} = {_toml(v)}\n" for k, v in fields.items() if v is not None)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value)


@cache
def version() -> str:
    """Return the version of metperf."""
    return installed_version("metperf")


@cache
def constants() -> dict[str, Any]:
    """Return the constants that the command line can override, with their sources."""
    return tomllib.loads((files("bidsapp.data") / "constants.toml").read_text(encoding="utf-8"))


def field_constant(name: str, field_strength: float, option: str) -> float:
    """Return a relaxation time for a field strength.

    Parameters
    ----------
    name
        ``t1_blood``, ``t1_tissue``, ``t2_blood`` or ``t2_tissue``.
    field_strength : float, T
        1.5, 3 or (T1 only) 7, within 10 %.
    option
        The corresponding command-line option, for the error message.

    Returns
    -------
    float, s

    Raises
    ------
    UsageError
        If there is no value for that field.

    Examples
    --------
    >>> field_constant("t1_blood", 2.9, "--t1-blood")
    1.649
    """
    table = constants()[name]
    known = {float(k): v for k, v in table.items() if k != "source"}
    for field, value in known.items():
        if abs(field - field_strength) <= 0.1 * field:
            return float(value)
    time = name.split("_")[0].upper()
    raise UsageError(f"no default {time} at {field_strength:g} T; give it in seconds with {option}")
