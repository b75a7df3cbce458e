"""Whether a file is there and can be read as text; what a user should do if not."""

from pathlib import Path

from bidsapp.errors import BadInput

_LARGEST = 64 * 1024**2
"""Bytes of a sidecar or table that is read at all: none that is real comes near."""
_POINTER = 32 * 1024
"""git-annex takes no larger file for a pointer to its content."""


def check_available(path: Path) -> None:
    """Complain if a file is missing, a folder, or only a promise of git-annex (DataLad).

    Raises
    ------
    BadInput
        With what to do.
    """
    if path.is_symlink() and not path.exists():
        raise BadInput(
            f"{path}: the link leads nowhere: not downloaded? run `datalad get {path.name}`"
        )
    if not path.exists():
        raise BadInput(f"{path}: is missing")
    if not path.is_file():
        raise BadInput(f"{path}: is not a file")
    if _is_pointer(path):
        raise BadInput(f"{path}: not downloaded: run `datalad get {path.name}`")


def _is_pointer(path: Path) -> bool:
    """Return whether a file is only a pointer to its content, as of git-annex."""
    try:
        if path.stat().st_size > _POINTER:
            return False
        with path.open("rb") as stream:
            return stream.read(15) == b"/annex/objects/"
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error


def read_text(path: Path) -> str:
    """Return the text of a sidecar or table.

    Raises
    ------
    BadInput
        If it is not there, no UTF-8, or larger than any such file.
    """
    check_available(path)
    size = path.stat().st_size
    if size > _LARGEST:
        raise BadInput(f"{path}: has {size} bytes; a sidecar or table is no longer than {_LARGEST}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
