"""The part of the methods text on diffusion."""

import math
from collections.abc import Collection

from bidsapp.config import Config, constants
from bidsapp.models import MODELS, Model
from bidsapp.models.table import ivim_row
from bidsapp.reports.references import cite, find_by_doi, references

_FLOOR = cite("Rician noise floor", "koay2006")
_MPPCA = cite("Denoising", "veraart2016")
_RELAXATION = cite("Relaxation and f", "lemke2010")
_IVIM = cite("Perfusion fraction", "lebihan1988")
_TIMES = {
    name: f"{name[:2].upper()} of {name[3:]}"
    for name in ("t1_blood", "t1_tissue", "t2_blood", "t2_tissue")
}


def diffusion_methods(config: Config, data: Collection[str]) -> str:
    """Describe the analysis of the diffusion series.

    Parameters
    ----------
    config
        The configuration of the run.
    data
        What the participants have; IVIM is described if it includes ``ivim``.

    Examples
    --------
    >>> from pathlib import Path
    >>> config = Config(Path(), Path(), Path(), "run", ivim_model="fixed-dstar")
    >>> "D* was held at 0.01 mm2/s" in diffusion_methods(config, {"dwi", "ivim"})
    True
    """
    row = ivim_row(config.ivim_model)
    line_only = "b_min" in row.options and "prior" not in row.options
    window = f" from b = {config.b_min:g} s/mm2" if line_only else ""
    highest = f" up to {config.b_max:g} s/mm2" if math.isfinite(config.b_max) else ""
    noisy = config.noise == "rician"
    curve = "an exponential decay to" if noisy else "a straight line to the logarithm of"
    wanted, cited = "The perfusion fraction was", " (Le Bihan et al. 1988)"
    if "f" not in {p.name for p in row.parameters}:
        names = ", ".join(p.name for p in row.parameters)
        wanted, cited = f"The parameters {names} were", f" ({find_by_doi(row.doi).label})"
    text = _denoising(config) + (
        "Gradient directions were combined by the geometric mean. The apparent diffusion "
        f"coefficient was estimated by fitting {curve} the signal at all b-values{highest}."
    )
    if "ivim" in data:
        text += (
            f" {wanted} estimated by diffusion modelling ({row.title}{window}): "
            f"{row.formula}{cited}.{_prior(row)}"
            f"{_held(row, config)}{_relaxation(row, config)}"
        )
    return f"{text}{_noise(row if 'ivim' in data else MODELS['adc']) if noisy else ''}"


def _prior(row: Model) -> str:
    """Describe how the priors of a Bayesian fit were obtained."""
    if "prior" not in row.options:
        return ""
    return (
        " The prior was estimated from the voxels of each region by expectation maximisation"
        " (Orton et al. 2014); each lesion with an ROI was a separate region, and all other voxels"
        " formed one further region. Values are posterior means, integrated on a grid; the noise"
        " level was estimated from the residuals of many voxels."
    )


def _noise(row: Model) -> str:
    """Describe the correction for Rician noise, and which fit lacks it."""
    both = "noise" in row.options
    bayesian = "prior" in row.options
    alone = not both or row.name == "adc"
    return (
        f" {'The fit of the apparent diffusion coefficient was' if alone else 'Both fits were'}"
        " corrected for the Rician noise floor of magnitude images: signals were divided by the"
        " bias expected at the fitted signal, and refitted until convergence (Koay and Basser"
        " 2006). The noise level was estimated from the residuals of many voxels."
        f"{' The Bayesian fit assumes Gaussian noise.' if bayesian and not both else ''}"
    )


def _denoising(config: Config) -> str:
    """Describe the denoising."""
    if config.denoise == "none":
        return ""
    return (
        "Diffusion series of ten or more volumes were denoised before all other steps, by the "
        "principal components of local patches that exceed the Marchenko-Pastur distribution of "
        "noise (Veraart et al. 2016; dipy). "
    )


def _held(row: Model, config: Config) -> str:
    """Describe the value at which D* was held."""
    if "dstar" not in row.design:
        return ""
    given = dict(config.model_options).get("dstar")
    value = constants()["dstar"]["value"] if given is None else given
    return f" D* was held at {value:g} mm2/s{' (Le Bihan et al. 1988)' if given is None else ''}."


def _relaxation(row: Model, config: Config) -> str:
    """Describe the correction of f for relaxation."""
    if not config.correct_t2 or "f" not in {p.name for p in row.parameters}:
        return ""
    given = [
        f"{text} {getattr(config, name):g} s"
        for name, text in _TIMES.items()
        if getattr(config, name)
    ]
    others = [text for name, text in _TIMES.items() if not getattr(config, name)]
    values = [
        *given,
        *([f"{', '.join(others)} from the literature, by field strength"] if others else []),
    ]
    return (
        " The perfusion fraction f is a fraction of the signal. It was also corrected for "
        "relaxation (Lemke et al. 2010): fT2 = f / (f + (1 - f) r), where r is the ratio of "
        "(1 - exp(-TR/T1)) exp(-TE/T2) of blood to that of tissue, "
        f"with {'; '.join(values)}."
    )


def diffusion_references(config: Config, data: Collection[str]) -> list[str]:
    """Return the references of the analysis of the diffusion series, besides the models."""
    corrected = config.correct_t2 and "ivim" in data
    times = [name for name in _TIMES if corrected and not getattr(config, name)]
    row = ivim_row(config.ivim_model)
    fraction = "ivim" in data and "f" in {p.name for p in row.parameters}
    return [
        *([_IVIM] if fraction and row.doi != references()["lebihan1988"].doi else []),
        *([_MPPCA] if config.denoise == "mppca" else []),
        *([_FLOOR] if config.noise == "rician" else []),
        *([_RELAXATION] if corrected else []),
        *(f"{_TIMES[name]}: {constants()[name]['source']}" for name in times),
    ]
