"""Resources of the participant level, as measured, and how a run shares its own."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from bidsapp.config import Config


@cache
def measured() -> dict[str, dict[str, Any]]:
    """Return the time and memory of the levels, as measured."""
    return tomllib.loads((files("bidsapp.data") / "resources.toml").read_text(encoding="utf-8"))


def memory_of_participant(processes: int) -> float:
    """Return the largest memory of a participant that is run by several processes, GB.

    Examples
    --------
    >>> memory_of_participant(1) < memory_of_participant(2)
    True
    """
    one = measured()["participant"]
    return float(one["memory_base_gb"] + one["memory_process_gb"] * processes)


def participants_at_once(participants: int, config: Config) -> int:
    """Return the number of participants that are run side by side.

    There is a core for each, and memory for one process of each; a nipype plugin of the user, which
    has its own resources, gets one after the other.

    Parameters
    ----------
    participants : int
        Number of participants of the run.
    config : Config

    Examples
    --------
    >>> from pathlib import Path
    >>> config = Config(Path(), Path(), Path(), "run", nprocs=16, memory_gb=64.0)
    >>> participants_at_once(3, config), participants_at_once(100, config)
    (3, 16)
    """
    if config.plugin_file:
        return 1
    in_memory = int(config.memory_gb / memory_of_participant(1))
    return max(1, min(participants, config.nprocs, in_memory))
