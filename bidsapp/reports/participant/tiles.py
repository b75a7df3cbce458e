"""Six tiles on the quality of the data of a participant, at the top of the page."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bidsapp.bids import outputs
from bidsapp.errors import BadInput
from bidsapp.models.parameters import DISPLAY, FOLLOWED
from bidsapp.reports.page.numbers import count_of, format_number
from bidsapp.reports.participant.findings import FAILED_SHARE
from bidsapp.reports.participant.kinds import Finding
from bidsapp.reports.participant.quality import quality_rows
from bidsapp.reports.participant.records import (
    DATATYPES,
    ParticipantOutputs,
    SessionOutputs,
    read_frame,
    read_json,
)
from bidsapp.reports.participant.unmixed import unmixed_values

Tone = Literal["good", "warn", "bad", "none"]

LOW_RECOVERY = 0.5
"""Fraction of the contrast kept by the mean, below which partial volume is marked."""


@dataclass(frozen=True)
class Tile:
    """A title, one or two short lines, and the section of the details."""

    title: str
    value: str
    text: str
    tone: Tone
    anchor: str


def quality_tiles(participant: ParticipantOutputs, found: Sequence[Finding]) -> list[Tile]:
    """Return the tiles of a participant.

    Parameters
    ----------
    participant : ParticipantOutputs
    found : sequence of Finding

    Returns
    -------
    tiles : list of Tile
        Registration, motion, arterial input, coverage, partial volume and findings.
    """
    rows = quality_rows(participant)
    names = {session.label: session.name for session in participant.sessions}
    builders: Mapping[str, Callable[[], Tile]] = {
        "Registration": lambda: registration_tile(rows, names),
        "Motion": lambda: motion_tile(rows, names),
        "Arterial peak": lambda: _artery_tile(participant),
        "Voxels with a value": lambda: _coverage_tile(participant),
        "Partial volume": lambda: _partial_volume_tile(participant),
        "Findings": lambda: findings_tile(found),
    }
    return [_attempt(title, build) for title, build in builders.items()]


def _attempt(title: str, build: Callable[[], Tile]) -> Tile:
    """Return a tile, or one that states that its files cannot be used."""
    try:
        return build()
    except (BadInput, KeyError, ValueError):  # the findings name the file
        return Tile(title, "–", "a file cannot be read", "bad", "findings")


def registration_tile(rows: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> Tile:
    """Return the largest expected error of a registration, and how many are good.

    Parameters
    ----------
    rows : iterable of mapping
        See `quality_rows`.
    names : mapping of str to str
        Session -> name on the page.

    Examples
    --------
    >>> row = {"session_id": "ses-1week", "series": "DCE", "verdict": "good"}
    >>> tile = registration_tile([row | {"expected_error_mm": 0.14}], {"ses-1week": "1week"})
    >>> tile.value, tile.text, tile.tone
    ('0.14 mm', '1 of 1 good; largest error: DCE of 1week', 'good')
    """
    done = [row for row in rows if row.get("verdict")]
    if not done:
        return Tile("Registration", "–", "no series was registered", "none", "registration")
    counts = {v: sum(row["verdict"] == v for row in done) for v in ("good", "doubtful", "failed")}
    text = f"{counts['good']} of {len(done)} good"
    text += "".join(f", {counts[v]} {v}" for v in ("doubtful", "failed") if counts[v])
    known = [row for row in done if row.get("expected_error_mm") is not None]
    tone: Tone = "bad" if counts["failed"] else "warn" if counts["doubtful"] else "good"
    if not known:
        return Tile("Registration", "–", f"{text}; error not known", tone, "registration")
    worst = max(known, key=lambda row: float(row["expected_error_mm"]))
    text += f"; largest error: {worst['series']} of {names[worst['session_id']]}"
    value = f"{format_number(float(worst['expected_error_mm']), 2)} mm"
    return Tile("Registration", value, text, tone, "registration")


def motion_tile(rows: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> Tile:
    """Return the largest displacement between two volumes, and the number of outliers.

    Parameters
    ----------
    rows, names
        See `registration_tile`.

    Examples
    --------
    >>> row = {"session_id": "ses-1week", "series": "DCE", "n_volumes": 60, "n_outliers": 1}
    >>> tile = motion_tile([row | {"max_displacement_mm": 1.16}], {"ses-1week": "1week"})
    >>> tile.value, tile.text
    ('1.2 mm', 'at most, DCE of 1week; 1 of 60 volumes outlying')
    """
    done = [row for row in rows if row.get("n_volumes")]
    if not done:
        return Tile("Motion", "–", "was not estimated", "none", "motion")
    worst = max(done, key=lambda row: float(row["max_displacement_mm"]))
    value = f"{format_number(float(worst['max_displacement_mm']), 1)} mm"
    text = f"at most, {worst['series']} of {names[worst['session_id']]}"
    known = [row for row in done if row.get("n_outliers") is not None]
    outliers = sum(row["n_outliers"] for row in known)
    if known:
        volumes = sum(row["n_volumes"] for row in known)
        text += f"; {outliers or 'none'} of {count_of(volumes, 'volume')} outlying"
    return Tile("Motion", value, text, "warn" if outliers else "good", "motion")


def _artery_tile(participant: ParticipantOutputs) -> Tile:
    """Return the peak of the arterial input in each session, and its change."""
    peaks, doubts = {}, 0
    for session in participant.sessions:
        path = session.find(outputs.ARTERIAL_INPUT)
        if path:
            blood = read_frame(path)["blood"].to_numpy(float)
            peaks[session.name] = float(np.nanmax(blood, initial=-np.inf))
        doubts += _count_doubts(session)
    return artery_tile(peaks, doubts)


def _count_doubts(session: SessionOutputs) -> int:
    """Return the number of warnings on the arterial input of a session."""
    quality = session.find(outputs.ARTERIAL_QUALITY)
    return len(read_json(quality).get("Warnings", [])) if quality else 0


def artery_tile(peaks: Mapping[str, float], doubts: int) -> Tile:
    """Return the peaks of the arterial input, and how far they differ from the first.

    Parameters
    ----------
    peaks : mapping of str to float
        Session -> largest concentration in blood, mM.
    doubts : int
        Number of warnings.

    Examples
    --------
    >>> tile = artery_tile({"baseline": 6.0, "1week": 4.5}, 0)
    >>> tile.value, tile.text
    ('6.0, 4.5 mM', '−25 % in 1week')
    >>> artery_tile({"baseline": 6.0}, 1).text
    'baseline; 1 warning'
    """
    if not peaks:
        return Tile("Arterial peak", "–", "no arterial input", "none", "arterial")
    value = f"{', '.join(format_number(peak, 1) for peak in peaks.values())} mM"
    text = ", ".join(peaks)
    first = next(iter(peaks.values()))
    later = dict(list(peaks.items())[1:])
    if later and first > 0:
        name, peak = max(later.items(), key=lambda item: abs(item[1] - first))
        change = 100 * (peak / first - 1)
        largest = "largest change: " if len(later) > 1 else ""
        text = f"{largest}{format_number(change, 0, sign=True)} % in {name}"
    text += f"; {count_of(doubts, 'warning')}" if doubts else ""
    return Tile("Arterial peak", value, text, "warn" if doubts else "good", "arterial")


def _coverage_tile(participant: ParticipantOutputs) -> Tile:
    """Return the lowest share of voxels with a value over lesions, sessions and parameters."""
    table = participant.statistics
    rows = table if table.empty else table[table["parameter"].isin(FOLLOWED)]
    rows = rows if rows.empty else rows[rows["n_voxels"] > 0]
    if rows.empty:
        return Tile("Voxels with a value", "–", "no lesion has values", "none", "lesions")
    share = rows["n_valid"].sum() / rows["n_voxels"].sum()
    worst = max(rows.to_dict("records"), key=_failed_share)
    where = f"{DISPLAY[worst['parameter']].label} of {_place(worst)}"
    return coverage_tile(share, 1 - _failed_share(worst), where)


def _failed_share(row: Mapping[Any, Any]) -> float:
    return float(row["n_failed"] / row["n_voxels"])


def _place(row: Mapping[Any, Any]) -> str:
    """Return the lesion and the session of a row, in words."""
    session = row["session_id"]
    name = f", {session.removeprefix('ses-')}" if isinstance(session, str) else ""
    return f"lesion {int(row['lesion'])}{name}"


def coverage_tile(share: float, lowest: float, where: str) -> Tile:
    """Return the share of voxels with a value.

    Parameters
    ----------
    share : float
        Over all lesions, sessions and parameters.
    lowest : float
        Of the lesion, session and parameter ``where`` it is lowest.
    where : str

    Examples
    --------
    >>> coverage_tile(1.0, 1.0, "ve of lesion 1, 1month").text
    'in all lesions, sessions and parameters'
    >>> coverage_tile(0.9996, 0.8, "ve of lesion 1, 1month").value
    '99.96 %'
    """
    tone: Tone = "warn" if 1 - lowest > FAILED_SHARE else "good"
    text = "in all lesions, sessions and parameters"
    if lowest < 1:
        text = f"lowest: {_percent_below(lowest)}, {where}"
    return Tile("Voxels with a value", _percent_below(share), text, tone, "lesions")


def _percent_below(share: float) -> str:
    """Return a share in percent; what is less than everything is not shown as 100 %."""
    digits = next((d for d in range(6) if share == 1 or round(100 * share, d) < 100), 6)
    return f"{format_number(100 * share, digits)} %"


def _partial_volume_tile(participant: ParticipantOutputs) -> Tile:
    """Return the lowest fraction of contrast that the mean of a lesion keeps."""
    tables = [unmixed_values(session) for session in participant.sessions]
    filled = [table for table in tables if not table.empty]
    table = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
    table = table if table.empty else table[table["recovery"].notna()]
    if table.empty:
        text = "not estimated"
        return Tile("Partial volume", "–", text, "none", "lesions")
    worst = min(table.to_dict("records"), key=lambda row: float(row["recovery"]))
    tone: Tone = "warn" if worst["recovery"] < LOW_RECOVERY else "good"
    value = f"{format_number(100 * worst['recovery'], 0)} %"
    where = f"{DATATYPES[worst['series']]} of {_place(worst)}"
    text = f"of contrast kept, at least; {where}"
    return Tile("Partial volume", value, text, tone, "lesions")


def findings_tile(found: Sequence[Finding]) -> Tile:
    """Return the number of findings of each level.

    Examples
    --------
    >>> findings_tile([Finding("missing", "1week: no DCE", "")]).text
    '1 item missing'
    >>> findings_tile([]).value
    'none'
    """
    levels = [finding.level for finding in found]
    failed, warned, missing = (levels.count(level) for level in ("failed", "warning", "missing"))
    parts = [count_of(failed, "failure")] if failed else []
    parts += [count_of(warned, "warning")] if warned else []
    parts += [f"{count_of(missing, 'item')} missing"] if missing else []
    tone: Tone = "bad" if failed else "warn" if warned else "good"
    text = ", ".join(parts) or "no failure, no warning, nothing missing"
    return Tile("Findings", str(len(levels)) if levels else "none", text, tone, "findings")
