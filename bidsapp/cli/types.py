"""Types of options: conversion of text to checked values."""

import os
import re
import sys
from argparse import SUPPRESS, Action, ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any, NoReturn

from bidsapp.bids.records import FRAME_RANGE, RELAXIVITY_RANGE, TR_RANGE
from bidsapp.cli.suggestions import suggest_option

_UNITS = {"K": 1 / 1024**2, "M": 1 / 1024, "G": 1.0, "T": 1024.0}
_RESERVED = {"array", "dependency", "output", "error", "parsable", "wrap", "job-name"}
"""Options of sbatch that the scripts set themselves."""
T1_RANGE: tuple[float, float] = (0.1, 10)
T2_RANGE: tuple[float, float] = (0.01, 3)
"""Relaxation times of tissue and blood that are accepted, s."""


def existing_file(text: str) -> Path:
    """Return the absolute path of an existing file."""
    path = Path(text)
    if not path.is_file():
        raise ArgumentTypeError(f"{text} is not a file")
    return path.resolve()


def existing_path(text: str) -> Path:
    """Return the absolute path of an existing file or folder."""
    path = Path(text)
    if not path.exists():
        raise ArgumentTypeError(f"{text} does not exist")
    return path.resolve()


def roi_name(text: str) -> str:
    """Return the name of a region, which is a label in file names: letters and digits."""
    if not (text.isascii() and text.isalnum()):
        raise ArgumentTypeError(f"must be a name of letters and digits (the seg-), got {text!r}")
    return text


def derivative_folder(text: str) -> Path:
    """Return the folder in PATH or NAME=PATH."""
    return Path(text.split("=", 1)[1] if "=" in text else text)


def convert_number(text: str, what: str) -> float:
    """Return a number; the error message states what was expected."""
    try:
        return float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"must be a {what}, got {text!r}") from error


def positive_number(text: str) -> float:
    """Return a number above zero."""
    value = convert_number(text, "number")
    if not value > 0:
        raise ArgumentTypeError(f"must be a number > 0, got {text}")
    return value


def nonnegative_number(text: str) -> float:
    """Return a finite number of at least 0."""
    value = convert_number(text, "number >= 0")
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError(f"must be a number >= 0, got {text}")
    return value


def several(text: str) -> int:
    """Return a whole number of at least 2."""
    value = positive_integer(text)
    if value < 2:
        raise ArgumentTypeError(f"must be a whole number >= 2, got {text}")
    return value


def relaxation_time(text: str) -> float:
    """Return a T1 in seconds within the range of tissue and blood."""
    return _convert_time(text, "T1 of tissue or blood", T1_RANGE)


def transverse_relaxation_time(text: str) -> float:
    """Return a T2 in seconds within the range of tissue and blood."""
    return _convert_time(text, "T2 of tissue or blood", T2_RANGE)


def frame_time(text: str) -> float:
    """Return a time between two frames in seconds."""
    return _convert_time(text, "time between two frames", FRAME_RANGE)


def repetition_time(text: str) -> float:
    """Return a time between two excitations in seconds."""
    return _convert_time(text, "time between two excitations", TR_RANGE)


def _convert_time(text: str, name: str, limits: tuple[float, float]) -> float:
    value = convert_number(text, "time in seconds")
    low, high = limits
    if not low <= value <= high:
        raise ArgumentTypeError(f"must be a {name} ({low:g} to {high:g} s), got {text} s")
    return value


def relaxivity(text: str) -> float:
    """Return a relaxivity in 1/s/mM."""
    value = convert_number(text, "relaxivity")
    low, high = RELAXIVITY_RANGE
    if not low <= value <= high:
        raise ArgumentTypeError(f"must be a relaxivity of {low:g} to {high:g} 1/s/mM, got {text}")
    return value


def sbatch_option(text: str) -> str:
    """Return an option of sbatch with its value quoted; options set by the scripts are refused."""
    match = re.fullmatch(r'--([a-z-]+)(?:=([^"\n]*))?', text)
    if not match:
        raise ArgumentTypeError(
            f"must be a long option of sbatch such as --partition=long, got {text!r}"
        )
    name, value = match.groups()
    if name in _RESERVED:
        raise ArgumentTypeError(f"--{name} is set by the scripts themselves")
    return f'--{name}="{value}"' if value and re.search(r"[\s#]", value) else text


class OneLineParser(ArgumentParser):
    """A parser that reports an error in one line, with what was meant, and points to the help."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2."""
        meant = suggest_option(self, message)
        self.exit(2, f"{self.prog}: {message}{meant} (see {self.prog} --help)\n")


def fraction(text: str) -> float:
    """Return a number from 0 to less than 1."""
    value = convert_number(text, "fraction")
    if not 0 <= value < 1:
        raise ArgumentTypeError(f"must be a fraction >= 0 and < 1, got {text}")
    return value


def nonnegative_integer(text: str) -> int:
    """Return an integer >= 0."""
    if not re.fullmatch(r"\d+", text):
        raise ArgumentTypeError(f"must be an integer >= 0, got {text!r}")
    return int(text)


def positive_integer(text: str) -> int:
    """Return an integer >= 1."""
    value = nonnegative_integer(text)
    if value < 1:
        raise ArgumentTypeError(f"must be an integer >= 1, got {text}")
    return value


def memory(text: str) -> float:
    """Return an amount of memory in gigabytes; a number without unit is in megabytes.

    Examples
    --------
    >>> memory("2048"), memory("1.5G")
    (2.0, 1.5)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise ArgumentTypeError(
            f"must be an amount of memory such as 2048 (MB) or 16G, got {text!r}"
        )
    return float(match[1]) * _UNITS[match[2].upper() or "M"]


def memory_limit() -> float:
    """Return 90 % of the memory of the machine, or of the cgroup if less, in GB."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup") / name
        if file.is_file() and (text := file.read_text(encoding="ascii").strip()).isdigit():
            limits.append(int(text))
    return round(0.9 * min(limits) / 1024**3, 2)


def add_former_name(parser: ArgumentParser, former: str, option: Action) -> None:
    """Accept the name that an option had in an earlier version, with a note; it has no help text.

    Examples
    --------
    >>> parser = ArgumentParser(prog="app")
    >>> add_former_name(parser, "--old", parser.add_argument("--new", type=int))
    >>> parser.parse_args(["--old", "3"]).new
    3
    """

    class FormerName(Action):
        def __call__(self, parser: ArgumentParser, namespace: Any, values: Any, *_: Any) -> None:
            print(f"{parser.prog}: {former} is now {option.option_strings[0]}", file=sys.stderr)
            setattr(namespace, self.dest, values)

    parser.add_argument(
        former,
        dest=option.dest,
        type=option.type or str,
        action=FormerName,
        default=SUPPRESS,
        help=SUPPRESS,
    )


class NamedNumbers(Action):
    """Collect NAME=NUMBER pairs."""

    def __call__(self, parser: ArgumentParser, namespace: Any, values: Any, *_: Any) -> None:
        """Add a pair for every argument."""
        pairs = [v.partition("=") for v in values]
        try:
            setattr(namespace, self.dest, {name: float(number) for name, _, number in pairs})
        except ValueError:
            parser.error(f"{self.option_strings[0]} takes NAME=NUMBER, got {' '.join(values)}")


class NamedLabels(Action):
    """Collect NAME=LABEL pairs."""

    def __call__(self, parser: ArgumentParser, namespace: Any, values: Any, *_: Any) -> None:
        """Add a pair for every argument."""
        pairs = [v.partition("=") for v in values]
        if not all(separator and label for _, separator, label in pairs):
            parser.error(f"{self.option_strings[0]} takes NAME=LABEL, got {' '.join(values)}")
        setattr(namespace, self.dest, {n: label.removeprefix("ses-") for n, _, label in pairs})
