"""From maps and lesion labels to a tidy table of lesion values."""

from bidsapp.lesions.regions import (
    Array,
    as_labels,
    lesion_series,
    volume_ml,
    voxel_ml,
    weighted_course,
)
from bidsapp.lesions.summary import (
    COLUMNS,
    PERCENTILES,
    MapSummary,
    standard_error_of_mean,
    summarise,
    summarise_weighted,
)

__all__ = [
    "COLUMNS",
    "PERCENTILES",
    "Array",
    "MapSummary",
    "as_labels",
    "lesion_series",
    "standard_error_of_mean",
    "summarise",
    "summarise_weighted",
    "volume_ml",
    "voxel_ml",
    "weighted_course",
]
