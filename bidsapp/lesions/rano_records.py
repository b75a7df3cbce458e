"""RANO-BM: its thresholds, what it needs of a visit, and what it says of a patient."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from bidsapp.lesions.response import Response

RanoResponse = Response | Literal["NE"]
"""A category of response, or not evaluable."""
ClinicalStatus = Literal["improved", "stable", "worse"]
CLINICAL_STATUS: tuple[ClinicalStatus, ...] = get_args(ClinicalStatus)
Role = Literal["target", "non-target", "new", "unknown", "absent"]

# Thresholds of Lin et al. 2015, doi:10.1016/S1470-2045(15)70057-4, with the source in which each
# was verified: [T] the paper's table of criteria, reprinted as Table 4 of PMC6499019; [W] the
# abstract of the criteria, Wen et al. 2014, Neuro Oncol 16(suppl 2):ii15; [R] radiopaedia.org, RANO
# criteria for brain metastases; [H] the criteria as applied in doi:10.1186/s13014-023-02277-6,
# Table 2; [U] as generally cited: the running text of the paper could not be consulted.
MEASURABLE_DIAMETER = 10.0
"""Least longest diameter of a measurable lesion, mm [W, R]."""
MEASURABLE_PERPENDICULAR = 5.0
"""Least diameter perpendicular to it, mm [W, R]."""
MEASURABLE_SLICES = 2
"""Least number of slices on which it is visible [W, R]; of a new lesion, of projections [T]."""
MOST_TARGETS = 5
"""Largest number of target lesions [R]."""
PARTIAL_RESPONSE = -30.0
"""Change of the sum of longest diameters from baseline, percent, of a partial response [T]."""
PROGRESSION = 20.0
"""Change of the sum from its nadir, percent, of a progression [T]."""
PROGRESSION_INCREASE = 5.0
"""Increase that a progression also needs [H], of at least one lesion [U], mm."""
CONFIRMATION_DAYS = 28.0
"""Time for which a response must be sustained: four weeks [U], days."""
BASELINE_DAYS = 28.0
"""Longest time from the baseline to the treatment [R], days."""


class Size(NamedTuple):
    """A lesion at one visit.

    Attributes
    ----------
    diameter : float
        Longest diameter, mm; 0 if the lesion is not there, NaN if it was not measured.
    perpendicular : float
        mm; NaN if unknown.
    n_slices : float
        NaN if unknown.
    """

    diameter: float
    perpendicular: float = math.nan
    n_slices: float = math.nan

    @property
    def measurable(self) -> bool:
        """Whether the lesion is measurable disease; what is unknown does not count against it."""
        return (
            self.diameter >= MEASURABLE_DIAMETER
            and not self.perpendicular < MEASURABLE_PERPENDICULAR
            and not self.n_slices < MEASURABLE_SLICES
        )


UNMEASURED = Size(math.nan)


@dataclass(frozen=True)
class Visit:
    """A visit of a patient.

    Attributes
    ----------
    day : float
        Since treatment; NaN if unknown.
    sizes : mapping of int to Size
        By the number of the lesion.
    steroid_dose : float
        In the same unit at all visits; NaN if unknown.
    clinical_status : {"improved", "stable", "worse"} or None
        Compared with the baseline; None if unknown.
    """

    day: float
    sizes: Mapping[int, Size]
    steroid_dose: float = math.nan
    clinical_status: ClinicalStatus | None = None


@dataclass(frozen=True)
class Assessment:
    """What RANO-BM says of a patient at one visit.

    Attributes
    ----------
    diameter_sum, nadir : float
        Sum of the longest diameters of the targets, and its smallest value before, mm; NaN if
        unknown.
    from_baseline, from_nadir : float
        Change of the sum, percent.
    new_lesions : tuple of int
        Lesions that were not there at baseline.
    response : {"CR", "PR", "SD", "PD", "NE"}
    confirmed : bool or None
        Whether a response was sustained for four weeks; None without a response, or without days.
    radiographic_only : bool
        Whether corticosteroids or clinical status are unknown.
    notes : tuple of str
        What decided, if not the sum alone.
    """

    diameter_sum: float
    nadir: float
    from_baseline: float
    from_nadir: float
    new_lesions: tuple[int, ...]
    response: RanoResponse
    confirmed: bool | None
    radiographic_only: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Course:
    """Response of a patient over time.

    Attributes
    ----------
    roles : mapping of int to str
        What each lesion is: ``target``, ``non-target``, ``new``, ``absent`` at all visits, or
        ``unknown`` if it was not measured at baseline.
    assessments : tuple of Assessment
        One for each visit after the baseline.
    lesions : mapping of int to tuple of str
        Category of each lesion at these visits; of a non-target lesion CR, PD, or SD for neither.
    """

    roles: Mapping[int, Role]
    assessments: tuple[Assessment, ...]
    lesions: Mapping[int, tuple[RanoResponse, ...]]

    @property
    def progression(self) -> int | None:
        """Index of the first assessment with progression; None if there is none."""
        found = (i for i, row in enumerate(self.assessments) if row.response == "PD")
        return next(found, None)

    def best_response(self, *, confirmed: bool = False) -> RanoResponse:
        """Return the best response up to the first progression.

        Parameters
        ----------
        confirmed : bool
            Whether a response that was not sustained counts as stable disease.
        """
        end = None if self.progression is None else self.progression + 1
        found = {
            "SD" if confirmed and row.response in ("CR", "PR") and not row.confirmed
            else row.response
            for row in self.assessments[:end]
        }  # fmt: skip
        order: tuple[RanoResponse, ...] = ("CR", "PR", "SD", "PD")
        return next((name for name in order if name in found), "NE")
