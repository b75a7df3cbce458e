"""The methods section of a run, for use in a publication: ``logs/CITATION.md``."""

from collections.abc import Collection, Sequence

from bidsapp.config import Config, version
from bidsapp.imaging.motion.parameters import DISPLACEMENT
from bidsapp.models import MODELS
from bidsapp.models.table import ivim_row
from bidsapp.reports.diffusion_methods import diffusion_methods, diffusion_references
from bidsapp.reports.kinetics_methods import (
    kinetics_methods,
    kinetics_references,
    kinetics_rows,
)
from bidsapp.reports.references import cite, find_by_doi

_LOCAL_PEARSON = cite("Local Pearson correlation", "saad2009")
_DISTORTION = {
    "fieldmap": cite("Field map", "jezzard1995"),
    "reversed": cite("Reversed phase encoding", "andersson2003"),
    "t1w": cite("Distortion from the T1w", "bhushan2015"),
}
_DISTORTION_WAYS = {
    "fieldmap": "a field map, by scaling it with readout time and voxel size (Jezzard and Balaban "
    "1995)",
    "reversed": "an echo-planar image with reversed phase encoding, by estimating the smooth "
    "displacement for which the two images agree, including the change in intensity (Andersson et "
    "al. 2003)",
}

_DISPLACEMENT = cite("Framewise displacement", "power2012")
_MEAN_IMAGES = {"dwi": "mean b = 0 image", "dce": "mean dynamic image"}
_STRIPPED = (
    "For the b = 0 image, the background of skull-stripped images was treated as missing, and the "
    "absolute correlation replaced the signed one where the latter failed. "
)
_SIGNS = {"dwi": "signed for the b = 0 image", "dce": "absolute for the dynamic image"}
_UNMIXING = cite("Unmixing of regions", "rousset1998")


DATA = frozenset(
    {"t1w", "follow-up", "transforms", "dwi", "ivim", "dce", "with-aif", "without-aif", "vfa"}
    | {"t1map", "b1", "rois", "fieldmap", "reversed"}
)
"""Data on which the methods of a run depend: a T1w, T1w of several sessions, transforms provided
by the user, diffusion series, such that IVIM can be fitted to, dynamic series, such with and
without the arterial input that the models need, images at several flip angles, T1 maps, B1 maps,
ROIs of lesions, and field maps and images with reversed phase encoding from which distortion is
calculated."""


def methods(config: Config, data: Collection[str] = DATA) -> str:
    """Describe the methods of a run in Markdown, with settings and references.

    Parameters
    ----------
    config
        The configuration of the run.
    data
        What the participants have, of `DATA`; the text describes only what is done with it.

    Returns
    -------
    str

    Examples
    --------
    >>> from pathlib import Path
    >>> "extended Tofts" in methods(Config(Path(), Path(), Path(), "run"))
    True
    """
    series = bool({"dwi", "dce"} & set(data))
    paragraphs = [
        _registration(config, data) if series or "follow-up" in data else "",
        diffusion_methods(config, data) if "dwi" in data else "",
        kinetics_methods(config, data) if "dce" in data else "",
        _lesions(config, data) if "rois" in data else "",
    ]
    return compose_methods("Perfusion was analysed", paragraphs, _references(config, data))


def compose_methods(what: str, paragraphs: Sequence[str], references: Sequence[str]) -> str:
    """Compose a methods text in Markdown.

    Parameters
    ----------
    what
        Beginning of the sentence that names metperf and its version.
    paragraphs
        Empty ones are left out.
    references
        Listed once each.

    Examples
    --------
    >>> compose_methods("Lesions were counted", ["Each once."], ["Euclid"]).splitlines()[4:]
    ['Each once.', '', '## References', '', '- Euclid']
    """
    listed = "\n".join(f"- {line}" for line in dict.fromkeys(references))
    parts = [
        f"# Methods\n\n{what} with metperf {version()} (Apache-2.0).",
        *filter(None, paragraphs),
        f"## References\n\n{listed}",
    ]
    return "\n\n".join(parts) + "\n"


def _motion(config: Config, data: Collection[str]) -> str:
    if config.registration_engine == "niimath":
        text = "Rigid motion within each series was corrected with niimath (AFNI's 3dvolreg). "
    else:
        text = (
            "Rigid motion within each series was corrected by robust least squares; in each block "
            "of 10 mm, a volume was modelled as the target times a factor plus an offset (after "
            "Saad et al. 2009). "
        )
        if "dwi" in data:
            text += (
                "Diffusion volumes were aligned with the mean of the others at the same b-value, "
                "if this improved their likeness, and that mean with the b = 0 image; they were "
                "also corrected for shear and scaling along the phase-encoding direction, if it "
                "was known. "
            )
    if config.drop_outliers:
        text += (
            f"Volumes with a framewise displacement of more than {DISPLACEMENT:g} mm (Power et al. "
            "2012), and volumes that differed from their neighbours, were excluded from averages "
            "and fits. "
        )
    return text


def _registration(config: Config, data: Collection[str]) -> str:
    motion = (
        _motion(config, data)
        if config.motion_correction
        else "Motion within the series was not corrected. "
    )
    series = [name for name in ("dwi", "dce") if name in data]
    text = motion if series else ""
    if series and "t1w" in data:
        text += _onto_t1w(config, series)
    if "follow-up" in data:
        text += (
            "The T1-weighted images of other sessions were registered rigidly to that of the "
            "baseline, excluding lesions, by the local Pearson correlation (Saad et al. 2009). "
        )
    if "dwi" in data and "t1w" in data:
        text += _distortion(config, data)
    replaced = "Transforms provided by the user replaced the corresponding registrations. "
    text += replaced if "transforms" in data else ""
    return (text + (_interpolation(config, data) if series else "")).rstrip()


def _onto_t1w(config: Config, series: Sequence[str]) -> str:
    """Describe the registration of the series to the T1w of their session."""
    engine = {
        "metperf": "implemented in metperf with truncated octahedra, analytic derivatives, many "
        "starting points and three resolutions",
        "niimath": "AFNI's 3dAllineate in niimath",
    }[config.registration_engine]
    freedom = "rigidly (for a quick look)" if config.sloppy else "with 12 parameters"
    images = [_MEAN_IMAGES[name] for name in series]
    signs = [_SIGNS[name] for name in series]
    were = "were" if len(images) > 1 else "was"
    return (
        f"The {' and the '.join(images)} {were} registered {freedom} to the post-contrast "
        "T1-weighted image of the same session. The cost function was the local Pearson "
        f"correlation ({', '.join(signs)}; {engine}; Saad et al. 2009). "
        + (_STRIPPED if "dwi" in series and config.registration_engine == "metperf" else "")
    )


def _distortion(config: Config, data: Collection[str]) -> str:
    """Describe the correction of EPI distortion, by the images that were used."""
    if config.distortion == "t1w":
        text = (
            "The distortion of the diffusion series along the phase-encoding axis was estimated "
            "from the T1-weighted image, as the smooth displacement (B-splines with a spacing of "
            "30 mm) that optimises the local Pearson correlation of this image with the b = 0 "
            "image, after registration with metperf (after Bhushan et al. 2015 and Saad et al. "
            "2009). "
        )
    else:
        ways = [_DISTORTION_WAYS[name] for name in _DISTORTION_WAYS if name in data]
        if config.distortion == "none" or not ways:
            return ""
        text = (
            "The distortion of the diffusion series along the phase-encoding axis was calculated "
            f"from {', or from '.join(ways)}. "
        )
    return (
        f"{text}The b = 0 image was corrected before registration. Displacement and "
        "registration were applied in a single interpolation, without intensity modulation. "
    )


def _interpolation(config: Config, data: Collection[str]) -> str:
    """Describe on which grid models were fitted, and what was interpolated."""
    if "t1w" not in data:
        return "Models were fitted in the native space of each series."
    if config.fit_space == "T1w":
        artery = "; the arterial input was measured in the original series" if "dce" in data else ""
        return (
            "Series were resampled to the grid of the T1-weighted image by linear interpolation, "
            f"and models were fitted on this grid{artery}."
        )
    return (
        "Models were fitted in the native space of each series, and the maps were resampled once "
        "by linear interpolation."
    )


def _lesions(config: Config, data: Collection[str]) -> str:
    where = "the voxels of its enhancing part"
    where += " on the T1-weighted image" if "t1w" in data else ""
    if config.roi_space == "native":
        where = (
            "the voxels of the series, each weighted by the fraction of the voxel inside the "
            "enhancing part of the lesion as drawn on the T1-weighted image"
        )
    return (
        f"The value of a lesion is the mean over {where}; volumes are those of the whole lesion. "
        f"Voxels with a failed fit were excluded and counted.{_unmixed(config)}{_regions(config)}"
        + (_identity(config) if "follow-up" in data else "")
    )


def _identity(config: Config) -> str:
    """Describe how lesions were followed over the sessions."""
    numbered = "were checked against" if not config.match_lesions else "were assigned by"
    text = (
        f" The numbers of lesions {numbered} their place: after registration to the baseline, the "
        "lesions of each session were paired with those of the first session and of the session "
        "before by the largest sum of overlaps (share of the smaller lesion inside the larger "
        "one); pairs for which another assignment was nearly as good were not used."
    )
    if config.propagate_rois:
        text += (
            " Sessions without ROIs were measured in those of the nearest session, carried by the "
            "registration; their volumes are unknown."
        )
    return text


def _regions(config: Config) -> str:
    """Describe the regions beside lesions that were measured."""
    measured = [text for name, text in _REGIONS.items() if name in config.rois]
    return f" Also measured were {'; '.join(measured)}." if measured else ""


_TEMPLATE = cite("ICBM152 template", "fonov2011")
_REGIONS = {
    "ring": "the brain within 5 mm of each lesion",
    "mirror": "the mirror image of each lesion at the mid-sagittal plane of the ICBM152 template "
    "(Fonov et al. 2011) as registered to the T1-weighted image",
    "reference": "a reference region of 1 to 2.5 ml in normal-appearing white matter of the "
    "centrum semiovale, if possible on the side with less lesion volume: voxels of the registered "
    "template with a probability of white matter of 0.9, with the T1-weighted intensity of white "
    "matter (median, three robust standard deviations), at least 15 mm from all lesions; the "
    "region of the baseline was kept at later sessions where it still fulfilled these conditions, "
    "and a region that was drawn was used instead",
}
"""Sentences of the regions that metperf finds."""


def _unmixed(config: Config) -> str:
    """Describe the values without the surroundings of a lesion, which need native fits."""
    if config.fit_space != "native":
        return ""
    return (
        " In addition, the models were fitted to the signal of each lesion alone: it was separated "
        "from that of the surrounding tissue by weighted least squares on the fractions of each "
        "voxel inside the lesion (after Rousset et al. 1998), for positions of the lesion's edge "
        "around the drawn one, weighted by their likelihood."
    )


def _distortion_sources(config: Config, data: Collection[str]) -> list[str]:
    """Return by which images distortion was corrected."""
    if config.distortion == "none" or not {"dwi", "t1w"} <= set(data):
        return []
    sources = ("t1w",) if config.distortion == "t1w" else ("fieldmap", "reversed")
    return [name for name in sources if name in data]


def _references(config: Config, data: Collection[str]) -> list[str]:
    diffusion, dynamic = "dwi" in data, "dce" in data
    flips = dynamic and "vfa" in data and not config.t1_tissue
    rows = [MODELS["adc"]] if diffusion else []
    rows += [ivim_row(config.ivim_model)] if "ivim" in data else []
    rows += kinetics_rows(config, data) if dynamic else []
    rows += [MODELS[config.t1_model]] if flips else []
    series = diffusion or dynamic
    registered = flips or "follow-up" in data or ("t1w" in data and series)
    blocks = series and config.motion_correction and config.registration_engine == "metperf"
    return [
        *(f"{row.title}: {find_by_doi(row.doi).text}" for row in rows),
        *([_LOCAL_PEARSON] if registered or blocks else []),
        *([_DISPLACEMENT] if series and config.drop_outliers and config.motion_correction else []),
        *([_UNMIXING] if "rois" in data and config.fit_space == "native" else []),
        *(_DISTORTION[name] for name in _distortion_sources(config, data)),
        *(diffusion_references(config, data) if diffusion else []),
        *(kinetics_references(config, data) if dynamic else []),
        *([_TEMPLATE] if "rois" in data and {"mirror", "reference"} & set(config.rois) else []),
        cite("nipype", "gorgolewski2011"),
    ]
