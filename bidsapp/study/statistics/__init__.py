"""One function per statistical question: arrays in, a frozen result out.

Missing (NaN) and infinite values are excluded and counted, together with their pairs. With fewer
than `MIN_N` values, or values that do not vary, there is no test: the numbers of the result are NaN
and its ``note`` gives the reason.
"""

from bidsapp.study.statistics.agreement import (
    Agreement,
    Correlation,
    limits_of_agreement,
    rank_correlation,
    repeated_correlation,
)
from bidsapp.study.statistics.classical import (
    Comparison,
    Regression,
    Summary,
    paired_test,
    regression,
    regression_band,
    summary,
    unpaired_test,
)
from bidsapp.study.statistics.clusters import (
    ClusterTest,
    Influence,
    cluster_test,
    leave_one_out,
)
from bidsapp.study.statistics.discrimination import EXACT_PAIRS, Discrimination, discrimination
from bidsapp.study.statistics.effects import (
    EXACT_CHANGES,
    EffectSize,
    RankTest,
    effect_size,
    false_discovery_rate,
    holm,
    normality,
    signed_rank_test,
)
from bidsapp.study.statistics.mixed import MixedModel, mixed_model
from bidsapp.study.statistics.planning import pairs_needed
from bidsapp.study.statistics.reml import Contrast, Structure
from bidsapp.study.statistics.repeatability import SPAN, Repeatability, repeatability
from bidsapp.study.statistics.trend import RandomEffect, TrendModel, trend_model
from bidsapp.study.statistics.values import CONFIDENCE, MIN_N

__all__ = [
    "CONFIDENCE",
    "EXACT_CHANGES",
    "EXACT_PAIRS",
    "MIN_N",
    "SPAN",
    "Agreement",
    "ClusterTest",
    "Comparison",
    "Contrast",
    "Correlation",
    "Discrimination",
    "EffectSize",
    "Influence",
    "MixedModel",
    "RandomEffect",
    "RankTest",
    "Regression",
    "Repeatability",
    "Structure",
    "Summary",
    "TrendModel",
    "cluster_test",
    "discrimination",
    "effect_size",
    "false_discovery_rate",
    "holm",
    "leave_one_out",
    "limits_of_agreement",
    "mixed_model",
    "normality",
    "paired_test",
    "pairs_needed",
    "rank_correlation",
    "regression",
    "regression_band",
    "repeatability",
    "repeated_correlation",
    "signed_rank_test",
    "summary",
    "trend_model",
    "unpaired_test",
]
