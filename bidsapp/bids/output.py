"""A kind of file that metperf writes for a session: the rules of its name."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bidsapp.bids.records import Session

IMAGE = (".nii.gz", ".json")
"""Extensions of an image."""
_ORDER = ("ce", "space", "from", "to", "mode", "seg", "label", "model", "param", "desc")


@dataclass(frozen=True)
class Output:
    """A kind of file of one session.

    Attributes
    ----------
    datatypes
        Folders in which there may be such a file.
    suffix
        Last part of the name before the extension.
    description
        Content of the file.
    extensions
        Extension of the file itself, then those of the files that accompany it.
    fixed
        Entities with the same value in all such files.
    free
        Entities whose value varies, or which may be absent.
    other_than
        Values that a free entity does not have, because other kinds of files have them.

    Examples
    --------
    >>> from bidsapp.bids.outputs import LESION_VALUES
    >>> LESION_VALUES.path(Session("01", "1week"), "perf", model="etofts").as_posix()
    'sub-01/ses-1week/perf/sub-01_ses-1week_seg-enhancing_model-etofts_roistats.tsv'
    >>> LESION_VALUES.matches("sub-01_ses-1week_seg-enhancing_model-etofts_roistats.tsv")
    True
    """

    datatypes: tuple[str, ...]
    suffix: str
    description: str
    extensions: tuple[str, ...] = IMAGE
    fixed: Mapping[str, str] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    other_than: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def path(
        self, session: Session, datatype: str = "", extension: str = "", **entities: str
    ) -> Path:
        """Return the path of the file of a session, relative to the derivatives.

        Parameters
        ----------
        session
            The session.
        datatype
            Folder; may be omitted if there is only one.
        extension
            Default: the first of `extensions`.
        **entities
            Values of free entities; empty ones are omitted. ``from_`` stands for ``from``.

        Raises
        ------
        ValueError
            If there is no such file: unknown entity, extension or folder.
        """
        datatype = datatype or self.datatypes[0]
        extension = extension or self.extensions[0]
        if datatype not in self.datatypes or extension not in self.extensions:
            raise ValueError(f"no {self.suffix}{extension} is written in {datatype}")
        values = {name.rstrip("_"): value for name, value in entities.items() if value}
        if unknown := values.keys() - set(self.free):
            raise ValueError(f"{self.suffix} has no entity {', '.join(sorted(unknown))}")
        values |= self.fixed
        folder, stem = Path(f"sub-{session.participant}"), f"sub-{session.participant}"
        if session.label:
            folder, stem = folder / session.id, f"{stem}_{session.id}"
        parts = [stem, *(f"{key}-{values[key]}" for key in _ORDER if key in values), self.suffix]
        return folder / datatype / ("_".join(parts) + extension)

    def pattern(self) -> str:
        """Return the names of such files, with free entities in brackets.

        Examples
        --------
        >>> from bidsapp.bids.outputs import LESION_VALUES
        >>> LESION_VALUES.pattern()
        'sub-*/ses-*/{dwi,perf}/*_seg-enhancing[_model-*]_roistats.tsv'
        """
        entities = "".join(
            f"_{key}-{self.fixed[key]}" if key in self.fixed else f"[_{key}-*]"
            for key in _ORDER
            if key in self.fixed or key in self.free
        )
        folders = ",".join(self.datatypes)
        folder = f"{{{folders}}}" if len(self.datatypes) > 1 else folders
        return f"sub-*/ses-*/{folder}/*{entities}_{self.suffix}{self.extensions[0]}"

    def matches(self, name: str, extension: str = "", **entities: str) -> bool:
        """Return whether a file name is of this kind.

        Parameters
        ----------
        name
            File name without its folder.
        extension
            Default: the first of `extensions`.
        **entities
            Required values; an empty one means that the entity must be absent.
        """
        ending = f"_{self.suffix}{extension or self.extensions[0]}"
        stem = name.removesuffix(ending)
        if stem == name or "." in stem:
            return False
        parts = stem.split("_")
        found = dict(part.split("-", 1) for part in parts if "-" in part)
        required = {**self.fixed, **{key.rstrip("_"): value for key, value in entities.items()}}
        others = found.keys() - required.keys() - {"sub", "ses"} - set(self.free)
        others |= {key for key, values in self.other_than.items() if found.get(key) in values}
        return not others and all(found.get(key, "") == value for key, value in required.items())

    def find(
        self, folder: Path, datatype: str = "", extension: str = "", **entities: str
    ) -> list[Path]:
        """Return the files of this kind in the folder of a session, sorted by name.

        Parameters
        ----------
        folder
            The folder of the session.
        datatype
            The folder in it; all of `datatypes` if empty.
        extension, **entities
            As for `matches`.
        """
        return [
            folder / name / found
            for name in ((datatype,) if datatype else self.datatypes)
            for found in _names(folder / name)
            if self.matches(found, extension, **entities)
        ]

    def with_fixed(self, **entities: str) -> "Output":
        """Return the files of this kind with these values of free entities."""
        values = {name.rstrip("_"): value for name, value in entities.items()}
        free = tuple(name for name in self.free if name not in values)
        fixed = {**self.fixed, **{name: value for name, value in values.items() if value}}
        return replace(self, fixed=fixed, free=free)


def _names(folder: Path) -> list[str]:
    """Return the sorted names in a folder; none if there is no such folder."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - paths of all files would take longer
    except (FileNotFoundError, NotADirectoryError):
        return []
