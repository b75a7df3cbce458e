"""Warnings of lesion values that are impossible or not those of the whole lesion."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from bidsapp.bids import outputs
from bidsapp.bids.cells import parse_flag, parse_number
from bidsapp.bids.records import Session
from bidsapp.bids.tables import read_table
from bidsapp.config import Config
from bidsapp.issues import IMPOSSIBLE_VALUE, NOT_ENHANCING, UNFITTED_VOXELS, Issue
from bidsapp.models.parameters import PARAMETERS

_SURE = 2.0
"""Standard errors by which a mean must be outside its range."""
_UNFITTED, _IMPRECISE = 0.1, 0.1
"""Share of voxels without a value, and relative standard error, that together are reported."""
_MOST_UNFITTED = 0.25
"""Share of voxels without a value that is reported, however precise the mean of the others is."""
_REMEDY = {
    "dwi": "look for clipped, wrapped or missing voxels in the series, and compare its b-values "
    "with the protocol",
    "perf": "check T1, relaxivity, arterial input and units, and look for clipped or missing "
    "voxels in the series",
}
_LESION_CURVE = re.compile(r"lesion-\d+")
_ENHANCING = 1.25
"""Least mean concentration of an enhancing lesion, relative to the median of the head."""

Row = Mapping[str, str]
Doubt = tuple[str, str]
"""Number of a lesion, and what is wrong."""


def lesion_warnings(session: Session, config: Config) -> Iterator[Issue]:
    """Yield a warning for each lesion whose values the results themselves contradict.

    Parameters
    ----------
    session
        A session whose graph has run.
    config
        Configuration of the run.
    """
    rows = list(_value_rows(session, config))
    for code, doubts in (
        (IMPOSSIBLE_VALUE, _implausible_means(rows)),
        (UNFITTED_VOXELS, _unfitted_voxels(rows)),
        (NOT_ENHANCING, _not_enhancing(session, config)),
    ):
        for lesion, text in doubts:
            yield Issue("warning", f"lesion {lesion}: {text}", code, lesion=lesion)


def reference_warnings(session: Session, config: Config) -> Iterator[str]:
    """Yield a text for each mean of the reference region that normal white matter does not have.

    Parameters
    ----------
    session
        A session whose graph has run.
    config
        Configuration of the run.
    """
    folder = (config.output_dir / outputs.REGION_VALUES.path(session, "dwi")).parent.parent
    for path in outputs.REGION_VALUES.find(folder, seg="reference"):
        for row in read_table(path, ["lesion", "parameter", "mean"]):
            parameter, mean = PARAMETERS.get(row["parameter"]), _number(row, "mean")
            if parameter is None or parameter.white_range is None or math.isnan(mean):
                continue
            low, high = parameter.white_range
            if not low <= mean <= high:
                unit = "" if parameter.unit == "1" else f" {parameter.unit}"
                yield (
                    f"reference region: mean {parameter.name} of {mean:.2g}{unit} is outside the "
                    f"range of normal white matter, {low:g} to {high:g}: look at the region, and "
                    f"{_REMEDY[parameter.datatype]}"
                )


def _value_rows(session: Session, config: Config) -> Iterator[Row]:
    """Yield the rows of lesion values of a session, without those of excluded lesions."""
    folder = (config.output_dir / outputs.LESION_VALUES.path(session, "dwi")).parent.parent
    for path in outputs.LESION_VALUES.find(folder):
        for row in read_table(path, ["lesion", "parameter", "mean"]):
            excluded = parse_flag(row.get("excluded", "0"), str(path))
            if row["parameter"] in PARAMETERS and not excluded:
                yield row


def _number(row: Row, name: str) -> float:
    return parse_number(row.get(name, "n/a"), f"lesion {row['lesion']}, {name}")


def _implausible_means(rows: Iterable[Row]) -> Iterator[Doubt]:
    """Yield each mean that no lesion of the brain can have, by more than its standard error."""
    for row in rows:
        parameter, mean = PARAMETERS[row["parameter"]], _number(row, "mean")
        error = _number(row, "standard_error")
        margin = 0.0 if math.isnan(error) else _SURE * error
        low, high = parameter.lesion_range
        beyond = ""
        if parameter.is_fraction and mean > 1:
            beyond = "exceeds 1, which is impossible"
        elif mean + margin < low:
            beyond = f"is below {low:g}, " + ("which is impossible" if low <= 0 else _NO_LESION)
        elif mean - margin > high:
            beyond = f"is above {high:g}, {_NO_LESION}"
        if beyond:
            unit = "" if parameter.unit == "1" else f" {parameter.unit}"
            yield (
                row["lesion"],
                f"mean {parameter.name} of {mean:.2g}{unit} {beyond}: "
                f"{_REMEDY[parameter.datatype]}",
            )


_NO_LESION = "which no lesion of the brain has"


def _unfitted_voxels(rows: Iterable[Row]) -> Iterator[Doubt]:
    """Yield each value that is the mean of a part of the lesion's voxels and may misrepresent it.

    A part of the voxels without ve is usual where hardly any contrast agent leaks, and the mean of
    the others is right if it is precise.
    """
    for row in rows:
        voxels, failed = _number(row, "n_voxels"), _number(row, "n_failed")
        if not (PARAMETERS[row["parameter"]].expected and voxels > 0):
            continue
        share, mean = failed / voxels, _number(row, "mean")
        imprecise = not _number(row, "standard_error") <= _IMPRECISE * abs(mean)
        if share > _MOST_UNFITTED or (share > _UNFITTED and imprecise):
            yield (
                row["lesion"],
                f"{100 * share:.0f} % of its voxels have no valid {row['parameter']} "
                f"({row.get('model', 'n/a')}), and the mean of the others may not be that of the "
                "lesion: compare it with the value of its mean curve (--lesion-values unmixed)",
            )


def _not_enhancing(session: Session, config: Config) -> Iterator[Doubt]:
    """Yield each lesion whose enhancing part takes up no more contrast agent than the head.

    An ROI in healthy tissue, such as a mirrored one, has a curve that any model fits well.
    """
    path = config.output_dir / outputs.LESION_CURVES["perf"].path(session, "perf")
    if not session.dynamic or not path.is_file():
        return
    rows = read_table(path)
    means = {
        name: _mean(parse_number(row[name], f"{path}: {name}") for row in rows)
        for name in (rows[0] if rows else ())
        if name == "median" or _LESION_CURVE.fullmatch(name)
    }
    head = means.pop("median", 0.0)
    for name, mean in means.items():
        if mean < _ENHANCING * head:
            yield (
                name.removeprefix("lesion-"),
                f"its mean concentration of {mean:.2g} mM is that of tissue without enhancement "
                f"(median of the head {head:.2g} mM): is its ROI mirrored, displaced, or of "
                "another session?",
            )


def _mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are not missing; NaN if all are."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
