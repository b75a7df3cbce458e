"""Order of sessions as far as their labels show it."""

import re
from collections.abc import Sequence

_UNITS = {"d": 1, "day": 1, "w": 7, "wk": 7, "week": 7, "m": 30, "mo": 30, "mon": 30, "mth": 30,
          "month": 30, "y": 365, "yr": 365, "year": 365}  # fmt: skip
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_BASELINE = re.compile(r"baseline|base|bl|screening|pre[a-z]*")
_TIME = re.compile(
    rf"(?P<before>pre)?(?:post|after|fu|followup|[^a-z0-9]|srs|rt|tx)*"
    rf"(?:(?P<n>\d+)(?P<unit>{_UNIT})s?|(?P<unit2>{_UNIT})s?(?P<n2>\d+))"
)
_NUMBERED = re.compile(r"(\D*)(\d+)(\D*)")
_DATE_DIGITS = (6, 8)


def label_days(label: str) -> float | None:
    """Return the days since treatment that a label states; 0 for a baseline, None if it does not.

    Examples
    --------
    >>> [label_days(label) for label in ("baseline", "1week", "post+3mo", "pre2d", "visit2")]
    [0.0, 7.0, 90.0, -2.0, None]
    """
    text = label.lower()
    if _BASELINE.fullmatch(text):
        return 0.0
    found = _TIME.fullmatch(text)
    if not found:
        return None
    days = float(found["n"] or found["n2"]) * _UNITS[found["unit"] or found["unit2"]]
    return -days if found["before"] else days


def label_order(labels: Sequence[str]) -> tuple[list[str], bool]:
    """Return labels in the order that they suggest, and whether this order is obvious.

    It is obvious if all labels state a time, or if all but the baseline are single letters or
    differ in one number only.

    Examples
    --------
    >>> label_order(["1month", "baseline", "1week"])
    (['baseline', '1week', '1month'], True)
    >>> label_order(["postSRS10", "postSRS2", "preSRS"])
    (['preSRS', 'postSRS2', 'postSRS10'], True)
    >>> label_order(["tumour", "control"])
    (['control', 'tumour'], False)
    """
    days = {label: label_days(label) for label in labels}
    stated = {label: day for label, day in days.items() if day is not None}
    if len(set(stated.values())) == len(labels):
        return sorted(labels, key=lambda label: stated[label]), True
    baselines = [label for label in labels if _BASELINE.fullmatch(label.lower())]
    others = [label for label in labels if label not in baselines]
    order = sorted(baselines, key=_natural_key) + sorted(others, key=_natural_key)
    return order, _is_series(baselines) and _is_series(others, after_baseline=bool(baselines))


def _is_series(labels: Sequence[str], *, after_baseline: bool = True) -> bool:
    """Return whether labels are in an obvious order: one, letters, or numbers in the same text."""
    if len(labels) <= 1 and (after_baseline or not labels):
        return True
    if all(len(label) == 1 and label.isalpha() for label in labels):
        return True
    found = [_NUMBERED.fullmatch(label.lower()) for label in labels]
    numbers = [match[2] for match in found if match]
    texts = {(match[1], match[3]) for match in found if match}
    if len(numbers) < len(labels) or len(texts) > 1:
        return False
    # 01032019 may be a date that begins with the day.
    dates = [n for n in numbers if len(n) in _DATE_DIGITS]
    return all(len(n) == max(_DATE_DIGITS) and n[:2] in ("19", "20") for n in dates)


def _natural_key(label: str) -> list[tuple[int, int, str]]:
    """Return a sort key under which ``v2`` precedes ``v10``."""
    parts = re.findall(r"\d+|\D+", label.lower())
    key = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
    return [*key, (2, 0, label)]
