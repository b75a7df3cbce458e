"""Reading of text files, with error messages that suggest a remedy."""

import codecs
import io
from pathlib import Path

from bidsapp.errors import BadInput

_LARGEST = 64 * 1024**2
"""Maximum size of a sidecar or table in bytes, far above that of real ones."""
_POINTER = 32 * 1024
"""Maximum size in bytes of a git-annex pointer file."""
_ANNEX = b"/annex/objects/"
"""Beginning of a git-annex pointer file."""
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def check_available(path: Path) -> None:
    """Raise an error if a file is missing, a folder, or a git-annex (DataLad) pointer.

    Raises
    ------
    BadInput
        With a remedy.
    """
    if path.is_symlink() and not path.exists():
        raise BadInput(f"{path}: is a broken link: not downloaded? run `datalad get {path.name}`")
    if not path.exists():
        raise BadInput(f"{path}: is missing")
    if not path.is_file():
        raise BadInput(f"{path}: is not a file")
    if _is_pointer(path):
        raise BadInput(f"{path}: not downloaded: run `datalad get {path.name}`")


def _is_pointer(path: Path) -> bool:
    """Return whether a file is a git-annex pointer."""
    try:
        if path.stat().st_size > _POINTER:
            return False
        with path.open("rb") as stream:
            return stream.read(len(_ANNEX)) == _ANNEX
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error


def read_text(path: Path) -> str:
    """Return the text of a sidecar or table: UTF-8, or the UTF-16 of Excel with its mark.

    Raises
    ------
    BadInput
        If it is missing, neither of them, or too large.
    """
    if not path.is_file():
        check_available(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    if len(data) > _LARGEST:
        size = path.stat().st_size
        raise BadInput(f"{path}: has {size} bytes; a sidecar or table may have at most {_LARGEST}")
    if data.startswith(_ANNEX):
        check_available(path)
    encoding = "utf-16" if data.startswith(_MARKS) else "utf-8-sig"
    try:
        return io.TextIOWrapper(io.BytesIO(data), encoding).read()
    except UnicodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error
