"""Sample size of a future study."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bidsapp.study.statistics import (
    effect_size,
    pairs_needed,
)
from bidsapp.study.tables.cohort import (
    timepoint_pairs,
)


def planning_table(lesions: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Compute the number of lesions with which a future study would detect each change."""
    rows = []
    for pair in timepoint_pairs(lesions, labels):
        effect = effect_size(pair.b, pair.a)
        # The end of the interval nearest to zero; a study that is planned for it allows for the
        # chance that the observed effect is too large.
        endless = effect.low <= 0 <= effect.high
        cautious = 0.0 if endless else min(effect.low, effect.high, key=abs)
        needed = {
            "n_power80": pairs_needed(effect.cohens_dz, 0.8),
            "n_power90": pairs_needed(effect.cohens_dz, 0.9),
            "n_power80_cautious": pairs_needed(np.nan if effect.note else cautious, 0.8),
        }
        note = (
            "the interval of dz includes 0: with dz_cautious, no number is sufficient"
            if endless
            else ""
        )
        finite = {name: np.nan if np.isinf(n) else n for name, n in needed.items()}
        rows.append(
            {
                **pair.names,
                "n": effect.n,
                "cohens_dz": effect.cohens_dz,
                "dz_cautious": np.nan if effect.note else cautious,
                **finite,
                "note": effect.note or note,
            }
        )
    return pd.DataFrame(rows)
