"""Response of a patient with brain metastases by RANO-BM, from diameters of lesions over time."""

import math
from collections.abc import Sequence
from dataclasses import replace

from bidsapp.errors import BadInput
from bidsapp.lesions.rano_records import (
    CONFIRMATION_DAYS,
    MEASURABLE_SLICES,
    MOST_TARGETS,
    PARTIAL_RESPONSE,
    PROGRESSION,
    PROGRESSION_INCREASE,
    UNMEASURED,
    Assessment,
    Course,
    RanoResponse,
    Role,
    Size,
    Visit,
)
from bidsapp.lesions.response import Response


def assess_course(visits: Sequence[Visit]) -> Course:
    r"""Assess a patient by RANO-BM at every visit after the baseline.

    Parameters
    ----------
    visits : sequence of Visit
        In chronological order; the first is the baseline.

    Returns
    -------
    course : Course

    Raises
    ------
    BadInput
        If there is no visit, days decrease, or a diameter or dose is negative.

    Notes
    -----
    Targets are the five largest measurable lesions at baseline. With the sum :math:`S` of their
    longest diameters, its value :math:`S_0` at baseline and its smallest value :math:`S_n` before,
    including the baseline:

    - complete response: no lesion of any kind is left, no corticosteroids;
    - partial response: :math:`S \le 0.7 S_0`, corticosteroids not increased since baseline;
    - progression: :math:`S \ge 1.2 S_n` and a target 5 mm longer than at the visit of :math:`S_n`;
      a target that is back after all were gone; a new lesion; unequivocal growth of a non-target
      lesion; or clinical worsening;
    - stable disease: none of these; not evaluable: a target was not measured, and the others do not
      show a progression by themselves, or there was no target.

    The paper leaves unequivocal growth of non-target lesions to the reader. Here it is growth by 20
    % and 5 mm from the smallest diameter. A new lesion that is on a single slice is equivocal and
    counts only if a later visit shows it on two: then from the visit at which it was first seen. A
    lesion that was not measured at baseline is a non-target lesion from its first measurement. A
    response that does not fit corticosteroids or clinical status is stable disease; corticosteroids
    alone are no progression.

    References
    ----------
    Lin NU, et al. Response assessment criteria for brain metastases: proposal from the RANO group.
    Lancet Oncol 2015;16:e270-e278. doi:10.1016/S1470-2045(15)70057-4

    Examples
    --------
    >>> from bidsapp.lesions.rano_records import Size, Visit
    >>> course = assess_course([Visit(day, {1: Size(mm)})
    ...                         for day, mm in [(-5, 20.0), (30, 14.0), (60, 13.0), (120, 18.0)]])
    >>> [(row.response, row.confirmed) for row in course.assessments]
    [('PR', True), ('PR', True), ('PD', None)]
    """
    _check(visits)
    patient = _Patient(visits)
    rows = [_assess(patient, index) for index in range(1, len(visits))]
    lesions = {n: _lesion_course(patient, n) for n in patient.roles}
    return Course(patient.roles, _confirm(rows, [visit.day for visit in visits[1:]]), lesions)


def _check(visits: Sequence[Visit]) -> None:
    """Raise an error that names everything that no patient can have."""
    wrong = [] if visits else ["there is no visit"]
    days = [visit.day for visit in visits if not math.isnan(visit.day)]
    if days != sorted(days):
        wrong.append(f"the days are not in chronological order: {days}")
    for visit in visits:
        wrong += [
            f"lesion {n} has a diameter of {size.diameter:g} mm at day {visit.day:g}"
            for n, size in visit.sizes.items()
            if size.diameter < 0
        ]
        if visit.steroid_dose < 0:
            wrong.append(f"the steroid dose is {visit.steroid_dose:g} at day {visit.day:g}")
    if wrong:
        raise BadInput(f"No response can be assessed, {'; '.join(wrong)}: correct the table.")


class _Patient:
    """Visits of a patient with what follows from the baseline: roles, targets and their sums."""

    def __init__(self, visits: Sequence[Visit]) -> None:
        self.visits = visits
        self.roles = _roles(visits)
        self.targets = [n for n, role in self.roles.items() if role == "target"]
        self.others = [n for n, role in self.roles.items() if role in ("non-target", "unknown")]
        self.appeared = {
            n: _appearance(visits, n) for n, role in self.roles.items() if role == "new"
        }
        missing = not self.targets
        self.sums = [math.nan if missing else sum(self.diameters(v)) for v in visits]

    def diameters(self, visit: Visit) -> list[float]:
        """Return the longest diameter of each target, mm."""
        return [_size(visit, n).diameter for n in self.targets]

    def nadir(self, index: int) -> int:
        """Return the visit of the smallest known sum before a visit."""
        known = [i for i in range(index) if not math.isnan(self.sums[i])]
        return min(known, key=lambda i: self.sums[i], default=0)


def _size(visit: Visit, lesion: int) -> Size:
    return visit.sizes.get(lesion, UNMEASURED)


def _roles(visits: Sequence[Visit]) -> dict[int, Role]:
    """Return what each lesion is, from the baseline and the presence at later visits."""
    lesions = sorted({n for visit in visits for n in visit.sizes})
    sizes = {n: _size(visits[0], n) for n in lesions}
    measurable = [n for n in lesions if sizes[n].measurable]
    # Of equal diameters, the lesion of the lower number.
    targets = sorted(measurable, key=lambda n: -sizes[n].diameter)[:MOST_TARGETS]
    return {n: _role(n in targets, sizes[n], [_size(v, n) for v in visits[1:]]) for n in lesions}


def _role(is_target: bool, size: Size, later: Sequence[Size]) -> Role:
    if is_target:
        return "target"
    if math.isnan(size.diameter):
        return "unknown"
    if size.diameter > 0:
        return "non-target"
    return "new" if any(after.diameter > 0 for after in later) else "absent"


def _appearance(visits: Sequence[Visit], lesion: int) -> int | None:
    """Return the visit at which a new lesion is first seen; None if it stays equivocal."""
    seen = [i for i, visit in enumerate(visits) if _size(visit, lesion).diameter > 0]
    sure = any(not _size(visits[i], lesion).n_slices < MEASURABLE_SLICES for i in seen)
    return seen[0] if sure else None


def _assess(patient: _Patient, index: int) -> Assessment:
    """Assess one visit, without confirmation."""
    visit, baseline = patient.visits[index], patient.visits[0]
    total, nadir = patient.sums[index], patient.sums[patient.nadir(index)]
    new = tuple(n for n, first in patient.appeared.items() if first is not None and first <= index)
    notes = _notes(patient, index)
    radiographic = _radiographic_response(patient, index, bool(new), notes)
    response = _with_clinic(radiographic, visit, baseline, notes)
    unknown = visit.clinical_status is None or math.isnan(
        visit.steroid_dose - baseline.steroid_dose
    )
    changes = _percent(patient.sums[0], total), _percent(nadir, total)
    return Assessment(total, nadir, *changes, new, response, None, unknown, tuple(notes))


def _notes(patient: _Patient, index: int) -> list[str]:
    """Return what is not known or not certain at a visit."""
    visit, roles = patient.visits[index], patient.roles
    unknown = [n for n, role in roles.items() if role == "unknown" and _size(visit, n).diameter > 0]
    doubtful = [
        n for n, first in patient.appeared.items() if first is None and _size(visit, n).diameter > 0
    ]
    missing = [n for n in patient.targets if math.isnan(_size(visit, n).diameter)]
    texts = (
        (unknown, "not measured at baseline, so not known to be new"),
        (doubtful, "on a single slice: may be new"),
        (missing, "not measured"),
    )
    notes = [f"{_named(found)} {text}" for found, text in texts if found]
    return notes if patient.targets else ["no measurable lesion at baseline", *notes]


def _named(lesions: Sequence[int]) -> str:
    return f"lesion{'s' * (len(lesions) > 1)} {', '.join(map(str, lesions))}"


def _radiographic_response(
    patient: _Patient, index: int, has_new: bool, notes: list[str]
) -> RanoResponse:
    """Combine targets, non-target lesions and new lesions; note what decided besides the sum."""
    target = _target_response(patient, index)
    others = {n: _non_target_response(patient, n, index) for n in patient.others}
    grown = [n for n, category in others.items() if category == "PD"]
    if grown:
        notes.append(f"non-target {_named(grown)} progressed")
    if has_new:
        first = min(i for i in patient.appeared.values() if i is not None)
        notes.append("new lesion" if first == index else "new lesion since an earlier visit")
    if target == "PD" or grown or has_new:
        return "PD"
    left = _left_lesions(patient, index)
    if not patient.targets:
        return "CR" if "non-target" in patient.roles.values() and not left else "NE"
    if target == "CR" and left:
        notes.append(f"targets gone, {' and '.join(left)}")
        return "PR"
    return target


def _left_lesions(patient: _Patient, index: int) -> list[str]:
    """Return in words which lesions that are no targets are there, or may be."""
    visit, before = patient.visits[index], patient.visits[:index]
    rest = [n for n in patient.roles if n not in patient.targets]
    there = [n for n in rest if _size(visit, n).diameter > 0]
    missing = [
        n
        for n in rest
        if math.isnan(_size(visit, n).diameter) and any(_size(v, n).diameter > 0 for v in before)
    ]
    texts = ((there, "not"), (missing, "not measured"))
    return [f"{_named(found)} {text}" for found, text in texts if found]


def _target_response(patient: _Patient, index: int) -> RanoResponse:
    """Return the category of the targets; a progression also if some were not measured."""
    at_nadir = patient.nadir(index)
    visit, before = patient.visits[index], patient.visits[at_nadir]
    if not patient.targets:
        return "NE"
    known = [x for x in patient.diameters(visit) if not math.isnan(x)]
    increases = [_size(visit, n).diameter - _size(before, n).diameter for n in patient.targets]
    increase = max((x for x in increases if not math.isnan(x)), default=-math.inf)
    sums = patient.sums[0], patient.sums[at_nadir]
    response = size_response(*sums, sum(known), increase)
    complete = len(known) == len(patient.targets)
    return response if complete or response == "PD" else "NE"


def size_response(baseline: float, nadir: float, size: float, increase: float) -> Response:
    """Return the category of a diameter, or of a sum of diameters.

    Parameters
    ----------
    baseline, nadir, size : float
        At baseline, at its smallest before, and now, mm.
    increase : float
        Largest increase of a lesion since the nadir, mm.

    Returns
    -------
    response : {"CR", "PR", "SD", "PD"}

    Examples
    --------
    >>> [size_response(20.0, 16.0, now, now - 16.0) for now in (0.0, 14.0, 20.9, 21.0)]
    ['CR', 'PR', 'SD', 'PD']
    """
    if size == 0:
        return "CR"
    grown = _percent(nadir, size) >= PROGRESSION and round(increase, 9) >= PROGRESSION_INCREASE
    if grown or nadir == 0:
        return "PD"
    return "PR" if _percent(baseline, size) <= PARTIAL_RESPONSE else "SD"


def _percent(before: float, after: float) -> float:
    """Return a change in percent; a change of exactly a threshold does not fall short of it."""
    # Adding zero makes -0 positive.
    return round(100 * (after - before) / before, 9) + 0.0 if before else math.nan


def _non_target_response(patient: _Patient, lesion: int, index: int) -> RanoResponse:
    """Return CR, PD, or SD for neither; NE if the lesion was not measured, or was not before."""
    sizes = [_size(visit, lesion).diameter for visit in patient.visits[: index + 1]]
    *before, now = sizes
    if math.isnan(now) or not any(x > 0 for x in before):
        return "NE"
    if now == 0:
        return "CR"
    nadir = min(x for x in before if not math.isnan(x))
    relative = nadir == 0 or _percent(nadir, now) >= PROGRESSION
    return "PD" if relative and round(now - nadir, 9) >= PROGRESSION_INCREASE else "SD"


def _with_clinic(
    response: RanoResponse, visit: Visit, baseline: Visit, notes: list[str]
) -> RanoResponse:
    """Return the category in view of clinical status and corticosteroids, where they are known."""
    if visit.clinical_status == "worse":
        notes.append("clinically worse")
        return "PD"
    increased = visit.steroid_dose > baseline.steroid_dose
    if increased:
        notes.append("more corticosteroids than at baseline")
    if response in ("CR", "PR") and increased:
        return "SD"
    if response == "CR" and visit.steroid_dose > 0:
        notes.append("lesions gone, under corticosteroids")
        return "PR"
    return response


def _confirm(rows: Sequence[Assessment], days: Sequence[float]) -> tuple[Assessment, ...]:
    """Add whether each response was sustained: its run of visits at least as good is long enough.

    A visit that is not evaluable does not interrupt a run.
    """
    rank = {"CR": 2, "PR": 1}
    ranks = [rank.get(row.response, 0) for row in rows]
    confirmed: list[bool | None] = []
    for index, own in enumerate(ranks):
        run = [
            day
            for i, day in enumerate(days)
            if ranks[i] >= own
            and all(
                ranks[k] >= own or rows[k].response == "NE"
                for k in range(min(i, index), max(i, index))
            )
        ]
        known = own > 0 and not any(math.isnan(day) for day in run)
        confirmed.append(max(run) - min(run) >= CONFIRMATION_DAYS if known else None)
    return tuple(replace(row, confirmed=c) for row, c in zip(rows, confirmed, strict=True))


def _lesion_course(patient: _Patient, lesion: int) -> tuple[RanoResponse, ...]:
    """Return the category of one lesion at every visit after the baseline."""
    role = patient.roles[lesion]
    found: list[RanoResponse] = []
    sizes = [_size(visit, lesion).diameter for visit in patient.visits]
    for index in range(1, len(sizes)):
        now = sizes[index]
        known = [x for x in sizes[:index] if not math.isnan(x)]
        if role == "target" and not math.isnan(now):
            found.append(size_response(sizes[0], min(known), now, now - min(known)))
        elif lesion in patient.others:
            found.append(_non_target_response(patient, lesion, index))
        else:
            first = patient.appeared.get(lesion)
            found.append("PD" if first is not None and first <= index and now > 0 else "NE")
    return tuple(found)
