"""Radiation dose of lesions: statistics of a dose distribution, and biologically effective dose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.lesions.regions import Array

RING_DOSE = 12.0
"""Dose of the isodose surface around a lesion, Gy: the volume of brain inside it (V12) is that to
which radionecrosis after single-fraction radiosurgery is related (Milano et al. 2021,
doi:10.1016/j.ijrobp.2020.08.013)."""
BIN_EDGES = (12.0, 16.0, 20.0)
"""Doses between the regions into which a lesion is divided, Gy."""
ALPHA_BETA = 10.0
"""Ratio of the linear to the quadratic coefficient of tumours, Gy (Fowler 1989,
doi:10.1259/0007-1285-62-740-679)."""
DELTA = 0.15
"""Change of the curve of survival from quadratic to linear, 1/Gy (Guerrero and Li 2004)."""
LARGEST_DOSE = 200.0
"""Dose above which a number is taken for another unit than Gy; radiosurgery has up to 90 Gy."""
USUAL_DOSES = (5.0, 90.0)
"""Range of the largest dose of a plan for the brain, Gy; percents and fractions are outside."""
LEAST_COVERED = 0.4
"""Least D95 of the lesion with the highest one, relative to the largest dose anywhere. Lesions that
are treated lie within the isodose line of the prescription, 0.5 to 0.9 of the largest dose."""

DOSE_COLUMNS: Mapping[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session whose regions are measured",
    "lesion": "Number of the lesion, the same in every session",
    "roi": "Which ROI: enhancing or whole",
    "volume_ml": "Volume of the region, ml",
    "covered": "Fraction of the region inside the grid of the dose; the statistics refer to it",
    "mean": "Mean dose, Gy",
    "minimum": "Smallest dose of a voxel, Gy",
    "maximum": "Largest dose of a voxel, Gy",
    "d98": "Dose that at least 98 % of the volume receives, Gy",
    "d95": "Dose that at least 95 % of the volume receives, Gy",
    "d50": "Dose that at least 50 % of the volume receives, Gy",
    "d2": "Dose that at least 2 % of the volume receives, Gy",
    "v12_ml": f"Volume of the region that receives at least {RING_DOSE:g} Gy, ml",
    "ring_ml": f"Volume of brain outside all lesions that receives at least {RING_DOSE:g} Gy, is "
    "connected with a lesion and nearer to this one than to any other, ml; n/a for the enhancing "
    "part",
    "dose_session": "Session for whose T1w the dose was given",
    "excluded": "1 if the ROI table marks the lesion as excluded",
}
"""The columns of ``*_desc-dose_roistats.tsv`` and what they mean."""


@dataclass(frozen=True)
class DoseSummary:
    """The dose in a region, Gy; NaN without a voxel that has a dose."""

    volume_ml: float
    covered: float
    mean: float
    minimum: float
    maximum: float
    d98: float
    d95: float
    d50: float
    d2: float
    v12_ml: float


def summarise_dose(dose: ArrayLike, share: ArrayLike, voxel_ml: float) -> DoseSummary:
    r"""Return statistics of the dose in a region.

    Parameters
    ----------
    dose : (...) array, Gy
        NaN outside the grid for which it was calculated.
    share : (...) array
        Fraction of each voxel inside the region, 0 to 1, or a mask.
    voxel_ml : float, ml
        Volume of a voxel.

    Returns
    -------
    DoseSummary

    Notes
    -----
    :math:`D_p` is the largest dose that at least p percent of the volume receive, without
    interpolation between voxels:

    .. math:: D_p = \max \{d: \sum_{d_i \ge d} w_i \ge \tfrac{p}{100} \sum w_i\}

    References
    ----------
    Drzymala et al., Int J Radiat Oncol Biol Phys 1991;21:71-78, doi:10.1016/0360-3016(91)90168-4.

    Examples
    --------
    >>> found = summarise_dose([10.0, 20.0, 30.0, 40.0], [1, 1, 1, 1], 0.5)
    >>> found.mean, found.d95, found.d50, found.v12_ml
    (25.0, 10.0, 30.0, 1.5)
    """
    weights = np.asarray(share, float)
    inside = weights > 0
    values, weights = np.asarray(dose, float)[inside], weights[inside]
    known = np.isfinite(values)
    total, volume = float(weights[known].sum()), float(weights.sum())
    if not known.any():
        return DoseSummary(volume * voxel_ml, 0.0 if volume else np.nan, *[np.nan] * 8)
    values, weights = values[known], weights[known]
    received = {p: _received_by(values, weights, p) for p in (98, 95, 50, 2)}
    return DoseSummary(
        volume_ml=volume * voxel_ml,
        covered=total / volume,
        mean=float(weights @ values) / total,
        minimum=float(values.min()),
        maximum=float(values.max()),
        d98=received[98],
        d95=received[95],
        d50=received[50],
        d2=received[2],
        v12_ml=float(weights[values >= RING_DOSE].sum()) * voxel_ml,
    )


def doubtful_dose(dose: ArrayLike, lesions: ArrayLike) -> list[str]:
    r"""Return why a dose may not be that of these lesions, or not be in Gy.

    Parameters
    ----------
    dose : (X, Y, Z) array, Gy
        NaN outside the grid for which it was calculated.
    lesions : (X, Y, Z) array of int
        Numbers of the lesions, 0 elsewhere; all of them may be 0.

    Returns
    -------
    list of str
        Empty without a doubt.

    Notes
    -----
    A plan is made for lesions, so that at least one of them receives much of the largest dose:

    .. math:: \max_l D_{95}(l) \ge 0.4 \max D

    This is not so if dose and T1w are of different patients, or displaced.

    Examples
    --------
    >>> doubtful_dose([0.0, 30.0, 20.0], np.array([0, 1, 1]))
    []
    >>> doubtful_dose([30.0, 20.0, 3.0], np.array([0, 0, 2]))[0][:59]
    'its largest dose is 30 Gy, but no lesion receives more than'
    """
    values, labels = np.asarray(dose, float), np.asarray(lesions)
    largest, (low, high) = float(np.nanmax(values)), USUAL_DOSES
    found = []
    if not low <= largest <= high:
        found.append(
            f"its largest dose is {largest:.3g} Gy, outside {low:g} to {high:g}: is it in Gy, and "
            "of all fractions?"
        )
    numbers = np.unique(labels[labels > 0])
    parts = [summarise_dose(values, labels == number, 1.0) for number in numbers]
    if len(parts) and not any(part.covered for part in parts):
        found.append("no lesion is inside the grid of the dose")
    elif len(parts):
        most = max(part.d95 for part in parts if part.covered)
        if most < LEAST_COVERED * largest:
            found.append(
                f"its largest dose is {largest:.3g} Gy, but no lesion receives more than "
                f"{most:.3g} Gy in 95 % of its volume: is it of this patient, on this T1w, and are "
                "the treated lesions drawn?"
            )
    return found


def _received_by(values: Array, weights: Array, percent: float) -> float:
    """Return the largest dose that at least a percentage of the volume receive."""
    order = np.argsort(-values, kind="stable")
    volume = np.cumsum(weights[order])
    # The tolerance is for the rounding of the sum: 95 of 100 equal voxels are 95 percent.
    first = np.searchsorted(volume, percent / 100 * volume[-1] * (1 - 1e-9))
    return float(values[order][first])


def region_names() -> tuple[str, ...]:
    """Return the names of the regions by dose, in the order of `dose_regions`.

    Examples
    --------
    >>> region_names()
    ('dose0to12', 'dose12to16', 'dose16to20', 'dose20', 'ring12')
    """
    edges = [f"{edge:g}" for edge in BIN_EDGES]
    between = [f"dose{a}to{b}" for a, b in zip(["0", *edges], edges, strict=False)]
    return (*between, f"dose{edges[-1]}", f"ring{RING_DOSE:g}")


def describe_region(name: str) -> str:
    """Return a name of `region_names` in words.

    Examples
    --------
    >>> [describe_region(name) for name in ("dose0to12", "dose12to16", "dose20", "ring12")]
    ['lesion, below 12 Gy', 'lesion, 12 to 16 Gy', 'lesion, from 20 Gy', 'brain, from 12 Gy']
    """
    if name.startswith("ring"):
        return f"brain, from {name.removeprefix('ring')} Gy"
    low, _, high = name.removeprefix("dose").partition("to")
    if not high:
        return f"lesion, from {low} Gy"
    return f"lesion, below {high} Gy" if low == "0" else f"lesion, {low} to {high} Gy"


def region_labels(lesions: Sequence[int]) -> list[tuple[int, int, str]]:
    """Return label, lesion and name of each region of each lesion; labels begin with 1.

    Examples
    --------
    >>> region_labels([4, 7])[:3]
    [(1, 4, 'dose0to12'), (2, 7, 'dose0to12'), (3, 4, 'dose12to16')]
    """
    found = [(lesion, name) for name in region_names() for lesion in lesions]
    return [(label, *one) for label, one in enumerate(found, 1)]


def label_regions(regions: NDArray[np.int_], lesions: Sequence[int]) -> NDArray[np.int32]:
    """Return one label image of all regions, which do not overlap.

    Parameters
    ----------
    regions : (X, Y, Z, R) array of int
        See `dose_regions`.
    lesions : sequence of int
        Numbers of the lesions.

    Returns
    -------
    (X, Y, Z) array of int
        The labels of `region_labels`, 0 elsewhere.
    """
    labels = np.zeros(regions.shape[:3], np.int32)
    names = region_names()
    for label, lesion, name in region_labels(lesions):
        labels[regions[..., names.index(name)] == lesion] = label
    return labels


def dose_regions(
    dose: ArrayLike, enhancing: ArrayLike, whole: ArrayLike, brain: ArrayLike, affine: ArrayLike
) -> NDArray[np.int32]:
    """Divide lesions and their surroundings by dose.

    Parameters
    ----------
    dose : (X, Y, Z) array, Gy
    enhancing, whole : (X, Y, Z) array of int
        Numbers of the lesions, 0 elsewhere: their enhancing parts, and whole lesions.
    brain : (X, Y, Z) array of bool
    affine : (4, 4) array
        Voxels to RAS mm.

    Returns
    -------
    (X, Y, Z, R) array of int
        Label images of the regions `region_names`: the parts of each enhancing part by dose, a
        lower edge belonging to the region above; then the ring, which is the brain outside of all
        lesions with at least `RING_DOSE` that is connected with a lesion, each voxel with the
        number of the nearest lesion.

    Examples
    --------
    >>> dose = np.array([25.0, 18.0, 13.0, 11.0]).reshape(4, 1, 1)
    >>> lesion = np.array([1, 1, 0, 0]).reshape(4, 1, 1)
    >>> found = dose_regions(dose, lesion, lesion, dose > 0, np.eye(4))
    >>> found[:, 0, 0, 2:].tolist()
    [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]
    """
    values, part, entire = np.asarray(dose, float), np.asarray(enhancing), np.asarray(whole)
    edges = (-np.inf, *BIN_EDGES, np.inf)
    # A voxel without a dose is in no region: comparisons with NaN are false.
    within = [part * ((values >= a) & (values < b)) for a, b in pairwise(edges)]
    lesions = np.where(entire > 0, entire, part)
    outside = np.asarray(brain, bool) & (lesions == 0) & (values >= RING_DOSE)
    # What was irradiated around a lesion that has disappeared surrounds none of the others.
    parts, _ = ndimage.label((values >= RING_DOSE) | (lesions > 0))
    outside &= np.isin(parts, np.unique(parts[lesions > 0]))
    ring = nearest_label(lesions, affine) * outside
    return np.stack([*within, ring], axis=-1).astype(np.int32)


def nearest_label(labels: NDArray[np.int_], affine: ArrayLike) -> NDArray[np.int_]:
    """Return the label of the nearest voxel with one, 0 without any label.

    Parameters
    ----------
    labels : (X, Y, Z) array of int
    affine : (4, 4) array
        Voxels to RAS mm; its axes are taken for orthogonal.
    """
    if not labels.any():
        return np.zeros_like(labels)
    sizes = np.linalg.norm(np.asarray(affine, float)[:3, :3], axis=0)
    nearest = ndimage.distance_transform_edt(
        labels == 0, sampling=sizes, return_distances=False, return_indices=True
    )
    found: NDArray[np.int_] = labels[tuple(nearest)]
    return found


def effective_dose(
    dose: ArrayLike,
    fractions: ArrayLike = 1,
    alpha_beta: float = ALPHA_BETA,
    delta: float = 0.0,
) -> Array:
    r"""Return the biologically effective dose of fractions that are each given at once.

    Parameters
    ----------
    dose : (...) array, Gy
        Total dose.
    fractions : (...) array
        Number of equal fractions.
    alpha_beta : float, Gy
        Ratio of the linear to the quadratic coefficient.
    delta : float, 1/Gy
        0 for the linear-quadratic model; `DELTA` for the modified one.

    Returns
    -------
    (...) array, Gy
        NaN where dose or fractions are not positive numbers.

    Raises
    ------
    BadInput
        If `alpha_beta` is not positive, or `delta` is negative.

    Notes
    -----
    With n fractions of d = D / n the effect is
    :math:`-\ln S = n [\alpha d + \beta G(\delta d) d^2]`, hence

    .. math:: \mathrm{BED} = D \left[1 + G(\delta d) \frac{d}{\alpha / \beta}\right], \qquad
        G(x) = \frac{2}{x^2} (x - 1 + e^{-x})

    For :math:`\delta = 0`, G = 1, which is the linear-quadratic model. It overestimates the effect
    of high single doses; with :math:`\delta > 0` the curve of survival becomes straight at high
    doses, with the slope :math:`\alpha + 2 \beta / \delta`. This is the modified linear-quadratic
    model of Guerrero and Li for an exposure that is short compared with the repair of damage.

    References
    ----------
    Fowler, Br J Radiol 1989;62:679-694, doi:10.1259/0007-1285-62-740-679.
    Guerrero and Li, Phys Med Biol 2004;49:4825-4835, doi:10.1088/0031-9155/49/20/012.

    Examples
    --------
    >>> effective_dose(60, 30).round(2), effective_dose(20).round(2)
    (np.float64(72.0), np.float64(60.0))
    >>> effective_dose(20, delta=DELTA).round(2)
    np.float64(38.22)
    """
    if not (np.isfinite(alpha_beta) and alpha_beta > 0):
        raise BadInput(f"alpha/beta is {alpha_beta}, but a positive number of Gy is needed")
    if not (np.isfinite(delta) and delta >= 0):
        raise BadInput(f"delta is {delta}, but a number of 1/Gy from 0 is needed")
    total, number = np.broadcast_arrays(np.asarray(dose, float), np.asarray(fractions, float))
    valid = np.isfinite(total) & (total > 0) & np.isfinite(number) & (number > 0)
    each = np.divide(total, number, out=np.full(total.shape, np.nan), where=valid)
    effect: Array = total * (1 + _saturation(delta * each) * each / alpha_beta)
    return np.where(valid, effect, np.nan)[()]


def _saturation(x: Array) -> Array:
    """Return 2 (x - 1 + exp(-x)) / x^2, which is 1 at x = 0."""
    # Below 1e-3 the difference loses digits; four terms of the series are exact there.
    small = 1 - x / 3 + x**2 / 12 - x**3 / 60
    safe = np.where(x > 1e-3, x, 1.0)
    return np.where(x > 1e-3, 2 * (safe + np.expm1(-safe)) / safe**2, small)
