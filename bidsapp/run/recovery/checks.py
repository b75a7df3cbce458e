"""Whether the simulation repeats the analysis of the run: its values without any change."""

import math
from collections.abc import Iterator
from pathlib import Path

from bidsapp.bids import outputs
from bidsapp.bids.output import Output
from bidsapp.bids.records import Session, Space
from bidsapp.bids.tables import read_table
from bidsapp.config import Config
from bidsapp.issues import Issue
from bidsapp.recovery.lesion import AS_ACQUIRED
from bidsapp.recovery.recovery import Chain, Estimates

TOLERANCE = 0.02
"""Largest relative difference from the tables of the run."""
_TABLES: tuple[tuple[Output, str, str], ...] = (
    (outputs.LESION_VALUES, "mean", "mean"),
    (outputs.UNMIXED_VALUES, "unmixed", "value"),
)
"""Tables of a run, the estimate in each, and its column."""


def compare_with_run(
    chain: Chain, config: Config, session: Session, space: Space, lesion: int
) -> Iterator[Issue]:
    """Yield a warning if the values without change are not those of the run.

    Parameters
    ----------
    chain
        The lesion and its analysis.
    config
        Settings of the run.
    session, space, lesion
        Place of the values.
    """
    ours = chain.measure(chain.lesion.data, AS_ACQUIRED)
    folder = config.output_dir / f"sub-{session.participant}" / session.id
    theirs: Estimates = {}
    for output, estimate, column in _TABLES:
        for path in output.find(folder, outputs.DATATYPES[space]):
            theirs |= _read_values(path, estimate, column, lesion)
    worst = max(
        (
            (abs(ours[key] / value - 1), key)
            for key, value in theirs.items()
            if value and math.isfinite(value) and math.isfinite(ours.get(key, math.nan))
        ),
        default=(0.0, ("", "")),
    )
    if worst[0] > TOLERANCE:
        difference, (estimate, name) = worst
        yield Issue(
            "warning",
            f"{space.upper()}, lesion {lesion}: {name} ({estimate}) without any change differs by "
            f"{100 * difference:.0f} % from the table of the run. Either files have changed since "
            "the run, which should be repeated, or voxels around the lesion have no concentration, "
            "so that their signal is not known here",
            "NotTheRun",
        )


def _read_values(path: Path, estimate: str, column: str, lesion: int) -> Estimates:
    """Return the values of a lesion in a table of a run."""
    rows = read_table(path, ["lesion", "parameter", column])
    return {
        (estimate, row["parameter"]): float(row[column])
        for row in rows
        if row["lesion"] == str(lesion) and row[column] != "n/a"
    }
