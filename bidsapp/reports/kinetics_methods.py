"""The methods text of dynamic series: conversion, arterial input, and the models fitted."""

from collections.abc import Collection

from bidsapp.config import AIF_MEASURED, HAEMATOCRIT, Config, constants
from bidsapp.imaging.relaxometry.flip_angles import STILL_VOXELS
from bidsapp.models import MODELS, Model
from bidsapp.models.table import AUTO, DESCRIPTIVE, kinetic_rows
from bidsapp.reports.references import cite

_DESCRIPTION = (
    "the concentration was integrated over 60 and 90 s from the arrival of the bolus (iAUC60, "
    "iAUC90; trapezoidal rule), which was found once for each series in the mean curve of the "
    "voxels that enhance most, and was not extrapolated. A straight rise from zero at the arrival "
    "to a peak and a straight line after it were fitted by least squares (Hudson 1966): time to "
    "peak, wash-in slope (peak / time to peak) and wash-out slope are those of these lines "
    "(definitions after Dickie et al. 2024), so that they do not depend on single noisy frames. "
)
_RELATIVE = (
    "The initial area was related to that of arterial plasma over the same 60 s (iAUC60BN). "
)
_SEGMENTS = cite("Lines that meet", "hudson1966")
_LEXICON = cite("Lexicon of perfusion MRI", "dickie2024")
_ARRIVAL = cite("Bolus arrival", "cheong2003")
_AICC = cite("Corrected Akaike criterion", "hurvich1989")
_WEIGHTS = cite("Akaike weights", "wagenmakers2004")
_SEARCH = cite("Variable projection", "golub2003")
_CONSTANTS = {"t1_blood": "T1 of blood", "t1_tissue": "T1 of tissue", "relaxivity": "Relaxivity"}
_ARTERIAL = {
    "auto": cite("Arterial voxels", "mouridsen2006"),
    "parker2006": cite("Population function", "parker2006"),
    "georgiou2019": cite("Population function", "georgiou2019"),
}
_VEIN = cite("Errors of the artery by the superior sagittal sinus", "foottit2010")


def kinetics_methods(config: Config, data: Collection[str]) -> str:
    """Describe the analysis of dynamic series.

    Parameters
    ----------
    config
        The configuration of the run.
    data
        What the participants have, of `bidsapp.reports.methods.DATA`.

    Examples
    --------
    >>> from pathlib import Path
    >>> config = Config(Path(), Path(), Path(), "run")
    >>> "arterial input function" in kinetics_methods(config, {"dce", "without-aif"})
    False
    """
    rows = kinetics_rows(config, data)
    fitted, described = ([r for r in rows if r.is_descriptive is kind] for kind in (False, True))
    b1 = "In sessions with a B1 map, flip angles were multiplied by it. " if "b1" in data else ""
    text = (
        "The dynamic signal was converted to concentration with the spoiled gradient-echo equation,"
        f" neglecting T2* decay. {_relaxivity(config)}{_t1(config, data)}{b1}"
    )
    if any(row.needs_artery for row in rows):
        text += _arterial_input(config)
    if fitted:
        text += f"{_kinetic_fit(config)} "
    if described:
        which = "Series without an arterial input" if fitted else "Curves"
        text += f"{which} were described semi-quantitatively: {_DESCRIPTION}"
    if any(row.needs_artery for row in described):
        text += _RELATIVE
    return text.strip()


def kinetics_rows(config: Config, data: Collection[str]) -> tuple[Model, ...]:
    """Return the models that were fitted: those requested, and what replaced them without an AIF.

    Parameters
    ----------
    config
        The configuration of the run.
    data
        What the participants have, of `bidsapp.reports.methods.DATA`: without ``without-aif``,
        every session has the arterial input.

    Examples
    --------
    >>> from pathlib import Path
    >>> config = Config(Path(), Path(), Path(), "run")
    >>> [row.name for row in kinetics_rows(config, {"dce", "with-aif", "without-aif"})]
    ['extended-tofts', 'semi-quantitative']
    """
    requested = kinetic_rows(config.dce_model, delay=config.fit_delay)
    if "without-aif" not in data or not any(row.needs_artery for row in requested):
        return requested
    return (*(requested if "with-aif" in data else ()), MODELS[DESCRIPTIVE])


def _arterial_input(config: Config) -> str:
    """Describe the arterial input."""
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
        f"The arterial input function was {source}; the haematocrit was {_haematocrit(config)}. "
        f"{_arterial_scale(config)}"
    )


def _arterial_scale(config: Config) -> str:
    """Describe how a measured artery was scaled to a vein."""
    if config.aif_scale == "none":
        return ""
    return (
        "The arterial signal was corrected for tissue in its voxels and for inflow: a constant "
        "part was subtracted such that the area under the concentration curve was that of the "
        "venous sinuses, identified by their high, brief and delayed first pass, unless the area "
        "of the artery was the larger one. "
    )


def _kinetic_fit(config: Config) -> str:
    *others, row = kinetic_rows(config.dce_model, delay=config.fit_delay)
    fitted = f"The kinetic model was {row.title}, fitted by {_minimisation(row)}: {row.formula}."
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


def _minimisation(row: Model) -> str:
    """Describe how a kinetic model was fitted."""
    if row.linear:
        return "linear least squares"
    return "variable projection with a grid search over the rates to find the global minimum"


def _haematocrit(config: Config) -> str:
    if config.haematocrit is not None:
        return f"{config.haematocrit:g}"
    return f"that stated for the visit, or else {HAEMATOCRIT:g}"


def _relaxivity(config: Config) -> str:
    """Describe which relaxivity was assumed."""
    if config.relaxivity is not None:
        return f"The relaxivity was {config.relaxivity:g} 1/s/mM. "
    return (
        "The relaxivity was that stated with the data, or else that of the contrast agent at the "
        "field strength (Rohrer et al. 2005). "
    )


def _measures_blood(config: Config, data: Collection[str]) -> bool:
    """Return whether the arterial input was measured, so that T1 of blood was needed."""
    artery = any(row.needs_artery for row in kinetics_rows(config, data))
    return artery and config.aif in AIF_MEASURED


def _t1(config: Config, data: Collection[str]) -> str:
    """Describe which T1 was assumed or measured."""
    times = {"tissue": config.t1_tissue}
    times |= {"blood": config.t1_blood} if _measures_blood(config, data) else {}
    given = [f"{value:g} s in {name}" for name, value in times.items() if value]
    others = [name for name, value in times.items() if not value]
    text = f"T1 before contrast was assumed to be {' and '.join(given)}. " if given else ""
    if others:
        text += (
            f"T1 of {' and '.join(others)} was taken from the literature, by field strength, "
            "unless it was stated for the visit. "
        )
    if "t1map" in data and not config.t1_tissue:
        text += "T1 maps provided with the data were used for tissue. "
    if config.t1_tissue or "vfa" not in data:
        return text
    row = MODELS[config.t1_model]
    return (
        f"{text}In sessions with images at several flip angles, T1 of tissue was mapped instead "
        f"({row.title}: {row.formula}). Each of these images was first registered rigidly to "
        "the mean dynamic image by the local Pearson correlation (absolute; Saad et al. 2009), "
        "starting from a pose estimated by robust least squares in blocks, and resampled in one "
        "cubic interpolation, unless it had moved by less than the expected error or "
        f"{STILL_VOXELS:g} voxels. "
    )


def kinetics_references(config: Config, data: Collection[str]) -> list[str]:
    """Return the references of the analysis of dynamic series, without those of the models.

    Parameters
    ----------
    config
        The configuration of the run.
    data
        What the participants have, of `bidsapp.reports.methods.DATA`.

    Examples
    --------
    >>> from pathlib import Path
    >>> found = kinetics_references(Config(Path(), Path(), Path(), "run"), {"dce"})
    >>> [text.split(":")[0] for text in found][:2]
    ['Bolus arrival', 'Variable projection']
    """
    rows = kinetics_rows(config, data)
    artery = any(row.needs_artery for row in rows)
    fitted = [row for row in rows if not row.is_descriptive]
    return [
        *([_AICC, _WEIGHTS] if len(fitted) > 1 else []),
        *([_ARTERIAL[config.aif]] if artery and config.aif in _ARTERIAL else []),
        *([_VEIN] if artery and config.aif_scale == "vein" else []),
        *([] if config.baseline_frames else [_ARRIVAL]),
        *([_SEARCH] if any(not row.linear for row in fitted) else []),
        *([_SEGMENTS, _LEXICON] if len(fitted) < len(rows) else []),
        *(
            f"{text}: {constants()[name]['source']}"
            for name, text in _CONSTANTS.items()
            if not getattr(config, name) and (name != "t1_blood" or _measures_blood(config, data))
        ),
    ]
