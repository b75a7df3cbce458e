"""The BIDS validator, with exceptions for files that BIDS does not specify yet."""

import json
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bidsapp.errors import InvalidDataset

_SHOWN = 10


def validate(bids_dir: Path, participants: Sequence[str] = ()) -> None:
    """Run the BIDS validator on a raw data set.

    Parameters
    ----------
    bids_dir
        The data set.
    participants
        Labels to validate; all if empty.

    Raises
    ------
    InvalidDataset
        If there are errors, or the validator cannot be run.
    """
    issues = run_validator(bids_dir, _configuration(bids_dir, participants))
    errors = [i for i in issues if i.get("severity") == "error"]
    if errors:
        lines = "\n".join(f"  {describe_issue(issue)}" for issue in errors[:_SHOWN])
        more = f"\n  ... and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise InvalidDataset(
            f"{bids_dir}: the BIDS validator found {len(errors)} errors:\n{lines}{more}\n"
            "Fix them, or skip this check with --skip-bids-validation"
        )


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
    words = [issue.get("code"), issue.get("subCode"), issue.get("issueMessage")]
    return f"{issue.get('location', '')}: {' '.join(str(w) for w in words if w)}"


def _configuration(bids_dir: Path, participants: Sequence[str]) -> dict[str, Any]:
    """Ignore dynamic series, which BIDS does not specify, and participants not selected."""
    ignored = [{"code": "NOT_INCLUDED", "location": "*_dce.*"}]
    if participants:
        folders = sorted(p.name for p in bids_dir.glob("sub-*") if p.is_dir())
        unselected = [f for f in folders if f.removeprefix("sub-") not in participants]
        ignored += [{"location": f"{folder}/**"} for folder in unselected]
    return {"ignore": ignored}
