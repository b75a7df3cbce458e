"""Arterial concentrations in a table of the user, converted by the ``Units`` of its columns."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from bidsapp.bids.cells import parse_number
from bidsapp.bids.dynamic import HAEMATOCRIT_RANGE, stated_haematocrit
from bidsapp.bids.inheritance import metadata
from bidsapp.bids.records import FRAME_RANGE, Stated
from bidsapp.bids.sidecar import ascending_steps, quote_value
from bidsapp.bids.tables import Row, read_table
from bidsapp.errors import BadInput

_MINUTES = {
    **dict.fromkeys(("ms", "msec", "millisecond"), 1 / 60000),
    **dict.fromkeys(("s", "sec", "second"), 1 / 60),
    **dict.fromkeys(("min", "minute"), 1.0),
}
"""Units of time, in min."""
_PREFIX = {"": 1e3, "m": 1.0, "u": 1e-3, "n": 1e-6}
"""Prefixes of mol/l, in mM."""
_MOLAR = re.compile(
    r"(?P<prefix>[mun]?)(?:M|mol(?:ar|e|es)?(?:(?:/|\.|\*)?(?:l|dm\^?3)(?:\^?-1)?)?)"
)
_ALIKE = str.maketrans(
    {"µ": "u", "μ": "u", "⁻": "-", "¹": "1", "³": "3", "·": ".", "⋅": ".", " ": ""}
)
_PEAK = (0.05, 50.0)
"""Peaks in blood or plasma outside this range are in another unit, mM."""
_PLASMA_TO_BLOOD = tuple(1 / (1 - haematocrit) for haematocrit in HAEMATOCRIT_RANGE)
"""Ratios of concentrations in plasma and blood that a plausible haematocrit gives."""
_IDENTICAL = 0.02
"""Relative difference of peaks below which two columns are one."""
_SAME_TIME = 1e-6
"""Difference of times that is due to rounding, min."""
_ALIKE_SPAN = 0.15
"""Relative difference of two durations that are the same in some unit."""


@dataclass(frozen=True)
class ArterialTable:
    """Concentrations in ``blood`` or ``plasma``: times in min, values in mM."""

    compartment: str
    times: tuple[float, ...]
    values: tuple[float, ...]


def read_arterial_table(path: Path, fields: Mapping[str, Any]) -> ArterialTable:
    """Return the concentrations of a table with a column ``time`` and ``blood`` or ``plasma``.

    Parameters
    ----------
    path
        The table; ``plasma`` is preferred if it has both.
    fields
        Metadata of the table. ``Units`` of a column: seconds and mM if missing.

    Raises
    ------
    BadInput
        If values or units cannot be used, or the peak is that of another unit.
    """
    rows = read_table(path, ("time",), known=("time", "blood", "plasma"))
    column = "plasma" if rows and "plasma" in rows[0] else "blood"
    minutes, molar = _time_scale(path, fields), _concentration_scale(path, fields, column)
    if rows and column not in rows[0]:
        raise BadInput(
            f"{path}: has neither a column blood nor plasma (mM) beside time; the columns are "
            f"{', '.join(rows[0])[:200]}"
        )
    times = [_number(path, n, row, "time") * minutes for n, row in enumerate(rows, 1)]
    values = [_number(path, n, row, column) * molar for n, row in enumerate(rows, 1)]
    _check_times(path, times)
    _check_peak(path, column, values, _units(fields, column))
    if column == "plasma" and "blood" in rows[0]:
        _check_compartments(path, fields, rows, values)
    return ArterialTable(column, tuple(times), tuple(values))


def check_coverage(path: Path, table: ArterialTable, frames: Sequence[float]) -> None:
    """Refuse a table that does not cover the frames, or not in their unit of time.

    Parameters
    ----------
    path
        File of the table, for the message.
    table
        Its content.
    frames
        Times of the frames, min.

    Raises
    ------
    BadInput
        If the first frame is before the first row, or the last frame after the last row.
    """
    times = table.times
    if times and times[0] <= frames[0] + _SAME_TIME and times[-1] >= frames[-1] - _SAME_TIME:
        return
    first, last = (60 * times[0], 60 * times[-1]) if times else (math.nan, math.nan)
    span = frames[-1] - frames[0]
    steps = {round(60 * (after - before), 6) for before, after in pairwise(times)}
    hint = "extend it, or leave frames out"
    if steps == {1.0} and len(times) == len(frames):
        hint = "are these numbers of frames? Give seconds"
    elif times and abs((times[-1] - times[0]) * 60 - span) <= _ALIKE_SPAN * span:
        hint = "is time in min? Then state its Units in the JSON beside it"
    elif times and abs(times[-1] - times[0] - span) <= _ALIKE_SPAN * span:
        hint = "are they counted from another moment than the first frame?"
    raise BadInput(
        f"{path}: does not cover the frames from {60 * frames[0]:g} to {60 * frames[-1]:g} s; its "
        f"times are {first:g} to {last:g} s: {hint}"
    )


def _number(path: Path, row: int, cells: Mapping[str, str], column: str) -> float:
    """Return a cell of a row, counted from 1 below the header."""
    where = f"{path}: row {row}, {column}"
    value = parse_number(cells[column], where)
    if math.isnan(value):
        raise BadInput(f"{where}: is missing; the columns time (s) and {column} (mM) need numbers")
    return value


def _check_compartments(
    path: Path, fields: Mapping[str, Any], rows: Sequence[Row], plasma: Sequence[float]
) -> None:
    """Refuse blood and plasma that no haematocrit relates: plasma = blood / (1 - Hct).

    Both are compared where they are largest; without numbers in the column of blood, nothing is.
    """
    scale = _concentration_scale(path, fields, "blood")
    blood = [parse_number(row["blood"], f"{path}: blood") * scale for row in rows]
    peak = max((value for value in blood if not math.isnan(value)), default=0.0)
    if peak <= 0:
        return
    ratio = max(plasma) / peak
    if _PLASMA_TO_BLOOD[0] <= ratio <= _PLASMA_TO_BLOOD[1]:
        return
    hint = "are they exchanged?" if ratio < 1 / _PLASMA_TO_BLOOD[0] else "correct one"
    if abs(ratio - 1) < _IDENTICAL:
        hint = "they are the same: remove the one that was not measured"
    raise BadInput(
        f"{path}: the peak of plasma is {ratio:.3g} times that of blood; by the haematocrit it is "
        f"1 / (1 - Hct), {_PLASMA_TO_BLOOD[0]:g} to {_PLASMA_TO_BLOOD[1]:g}: {hint}"
    )


def table_metadata(path: Path, roots: Iterable[Path]) -> dict[str, Any]:
    """Return the metadata of a table in one of several data sets; empty without any.

    Raises
    ------
    BadInput
        If one of its sidecars cannot be read.
    """
    return metadata(path, next((r for r in roots if path.is_relative_to(r)), path.parent))


def table_haematocrit(path: Path, fields: Mapping[str, Any]) -> Stated | None:
    """Return the haematocrit in the metadata of a table or of one of its columns, or None.

    Raises
    ------
    BadInput
        If it is not a plausible fraction or percentage.

    Examples
    --------
    >>> table_haematocrit(Path("a_timeseries.tsv"), {"plasma": {"Haematocrit": 0.38}})
    Stated(value=0.38, source='a_timeseries.json')
    """
    levels = (fields, _column(fields, "plasma"), _column(fields, "blood"))
    found = (stated_haematocrit(level, path.with_suffix(".json").name) for level in levels)
    return next(filter(None, found), None)


def _column(fields: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    """Return the description of a column in the metadata; empty without any."""
    description = fields.get(column)
    return description if isinstance(description, Mapping) else {}


def _units(fields: Mapping[str, Any], column: str) -> Any:
    """Return the units of a column in the metadata, or None."""
    return _column(fields, column).get("Units")


def _time_scale(path: Path, fields: Mapping[str, Any]) -> float:
    """Return the factor from the unit of the column ``time`` to min."""
    units = _units(fields, "time")
    if units is None:
        return _MINUTES["s"]
    name = str(units).strip().lower().rstrip(".")
    scale = _MINUTES.get(name, _MINUTES.get(name.removesuffix("s")))
    if scale is None:
        raise BadInput(
            f"{path.with_suffix('.json')}: Units of time is {quote_value(units)}; it must be s, "
            "min or ms"
        )
    return scale


def _concentration_scale(path: Path, fields: Mapping[str, Any], column: str) -> float:
    """Return the factor from the unit of a concentration to mM."""
    units = _units(fields, column)
    if units is None:
        return 1.0
    scale = molar_scale(str(units))
    if scale is None:
        raise BadInput(
            f"{path.with_suffix('.json')}: Units of {column} is {quote_value(units)}; it must be "
            "a concentration such as mM, mmol/l, umol/l or M"
        )
    return scale


def molar_scale(units: str) -> float | None:
    """Return the factor from a unit of concentration to mM, or None if it is not known.

    Examples
    --------
    >>> [molar_scale(x) for x in ("mM", "mmol/L", "umol l-1", "mol/l", "mol/m^3", "mmol/kg")]
    [1.0, 1.0, 0.001, 1000.0, 1.0, None]
    """
    text = units.translate(_ALIKE)
    for word, prefix in (("milli", "m"), ("micro", "u"), ("nano", "n")):
        text = re.sub(f"^{word}", prefix, text, flags=re.IGNORECASE)
    text = re.sub(r"lit(?:er|re)s?|L", "l", text)
    if re.fullmatch(r"mol(?:/|\.)?m\^?-?3", text):
        return 1.0
    found = _MOLAR.fullmatch(text)
    return _PREFIX[found["prefix"]] if found else None


def _check_times(path: Path, times: list[float]) -> None:
    """Refuse times that are not ascending, or too far apart to be in the stated unit."""
    remedy = "each row must be later than the one before"
    steps = ascending_steps(times, f"{path}: time", remedy)
    if steps and 60 * median(steps) > FRAME_RANGE[1]:
        raise BadInput(
            f"{path}: its rows are {60 * median(steps):g} s apart; is time in seconds? Otherwise "
            f"state its Units (s, min or ms) in {path.with_suffix('.json').name}"
        )


def _check_peak(path: Path, column: str, values: list[float], units: Any) -> None:
    """Refuse a curve with a peak that no contrast agent gives in an artery."""
    peak = max(values, default=1.0)
    if not all(abs(value) < float("inf") for value in values):
        raise BadInput(f"{path}: {column} has a value that is not finite")
    if not _PEAK[0] <= peak <= _PEAK[1]:
        stated = "without Units" if units is None else f"with the Units {quote_value(units)}"
        raise BadInput(
            f"{path}: the peak of {column} is {peak:.3g} mM ({stated}), outside {_PEAK[0]:g} to "
            f"{_PEAK[1]:g} mM; state the right Units (mM, umol/l or M) of {column} in "
            f"{path.with_suffix('.json').name}"
        )
