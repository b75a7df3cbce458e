"""Index of the files of a data set, with entities, metadata and checks."""

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
"""Entities that can distinguish several images."""


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


def to_indexed_file(layout: bids.layout.BIDSLayout, file: Any) -> IndexedFile:
    """Convert a file of a pybids layout."""
    return IndexedFile(str(file.path), dict(file.entities), Path(layout.root))


def example_filter(query: str, found: Sequence[IndexedFile]) -> str:
    """Return an example filter, which selects the first of several files."""
    entities = [f.entities for f in found]
    differ = (n for n in _TELLING if len({str(e.get(n)) for e in entities}) > 1)
    name = next(differ, "extension")
    value = next(e[name] for e in entities if name in e)
    return json.dumps({query: {name: value if isinstance(value, str) else int(value)}})


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
