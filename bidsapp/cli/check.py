"""``metperf check``: all that a data set lacks, for all participants at once."""

import json
import re
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp.cli.options import add_bids_dir, add_options
from bidsapp.cli.participant_level import select_labels
from bidsapp.cli.types import OneLineParser
from bidsapp.config import Config
from bidsapp.errors import InvalidDataset
from bidsapp.issues import LEVELS, Issue, IssueLevel

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {"failed": "red", "warning": "yellow", "missing": "cyan", "note": "dim"}
_FILE = re.compile(r"(\S+\.(?:json|nii|nii\.gz|tsv|bval|bvec|txt)): (.+)", re.DOTALL)
"""A message that begins with the file that it concerns."""
_WIDTH = 200
"""Characters of a line where the output is not a terminal."""
_FIELD = re.compile(r'"\w+": ')
"""The beginning of a line of a sidecar."""


@dataclass(frozen=True)
class Row:
    """One thing that a data set lacks: where, what, and what to add to a file or to type."""

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
        "with the line to add to a sidecar or the option to type. Give the options of the run, "
        "because what is needed depends on them. Nothing is written. The exit code is 1 if a part "
        "of the analysis would not be done.",
        allow_abbrev=False,
    )
    add_bids_dir(made)
    made.add_argument("--json", action="store_true", help="print the list as JSON")
    add_options(made)
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
    from bidsapp.run.survey import find_issues

    labels = select_labels(config)
    with ThreadPoolExecutor(1) as pool:  # the validator is a process of its own
        waiting = pool.submit(_validator_rows, config, labels) if validated else None
        issues = find_issues(config, labels)
        rows = [_row(issue, config.bids_dir) for issue in issues]
        rows += waiting.result() if waiting else []
    rows.sort(key=lambda row: LEVELS.index(row.level))
    code = int(any(row.level == "failed" for row in rows))
    if as_json:
        found = {"participants": len(labels), "issues": [asdict(row) for row in rows]}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _print_table(rows, len(labels))
    return code


def _row(issue: Issue, bids_dir: Path) -> Row:
    """Return an issue as a row: its file, the problem, and the remedy apart from each other.

    Examples
    --------
    >>> text = "a_dce.json: FlipAngle is missing; add it in degrees"
    >>> row = _row(Issue("failed", text, remedy='"FlipAngle": <degrees>'), Path("/data"))
    >>> row.file, row.text, row.remedy
    ('a_dce.json', 'FlipAngle is missing', '"FlipAngle": <degrees>')
    """
    match = _FILE.fullmatch(issue.text)
    file, text = match.groups() if match else ("", issue.text)
    problem, _, words = text.partition("; ")
    if Path(file).is_absolute() and Path(file).is_relative_to(bids_dir):
        file = Path(file).relative_to(bids_dir).as_posix()
    remedy = issue.remedy or words
    return Row(issue.level, issue.participant, issue.session, file, problem, remedy)


def _validator_rows(config: Config, labels: Sequence[str]) -> list[Row]:
    """Return what the BIDS validator finds; what no analysis reads is a warning."""
    from bidsapp.bids.validate import find_errors

    try:
        errors, others = find_errors(config.bids_dir, labels)
    except InvalidDataset as error:
        return [Row("warning", "", "", "", str(error), "")]
    skip = "correct it, or give --skip-bids-validation"
    rows = [Row("failed", "", "", e.file, f"BIDS validator: {e.text}", skip) for e in errors]
    rows += [
        Row("warning", "", "", e.file, f"BIDS validator: {e.text}", "not needed for an analysis")
        for e in others
    ]
    return rows


def _print_table(rows: Sequence[Row], participants: int) -> None:
    """Print the rows of failures, warnings and missing data, and how many there are."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    shown = [row for row in rows if row.level != "note"]
    if shown:
        console.print(_table(shown))
    for hint in _hints(shown):
        console.print(hint, markup=False)
    counts = Counter(row.level for row in shown)
    said = ", ".join(f"{counts[level]} {level}" for level in LEVELS if counts[level])
    console.print(f"{participants} participants: {said or 'nothing is missing'}", markup=False)


def _table(rows: Sequence[Row]) -> "Table":
    """Return the rows as a table; what repeats in the row above is not written again."""
    from rich.table import Table
    from rich.text import Text

    table = Table("", "participant", "session", "file", "what lacks", "add or type")
    for row in rows:
        cells = (row.participant, row.session, Path(row.file).name, row.text, row.remedy)
        table.add_row(Text(row.level, style=_COLOURS[row.level]), *map(Text, cells))
    return table


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
