"""The settings of a finished run, as it has recorded them."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bidsapp.bids import documents
from bidsapp.config import Config
from bidsapp.errors import BadInput
from bidsapp.run.status import read_sessions

_UNBOUNDED = ("b_max",)
"""Settings that are infinite where the record has null."""


def recorded_config(
    bids_dir: Path, output_dir: Path, label: str, derivatives: Sequence[Path] = ()
) -> dict[str, Config]:
    """Return the settings with which each session of a participant was analysed.

    Parameters
    ----------
    bids_dir, output_dir
        The data set and the derivatives.
    label
        Participant, without ``sub-``.
    derivatives
        Folders with ROIs; if empty, those that the last run has recorded.

    Returns
    -------
    dict of str to Config
        By session, such as ``ses-baseline``.

    Raises
    ------
    BadInput
        If the participant has no results, or the last run did not finish.
    """
    participant = f"sub-{label}"
    path = documents.STATUS.path(output_dir, participant=participant)
    record = read_sessions(path)
    if not record:
        raise BadInput(
            f"{participant} has no results in {output_dir}: run the participant level first"
        )
    run = _last_run(output_dir, participant)
    folders = tuple(derivatives) or tuple(Path(name) for name in run.get("derivatives", ()))
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise BadInput(
            f"{participant} was analysed with ROIs in {missing[0]}, which is not a folder: name "
            "their present folder with --derivatives"
        )
    found = {}
    for session, one in record.items():
        if any(issue.get("code") == "Unfinished" for issue in one.get("issues", ())):
            raise BadInput(f"{participant} {session}: the run did not finish; run it again")
        found[session] = Config(
            bids_dir=bids_dir,
            output_dir=output_dir,
            work_dir=output_dir / ".work",
            run_id=str(run.get("run_id", "")),
            derivatives=folders,
            filter_file=Path(run["filter_file"]) if "filter_file" in run else None,
            **_settings(one.get("options", {})),
        )
    return found


def _last_run(output_dir: Path, participant: str) -> dict[str, Any]:
    """Return all settings of the last run; folder names begin with the time."""
    files = documents.SETTINGS.find(output_dir, participant=participant)
    if not files:
        raise BadInput(
            f"{participant} has no record of its run in {output_dir}/{participant}/log: run the "
            "participant level again"
        )
    return tomllib.loads(files[-1].read_text(encoding="utf-8"))


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded options as fields of a Config; later ones keep their default."""
    known = {field.name for field in fields(Config)}
    unbounded = {name: math.inf for name in _UNBOUNDED if options.get(name, 0) is None}
    return {k: _as_tuple(v) for k, v in (dict(options) | unbounded).items() if k in known}


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list) else value
