"""Provenance of the results of a participant, and whether they are complete and intact."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from bidsapp.bids import documents
from bidsapp.bids.derivatives import to_json, write_bytes
from bidsapp.bids.inheritance import applicable_files
from bidsapp.bids.records import Participant
from bidsapp.config import Config, version

_BESIDE = (".json", ".bval", ".bvec", ".tsv")
_BLOCK = 1 << 20


def provenance_key(participant: Participant, config: Config) -> dict[str, Any]:
    """Return what determines the results of a participant: software, options and inputs.

    Parameters
    ----------
    participant
        Record of the participant.
    config
        Configuration of the run.

    Returns
    -------
    dict
        `software`: version and SHA-256 of the source. `options`: those that affect results.
        `inputs`: SHA-256 of each file, by its path in the data set or derivative. `understood`:
        SHA-256 of the record of the participant, which also depends on filters and selections.
    """
    roots = (config.bids_dir, *config.derivatives)
    found = sorted({p for path in _paths(participant) for p in _with_sidecars(path, roots)})
    understood = json.dumps(_plain(participant, roots), sort_keys=True)
    return {
        "software": {"metperf": version(), "source": _source()},
        "options": config.result_options(),
        "inputs": {_name(path, roots): digest(path) for path in found},
        "understood": hashlib.sha256(understood.encode()).hexdigest(),
    }


def find_completed_run(
    output_dir: Path, participant: Participant, key: Mapping[str, Any]
) -> str | None:
    """Return the run that produced all results of a participant with the same key, or None.

    Parameters
    ----------
    output_dir
        The derivatives.
    participant
        Record of the participant, with the requested sessions.
    key
        The result of `provenance_key`.

    Returns
    -------
    str or None
        The id of the run, if its record has the same key and all its results are unchanged.
    """
    record = _read(documents.COMPLETION.path(output_dir, participant=participant.id))
    if {k: record.get(k) for k in key} != json.loads(to_json(key)):
        return None
    return str(record.get("run_id")) if _intact(output_dir, record.get("outputs", {})) else None


def page_is_intact(output_dir: Path, participant: Participant) -> bool:
    """Return whether the page and its figures are unchanged since they were recorded."""
    record = _read(documents.COMPLETION.path(output_dir, participant=participant.id))
    return _intact(output_dir, record.get("pages", {}))


def _intact(output_dir: Path, written: Mapping[str, str]) -> bool:
    """Return whether the files exist and have the recorded digests."""
    paths = {name: output_dir / name for name in written}
    return bool(written) and all(
        path.is_file() and digest(path) == written[name] for name, path in paths.items()
    )


def record_completion(
    output_dir: Path, participant: Participant, key: Mapping[str, Any], run_id: str
) -> None:
    """Record the completion of a run, with its key and the SHA-256 of each result.

    Parameters
    ----------
    output_dir
        The derivatives.
    participant
        Record of the participant.
    key
        The result of `provenance_key`.
    run_id
        Id of the run.
    """
    folder = output_dir / participant.id
    results = [p for s in participant.sessions for p in sorted((folder / s.id).rglob("*"))]
    label = participant.id
    results += [*folder.glob("*_*.*"), documents.STATUS.path(output_dir, participant=label)]
    record = {
        "run_id": run_id,
        **key,
        "outputs": _digests(output_dir, results),
        "pages": _page_digests(output_dir, label),
    }
    write_bytes(documents.COMPLETION.path(output_dir, participant=label), to_json(record))


def record_page(output_dir: Path, label: str) -> None:
    """Record that the page of a participant was rebuilt, if there is a record of its completion.

    Parameters
    ----------
    output_dir
        The derivatives.
    label
        Participant, such as ``sub-01``.
    """
    path = documents.COMPLETION.path(output_dir, participant=label)
    record = _read(path)
    if record:
        write_bytes(path, to_json(record | {"pages": _page_digests(output_dir, label)}))


def record_output(output_dir: Path, label: str, path: Path) -> None:
    """Record that a result of a participant was written again, if its completion is recorded.

    Parameters
    ----------
    output_dir
        The derivatives.
    label
        Participant, such as ``sub-01``.
    path
        The result.
    """
    target = documents.COMPLETION.path(output_dir, participant=label)
    record = _read(target)
    if record:
        written = {**record.get("outputs", {}), **_digests(output_dir, [path])}
        write_bytes(target, to_json(record | {"outputs": written}))


def _page_digests(output_dir: Path, label: str) -> dict[str, str]:
    """Return the digests of a page and its figures."""
    page = documents.PARTICIPANT_PAGE.path(output_dir, participant=label)
    return _digests(output_dir, [page, *sorted((output_dir / label / "figures").rglob("*"))])


def _digests(output_dir: Path, paths: Iterable[Path]) -> dict[str, str]:
    return {p.relative_to(output_dir).as_posix(): digest(p) for p in paths if p.is_file()}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or why it cannot be read, which also fails in its step."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _read(path: Path) -> dict[str, Any]:
    """Return a record; empty if it is missing or cannot be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _paths(value: Any) -> Iterator[Path]:
    """Yield every path in a record and in the records it contains."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _paths(item)
    elif is_dataclass(value):
        for one in fields(value):
            yield from _paths(getattr(value, one.name))


def _plain(value: Any, roots: Iterable[Path]) -> Any:
    """Return a record in JSON types, with paths relative to the data set."""
    if isinstance(value, Path):
        return _name(value, roots)
    if isinstance(value, tuple):
        return [_plain(item, roots) for item in value]
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name), roots) for f in fields(value)}
    return value


def _name(path: Path, roots: Iterable[Path]) -> str:
    """Return a path relative to the data set, or to a derivative, prefixed with its name."""
    for number, root in enumerate(roots):
        if path.is_relative_to(root):
            start = Path(root.name) if number else Path()
            return (start / path.relative_to(root)).as_posix()
    return path.name


def _with_sidecars(path: Path, roots: Iterable[Path]) -> Iterator[Path]:
    """Yield a file and the files that apply to it by inheritance."""
    yield path
    root = next((r for r in roots if path.is_relative_to(r)), path.parent)
    for extension in _BESIDE:
        yield from applicable_files(path, root, extension)


@cache
def _source() -> str:
    """Return the SHA-256 of the source code and data of the package."""
    total = hashlib.sha256()
    root = Path(str(files("bidsapp")))
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()
