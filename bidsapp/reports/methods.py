"""The methods in words, ready to paste: ``logs/CITATION.md``."""

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
    "t1w": ["Distortion by the T1w: Bhushan et al. 2015, doi:10.1016/j.neuroimage.2015.03.050"],
}

_ARRIVAL = "Arrival of the bolus: Cheong et al. 2003, doi:10.1088/0031-9155/48/5/403"
_FLOOR = "Rician noise floor: Koay and Basser 2006, doi:10.1016/j.jmr.2006.01.016"
_AICC = "Akaike's criterion for small samples: Hurvich and Tsai 1989, doi:10.1093/biomet/76.2.297"
_WEIGHTS = "Akaike weights: Wagenmakers and Farrell 2004, doi:10.3758/BF03206482"
_ARTERIAL = {
    "auto": "Arterial voxels: Mouridsen et al. 2006, doi:10.1002/mrm.20759",
    "parker2006": "Population function: Parker et al. 2006, doi:10.1002/mrm.21066",
    "georgiou2019": "Population function: Georgiou et al. 2019, doi:10.1002/mrm.27524",
}


def methods(config: Config) -> str:
    """Return what a run does as Markdown, with its settings and references.

    Parameters
    ----------
    config
        The run.

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
        text = "Motion within each series was corrected rigidly (niimath). "
    else:
        text = (
            "Motion within each series was corrected by robust least squares in blocks of 10 mm, "
            "in each of which a volume is a factor times the target, plus an offset (after Saad "
            "et al. 2009); diffusion volumes also for shear and scale along the phase encoding, "
            "where its direction is known. "
        )
    if config.drop_outliers:
        text += (
            "Volumes before which the head had moved by more than 1 mm (framewise displacement, "
            "Power et al. 2012), or unlike those around them, were left out of means and fits. "
        )
    return text


def _registration(config: Config) -> str:
    motion = (
        _motion(config)
        if config.motion_correction
        else "Motion within the series was not corrected. "
    )
    engine = {
        "metperf": "own code: truncated octahedra, analytic slopes, many starts, 3 resolutions",
        "niimath": "AFNI's 3dAllineate code in niimath",
    }[config.registration_engine]
    freedom = "rigidly, for a quick look," if config.sloppy else "with 12 parameters"
    return (
        f"{motion}The mean b = 0 image and the mean dynamic image were registered to the "
        f"post-contrast T1-weighted image of their session {freedom} under the local "
        f"Pearson correlation (signed for the b = 0 image, absolute for the dynamic one; {engine}; "
        "Saad et al. 2009), and the T1-weighted images of later sessions rigidly to that of the "
        f"baseline, lesions left out. {_distortion(config)}{_interpolation(config)}"
    )


def _distortion(config: Config) -> str:
    """Say how EPI distortion was corrected."""
    if config.distortion == "none":
        return ""
    distortion_text = {
        "auto": (
            "Where the data set has a field map or an echo-planar image with reversed phase "
            "encoding, the distortion of the diffusion series along the phase-encode axis was "
            "taken from it: the field map scaled by readout time and voxel (Jezzard and Balaban "
            "1995), or the smooth displacement under which both images agree, signal piled up and "
            "spread included (Andersson et al. 2003). "
        ),
        "t1w": (
            "The distortion of the diffusion series along the phase-encode axis was taken from the "
            "T1-weighted image: the smooth displacement (B-splines 30 mm apart) under which the "
            "b = 0 image, once registered to it by own code, has the closest local Pearson "
            "correlation with it (after Bhushan et al. 2015 and Saad et al. 2009). "
        ),
    }[config.distortion]
    return (
        f"{distortion_text}The b = 0 image was corrected before its registration, and the "
        "displacement joined the transform in one interpolation, without modulation of values. "
    )


def _interpolation(config: Config) -> str:
    """Say on which grid models were fitted, and what was interpolated."""
    given = "Where the user gave a transform, it took the place of the registration. "
    if config.fit_space == "T1w":
        return (
            f"{given}Series were resampled on the grid of the T1-weighted image, linearly, and "
            "models fitted there; the arterial input is that of the series itself."
        )
    return f"{given}Maps were fitted in the space of their series and resampled once, linearly."


def _diffusion(config: Config) -> str:
    row = ivim_row(config.ivim_model)
    line_only = "b_min" in row.options and "prior" not in row.options
    window = f" from b = {config.b_min:g} s/mm2" if line_only else ""
    highest = f" up to {config.b_max:g} s/mm2" if math.isfinite(config.b_max) else ""
    noisy = config.noise == "rician"
    line = "an exponential decay fitted to" if noisy else "a straight line through the logarithm of"
    wanted, cited = "the perfusion fraction", " (Le Bihan et al. 1988)"
    if "f" not in {p.name for p in row.parameters}:
        wanted, cited = ", ".join(p.name for p in row.parameters), f" (doi:{row.doi})"
    return (
        "Directions were combined by the geometric mean. The apparent diffusion coefficient came "
        f"from {line} the signal over all b-values{highest}, and "
        f"{wanted} from the {row.title}{window}: {row.formula}{cited}."
        f"{_prior(row)}{_noise(row) if noisy else ''}"
    )


def _prior(row: Model) -> str:
    """Say where the priors of a fit with priors come from."""
    if "prior" not in row.options:
        return ""
    return (
        " The prior was estimated from the voxels of each region by expectation maximisation"
        " (Orton et al. 2014): each lesion with an ROI is a region of its own, all other voxels are"
        " another. Values are posterior means, integrated on a grid; the noise level is that of"
        " the residuals of many voxels."
    )


def _noise(row: Model) -> str:
    """Say how Rician noise is dealt with, and where it is not."""
    both = "noise" in row.options
    return (
        f" {'Both fits were' if both else 'The fit of the apparent diffusion coefficient was'}"
        " corrected for the Rician noise floor of magnitude images: signals were divided by its"
        " expected gain at the fitted signal until both agreed (Koay and Basser 2006), at the"
        " noise level of the residuals of many voxels."
        f"{'' if both else ' The fit with a prior takes the noise for Gaussian.'}"
    )


def _kinetics(config: Config) -> str:
    placed = ", its arrival fitted to the rise of the enhancing voxels, between the frames"
    source = {
        "roi": "the mean signal of the voxels of an arterial region that rise highest and first",
        "auto": "the mean signal of arterial voxels, found by an early, high and brief first pass "
        "with limits on the criteria of Mouridsen et al. 2006",
        "table": "a table of concentrations",
        "parker2006": "the population function of Parker et al. 2006" + placed,
        "georgiou2019": "the population function of Georgiou et al. 2019" + placed,
    }[config.aif]
    times = ", ".join(
        f"{name} {f'{value:g} s' if value else 'for the field strength'}"
        for name, value in (("tissue", config.t1_tissue), ("blood", config.t1_blood))
    )
    return (
        "The dynamic signal was converted to concentration by the spoiled gradient-echo equation, "
        f"without T2* (T1: {times}{_t1_map(config)}). Where a B1 map was acquired, the flip angles "
        "were multiplied by it. The "
        f"arterial input was {source}, with a haematocrit of {config.haematocrit:g}. "
        f"{_kinetic_fit(config)}"
    )


def _kinetic_fit(config: Config) -> str:
    *others, row = kinetic_rows(config.dce_model, delay=config.fit_delay)
    fitted = (
        f"The {row.title} model was fitted by variable projection from a grid over the rate, "
        f"which finds the global minimum: {row.formula}."
    )
    if config.fit_delay:
        fitted += (
            " The arrival in the tissue after the artery was searched voxel by voxel: the fit was "
            "repeated for each of a ladder of delays, and that of the least residual taken."
        )
    if config.dce_model == AUTO:
        fitted += (
            f" So were the models {', '.join(f'{o.title} ({o.formula})' for o in others)}; which "
            "the data support was determined by Akaike's criterion for small samples, summed over "
            "those voxels of a lesion that every model could fit, and by Akaike weights of its "
            f"mean. Lesion values are those of {row.title}, whatever the verdict."
        )
    return fitted


def _t1_map(config: Config) -> str:
    if config.t1_tissue:
        return ""
    row = MODELS[config.t1_model]
    return f"; where several flip angles were acquired, {row.title}: {row.formula}"


def _lesions(config: Config) -> str:
    where = "the voxels of its enhancing part on the T1-weighted image"
    if config.roi_space == "native":
        where = (
            "the voxels of the series, each weighted by the fraction of it inside the lesion's "
            "enhancing part, as drawn on the T1-weighted image"
        )
    return (
        f"Values of a lesion are means over {where}; volumes are those of the whole lesion. Voxels "
        "whose fit failed are left out and counted."
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
        *(f"{k}: {constants()[k]['source']}" for k in ("t1_blood", "t1_tissue", "relaxivity")),
        "nipype: Gorgolewski et al. 2011, doi:10.3389/fninf.2011.00013",
    ]
