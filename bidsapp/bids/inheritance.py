"""The BIDS inheritance principle: sidecars and gradient files that apply to an image."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bidsapp.bids.text_files import read_text
from bidsapp.errors import BadInput


def applicable_files(image: Path, root: Path, extension: str) -> list[Path]:
    """Return the files that apply to an image by the inheritance principle, the nearest last.

    Parameters
    ----------
    image
        Image of the data set.
    root
        Folder of the data set.
    extension
        ``.json``, ``.bval``, ``.bvec`` or ``.tsv``.

    Returns
    -------
    list of Path
        Files with the suffix of the image and no entities other than those of the image.
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
    """Return the metadata of an image, including inherited fields.

    A field that is null in the nearest sidecar that has it is missing.

    Raises
    ------
    BadInput
        If one of its sidecars cannot be read.
    """
    merged: dict[str, Any] = {}
    for path in applicable_files(image, root, ".json"):
        merged |= read_sidecar(path)
    return {field: value for field, value in merged.items() if value is not None}


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return the fields of a sidecar.

    Raises
    ------
    BadInput
        If the file is missing or not a JSON object.
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
    """Yield the folder of the image and its parents, up to that of the data set."""
    for folder in image.parents:
        yield folder
        if folder == root:
            return


def _parts(path: Path) -> list[str]:
    """Return the entities of a file name and its suffix, which is last.

    Examples
    --------
    >>> _parts(Path("sub-01_run-1_dwi.nii.gz"))
    ['sub-01', 'run-1', 'dwi']
    """
    return path.name.split(".")[0].split("_")
