"""Files of a data set as they are found: by which entities, with which metadata, and sound."""

import json
import re
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import bids.layout

from bidsapp.bids.images import check_image
from bidsapp.bids.inheritance import metadata
from bidsapp.errors import BadInput

_TELLING = ("run", "acquisition", "echo", "part", "reconstruction", "ceagent")
"""Entities by which one of several images can be chosen."""


@dataclass(frozen=True, eq=False)
class IndexedFile:
    """A file of a data set, and its entities."""

    path: str
    entities: Mapping[str, Any]
    root: Path

    @property
    def filename(self) -> str:
        """The name without folders."""
        return Path(self.path).name

    def get_metadata(self) -> dict[str, Any]:
        """Return its sidecar, with what it inherits."""
        return metadata(Path(self.path), self.root)


def index(root: Path, config: str, participants: Iterable[str]) -> bids.layout.BIDSLayout:
    """Index a folder: only the participants named, nothing below another derivative."""
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


def to_indexed_file(layout: bids.layout.BIDSLayout, file: Any) -> IndexedFile:
    """Return a file of an index as such."""
    return IndexedFile(str(file.path), dict(file.entities), Path(layout.root))


def example_filter(query: str, found: Sequence[IndexedFile]) -> str:
    """Return a filter that would choose the first of several files."""
    entities = [f.entities for f in found]
    differ = (n for n in _TELLING if len({str(e.get(n)) for e in entities}) > 1)
    name = next(differ, "extension")
    value = next(e[name] for e in entities if name in e)
    return json.dumps({query: {name: value if isinstance(value, str) else int(value)}})


def image_path(found: IndexedFile, dimensions: int) -> Path:
    """Return the path of an image that is where it says, sound, and has so many dimensions."""
    path = Path(found.path)
    folders = path.relative_to(found.root).parts[:-1]
    start = "_".join(f for f in folders if f.startswith(("sub-", "ses-")))
    if not path.name.startswith(f"{start}_"):
        raise BadInput(
            f"{path}: its name does not begin with {start}, the folders that it lies in; rename "
            "the one or the other"
        )
    check_image(path, dimensions)
    return path
