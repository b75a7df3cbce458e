"""Kinds of series, the same at all visits, and the use that is proposed for each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bidsapp.bids.records import TR_RANGE
from bidsapp.conversion.dicom.records import Series, Study

USES: Mapping[str, str] = {
    "t1w": "the T1w on which lesions are drawn, usually after the contrast agent",
    "dwi": "diffusion series with all b-values",
    "dce": "dynamic series; several series of one volume each are joined",
    "vfa": "one of the images at several flip angles, before the contrast agent",
    "t1map": "T1 map of the scanner",
    "fmap": "b = 0 image with reversed phase encoding",
    "ignore": "not converted",
}
"""What a series can be used for."""
_FEW_SLICES, _FRAMES = 4, 6
"""Fewest slices of an image of the head; fewest volumes of a dynamic series."""
_DERIVED = re.compile(
    r"(?<![a-z])(mip|minip|mpr|projection|reformatted|subtraction|sub|subtracted|e?adc|tracew?|"
    r"ktrans|kep|iauc|r?cbv|cbf|mtt|ttp|tmax|screen.?(save|shot))(?![a-z])",
    re.IGNORECASE,
)
_LOCALISER = re.compile(r"local|scout|survey|smart.?brain|3.?pl(ane)?\b|\bref(erence)?.?scan|calib",
                        re.IGNORECASE)  # fmt: skip
_T1 = re.compile(r"t1|mp.?rage|bravo|vibe|tfe|fspgr|spgr|thrive|lava", re.IGNORECASE)
_NOT_T1 = re.compile(
    r"t2|flair|swi|swan|\btof|angio|\bpd\b|dixon|fiesta|ciss|t1.?map", re.IGNORECASE
)
_AFTER = re.compile(
    r"\+ ?c\b|\bce\b|\bgd\b|gado|post|contrast|\bkm\b|\bmdc\b|\bc\+|_gd|gd_|"
    r"\bapr[eè]s\b|\bnach\b|\bdopo\b|\bdespu[eé]s\b",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?<![a-z])(pre|nativ[eo]?|without|w/?o|non?.?contrast|sans|avant|ohne|vor|sin|antes|senza|prima|"
    r"zonder|utan|uden|bez)(?![a-z])",
    re.IGNORECASE,
)
_T1_MAP = re.compile(r"t1.?map|t1_?images|relaxation map", re.IGNORECASE)
_REVERSED = re.compile(r"rev|blip|top.?up|fmap|field ?map|distortion|\b(pa|ap)\b|_(pa|ap)\b",
                       re.IGNORECASE)  # fmt: skip
_PARTS = {"P": "phase", "PHASE": "phase", "R": "real", "REAL": "real", "I": "imaginary",
          "IMAGINARY": "imaginary"}  # fmt: skip


@dataclass(frozen=True, order=True)
class Kind:
    """What identifies a kind of series at all visits: the same name and the same sequence.

    Attributes
    ----------
    description, image_type, sequence, acquisition, flip_angle
        As text.
    frames
        ``single`` or ``several`` volumes.
    """

    description: str
    image_type: str
    sequence: str
    acquisition: str
    flip_angle: str
    frames: str


@dataclass(frozen=True)
class Proposal:
    """Proposed use of a kind of series, with the reason."""

    use: str
    why: str


def kind_of(series: Series) -> Kind:
    """Return the kind of a series."""
    flip = "n/a" if series.flip_angle is None else f"{series.flip_angle:g}"
    return Kind(
        series.description or "n/a",
        " ".join(series.image_type) or "n/a",
        series.sequence or "n/a",
        series.acquisition or "n/a",
        flip,
        "single" if series.volumes <= 1 else "several",
    )


def group_kinds(studies: Iterable[Study]) -> dict[Kind, list[Series]]:
    """Return all series by their kind."""
    found: dict[Kind, list[Series]] = {}
    for study in studies:
        for series in study.series:
            found.setdefault(kind_of(series), []).append(series)
    return found


def has_contrast(series: Series) -> bool:
    """Return whether a series was acquired after the contrast agent, by its header or its name."""
    if _BEFORE.search(series.description):
        return False
    return "ContrastBolusAgent" in series.agent or bool(_AFTER.search(series.description))


def propose(kinds: Mapping[Kind, Sequence[Series]]) -> dict[Kind, Proposal]:
    """Return the proposed use of each kind.

    Parameters
    ----------
    kinds
        All series by their kind: some uses depend on the other series.
    """
    found = {kind: _propose_alone(series) for kind, series in kinds.items()}
    _keep_best_t1w(found, kinds)
    _find_flip_angles(found, kinds)
    _single_map(found, kinds)
    return found


def _propose_alone(series: Sequence[Series]) -> Proposal:
    """Return the use of a kind as far as its own series show it."""
    one = series[0]
    if why := _unusable(one):
        return Proposal("ignore", why)
    name, volumes = one.description, one.volumes
    gradient = one.sequence.startswith(("GR", "RM")) and "EP" not in one.sequence.split()
    repetition = one.repetition_time
    short = repetition is not None and repetition <= TR_RANGE[1] * 1000
    if _T1_MAP.search(" ".join((name, *one.image_type))):
        return Proposal("t1map", "named as a T1 map")
    if "EP" in one.sequence.split() or len(one.b_values) > 1:
        return _propose_echo_planar(one)
    spoiled = gradient and short and "IR" not in one.sequence.split()
    if volumes >= _FRAMES and spoiled:
        return Proposal("dce", f"gradient echo of {volumes} volumes, TR {repetition:g} ms")
    most = max(sum(s.study == other.study for s in series) for other in series)
    if volumes == 1 and most >= _FRAMES and spoiled:
        return Proposal("dce", f"{most} series of one volume each, TR {repetition:g} ms: joined")
    if volumes > 1 and spoiled:
        return Proposal("ignore", f"{volumes} volumes: a part of a dynamic series? Not joined")
    if volumes > 1:
        return Proposal("ignore", f"{volumes} volumes, but no diffusion and no dynamic series")
    if one.acquisition == "3D" and _T1.search(name) and not _NOT_T1.search(name):
        return Proposal("t1w", "3D, and named as T1-weighted")
    return Proposal("ignore", "neither diffusion, dynamic nor a 3D T1w")


def _unusable(one: Series) -> str:
    """Return why a series is of no use, or nothing."""
    words = {word.upper() for word in one.image_type}
    acquired = "ORIGINAL" in words and len(one.b_values) > 1
    named = _DERIVED.search(" ".join((*one.image_type, "" if acquired else one.description)))
    if "ORIGINAL" not in words and "SECONDARY" in words:
        return "derived image (ImageType SECONDARY)"
    if named:
        return f"derived image ({named[0]})"
    if "LOCALIZER" in words or _LOCALISER.search(one.description) or one.orientations > 1:
        return "localiser or reference scan"
    parts = [_PARTS[word] for word in words if word in _PARTS]
    if parts and not words & {"M", "MAGNITUDE"}:
        return f"{parts[0]} image"
    if not one.mosaic and len(one.places) < _FEW_SLICES:
        return f"{len(one.places)} slices"
    return ""


def _propose_echo_planar(one: Series) -> Proposal:
    """Return the use of a series with echo-planar readout or b-values."""
    b_values = one.b_values
    if len(b_values) > 1:
        return Proposal("dwi", f"b-values {', '.join(f'{b:g}' for b in b_values)} s/mm2")
    weighted = max(b_values, default=0) > 0
    if one.volumes < _FRAMES and _REVERSED.search(one.description) and not weighted:
        return Proposal("fmap", "echo-planar without b-values, named as a distortion scan")
    if one.volumes >= _FRAMES and not weighted:
        return Proposal("ignore", f"{one.volumes} echo-planar volumes without b-values (DSC, fMRI)")
    if weighted:
        return Proposal("ignore", f"one b-value only ({b_values[0]:g} s/mm2): not joined")
    return Proposal("ignore", "echo-planar without b-values")


def _keep_best_t1w(found: dict[Kind, Proposal], kinds: Mapping[Kind, Sequence[Series]]) -> None:
    """Keep the T1w after the contrast agent with the smallest voxels; the others are ignored."""
    t1w = [kind for kind, proposal in found.items() if proposal.use == "t1w"]
    after = [kind for kind in t1w if has_contrast(kinds[kind][0])]
    for kind in t1w:
        if after and kind not in after:
            found[kind] = Proposal("ignore", "T1w before the contrast agent; another is after it")
    best: dict[str, Kind] = {}
    for kind in sorted(after or t1w, key=lambda k: _voxel_volume(kinds[k][0])):
        taken = {series.study: best[series.study] for series in kinds[kind] if series.study in best}
        if taken:
            other = next(iter(taken.values())).description
            found[kind] = Proposal("ignore", f"another T1w beside {other!r}, which has smaller "
                                   "voxels or comes first")  # fmt: skip
            continue
        best |= dict.fromkeys((series.study for series in kinds[kind]), kind)
        how = "after the contrast agent" if kind in after else "no sign of a contrast agent"
        found[kind] = Proposal("t1w", f"3D, named as T1-weighted; {how}")


def _voxel_volume(series: Series) -> float:
    return series.voxel[0] * series.voxel[1] * series.voxel[2]


def _find_flip_angles(found: dict[Kind, Proposal], kinds: Mapping[Kind, Sequence[Series]]) -> None:
    """Propose ``vfa`` for gradient echoes that differ in their flip angle only."""
    groups: dict[tuple[object, ...], set[Kind]] = {}
    for kind, series in kinds.items():
        one = series[0]
        repetition = one.repetition_time
        ready = found[kind].use == "t1w" or found[kind].why.startswith(
            ("neither", "T1w", "another")
        )
        if (
            ready
            and one.volumes == 1
            and one.acquisition == "3D"
            and one.sequence.startswith("GR")
            and not set(one.sequence.split()) & {"IR", "EP", "MP"}
            and repetition is not None
            and repetition <= TR_RANGE[1] * 1000
        ):
            setting = (one.study, round(repetition, 2), one.matrix, len(one.places))
            groups.setdefault(setting, set()).add(kind)
    for group in groups.values():
        angles = sorted({kind.flip_angle for kind in group}, key=float)
        if len(angles) < 2:
            continue
        for kind in group:
            text = f"gradient echoes of the same TR at flip angles {', '.join(angles)} degrees"
            found[kind] = Proposal("vfa", text)


def _single_map(found: dict[Kind, Proposal], kinds: Mapping[Kind, Sequence[Series]]) -> None:
    """Propose one T1 map; further ones of the same studies are ignored."""
    taken: set[str] = set()
    for kind in [kind for kind, proposal in found.items() if proposal.use == "t1map"]:
        studies = {series.study for series in kinds[kind]}
        if studies & taken:
            found[kind] = Proposal("ignore", "another T1 map comes first")
        taken |= studies
