"""The BIDS validator, with exceptions for files that BIDS does not specify yet."""

import json
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidsapp.errors import InvalidDataset

_SHOWN = 10
_DOCUMENTS = ("README", "CHANGES", "LICENSE", "CITATION", "code", "sourcedata", "stimuli")
"""Files and folders at the root that no analysis reads, without extension."""
_ACCEPTED = (
    *(
        {"code": "NOT_INCLUDED", "location": place}
        for place in ("*_dce.*", "*_DCE.*", "/dce.json", "/DCE.json", "**/dce/")
    ),
    {"code": "DATATYPE_MISMATCH", "location": "**/fmap/*_VFA.*"},
)
"""What is read although BIDS has no such names: dynamic series, their inherited sidecars, and
images at several flip angles in ``fmap``."""
_NOT_READ = ("SIDECAR_KEY_REQUIRED",)
"""Errors that concern no analysis: the fields that one needs are checked where they are read."""


@dataclass(frozen=True)
class ValidatorError:
    """An error that the validator reports of a file, or of the data set as a whole."""

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"


def validate(bids_dir: Path, participants: Sequence[str] = ()) -> list[str]:
    """Run the BIDS validator on a raw data set.

    Parameters
    ----------
    bids_dir
        The data set.
    participants
        Labels to validate; all if empty.

    Returns
    -------
    list of str
        Errors in files that no analysis reads, such as an empty README.

    Raises
    ------
    InvalidDataset
        If there are errors in other files, or the validator cannot be run.
    """
    errors, others = find_errors(bids_dir, participants)
    if errors:
        lines = "\n".join(f"  {error}" for error in errors[:_SHOWN])
        more = f"\n  ... and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise InvalidDataset(
            f"{bids_dir}: the BIDS validator found {len(errors)} errors:\n{lines}{more}\n"
            "Fix them, or skip this check with --skip-bids-validation"
        )
    return [str(error) for error in others]


def find_errors(
    bids_dir: Path, participants: Sequence[str] = ()
) -> tuple[list[ValidatorError], list[ValidatorError]]:
    """Return the errors in files that an analysis reads, and those in other files.

    Raises
    ------
    InvalidDataset
        If the validator cannot be run.
    """
    found = run_validator(bids_dir, _configuration(bids_dir, participants))
    errors: list[ValidatorError] = []
    others: list[ValidatorError] = []
    for issue in found:
        if issue.get("severity") == "error":
            error = ValidatorError(str(issue.get("location", "")), _describe(issue))
            unread = _is_document(error.file) or issue.get("code") in _NOT_READ
            (others if unread else errors).append(error)
    return errors, others


def _is_document(location: str) -> bool:
    """Return whether a file describes the data set for readers, or belongs to no raw data.

    Examples
    --------
    >>> _is_document("/README"), _is_document("/dce.json"), _is_document("/sub-01/README")
    (True, False, False)
    """
    first = location.strip("/").partition("/")[0]
    return first.partition(".")[0] in _DOCUMENTS


def run_validator(root: Path, configuration: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the issues that the validator finds in a data set.

    Parameters
    ----------
    root
        The data set, raw or derivative.
    configuration
        Configuration of the validator: issues to ignore.

    Raises
    ------
    InvalidDataset
        If the validator is not installed or ends without a report.
    """
    program = shutil.which("bids-validator-deno", path=sysconfig.get_path("scripts"))
    program = program or shutil.which("bids-validator-deno")
    if program is None:
        raise InvalidDataset("bids-validator-deno is not installed; use --skip-bids-validation")
    with tempfile.TemporaryDirectory() as folder:
        command = [program, str(root), "--format", "json"]
        if configuration:
            file = Path(folder) / "config.json"
            file.write_text(json.dumps(configuration), encoding="utf-8")
            command += ["--config", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    try:
        report: list[dict[str, Any]] = json.loads(done.stdout)["issues"]["issues"]
    except (ValueError, KeyError, TypeError) as error:
        tail = (done.stderr or done.stdout).strip()[-500:]
        raise InvalidDataset(f"{root}: the BIDS validator returned no report: {tail}") from error
    return report


def describe_issue(issue: dict[str, Any]) -> str:
    """Return an issue as one line of text.

    Examples
    --------
    >>> describe_issue({"code": "NOT_INCLUDED", "location": "/sub-01/x.txt"})
    '/sub-01/x.txt: NOT_INCLUDED'
    """
    return f"{issue.get('location', '')}: {_describe(issue)}"


def _describe(issue: dict[str, Any]) -> str:
    words = [issue.get("code"), issue.get("subCode"), issue.get("issueMessage")]
    return " ".join(" ".join(str(word) for word in words if word).split())


def _configuration(bids_dir: Path, participants: Sequence[str]) -> dict[str, Any]:
    """Ignore dynamic series, which BIDS does not specify, and participants not selected."""
    ignored = [dict(one) for one in _ACCEPTED]
    if participants:
        folders = sorted(p.name for p in bids_dir.glob("sub-*") if p.is_dir())
        unselected = [f for f in folders if f.removeprefix("sub-") not in participants]
        ignored += [{"location": f"{folder}/**"} for folder in unselected]
    return {"ignore": ignored}
