"""Recovered against injected changes of a lesion, and the smallest change that can be detected."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.lesions.surroundings import ENHANCING
from bidsapp.lesions.unmixed_values import EDGE_UNCERTAINTY, LesionCourses, unmixed_values
from bidsapp.models.parameters import PARAMETERS
from bidsapp.recovery.changes import VOLUME, Change
from bidsapp.recovery.lesion import (
    AS_ACQUIRED,
    ChangedLesion,
    LesionInSeries,
    Pose,
    changed_signal,
)
from bidsapp.recovery.means import Region
from bidsapp.recovery.signals import ModelFit, SeriesSignal

Array = NDArray[np.float64]
Estimates = dict[tuple[str, str], float]
"""Value by estimate (``mean`` or ``unmixed``) and parameter."""

REPEATS = 20
"""Number of simulated visits."""
_WITH_CHANGE = 10
"""Largest number of visits that are simulated with each change, too: the recovered change differs
less between visits than the values."""
_TWO_VISITS = 1.96 * np.sqrt(2)
"""Factor from the standard deviation of a value to the 95 % limit of a difference of two."""
_WIDE = 1.5
"""Distance from a lesion up to which voxels are fitted, besides two voxels, mm."""

_NEGLIGIBLE = 0.05
"""Relative change of a parameter through that of another one which is taken as none."""

RECOVERY_COLUMNS: Mapping[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session into whose series the changes were put",
    "lesion": "Number of the lesion, the same in every session: its index in the ROI table",
    "roi": "Which ROI: enhancing (the part that enhances) or whole (the whole lesion)",
    "model": "BIDS model- label of the fit; n/a for a volume",
    "parameter": "The parameter",
    "unit": "Its unit",
    "estimate": "mean over the voxels of the ROI, or unmixed: of the lesion's own course",
    "injected": "The change that was put into the series: parameter and percentage",
    "value": "Value measured in the series as acquired",
    "true_value": "Value of the lesion's own course before the change, from which the true change "
    "is calculated",
    "true_change": "Change of the parameter in the lesion itself; 0 if another one was changed and "
    "this one follows by less than 5 %",
    "recovered_change": "Change that the analysis measures, mean over the simulated visits, each "
    "with and without the change at the same noise, position and edge of the ROI",
    "recovered_fraction": "Recovered divided by true change; n/a if that is 0",
    "recovered_sd": "Standard deviation of the recovered change over the simulated visits",
    "sd": "Standard deviation of the value over simulated visits without change, which differ in "
    "noise, also of a measured arterial input, position of the head on the grid, error of "
    "registration and edge of the ROI",
    "detectable_change": "Smallest change between two visits that exceeds these differences with "
    "95 % confidence: 1.96 sqrt(2) sd. Not included: differences of the arterial input other than "
    "its noise, of T1, and of the patient between two visits",
    "detected": "1 if the recovered change is at least the detectable change, n/a if one of them "
    "is not known; if the true change is 0, this is a false change",
    "n_repeats": "Number of simulated visits, from which sd is estimated",
    "n_valid": "Number of visits that were simulated with and without the change, and gave a value "
    f"for both; at most {_WITH_CHANGE}",
    "excluded": "1 if the ROI table marks the lesion as excluded",
}
"""The columns of the table of recovered changes and what they mean."""


@dataclass(frozen=True)
class Visits:
    """How visits are simulated.

    Attributes
    ----------
    repeats : int
        Number of visits, at least two.
    seed : tuple of int
        Seeds of the random numbers.
    position_error : float, mm
        Standard deviation of the position of the ROI along each axis.
    edge_error : float, mm
        Standard deviation of the edge of the ROI, the same along the whole edge.
    noise : float
        Standard deviation of the noise that is added to the series and to the measured arterial
        signal, relative to the noise of the series.
    moved : bool
        Whether the head is at another position in the grid, by up to half a voxel along each axis.
    """

    repeats: int = REPEATS
    seed: tuple[int, ...] = (0,)
    position_error: float = 0.0
    edge_error: float = EDGE_UNCERTAINTY
    noise: float = 1.0
    moved: bool = True


@dataclass(frozen=True, eq=False)
class Chain:
    """The analysis of a run: how signals become values of a lesion.

    Attributes
    ----------
    lesion : LesionInSeries
    signal : SeriesSignal
        Of the voxels of its box.
    models : sequence of ModelFit
    region : Region
        Voxels of the mean.
    brain : (I, J, K) array of bool
        Voxels of the box that the run has fitted.
    """

    lesion: LesionInSeries
    signal: SeriesSignal
    models: Sequence[ModelFit]
    region: Region
    brain: NDArray[np.bool_]

    @cached_property
    def fitted(self) -> NDArray[np.bool_]:
        """The voxels of the box on which the mean may depend."""
        reached = self.lesion.fractions(np.zeros(3), self.lesion.offset + _WIDE).sum(axis=-1) > 0
        around = ndimage.binary_dilation(reached, np.ones((3, 3, 3), bool), iterations=2)
        return np.asarray(around & self.brain)

    @cached_property
    def share(self) -> Array:
        """Fraction of each voxel of the box inside the enhancing part as drawn."""
        return self.lesion.fractions(np.zeros(3), 0.0, [ENHANCING])[..., 0]

    @cached_property
    def averaged(self) -> SeriesSignal:
        """The signal of the lesion as a whole."""
        return self.signal.averaged(self.share)

    def measure(self, data: Array, pose: Pose, signal: SeriesSignal | None = None) -> Estimates:
        """Return the values of the lesion from the signal of its box, with a moved ROI.

        Parameters
        ----------
        data : (I, J, K, N) array
        pose
            Position and edge of the ROI.
        signal
            Default: that of the run; otherwise with another arterial input.
        """
        found: Estimates = {}
        voxels = self.fitted & np.isfinite(data).all(axis=-1)
        described = signal or self.signal
        of_voxels, of_lesion = described.at(voxels), described.averaged(self.share)
        courses = LesionCourses(
            [_without_errors(course) for course in self.lesion.unmixed(data, pose)],
            np.zeros((0, data.shape[-1])),
            np.nan,
        )
        for model in self.models:
            fitted = of_voxels.fit(model, data[voxels])
            own = unmixed_values(courses, partial(of_lesion.fit, model))
            for name in model.parameters:
                values = np.full(voxels.shape, np.nan)
                values[voxels] = fitted[name]
                found["mean", name] = self.region.mean(values, pose)
                found["unmixed", name] = own[name].value
        return found

    def noise_level(self) -> float:
        """Return the standard deviation of the noise around the lesion."""
        data = self.lesion.data
        voxels = self.fitted & np.isfinite(data).all(axis=-1)
        return self.signal.at(voxels).noise_level(self.models[-1], data[voxels])


def _without_errors(course: Any) -> Any:
    """Return a course whose errors are not propagated."""
    return replace(course, spread=np.zeros((0, len(course.course))))


def true_values(chain: Chain, course: Array) -> dict[str, dict[str, float]]:
    """Return all parameters of a course (N,) by model and name."""
    signal = chain.averaged
    return {
        model.name: {k: float(v[0]) for k, v in signal.fit(model, course[None]).items()}
        for model in chain.models
    }


def change_lesion(chain: Chain, change: Change) -> ChangedLesion:
    """Return the lesion after a change.

    Raises
    ------
    BadInput
        If the parameter has no value, or is not positive, so that it cannot change in proportion.
    """
    lesion = chain.lesion
    course = lesion.courses[0]
    before = true_values(chain, course)
    if change.parameter == VOLUME:
        edge = lesion.edge
        offset = edge.offset_of_volume(change.factor, lesion.offset)
        grown = (edge.volume(offset) - edge.volume(lesion.offset)) / 1000
        none = {name: 0.0 for model in chain.models for name in model.parameters}
        return ChangedLesion(np.zeros_like(course), offset - lesion.offset, {**none, VOLUME: grown})
    model = next(m for m in chain.models if change.parameter in m.parameters)
    value = before[model.name][change.parameter]
    if not value > 0:
        raise BadInput(
            f"{change.name} cannot be put in: {change.parameter} of the lesion is {value:.4g}"
        )
    step = value * change.percent / 100
    known = before[model.name]
    after = chain.averaged.changed(model, course, known, change.parameter, step)
    fitted = true_values(chain, after)
    changes = {
        name: _sizeable_change(before[m.name][name], fitted[m.name][name])
        for m in chain.models
        for name in m.parameters
    }
    return ChangedLesion(after - course, 0.0, {**changes, change.parameter: step, VOLUME: 0.0})


def _sizeable_change(before: float, after: float) -> float:
    """Return the change of a parameter that follows from another one; 0 if it is negligible."""
    return 0.0 if abs(after - before) < _NEGLIGIBLE * abs(before) else after - before


def draw_pose(visits: Visits, affine: Array, rng: np.random.Generator) -> Pose:
    """Return a random position of head and ROI, and edge of the ROI.

    Parameters
    ----------
    visits
        Sizes of the differences.
    affine : (4, 4) array
        Voxels of the series to RAS mm.
    rng
        Random numbers.
    """
    within, error, edge = rng.uniform(-0.5, 0.5, 3), rng.normal(size=3), rng.normal()
    shift = affine[:3, :3] @ within if visits.moved else np.zeros(3)
    return Pose(shift, visits.position_error * error, visits.edge_error * edge)


def simulate_visits(
    chain: Chain, changed: Mapping[str, ChangedLesion], visits: Visits
) -> dict[str, list[Estimates]]:
    """Return the values of a lesion in simulated visits, without change (``""``) and with each.

    Changes are put into the first visits only.

    Parameters
    ----------
    chain
        The lesion and its analysis.
    changed
        The lesion after each change, by its name.
    visits
        How visits differ.
    """
    lesion = chain.lesion
    unchanged = ChangedLesion(np.zeros(lesion.courses.shape[1]), 0.0, {})
    states = {"": unchanged, **changed}
    level = visits.noise * chain.noise_level() if visits.noise else 0.0
    found: dict[str, list[Estimates]] = {name: [] for name in states}
    for number in range(visits.repeats):
        rng = np.random.default_rng([*visits.seed, number])
        pose = draw_pose(visits, np.asarray(lesion.scene.affine, float), rng)
        noise = level * rng.standard_normal(lesion.data.shape, dtype=np.float32)
        signal = chain.signal.redrawn(level, rng)
        for name, state in states.items():
            if name and number >= _WITH_CHANGE:
                continue
            data = changed_signal(lesion, state, pose) + noise
            drawn = replace(pose, edge=lesion.offset + state.offset + pose.edge)
            estimates = chain.measure(data, drawn, signal)
            estimates["mean", VOLUME] = lesion.edge.volume(drawn.edge) / 1000
            found[name].append(estimates)
    return found


def recover_changes(
    chain: Chain, changes: Sequence[Change], visits: Visits
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of a lesion in the table of recovered changes, and what could not be done.

    Parameters
    ----------
    chain
        The lesion and its analysis.
    changes
        Those that concern the series.
    visits
        How visits differ.
    """
    changed, problems = {}, []
    for change in changes:
        try:
            changed[change.name] = change_lesion(chain, change)
        except BadInput as error:
            problems.append(str(error))
    if not changed:
        return [], problems
    measured = chain.measure(chain.lesion.data, AS_ACQUIRED)
    measured["mean", VOLUME] = chain.lesion.edge.volume() / 1000
    found = simulate_visits(chain, changed, visits)
    rows = [
        {"injected": name, **row}
        for name, state in changed.items()
        for row in _rows(chain, measured, found[""], found[name], state)
    ]
    return rows, problems


def _rows(
    chain: Chain,
    measured: Estimates,
    without: Sequence[Estimates],
    with_change: Sequence[Estimates],
    state: ChangedLesion,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each parameter and estimate."""
    own = true_values(chain, chain.lesion.courses[0])
    described = [
        (row, own[model.name][name])
        for model in chain.models
        for name, row in model.parameter_rows().items()
    ]
    size = chain.lesion.edge.volume(chain.lesion.offset) / 1000
    if state.true_changes[VOLUME]:
        unit = PARAMETERS[VOLUME].unit
        described.append(({"parameter": VOLUME, "unit": unit, "roi": "whole"}, size))
    for row, value in described:
        name = row["parameter"]
        for estimate in ("mean", "unmixed"):
            key = (estimate, name)
            if key not in measured or (estimate == "unmixed" and not chain.lesion.resolved):
                continue
            before, after = (np.array([e[key] for e in one]) for one in (without, with_change))
            numbers = summarise_change(before, after, state.true_changes[name])
            known = {"value": measured[key], "true_value": value}
            yield {"estimate": estimate, **row, **known, **numbers}


def summarise_change(before: Array, after: Array, true_change: float) -> dict[str, Any]:
    """Return the columns that compare recovered and true change.

    Parameters
    ----------
    before : (R,) array
        Values of simulated visits without the change.
    after : (S,) array
        Values of the first S of them with the change.
    true_change
        Of the lesion itself.

    Examples
    --------
    >>> found = summarise_change(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]), 2.0)
    >>> found["recovered_fraction"], round(found["detectable_change"], 2), found["detected"]
    (0.5, 2.77, False)
    """
    steps = after - before[: len(after)]
    steps, known = steps[np.isfinite(steps)], before[np.isfinite(before)]
    recovered = float(steps.mean()) if len(steps) else np.nan
    sd = float(known.std(ddof=1)) if len(known) > 1 else np.nan
    detectable = float(_TWO_VISITS * sd)
    return {
        "true_change": true_change,
        "recovered_change": recovered,
        "recovered_fraction": recovered / true_change if true_change else np.nan,
        "recovered_sd": float(steps.std(ddof=1)) if len(steps) > 1 else np.nan,
        "sd": sd,
        "detectable_change": detectable,
        "detected": abs(recovered) >= detectable if np.isfinite(recovered - detectable) else None,
        "n_repeats": len(before),
        "n_valid": len(steps),
    }
