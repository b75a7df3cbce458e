"""From the signal of a dynamic series to concentrations in tissue and artery."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import FitError
from bidsapp.models.contrast.aif import POPULATION, plasma_from_blood
from bidsapp.models.contrast.arrival import find_baseline_frames, fit_arrival
from bidsapp.models.contrast.spgr import contrast_r1, signal_to_concentration, spgr_signal
from bidsapp.models.solver.base import Array

_ENHANCING = 0.02
_FRAMES_SEEN = 3
_MOST_LISTED = 6
"""Frames that a message lists, at most."""


@dataclass(frozen=True)
class Spgr:
    """Acquisition of the dynamic series: TR in s, flip angle in rad, relaxivity in 1/s/mM.

    The flip angle is one number, or one per voxel (...): the nominal flip angle times B1.
    """

    repetition_time: float
    flip_angle: float | Array
    relaxivity: float

    def at(self, voxels: NDArray[np.bool_]) -> "Spgr":
        """Return the acquisition of some voxels of a mask (...).

        Examples
        --------
        >>> Spgr(0.004, np.array([0.2, 0.3]), 4.5).at(np.array([False, True])).flip_angle
        array([0.3])
        """
        if not np.ndim(self.flip_angle):
            return self
        return replace(self, flip_angle=np.asarray(self.flip_angle, float)[voxels])


@dataclass(frozen=True)
class ArterialInput:
    """Arterial input: times (N,) min, blood and plasma (N,) mM, number of frames before arrival."""

    time: Array
    blood: Array
    plasma: Array
    baseline_frames: int


def to_concentration(signal: ArrayLike, baseline_frames: int, t1: ArrayLike, spgr: Spgr) -> Array:
    """Convert signal to concentration, with the mean of the first frames as the baseline.

    Parameters
    ----------
    signal : (..., N) array
    baseline_frames
        Number of frames before the contrast agent arrives.
    t1 : (...) array, s
    spgr
        The acquisition.

    Returns
    -------
    (..., N) array, mM

    References
    ----------
    Schabel and Parker, Phys Med Biol 2008, doi:10.1088/0031-9155/53/9/010.

    Examples
    --------
    >>> spgr = Spgr(repetition_time=0.004, flip_angle=0.26, relaxivity=4.5)
    >>> float(to_concentration([5.0, 5.0, 10.0], 2, 1.6, spgr)[2].round(3))
    0.161
    """
    data = np.asarray(signal, float)
    return signal_to_concentration(
        data,
        data[..., :baseline_frames].mean(axis=-1),
        t1=t1,
        repetition_time=spgr.repetition_time,
        flip_angle=spgr.flip_angle,
        relaxivity=spgr.relaxivity,
    )


def enhancing_curve(signal: ArrayLike) -> Array:
    """Return the time course of the voxels that enhance most, which shows the bolus without an AIF.

    Parameters
    ----------
    signal : (..., N) array

    Returns
    -------
    (N,) array
        Median over the 2 % of voxels, among those brighter than the mean, whose second half lies
        highest above their first frames; medians, so that spikes of noise do not count.

    Examples
    --------
    >>> course = enhancing_curve(np.ones((100, 6)) + np.eye(100)[:, :1] * [0, 0, 0, 5, 3, 3])
    >>> int(course.argmax())
    3
    """
    series = np.asarray(signal)
    total = _sum_of_frames(series)
    # Air is darker than the mean of all voxels.
    bright = series[total >= total[np.isfinite(total)].mean()]
    first, late = bright[:, :_FRAMES_SEEN], bright[:, bright.shape[1] // 2 :]
    rise = np.median(late, axis=1).astype(float) - np.median(first, axis=1)
    highest = bright[rise >= np.quantile(rise, 1 - _ENHANCING)]
    course: Array = np.median(highest.astype(float), axis=0)
    return course


def head_course(signal: ArrayLike) -> Array:
    """Return the mean time course of the head: of the voxels brighter than the mean in frame one.

    Parameters
    ----------
    signal : (..., N) array

    Returns
    -------
    (N,) array

    Examples
    --------
    >>> head_course([[0, 0, 0], [4, 4, 6], [4, 4, 8], [np.nan, 9, 9]])
    array([4., 4., 7.])
    """
    series = np.asarray(signal)
    first, known = series[..., 0], np.isfinite(_sum_of_frames(series))
    head = known & (first >= first[known].mean(dtype=float))
    frames = np.moveaxis(series, -1, 0)
    return np.array([frame[head].mean(dtype=float) for frame in frames])


def _sum_of_frames(series: Array) -> Array:
    """Return the sum over the frames in double precision; not finite where a value is missing.

    It is made frame by frame, as series are stored: a copy sorted by voxels takes ten times longer.
    """
    frames = np.moveaxis(series, -1, 0)
    total: Array = np.zeros_like(frames[0], float)
    for frame in frames:
        total += frame
    return total


def count_baseline_frames(curve: Array, given: int) -> int:
    """Return the number of frames before the bolus: as given, or found in the curve.

    Parameters
    ----------
    curve : (N,) array
    given
        Zero to find them.

    Raises
    ------
    FitError
        If the number given leaves no frame for the bolus.

    Examples
    --------
    >>> count_baseline_frames(np.array([1, 1.1, 0.9, 1, 1, 4, 9, 6, 5]), 3)
    3
    """
    if given >= len(curve):
        raise FitError(f"--baseline-frames is {given}, but the series has {len(curve)} frames")
    return given or find_baseline_frames(curve)


def measured_input(
    artery: ArrayLike,
    time: ArrayLike,
    *,
    t1_blood: float,
    spgr: Spgr,
    haematocrit: float,
    baseline_frames: int = 0,
) -> ArterialInput:
    """Return the arterial input from the mean signal of an artery.

    Parameters
    ----------
    artery : (N,) array
        Mean signal of the artery's voxels.
    time : (N,) array, min
    t1_blood : float, s
    spgr
        The acquisition.
    haematocrit : float
    baseline_frames
        Frames before the bolus; 0 to find them.

    Returns
    -------
    ArterialInput

    Raises
    ------
    FitError
        If no bolus is found, or the signal exceeds what any concentration gives.

    References
    ----------
    Schabel and Parker, Phys Med Biol 2008, doi:10.1088/0031-9155/53/9/010.

    Examples
    --------
    >>> spgr = Spgr(repetition_time=0.004, flip_angle=0.26, relaxivity=4.5)
    >>> found = measured_input([10, 10, 10, 10, 50, 40], np.arange(6) / 12, t1_blood=1.65,
    ...                        spgr=spgr, haematocrit=0.42)
    >>> found.baseline_frames
    3
    """
    signal = np.asarray(artery, float)
    frames = count_baseline_frames(signal, baseline_frames)
    blood = to_concentration(signal, frames, t1_blood, spgr)
    if not np.isfinite(blood).all():
        bad = (np.flatnonzero(~np.isfinite(blood)) + 1).tolist()
        first = (
            f"{bad} is" if len(bad) <= _MOST_LISTED else f"{bad[0]} and {len(bad) - 1} others is"
        )
        raise FitError(
            f"the artery's signal at frames {first} beyond what any concentration gives; "
            f"check the AIF mask, the flip angle, TR and --t1-blood ({t1_blood:g} s)"
        )
    plasma = plasma_from_blood(blood, haematocrit)
    return ArterialInput(np.asarray(time, float), blood, plasma, frames)


def population_input(
    name: str,
    curve: ArrayLike,
    time: ArrayLike,
    *,
    t1_blood: float,
    spgr: Spgr,
    haematocrit: float,
    baseline_frames: int = 0,
) -> ArterialInput:
    """Return a population-averaged arterial input that arrives when a measured curve rises.

    Parameters
    ----------
    name
        A key of `POPULATION`.
    curve : (N,) array
        Signal that enhances, from which the arrival is estimated.
    time : (N,) array, min
    t1_blood : float, s
    spgr
        The acquisition.
    haematocrit : float
    baseline_frames
        Frames before the bolus; 0 to find them.

    Returns
    -------
    ArterialInput
        It may arrive between two frames.

    Raises
    ------
    FitError
        If the curve shows no bolus.

    Notes
    -----
    The signal that the function would give in pure blood, shifted and scaled, is fitted to the
    rise of the curve: see `bidsapp.models.contrast.arrival.fit_arrival`.

    References
    ----------
    Parker et al., Magn Reson Med 2006, doi:10.1002/mrm.21066.
    Georgiou et al., Magn Reson Med 2019, doi:10.1002/mrm.27524.

    Examples
    --------
    >>> rise = [1, 1, 1, 1, 5, 4]
    >>> found = population_input("parker2006", rise, np.arange(6) / 12, t1_blood=1.65,
    ...                          spgr=Spgr(0.004, 0.26, 4.5), haematocrit=0.42)
    >>> found.baseline_frames
    3
    """
    moments, measured = np.asarray(time, float), np.asarray(curve, float)
    function = POPULATION[name]

    # As a signal, since the curve is one too: a signal saturates at high concentrations, and so its
    # rise differs in shape from that of the concentration.
    def shape(at: Array, arrival: float) -> Array:
        r1 = contrast_r1(function(at, arrival), t1_blood, spgr.relaxivity)
        return spgr_signal(r1, spgr.repetition_time, spgr.flip_angle)

    frames = count_baseline_frames(measured, baseline_frames)
    blood = function(moments, fit_arrival(shape, measured, moments, baseline_frames))
    return ArterialInput(moments, blood, plasma_from_blood(blood, haematocrit), frames)
