"""How a lesion has responded to treatment, from its volumes."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput

Response = Literal["CR", "PR", "SD", "PD"]
RESPONSES: tuple[Response, ...] = get_args(Response)

PARTIAL_RESPONSE = -58.5
"""Volume change in percent at or below which a lesion has responded."""

PROGRESSION = 71.5
"""Volume change in percent at or above which a lesion has progressed."""


class VolumeRule(NamedTuple):
    """Thresholds of the change of a volume, percent: from baseline, and from its smallest value."""

    partial_response: float
    progression: float


STUDY_RULE = VolumeRule(PARTIAL_RESPONSE, PROGRESSION)
"""Of the study."""

RANO_VOLUME_RULE = VolumeRule(-65.0, round(100 * (1.2**3 - 1), 1))
"""Volumetric extension of RANO-BM: a response of 65 %, as in Oft et al. 2021,
doi:10.3389/fonc.2020.590980; a progression of 72.8 %, by which the volume of a sphere grows whose
diameter grows by 20 %."""


def relative_change(before: ArrayLike, after: ArrayLike) -> NDArray[np.float64]:
    r"""Express the change of each lesion in percent of its first value.

    Parameters
    ----------
    before, after : (N,) array_like
        In the same order and unit; NaN for missing.

    Returns
    -------
    change : (N,) float64 ndarray
        Percent; NaN where a value is missing, or the first one is zero or negative.

    Raises
    ------
    BadInput
        If ``before`` and ``after`` differ in length.

    Notes
    -----
    .. math:: 100 \, (\mathrm{after} - \mathrm{before}) / \mathrm{before}

    Examples
    --------
    >>> relative_change([4.0, 2.0, 0.0, -1.0], [1.0, 3.0, 1.0, 1.0])
    array([-75.,  50.,  nan,  nan])
    """
    first, second = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if first.shape != second.shape:
        raise BadInput(f"{first.size} values cannot pair with {second.size}: give one of each.")
    change = np.full(first.shape, np.nan)
    np.divide(100 * (second - first), first, out=change, where=first > 0)
    return change


def response_category(baseline_volume: float, followup_volume: float) -> Response | None:
    r"""Name the response of a lesion to treatment from its volumes.

    Parameters
    ----------
    baseline_volume, followup_volume : float
        In one unit, such as ml; 0 for a lesion that is gone; NaN for unknown.

    Returns
    -------
    response : {"CR", "PR", "SD", "PD"} or None
        Complete response: the lesion is gone (a decrease of 100 %). Partial response: a decrease of
        58.5 % or more. Progressive disease: an increase of 71.5 % or more. Stable disease: between.
        None when a volume is unknown or there was nothing at baseline.

    Raises
    ------
    BadInput
        If a volume is negative.

    References
    ----------
    Lin NU, et al. Response assessment criteria for brain metastases: proposal from the RANO group.
    Lancet Oncol 2015;16:e270-e278. doi:10.1016/S1470-2045(15)70057-4 (the categories)

    Examples
    --------
    >>> [response_category(10.0, after) for after in (0.0, 4.15, 4.16, 17.14, 17.15)]
    ['CR', 'PR', 'SD', 'SD', 'PD']
    >>> response_category(10.0, float("nan")) is None
    True
    """
    if baseline_volume < 0 or followup_volume < 0:
        volumes = f"{baseline_volume:g} and {followup_volume:g}"
        raise BadInput(f"A lesion volume cannot be negative, got {volumes}: correct the table.")
    change = float(relative_change([baseline_volume], [followup_volume])[0])
    if not np.isfinite(change):
        return None
    if followup_volume == 0:
        return "CR"
    # A change of exactly a threshold must not fall short of it by rounding.
    rounded = round(change, 9)
    if rounded <= PARTIAL_RESPONSE:
        return "PR"
    return "PD" if rounded >= PROGRESSION else "SD"


def course_categories(
    volume: ArrayLike, baseline: ArrayLike, nadir: ArrayLike, rule: VolumeRule = STUDY_RULE
) -> NDArray[np.object_]:
    r"""Name the response of lesions at visits after the baseline, with progression from the nadir.

    Parameters
    ----------
    volume, baseline, nadir : (N,) array_like
        Volume at the visit, at baseline, and the smallest before the visit, baseline included, in
        one unit; 0 for a lesion that is not there, NaN for unknown.
    rule : VolumeRule

    Returns
    -------
    categories : (N,) ndarray of str
        CR, PD, PR or SD; ``n/a`` where the volume or the baseline is unknown. A lesion that was
        not there at baseline, or had disappeared, is PD as soon as it is there.

    Raises
    ------
    BadInput
        If the arrays differ in length.

    Examples
    --------
    >>> course_categories([4.0, 8.0, 0.0, 1.0], [10.0] * 4, [10.0, 4.0, 4.0, 0.0]).tolist()
    ['PR', 'PD', 'CR', 'PD']
    """
    now, first = np.asarray(volume, np.float64), np.asarray(baseline, np.float64)
    lowest = np.asarray(nadir, np.float64)
    from_baseline = np.round(relative_change(first, now), 9)
    from_nadir = np.round(relative_change(lowest, now), 9)
    conditions = [
        ~(np.isfinite(now) & np.isfinite(first)),
        (now == 0) & (first > 0),
        (from_nadir >= rule.progression) | ((lowest == 0) & (now > 0)),
        from_baseline <= rule.partial_response,
        first > 0,
    ]
    names: list[Any] = ["n/a", "CR", "PD", "PR", "SD"]
    found: NDArray[np.object_] = np.select(conditions, names, "n/a").astype(object)
    return found
