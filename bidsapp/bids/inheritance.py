"""The files that hold for an image: sidecars and gradients beside it or in folders above."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bidsapp.bids.text_files import read_text
from bidsapp.errors import BadInput


def applicable_files(image: Path, root: Path, extension: str) -> list[Path]:
    """Return the files that hold for an image by the inheritance principle, the nearest last.

    Parameters
    ----------
    image
        Of the data set.
    root
        The data set.
    extension
        ``.json``, ``.bval`` or ``.bvec``.

    Returns
    -------
    list of Path
        Those with the image's suffix and no entity that the image has not.
    """
    parts = _parts(image)
    found = [
        (len(folder.parts), len(_parts(path)), path)
        for folder in _folders(image, root)
        for path in folder.glob(f"*{extension}")
        if _parts(path)[-1] == parts[-1] and set(_parts(path)) <= set(parts)
    ]
    return [path for *_, path in sorted(found)]


def metadata(image: Path, root: Path) -> dict[str, Any]:
    """Return an image's metadata, with what it inherits.

    Raises
    ------
    BadInput
        If one of its sidecars cannot be read.
    """
    merged: dict[str, Any] = {}
    for path in applicable_files(image, root, ".json"):
        merged |= read_sidecar(path)
    return merged


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return the fields of a sidecar.

    Raises
    ------
    BadInput
        If it is not there, or no JSON object.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: is not valid JSON ({error}); fix it") from error
    if not isinstance(content, dict):
        raise BadInput(
            f'{path}: must be a JSON object such as {{"EchoTime": 0.002}}, '
            f"not a {type(content).__name__}"
        )
    return content


def _folders(image: Path, root: Path) -> Iterator[Path]:
    """Yield the image's folder and those above it, up to the data set's."""
    for folder in image.parents:
        yield folder
        if folder == root:
            return


def _parts(path: Path) -> list[str]:
    """Return the entities of a name and, last, its suffix.

    Examples
    --------
    >>> _parts(Path("sub-01_run-1_dwi.nii.gz"))
    ['sub-01', 'run-1', 'dwi']
    """
    return path.name.split(".")[0].split("_")
