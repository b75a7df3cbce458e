"""Index of the files of a data set, with entities, metadata and checks."""

import json
import math
import os
import re
import shlex
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import bids.layout
from bids.layout.models import BIDSFile, Config, Tag
from bids.utils import natural_sort

from bidsapp.bids.images import UNREADABLE, check_image, open_image
from bidsapp.bids.inheritance import metadata
from bidsapp.bids.sidecar import sidecar_name
from bidsapp.errors import BadInput, UsageError

_IN_EVERY_NAME = ("subject", "session", "suffix", "datatype", "extension")
"""Entities that do not distinguish images of a session; the extension only if no other does."""


@dataclass(frozen=True, eq=False)
class IndexedFile:
    """A file of a data set, with its entities."""

    path: str
    entities: Mapping[str, Any]
    root: Path

    @property
    def filename(self) -> str:
        """The name without folders."""
        return Path(self.path).name

    def get_metadata(self) -> dict[str, Any]:
        """Return its metadata, including inherited fields."""
        return metadata(Path(self.path), self.root)


def index(root: Path, config: str, participants: Iterable[str]) -> bids.layout.BIDSLayout:
    """Index a folder, optionally for some participants; nested derivatives are ignored."""
    own = str(files("bidsapp.data") / "pybids.json")
    ignore: list[Any] = [re.compile(r"^/(derivatives|sourcedata|code|stimuli|models)(/|$)")]
    labels = "|".join(re.escape(p) for p in participants)
    if labels:
        ignore.append(re.compile(rf"^/sub-(?!(?:{labels})(?:/|$))"))
    indexer = bids.layout.BIDSLayoutIndexer(validate=False, ignore=ignore, index_metadata=False)
    configs = ["bids", own] if config == "bids" else ["bids", "derivatives", own]
    made = bids.layout.BIDSLayout(root, validate=False, config=configs, indexer=indexer)
    engine = made.connection_manager.engine
    weakref.finalize(made, engine.dispose)  # pybids leaves its database open
    return made


def files_by_participant(layout: bids.layout.BIDSLayout) -> dict[str, list[IndexedFile]]:
    """Return the files of each participant with their entities, in the natural order of paths.

    They are read from the index at once: a query of pybids for each kind of file is slow.
    """
    entities: dict[str, dict[str, Any]] = {}
    for tag in layout.session.query(Tag):
        entities.setdefault(str(tag.file_path), {})[tag.entity_name] = tag.value
    root = Path(layout.root)
    files = layout.session.query(BIDSFile).filter_by(is_dir=False)
    found: dict[str, list[IndexedFile]] = {}
    for path in natural_sort([str(file.path) for file in files]):
        file = IndexedFile(path, entities.get(path, {}), root)
        found.setdefault(str(file.entities.get("subject", "")), []).append(file)
    return found


def check_entities(names: Iterable[str], layouts: Iterable[bids.layout.BIDSLayout]) -> None:
    """Raise an error if a name in a filter is that of no entity, so that it would match nothing.

    Raises
    ------
    UsageError
        With the most similar entity of raw data or derivatives.
    """
    known = {str(name) for layout in layouts for name in layout.get_entities()}
    known |= {entity.name for entity in Config.load("derivatives").entities.values()}
    for name in names:
        if name not in known:
            like = get_close_matches(name, sorted(known), 1)
            meant = f"; did you mean {like[0]}?" if like else ""
            raise UsageError(f"--bids-filter-file: {name} is not an entity of BIDS{meant}")


def has_entities(file: IndexedFile, wanted: Mapping[str, Any]) -> bool:
    """Return whether a file has all of these entities: a value, one of several, any or none.

    Examples
    --------
    >>> file = IndexedFile("", {"suffix": "dwi", "run": 2}, Path())
    >>> has_entities(file, {"suffix": ["dwi", "dce"], "run": 2, "echo": None})
    True
    """
    return all(_has_value(file.entities.get(name), value) for name, value in wanted.items())


def _has_value(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list | tuple):
        return any(_has_value(value, one) for one in wanted)
    if wanted in (bids.layout.Query.ANY, bids.layout.Query.OPTIONAL):
        return value is not None or wanted == bids.layout.Query.OPTIONAL
    if wanted is None or wanted == bids.layout.Query.NONE:
        return value is None
    if isinstance(value, int):  # an index such as run-01
        return str(wanted).isdigit() and int(wanted) == int(value)
    return bool(value == wanted)


def how_to_choose(query: str, found: Sequence[IndexedFile]) -> str:
    """Return the remedy for several files where one is needed: a filter for the largest of them.

    Examples
    --------
    >>> files = [IndexedFile("", {"direction": d, "run": 1}, Path()) for d in ("AP", "PA")]
    >>> how_to_choose("dwi", files)
    'choose one with --bids-filter-file, for example {"dwi": {"direction": "AP"}}'
    """
    files = sorted(found, key=lambda f: -_file_size(f.path))
    entities = [f.entities for f in files]
    first, alike = entities[0], entities
    names = dict.fromkeys(name for e in entities for name in e if name not in _IN_EVERY_NAME)
    differ = [n for n in (*names, "extension") if len({str(e.get(n)) for e in entities}) > 1]
    chosen: dict[str, Any] = {}
    # The entity by which most files differ from the first one; others only if it is not enough.
    for name in sorted(differ, key=lambda n: sum(e.get(n) == first.get(n) for e in entities)):
        if len(alike) > 1:
            value = first.get(name)
            chosen[name] = value if value is None or isinstance(value, str) else int(value)
            alike = [e for e in alike if e.get(name) == value]
    if len(alike) > 1:
        return "they do not differ in any BIDS entity: keep one of them, or add run-1 and run-2"
    example = json.dumps({query: chosen})
    return f"choose one with --bids-filter-file, for example {example}"


def how_to_join(images: Sequence[Path], instead: str = "") -> str:
    """Return what to do with images of one volume each that make up a series; empty for others.

    Parameters
    ----------
    images
        Several images of one suffix in a session.
    instead
        What to do instead, followed by "or".
    """
    if not all(has_one_volume(path) for path in images):
        return ""
    names = sorted((path.name for path in images), key=_by_number)
    folder = images[0].parent
    start = os.path.commonprefix(names)  # noqa: RUF071 - of names, not of paths
    suffix = names[0].rsplit("_", 1)[-1]
    kept = [part for part in names[0].split("_") if part.startswith(("sub-", "ses-"))]
    whole = "_".join([*kept, suffix])
    command = f"cd {shlex.quote(str(folder))} && fslmerge -t {whole} $(ls -v {start}*_{suffix})"
    return (
        f"{len(names)} images of one volume each, {names[0]} to {names[-1]}, but one 4D image is "
        f"required: {instead + ', or ' if instead else ''}join "
        f"them in order of time, for example with: {command}; then move the single "
        f"images to sourcedata/, and describe the series in {sidecar_name(Path(whole))}"
    )


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a key by which run-2 precedes run-10, as in ``ls -v``."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def has_one_volume(path: Path) -> bool:
    """Return whether a readable image has a single volume."""
    try:
        return bool(math.prod(open_image(path).shape[3:]) == 1)
    except UNREADABLE:
        return False


def _file_size(path: str) -> int:
    return Path(path).stat().st_size if Path(path).is_file() else 0


def image_path(found: IndexedFile, dimensions: int) -> Path:
    """Return the path of an image, after checking its name, header and dimensions."""
    path = Path(found.path)
    folders = path.relative_to(found.root).parts[:-1]
    start = "_".join(f for f in folders if f.startswith(("sub-", "ses-")))
    if not path.name.startswith(f"{start}_"):
        raise BadInput(
            f"{path}: its name does not begin with {start}, as its folders do; rename the file or "
            "the folders"
        )
    check_image(path, dimensions)
    return path
