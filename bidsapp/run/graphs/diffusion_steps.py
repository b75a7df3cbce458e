"""Optional steps of a diffusion series: whether they are possible, and with which values."""

from collections.abc import Iterator

from bidsapp.bids.records import Diffusion
from bidsapp.config import Config, field_constant
from bidsapp.errors import UsageError
from bidsapp.issues import Issue
from bidsapp.models.diffusion.relaxation import spin_echo_weight

LEAST_VOLUMES = 10
"""Fewest volumes for MP-PCA: with fewer, the components of noise and signal cannot be separated."""


def can_denoise(series: Diffusion, config: Config) -> bool:
    """Return whether a series is to be denoised, and has the volumes for it."""
    return config.denoise != "none" and len(series.bvalues) >= LEAST_VOLUMES


def relaxation_times(field_strength: float, config: Config) -> dict[str, float]:
    """Return T1 and T2 of blood and tissue from the options or for the field strength, s.

    Raises
    ------
    UsageError
        If there is no value for that field.
    """
    return {
        name: getattr(config, name)
        or field_constant(name, field_strength, f"--{name.replace('_', '-')}")
        for name in ("t1_blood", "t2_blood", "t1_tissue", "t2_tissue")
    }


def blood_signal(series: Diffusion, config: Config) -> float | None:
    """Return the signal of blood relative to that of tissue, if f is to be corrected and can be.

    Examples
    --------
    >>> from pathlib import Path
    >>> from bidsapp.bids.records import SpinEcho
    >>> series = Diffusion(Path(), (0.0, 1000.0), None, spin_echo=SpinEcho(0.08, 4.0, 3.0))
    >>> config = Config(Path(), Path(), Path(), "run", correct_t2=True)
    >>> round(blood_signal(series, config), 2)
    1.67
    """
    if not config.correct_t2 or _relaxation_problem(series, config):
        return None
    echo = series.spin_echo
    assert echo is not None
    times = relaxation_times(echo.field_strength, config)
    blood, tissue = (
        spin_echo_weight(
            echo.repetition_time, echo.echo_time, times[f"t1_{name}"], times[f"t2_{name}"]
        )
        for name in ("blood", "tissue")
    )
    return blood / tissue


def _relaxation_problem(series: Diffusion, config: Config) -> str:
    """Return what the correction for relaxation lacks, or an empty text."""
    if series.spin_echo is None:
        return series.unknown_timing
    try:
        relaxation_times(series.spin_echo.field_strength, config)
    except UsageError as error:
        return str(error)
    return ""


def optional_step_issues(series: Diffusion, config: Config) -> Iterator[Issue]:
    """Yield an issue for each optional step that is not possible, or that affects the errors."""
    if can_denoise(series, config):
        text = (
            "DWI denoised: standard errors of ADC and IVIM are too small, as they follow from "
            "residuals that denoising reduces"
        )
        yield Issue("note", text, "ErrorsAfterDenoising")
    if config.denoise != "none" and not can_denoise(series, config):
        text = (
            f"DWI not denoised: --denoise {config.denoise} needs {LEAST_VOLUMES} volumes to tell "
            f"noise from signal, the series has {len(series.bvalues)}"
        )
        yield Issue("missing", text, "NotDenoised")
    if config.correct_t2 and (problem := _relaxation_problem(series, config)):
        yield Issue("missing", f"no f corrected for T2: {problem}", "T2NotCorrected")
