"""The methods section of a run, for use in a publication: ``logs/CITATION.md``."""

import math

from bidsapp.config import Config, constants, version
from bidsapp.models import MODELS, Model
from bidsapp.models.table import AUTO, ivim_row, kinetic_rows

_LOCAL_PEARSON = "Local Pearson correlation: Saad et al. 2009, doi:10.1016/j.neuroimage.2008.09.037"
_DISTORTION = {
    "none": [],
    "auto": [
        "Field map: Jezzard and Balaban 1995, doi:10.1002/mrm.1910340111",
        "Reversed phase encoding: Andersson et al. 2003, doi:10.1016/S1053-8119(03)00336-7",
    ],
    "t1w": ["Distortion from the T1w: Bhushan et al. 2015, doi:10.1016/j.neuroimage.2015.03.050"],
}

_ARRIVAL = "Bolus arrival: Cheong et al. 2003, doi:10.1088/0031-9155/48/5/403"
_FLOOR = "Rician noise floor: Koay and Basser 2006, doi:10.1016/j.jmr.2006.01.016"
_AICC = "Corrected Akaike criterion: Hurvich and Tsai 1989, doi:10.1093/biomet/76.2.297"
_WEIGHTS = "Akaike weights: Wagenmakers and Farrell 2004, doi:10.3758/BF03206482"
_CONSTANTS = {"t1_blood": "T1 of blood", "t1_tissue": "T1 of tissue", "relaxivity": "Relaxivity"}
_ARTERIAL = {
    "auto": "Arterial voxels: Mouridsen et al. 2006, doi:10.1002/mrm.20759",
    "parker2006": "Population function: Parker et al. 2006, doi:10.1002/mrm.21066",
    "georgiou2019": "Population function: Georgiou et al. 2019, doi:10.1002/mrm.27524",
}


def methods(config: Config) -> str:
    """Describe the methods of a run in Markdown, with settings and references.

    Parameters
    ----------
    config
        The configuration of the run.

    Returns
    -------
    str

    Examples
    --------
    >>> from pathlib import Path
    >>> "extended Tofts" in methods(Config(Path(), Path(), Path(), "run"))
    True
    """
    return (
        "\n\n".join(
            [
                f"# Methods\n\nPerfusion was analysed with metperf {version()} (Apache-2.0).",
                _registration(config),
                _diffusion(config),
                _kinetics(config),
                _lesions(config),
                "## References\n\n" + "\n".join(f"- {line}" for line in _references(config)),
            ]
        )
        + "\n"
    )


def _motion(config: Config) -> str:
    if config.registration_engine == "niimath":
        text = "Rigid motion within each series was corrected with niimath (AFNI's 3dvolreg). "
    else:
        text = (
            "Rigid motion within each series was corrected by robust least squares; in each block "
            "of 10 mm, a volume was modelled as the target times a factor plus an offset (after "
            "Saad et al. 2009). Diffusion volumes were also corrected for shear and scaling along "
            "the phase-encoding direction, if it was known. "
        )
    if config.drop_outliers:
        text += (
            "Volumes with a framewise displacement of more than 1 mm (Power et al. 2012), and "
            "volumes that differed from their neighbours, were excluded from averages and fits. "
        )
    return text


def _registration(config: Config) -> str:
    motion = (
        _motion(config)
        if config.motion_correction
        else "Motion within the series was not corrected. "
    )
    engine = {
        "metperf": "implemented in metperf with truncated octahedra, analytic derivatives, many "
        "starting points and three resolutions",
        "niimath": "AFNI's 3dAllineate in niimath",
    }[config.registration_engine]
    freedom = "rigidly (for a quick look)" if config.sloppy else "with 12 parameters"
    return (
        f"{motion}The mean b = 0 image and the mean dynamic image were registered {freedom} to the "
        "post-contrast T1-weighted image of the same session. The cost function was the local "
        f"Pearson correlation (signed for the b = 0 image, absolute for the dynamic image; {engine}"
        "; Saad et al. 2009). The T1-weighted images of other sessions were registered rigidly to "
        f"that of the baseline, excluding lesions. {_distortion(config)}{_interpolation(config)}"
    )


def _distortion(config: Config) -> str:
    """Describe the correction of EPI distortion."""
    if config.distortion == "none":
        return ""
    distortion_text = {
        "auto": (
            "If a field map or an echo-planar image with reversed phase encoding was available, "
            "the distortion of the diffusion series along the phase-encoding axis was calculated "
            "from it: by scaling the field map with readout time and voxel size (Jezzard and "
            "Balaban 1995), or by estimating the smooth displacement for which the two images "
            "agree, including the change in intensity (Andersson et al. 2003). "
        ),
        "t1w": (
            "The distortion of the diffusion series along the phase-encoding axis was estimated "
            "from the T1-weighted image, as the smooth displacement (B-splines with a spacing of "
            "30 mm) that optimises the local Pearson correlation of this image with the b = 0 "
            "image, after registration with metperf (after Bhushan et al. 2015 and Saad et al. "
            "2009). "
        ),
    }[config.distortion]
    return (
        f"{distortion_text}The b = 0 image was corrected before registration. Displacement and "
        "registration were applied in a single interpolation, without intensity modulation. "
    )


def _interpolation(config: Config) -> str:
    """Describe on which grid models were fitted, and what was interpolated."""
    replaced = "Transforms provided by the user replaced the corresponding registrations. "
    if config.fit_space == "T1w":
        return (
            f"{replaced}Series were resampled to the grid of the T1-weighted image by linear "
            "interpolation, and models were fitted on this grid; the arterial input was measured "
            "in the original series."
        )
    return (
        f"{replaced}Models were fitted in the native space of each series, and the maps were "
        "resampled once by linear interpolation."
    )


def _diffusion(config: Config) -> str:
    row = ivim_row(config.ivim_model)
    line_only = "b_min" in row.options and "prior" not in row.options
    window = f" from b = {config.b_min:g} s/mm2" if line_only else ""
    highest = f" up to {config.b_max:g} s/mm2" if math.isfinite(config.b_max) else ""
    noisy = config.noise == "rician"
    curve = "an exponential decay to" if noisy else "a straight line to the logarithm of"
    wanted, cited = "The perfusion fraction was", " (Le Bihan et al. 1988)"
    if "f" not in {p.name for p in row.parameters}:
        names = ", ".join(p.name for p in row.parameters)
        wanted, cited = f"The parameters {names} were", f" (doi:{row.doi})"
    return (
        "Gradient directions were combined by the geometric mean. The apparent diffusion "
        f"coefficient was estimated by fitting {curve} the signal at all b-values{highest}. "
        f"{wanted} estimated by diffusion modelling ({row.title}{window}): {row.formula}{cited}."
        f"{_prior(row)}{_noise(row) if noisy else ''}"
    )


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
    return (
        f" {'Both fits were' if both else 'The fit of the apparent diffusion coefficient was'}"
        " corrected for the Rician noise floor of magnitude images: signals were divided by the"
        " bias expected at the fitted signal, and refitted until convergence (Koay and Basser"
        " 2006). The noise level was estimated from the residuals of many voxels."
        f"{'' if both else ' The Bayesian fit assumes Gaussian noise.'}"
    )


def _kinetics(config: Config) -> str:
    placed = ", with its arrival time fitted to the mean curve of the enhancing voxels"
    source = {
        "roi": "the mean signal of those voxels of an arterial ROI that enhance earliest and most",
        "auto": "the mean signal of arterial voxels, identified by their early, high and brief "
        "first pass, with limits on the criteria of Mouridsen et al. 2006",
        "table": "a table of concentrations",
        "parker2006": "the population average of Parker et al. 2006" + placed,
        "georgiou2019": "the population average of Georgiou et al. 2019" + placed,
    }[config.aif]
    return (
        "The dynamic signal was converted to concentration with the spoiled gradient-echo equation,"
        f" neglecting T2* decay. {_t1(config)}If a B1 map was acquired, the flip angles were "
        f"multiplied by it. The arterial input function was {source}; the haematocrit was "
        f"{config.haematocrit:g}. {_kinetic_fit(config)}"
    )


def _kinetic_fit(config: Config) -> str:
    *others, row = kinetic_rows(config.dce_model, delay=config.fit_delay)
    fitted = (
        f"The kinetic model was {row.title}, fitted by variable projection with a grid search over "
        f"the rate constant to find the global minimum: {row.formula}."
    )
    if config.fit_delay:
        fitted += (
            " The delay between bolus arrival in artery and tissue was estimated in each voxel: "
            "the fit was repeated for a series of delays, and the one with the smallest residual "
            "was selected."
        )
    if config.dce_model == AUTO:
        fitted += (
            f" The models {', '.join(f'{o.title} ({o.formula})' for o in others)} were fitted in "
            "the same way. Models were compared by Akaike's information criterion for small "
            "samples, summed over those voxels of a lesion that every model could fit, and by the "
            "Akaike weights of its mean. Regardless of this comparison, lesion values are those of "
            f"the {row.title} model."
        )
    return fitted


def _t1(config: Config) -> str:
    """Describe which T1 was assumed or measured."""
    times = {"tissue": config.t1_tissue, "blood": config.t1_blood}
    given = [f"{value:g} s in {name}" for name, value in times.items() if value]
    others = [name for name, value in times.items() if not value]
    text = f"T1 before contrast was assumed to be {' and '.join(given)}. " if given else ""
    if others:
        text += f"T1 of {' and '.join(others)} was taken from the literature, by field strength. "
    if config.t1_tissue:
        return text
    row = MODELS[config.t1_model]
    return (
        f"{text}If images at several flip angles were acquired, T1 of tissue was mapped instead "
        f"({row.title}: {row.formula}). "
    )


def _lesions(config: Config) -> str:
    where = "the voxels of its enhancing part on the T1-weighted image"
    if config.roi_space == "native":
        where = (
            "the voxels of the series, each weighted by the fraction of the voxel inside the "
            "enhancing part of the lesion as drawn on the T1-weighted image"
        )
    return (
        f"The value of a lesion is the mean over {where}; volumes are those of the whole lesion. "
        "Voxels with a failed fit were excluded and counted."
    )


def _references(config: Config) -> list[str]:
    kinetic = kinetic_rows(config.dce_model, delay=config.fit_delay)
    rows = [MODELS["adc"], ivim_row(config.ivim_model), *kinetic]
    rows += [] if config.t1_tissue else [MODELS[config.t1_model]]
    return [
        *(f"{row.title}: doi:{row.doi}" for row in rows),
        _LOCAL_PEARSON,
        *_DISTORTION[config.distortion],
        *([_FLOOR] if config.noise == "rician" else []),
        *([_AICC, _WEIGHTS] if config.dce_model == AUTO else []),
        *([_ARTERIAL[config.aif]] if config.aif in _ARTERIAL else []),
        *([] if config.baseline_frames else [_ARRIVAL]),
        "Variable projection: Golub and Pereyra 2003, doi:10.1088/0266-5611/19/2/201",
        *(f"{text}: {constants()[name]['source']}" for name, text in _CONSTANTS.items()),
        "nipype: Gorgolewski et al. 2011, doi:10.3389/fninf.2011.00013",
    ]
