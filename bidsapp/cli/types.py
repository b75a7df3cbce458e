"""What the values of options may be: text of the command line -> checked values."""

import os
import re
from argparse import Action, ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any, NoReturn

_UNITS = {"K": 1 / 1024**2, "M": 1 / 1024, "G": 1.0, "T": 1024.0}
_OF_THE_SCRIPTS = {"array", "dependency", "output", "error", "parsable", "wrap", "job-name"}
"""Options of sbatch that a second word on would break."""


def existing_file(text: str) -> Path:
    """Return the full path of a file that exists."""
    path = Path(text)
    if not path.is_file():
        raise ArgumentTypeError(f"{text} is no file")
    return path.resolve()


def derivative(text: str) -> Path:
    """Return the folder of PATH or NAME=PATH."""
    return Path(text.split("=", 1)[1] if "=" in text else text)


def number(text: str, what: str) -> float:
    """Return a number; ``what`` it should be is for the error."""
    try:
        return float(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no {what}") from error


def positive(text: str) -> float:
    """Return a number above zero."""
    value = number(text, "number")
    if not value > 0:
        raise ArgumentTypeError(f"{text} is not above zero")
    return value


def relaxation_time(text: str) -> float:
    """Return a T1 in seconds, of which that of tissue and blood is a few."""
    value = number(text, "time in seconds")
    if not 0.1 <= value <= 10:
        raise ArgumentTypeError(f"{text} s is no T1 of tissue or blood (0.1 to 10 s)")
    return value


def relaxivity(text: str) -> float:
    """Return a relaxivity in 1/s/mM."""
    value = number(text, "relaxivity")
    if not 0.5 <= value <= 50:
        raise ArgumentTypeError(f"{text} is no relaxivity of a contrast agent (0.5 to 50 1/s/mM)")
    return value


def sbatch_option(text: str) -> str:
    """Return an option of sbatch, its value quoted, unless the scripts give it themselves."""
    match = re.fullmatch(r'--([a-z-]+)(?:=([^"\n]*))?', text)
    if not match:
        raise ArgumentTypeError(f"{text!r} is no long option of sbatch such as --partition=long")
    name, value = match.groups()
    if name in _OF_THE_SCRIPTS:
        raise ArgumentTypeError(f"--{name} is given by the scripts themselves")
    return f'--{name}="{value}"' if value and re.search(r"[\s#]", value) else text


class OneLineParser(ArgumentParser):
    """A parser that says what is wrong in one line, and where the options are explained."""

    def error(self, message: str) -> NoReturn:
        """Print the message and end with 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def fraction(text: str) -> float:
    """Return a number from 0 to below 1."""
    value = number(text, "fraction")
    if not 0 <= value < 1:
        raise ArgumentTypeError(f"{text} is no fraction from 0 to below 1")
    return value


def whole(text: str) -> int:
    """Return a whole number from 0."""
    if not re.fullmatch(r"\d+", text):
        raise ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def count(text: str) -> int:
    """Return a whole number from 1."""
    value = whole(text)
    if value < 1:
        raise ArgumentTypeError(f"{text} is below 1")
    return value


def memory(text: str) -> float:
    """Return gigabytes; a bare number is megabytes.

    Examples
    --------
    >>> memory("2048"), memory("1.5G")
    (2.0, 1.5)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise ArgumentTypeError(f"{text!r} is no amount of memory; give MB, or 16G")
    return float(match[1]) * _UNITS[match[2].upper() or "M"]


def memory_limit() -> float:
    """Return 90 % of the memory of the machine, or of this process's cgroup if less, in GB."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup") / name
        if file.is_file() and (text := file.read_text(encoding="ascii").strip()).isdigit():
            limits.append(int(text))
    return round(0.9 * min(limits) / 1024**3, 2)


class NamedNumbers(Action):
    """Collect NAME=NUMBER pairs."""

    def __call__(self, parser: ArgumentParser, namespace: Any, values: Any, *_: Any) -> None:
        """Add a pair for every word."""
        pairs = [v.partition("=") for v in values]
        try:
            setattr(namespace, self.dest, {name: float(number) for name, _, number in pairs})
        except ValueError:
            parser.error(f"{self.option_strings[0]} takes NAME=NUMBER, got {' '.join(values)}")


class NamedLabels(Action):
    """Collect NAME=LABEL pairs."""

    def __call__(self, parser: ArgumentParser, namespace: Any, values: Any, *_: Any) -> None:
        """Add a pair for every word."""
        pairs = [v.partition("=") for v in values]
        if not all(separator and label for _, separator, label in pairs):
            parser.error(f"{self.option_strings[0]} takes NAME=LABEL, got {' '.join(values)}")
        setattr(namespace, self.dest, {n: label.removeprefix("ses-") for n, _, label in pairs})
