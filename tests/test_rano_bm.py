"""RANO-BM: worked cases with their reasons, and laws that hold for every patient."""

import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.errors import BadInput
from bidsapp.lesions.rano_bm import assess_course
from bidsapp.lesions.rano_records import Size, Visit

WORKED = Path(__file__).parent / "data" / "rano_bm.toml"
CASES = tomllib.loads(WORKED.read_text(encoding="utf-8"))["case"]


def visits_of(case):
    """The visits of a worked case."""
    count = len(case["days"])
    unknown = [math.nan] * count
    steroids, clinical = case.get("steroids", unknown), case.get("clinical", [""] * count)
    return [
        Visit(
            day,
            {
                int(n): Size(
                    sizes[i],
                    case.get("perpendicular", {}).get(n, unknown)[i],
                    case.get("slices", {}).get(n, unknown)[i],
                )
                for n, sizes in case["lesions"].items()
            },
            steroids[i],
            clinical[i] or None,
        )
        for i, day in enumerate(case["days"])
    ]


def test_there_are_forty_worked_cases_or_more():
    assert len({case["name"] for case in CASES}) == len(CASES) >= 40
    assert all(case["reason"] for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_worked_case(case):
    """The category at every visit is that of the criteria, for the reason given beside it."""
    course = assess_course(visits_of(case))
    rows = course.assessments
    assert [row.response for row in rows] == case["response"], case["reason"]
    if "confirmed" in case:
        assert ["" if r.confirmed is None else r.confirmed for r in rows] == case["confirmed"]
    for row, note in zip(rows, case.get("notes", []), strict=bool(case.get("notes"))):
        assert note in "; ".join(row.notes)
        assert bool(note) == bool(row.notes)
    if "targets" in case:
        assert [n for n, role in course.roles.items() if role == "target"] == case["targets"]
    if "radiographic_only" in case:
        assert [row.radiographic_only for row in rows] == case["radiographic_only"]


def test_sums_and_changes_are_those_of_the_targets():
    """Against baseline and nadir; the nadir is the smallest sum before, not that of the visit."""
    days, one, two = [-5, 30, 60, 90], [20, 12, 10, 18], [10, 8, 8, 9]
    sizes = [{1: Size(a), 2: Size(b), 3: Size(5)} for a, b in zip(one, two, strict=True)]
    rows = assess_course([Visit(d, s) for d, s in zip(days, sizes, strict=True)]).assessments
    assert [row.diameter_sum for row in rows] == [20, 18, 27]
    assert [row.nadir for row in rows] == [30, 20, 18]
    assert [row.from_baseline for row in rows] == pytest.approx([-100 / 3, -40, -10])
    assert [row.from_nadir for row in rows] == pytest.approx([-100 / 3, -10, 50])
    assert rows[-1].response == "PD"


def test_best_response_ends_at_the_first_progression():
    """And counts a response that was not sustained as stable disease if it must be confirmed."""
    sizes = [20.0, 13.0, 20.0, 0.0]
    course = assess_course([Visit(30.0 * i, {1: Size(x)}) for i, x in enumerate(sizes)])
    assert [row.response for row in course.assessments] == ["PR", "PD", "CR"]
    assert course.progression == 1
    assert (course.best_response(), course.best_response(confirmed=True)) == ("PR", "SD")


def test_each_lesion_has_a_category_of_its_own():
    """Targets by their own nadir, non-target lesions gone or grown, new ones a progression."""
    sizes = {1: (20, 12, 18), 2: (8, 0, 2), 3: (0, 0, 6), 4: (math.nan, 5, 5), 5: (0, 0, 0)}
    visits = [Visit(30.0 * i, {n: Size(x[i]) for n, x in sizes.items()}) for i in range(3)]
    course = assess_course(visits)
    assert course.lesions == {
        1: ("PR", "PD"),
        2: ("CR", "SD"),
        3: ("NE", "PD"),
        4: ("NE", "SD"),
        5: ("NE", "NE"),
    }
    assert list(course.roles.values()) == ["target", "non-target", "new", "unknown", "absent"]


def test_everything_that_is_wrong_is_named_at_once():
    visits = [Visit(30.0, {1: Size(20)}), Visit(-5.0, {2: Size(-3)}, steroid_dose=-1)]
    with pytest.raises(BadInput, match=r"chronological.*lesion 2 has a diameter of -3.*dose is -1"):
        assess_course(visits)
    with pytest.raises(BadInput, match="there is no visit"):
        assess_course([])


diameters = st.one_of(st.just(0.0), st.floats(0.5, 60), st.just(math.nan))
patients = st.integers(2, 5).flatmap(
    lambda n: st.lists(st.lists(diameters, min_size=n, max_size=n), min_size=1, max_size=7)
)


@given(patients)
def test_laws_of_every_patient(lesions):
    """New lesions stay a progression, and responses are those of the diameters that are left.

    The order in which lesions are given is irrelevant.
    """
    count = len(lesions[0])
    visits = [
        Visit(30.0 * i, {n: Size(sizes[i]) for n, sizes in enumerate(lesions, start=1)})
        for i in range(count)
    ]
    course = assess_course(visits)
    assert len(course.assessments) == count - 1
    assert sum(role == "target" for role in course.roles.values()) <= 5
    reordered = [Visit(v.day, dict(reversed(v.sizes.items()))) for v in visits]
    assert repr(assess_course(reordered).assessments) == repr(course.assessments)
    followed = [n for n, role in course.roles.items() if role in ("target", "non-target")]
    new = False
    for visit, row in zip(visits[1:], course.assessments, strict=True):
        new = new or bool(row.new_lesions)
        assert not new or row.response == "PD"
        if row.response == "CR":
            assert {visit.sizes[n].diameter for n in followed} == {0.0}
        if row.response == "PR":
            assert row.from_baseline <= -30
