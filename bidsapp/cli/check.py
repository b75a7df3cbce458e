"""``metperf check``: all that a data set lacks, for all participants at once."""

import json
import re
import sys
from argparse import SUPPRESS, ArgumentParser
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, TypeVar

from bidsapp.cli.options import add_bids_dir, add_options
from bidsapp.cli.participant_level import select_labels
from bidsapp.cli.types import OneLineParser
from bidsapp.config import Config
from bidsapp.errors import InvalidDataset
from bidsapp.issues import LEVELS, Issue, IssueLevel

if TYPE_CHECKING:
    from rich.table import Table

    from bidsapp.run.graphs.visit_values import UsedValue

    Used = Mapping[tuple[str, str], tuple[UsedValue, ...]]

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)

_COLOURS = {"failed": "red", "warning": "yellow", "missing": "cyan", "note": "dim"}
_FILE = re.compile(r"(\S+\.(?:json|nii|nii\.gz|tsv|bval|bvec|txt)): (.+)", re.DOTALL)
"""A message that begins with the file that it concerns."""
_WIDTH = 200
"""Characters of a line where the output is not a terminal."""
_TITLE = 12
"""Characters of the titles in a block."""
_SERIES = {"NoDce": "dce", "NoDwi": "dwi", "NoT1w": "t1w"}
"""Suffix of the image that an issue with this code reports as missing, in lower case."""
_MATTERS = frozenset(
    (
        *("help", "bids_dir", "json", "participants", "sessions", "filter_file", "derivatives"),
        *("skip_bids_validation", "baseline_session", "ivim_model", "b_min", "b_max"),
        *("b0_threshold", "noise", "denoise", "correct_t2", "t2_blood", "t2_tissue", "aif"),
        *("frame_time", "repetition_time", "skip_frames", "t1_tissue", "t1_blood"),
        *("relaxivity", "haematocrit", "distortion", "rois"),
    )
)
"""Options on which it depends what a data set lacks."""
_FIELD = re.compile(r'"\w+": ')
"""The beginning of a line of a sidecar."""


@dataclass(frozen=True)
class Row:
    """One thing that a data set lacks: where, what, and the line or option to type, if any."""

    level: IssueLevel
    participant: str
    session: str
    file: str
    text: str
    remedy: str


def check_parser() -> ArgumentParser:
    """Return the parser of ``metperf check bids_dir``."""
    made = OneLineParser(
        prog="metperf check",
        description="List all that a data set lacks for an analysis, of all participants at once, "
        "with the line to add to a sidecar or the option to type; and the timing, relaxivity and "
        "b-values as they are read. Give the options of the run, because what is needed "
        "depends on them: all are accepted, and those that matter are listed. Nothing is written. "
        "The exit code is 1 if a part of the analysis would not be done.",
        allow_abbrev=False,
    )
    add_bids_dir(made)
    made.add_argument("--json", action="store_true", help="print the list as JSON")
    add_options(made)
    for action in made._actions:
        if action.dest not in _MATTERS:
            action.help = SUPPRESS
    return made


def run_check(config: Config, *, as_json: bool, validated: bool) -> int:
    """Print what a data set lacks; return 1 if a part of the analysis would not be done.

    Parameters
    ----------
    config
        Configuration of the run to prepare.
    as_json
        Print JSON instead of a table.
    validated
        Whether to run the BIDS validator, too.
    """
    from bidsapp.run.survey import survey

    labels = select_labels(config)
    with ThreadPoolExecutor(1) as pool:  # the validator is a process of its own
        waiting = pool.submit(_validator_rows, config, labels) if validated else None
        found = survey(config, labels)
        rows = [_row(issue, config.bids_dir) for issue in _without_refused(found.issues)]
        rows += waiting.result() if waiting else []
    rows.sort(key=lambda row: LEVELS.index(row.level))
    code = int(any(row.level == "failed" for row in rows))
    if as_json:
        used = [
            {"participant": place[0], "session": place[1]} | asdict(value)
            for place, values in found.used.items()
            for value in values
        ]
        listed = {"participants": len(labels), "issues": [asdict(row) for row in rows]}
        print(json.dumps(listed | {"used": used}, indent=2, ensure_ascii=False))
    else:
        _print_report(rows, found.used, len(labels))
    return code


def _row(issue: Issue, bids_dir: Path) -> Row:
    """Return an issue as a row: its file, the problem, and what to type apart from each other.

    Examples
    --------
    >>> text = "a_dce.json: FlipAngle is missing; add it in degrees"
    >>> row = _row(Issue("failed", text, remedy='"FlipAngle": <degrees>'), Path("/data"))
    >>> row.file, row.text, row.remedy
    ('a_dce.json', 'FlipAngle is missing; add it in degrees', '"FlipAngle": <degrees>')
    """
    match = _FILE.fullmatch(issue.text)
    file, text = match.groups() if match else ("", issue.text)
    if Path(file).is_absolute() and Path(file).is_relative_to(bids_dir):
        file = Path(file).relative_to(bids_dir).as_posix()
    return Row(issue.level, issue.participant, issue.session, file, text, issue.remedy)


def _without_refused(issues: Sequence[Issue]) -> list[Issue]:
    """Return the issues without those of missing images that are there, but refused."""
    refused = {
        (issue.participant, issue.session, code)
        for issue in issues
        for code, suffix in _SERIES.items()
        if issue.level == "failed" and f"_{suffix}." in issue.text.lower()
    }
    return [i for i in issues if (i.participant, i.session, i.code) not in refused]


def _validator_rows(config: Config, labels: Sequence[str]) -> list[Row]:
    """Return what the BIDS validator finds; what no analysis reads is a warning."""
    from bidsapp.bids.validate import find_errors

    try:
        errors, others = find_errors(config.bids_dir, labels)
    except InvalidDataset as error:
        return [Row("warning", "", "", "", str(error), "")]
    skip = "--skip-bids-validation"
    rows = [
        Row("failed", "", "", e.file, f"BIDS validator: {e.text}; correct it", skip) for e in errors
    ]
    unread = "; this is not needed for an analysis"
    rows += [
        Row("warning", "", "", e.file, f"BIDS validator: {e.text}{unread}", "") for e in others
    ]
    return rows


def _print_report(
    rows: Sequence[Row], used: Mapping[tuple[str, str], tuple["UsedValue", ...]], participants: int
) -> None:
    """Print the values of each session, a block for each problem, and how many there are."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    shown = [row for row in rows if row.level != "note"]
    for values, places in _group_by(used, used.get).items():
        if values:
            console.print(_used_table(values, places))
            console.print()
    for (level, text, remedy), alike in _group_by(shown, _problem).items():
        for line in _block(level, text, remedy, alike, console.width):
            style = _COLOURS[level] if line.startswith(level) else None
            console.print(line, style=style, markup=False, soft_wrap=True)
        console.print()
    for hint in _hints(shown):
        console.print(hint, markup=False)
    counts = Counter(row.level for row in shown)
    said = ", ".join(f"{counts[level]} {level}" for level in LEVELS if counts[level])
    plural = "" if participants == 1 else "s"
    total = f"{participants} participant{plural}: {said or 'nothing is missing'}"
    console.print(total, markup=False)


def _group_by(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return the items by a property that several may share, in their order."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _problem(row: Row) -> tuple[IssueLevel, str, str]:
    return row.level, row.text, row.remedy


def _used_table(values: Sequence["UsedValue"], places: Sequence[tuple[str, str]]) -> "Table":
    """Return the values that sessions share as a table."""
    from rich.table import Table
    from rich.text import Text

    where = ", ".join(" ".join(place) for place in places)
    table = Table(box=None, title=f"values of {where}", title_justify="left", title_style="bold")
    for name in ("quantity", "value", "from"):
        table.add_column(name, overflow="fold")
    for one in values:
        table.add_row(*map(Text, (one.name, one.value, one.source)))
    return table


def _block(level: str, text: str, remedy: str, rows: Sequence[Row], width: int) -> Iterator[str]:
    """Yield the lines of a problem: where, what, and what to do.

    Long words such as paths and options are not broken, so that they can be copied.
    """
    places = [" ".join(filter(None, (row.participant, row.session))) for row in rows]
    files = [row.file for row in rows if row.file]
    alone = places[0] or "the data set"
    yield f"{level}: {alone if len(rows) == 1 else f'{len(rows)} sessions'}"
    if files:
        yield from _entry("file", files, width)
    elif len(rows) > 1:
        yield from _entry("in", [", ".join(places)], width)
    yield from _entry("problem", [text], width)
    if remedy:
        yield f"  {'what to do':{_TITLE}}{remedy}"


def _entry(title: str, texts: Sequence[str], width: int) -> Iterator[str]:
    """Yield the lines of texts beside their title."""
    for number, text in enumerate(texts):
        yield from wrap(
            text,
            width,
            initial_indent=f"  {'' if number else title:{_TITLE}}",
            subsequent_indent=" " * (_TITLE + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )


def _hints(rows: Sequence[Row]) -> Iterator[str]:
    """Yield how one line serves several sessions, by inheritance from the root of the data set."""
    lines = Counter(
        (row.remedy.partition(" or --")[0], row.file.rpartition("_")[2])
        for row in rows
        if _FIELD.match(row.remedy) and row.file.endswith(".json")
    )
    for (line, name), count in lines.items():
        if count > 1:
            yield f"{count} x {line}: the same in all sessions? Add it once, in {name} of bids_dir"
