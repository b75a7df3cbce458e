"""What is wrong with a series, and the volumes that it concerns."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A contradiction between the signal of a series and its description.

    Attributes
    ----------
    text
        What was found, with its size and the remedy; without the name of the file.
    volumes
        Volumes, from 0, that are left out of the analysis because of it.
    fatal
        Whether the series cannot be analysed.
    """

    text: str
    volumes: tuple[int, ...] = ()
    fatal: bool = False


def list_volumes(volumes: Sequence[int]) -> str:
    """Return volumes as text, counted from 1.

    Examples
    --------
    >>> list_volumes([0]), list_volumes([3, 4, 5, 9])
    ('volume 1', 'volumes 4 to 6 and 10')
    """
    runs: list[list[int]] = []
    for number in sorted(volume + 1 for volume in volumes):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    listed = [
        part
        for run in runs
        for part in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run))
    ]
    text = " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
    return f"volume{'s' if len(volumes) > 1 else ''} {text}"
