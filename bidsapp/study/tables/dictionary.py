"""Description of every column of every table, as written into the JSON sidecars."""

from collections.abc import Mapping

from bidsapp.lesions.response import PARTIAL_RESPONSE, PROGRESSION
from bidsapp.study.statistics import EXACT_CHANGES, EXACT_PAIRS, SPAN
from bidsapp.study.tables.dose import EFFECTIVE_COLUMNS, LESION_DOSES
from bidsapp.study.tables.mixed_model import ALPHA

_LESION = {
    "participant_id": "Participant",
    "lesion": "Lesion number, the same in all sessions",
}
_PAIR = {
    "parameter": "Parameter; group_summary.tsv lists its unit",
    "timepoint_a": "Earlier time point",
    "timepoint_b": "Later time point",
}
_CHANGE = {
    "mean_difference": "Mean change, later minus earlier",
    "ci_low": "Lower limit of the 95 % confidence interval of the mean change",
    "ci_high": "Upper limit of the 95 % confidence interval of the mean change",
}
_FAMILY = "for all parameters and pairs of time points in this table"
_ADJUSTED = {
    "p_holm": f"p value adjusted by Holm's method {_FAMILY}",
    "p_fdr": f"p value adjusted by the method of Benjamini and Hochberg {_FAMILY}",
}
_XY = {"x": "Parameter on the x axis", "y": "Parameter on the y axis"}
_WHY = "Reason if there is no test"

_PAIRED = {
    **_PAIR,
    "n": "Number of lesions with a value at both time points",
    "mean_a": "Mean of these lesions at the earlier time point",
    "sd_a": "Standard deviation (n - 1) at the earlier time point",
    "mean_b": "Mean of these lesions at the later time point",
    "sd_b": "Standard deviation (n - 1) at the later time point",
    **_CHANGE,
    "t": "Student's t of the mean change (paired t test; the unit of analysis is the lesion)",
    "df": "Degrees of freedom",
    "p": "Two-sided p value, not adjusted for multiple testing",
    **_ADJUSTED,
    "cohens_dz": "Cohen's dz: mean change divided by the standard deviation of the changes",
    "dz_low": "Lower limit of its 95 % confidence interval",
    "dz_high": "Upper limit of its 95 % confidence interval",
    "hedges_gz": "Hedges' gz: the same, corrected for the bias of small samples",
    "wilcoxon_w": "Sum of the ranks of the increases (Wilcoxon's signed rank test)",
    "p_wilcoxon": f"Its two-sided p value, exact up to {EXACT_CHANGES} lesions without ties",
    "p_normality": "p value of the Shapiro-Wilk test that the changes are normally distributed",
    "n_participants": "Number of participants with these lesions",
    "p_signflip": "p value of the permutation test that flips the signs of all lesions of a "
    "participant together, so that lesions of a participant need not be independent",
    "bootstrap_low": "Lower limit of the 95 % confidence interval of the mean change, by the "
    "studentised bootstrap that resamples participants",
    "bootstrap_high": "Upper limit of that interval",
    "p_without_min": "Smallest p value of the t test when each participant is left out in turn",
    "p_without_max": "Largest p value of the t test when each participant is left out in turn",
    "without_max": "Participant without whom the p value is largest",
    "note": "Reason if there is no test, or the number of lesions with a missing value",
}
_MIXED = {
    **_PAIR,
    "n_participants": "Number of participants with a value at any time point",
    "n_lesions": "Number of lesions with a value at any time point",
    "n_values": "Number of values",
    "mean_difference": "Estimated mean change, later minus earlier",
    "standard_error": "Its standard error",
    "ci_low": "Lower limit of its 95 % confidence interval",
    "ci_high": "Upper limit of its 95 % confidence interval",
    "t": "Estimated change divided by its standard error",
    "df": "Degrees of freedom by Satterthwaite's approximation",
    "p": "Two-sided p value of the mixed model, not adjusted for multiple testing",
    **_ADJUSTED,
    "p_paired": "p value of the paired t test, for comparison",
    "agrees": f"1 if both p values are below {ALPHA:g} with changes of the same sign, or neither "
    "is; else 0",
    "icc_participant": "Intraclass correlation of two lesions of a participant: their shared part "
    "of the variance",
    "icc_lesion": "Intraclass correlation of two time points of a lesion: their shared part of "
    "the variance",
    "sd_participant": "Standard deviation between participants; n/a if no participant has two "
    "lesions",
    "sd_lesion": "Standard deviation between lesions of a participant",
    "sd_residual": "Standard deviation within a lesion over time",
    "note": "Reason if no model was fitted",
}
_TESTS = "for all tests of this table"
_TRENDS = {
    "parameter": "Parameter; group_summary.tsv lists its unit",
    "term": "level: value before the treatment; step: change at the treatment (--trend step); "
    "slope: change in 30 days after the treatment",
    "covariate": "Column by which the term differs (--covariate); n/a for the term itself",
    "compared": "What is compared: two groups, or a difference of 1 in a number. The term itself "
    "is that of the reference group, or at the mean of the number",
    "n_participants": "Number of participants in the model",
    "n_lesions": "Number of lesions in the model",
    "n_values": "Number of values in the model, at all sessions with a known day",
    "estimate": "Estimate, in the unit of the parameter",
    "standard_error": "Its standard error",
    "ci_low": "Lower limit of its 95 % confidence interval",
    "ci_high": "Upper limit of its 95 % confidence interval",
    "t": "Estimate divided by its standard error; n/a for a level, of which zero is no hypothesis",
    "df": "Degrees of freedom by Satterthwaite's approximation",
    "p": "Two-sided p value, not adjusted for multiple testing",
    "p_holm": f"p value adjusted by Holm's method {_TESTS}",
    "p_fdr": f"p value adjusted by the method of Benjamini and Hochberg {_TESTS}",
    "p_curvature": "p value of the square of the time as a further term: if small, the course is "
    "not the fitted line",
    "random": "What varies between lesions and participants in the model: intercepts (levels), and "
    "slopes where the data carry them",
    "sd_participant": "Standard deviation of the level between participants; n/a if no participant "
    "has two lesions",
    "sd_lesion": "Standard deviation of the level between lesions of a participant",
    "sd_slope_participant": "Standard deviation of the slope in 30 days between participants; n/a "
    "if it does not vary in the model",
    "sd_slope_lesion": "Standard deviation of the slope in 30 days between lesions of a "
    "participant; likewise",
    "sd_residual": "Standard deviation of the values about the lines of the lesions",
    "note": "Reason if no model was fitted; values that are left out",
}
_TREND_CURVES = {
    "parameter": "Parameter",
    "group": "Group of the covariate; n/a without groups",
    "days": "Days since treatment; 0 is given before and after the treatment",
    "mean": "Fitted mean",
    "ci_low": "Lower limit of its 95 % confidence interval",
    "ci_high": "Upper limit of its 95 % confidence interval",
}
_INFLUENCE = {
    **_PAIR,
    "without": "Participant that was left out",
    "mean_difference": "Mean change without this participant, later minus earlier",
    "t": "Student's t without this participant",
    "p": "Its two-sided p value",
}
_RESPONSE = {
    **_LESION,
    "followup_days": "Days from treatment to the follow-up",
    "volume_change_percent": "Change of the whole-lesion volume from baseline, percent",
    "response": f"CR: no longer visible; PR: volume decrease of {-PARTIAL_RESPONSE:g} % or more; "
    f"PD: volume increase of {PROGRESSION:g} % or more; SD: otherwise",
    "followup_session": "Last session with a whole-lesion ROI after the time points",
    "note": "Reason if there is no response category",
    "events": "What happened to the lesion over all sessions, by its place: new, gone, merged, "
    "split, misnumbered, moved or uncertain",
}
_RANO = {
    "participant_id": "Participant",
    "session_id": "Session: the baseline, then every later one",
    "days": "Days from treatment to the session",
    "n_targets": "Number of target lesions: the largest measurable ones at baseline, at most five",
    "diameter_sum_mm": "Sum of the longest diameters of the targets; missing if one is unknown",
    "nadir_mm": "Smallest sum before this session, baseline included",
    "from_baseline_percent": "Change of the sum from baseline, percent",
    "from_nadir_percent": "Change of the sum from its nadir, percent",
    "n_new": "Number of lesions so far that were not there at baseline",
    "response": "Category by RANO-BM (Lin et al. 2015, doi:10.1016/S1470-2045(15)70057-4): CR, PR, "
    "SD, PD, or NE (not evaluable)",
    "confirmed": "1 if the response was sustained for four weeks, 0 if not; n/a if there is none, "
    "or days are unknown",
    "radiographic_only": "1 if corticosteroids or clinical status are unknown, 0 if both are known",
    "note": "What decided besides the sum, and what is not known",
}
_VOLUME_CATEGORY = "CR, PR, SD, PD, with progression from the smallest volume before: "
_LESION_RESPONSE = {
    **_LESION,
    "session_id": "Session: the baseline, then every later one",
    "days": "Days from treatment to the session",
    "role": "By RANO-BM: target, non-target, new, absent at all sessions, or unknown (not measured "
    "at baseline)",
    "diameter_mm": "Longest diameter in a slice; 0 if the lesion is gone",
    "diameter_nadir_mm": "Smallest one before this session, baseline included",
    "diameter_from_baseline_percent": "Change of the diameter from baseline, percent",
    "diameter_from_nadir_percent": "Change of the diameter from its nadir, percent",
    "rano_bm": "Category of the lesion by the thresholds of RANO-BM; of a non-target lesion CR, "
    "PD, or SD for neither; NE: not measured, or not before and not known to be new",
    "volume_ml": "Volume of the whole-lesion ROI",
    "volume_nadir_ml": "Smallest one before this session, baseline included",
    "volume_from_baseline_percent": "Change of the volume from baseline, percent",
    "volume_from_nadir_percent": "Change of the volume from its nadir, percent",
    "volume_response": f"{_VOLUME_CATEGORY}decrease of 58.5 %, increase of 71.5 %",
    "volume_rano_bm": f"{_VOLUME_CATEGORY}decrease of 65 %, increase of 72.8 % (volumetric "
    "extension of RANO-BM)",
}
_PROGRESSION = {
    "participant_id": "Participant",
    "lesion": "Lesion; n/a for the participant as a whole",
    "criterion": "RANO-BM (of the participant), or volume (of the lesion: volume_response of "
    "group_lesion_response.tsv)",
    "best_response": "Best category up to the first progression",
    "best_confirmed": "The same by RANO-BM, with a response that was not sustained for four weeks "
    "as SD",
    "progressed": "1 if there was a progression, 0 if not; n/a if nothing could be assessed",
    "days": "Days from treatment to the first progression, or else to the last assessment, at "
    "which the time to progression is censored",
    "session_id": "Session of that day",
}
_RESPONDERS = {
    "parameter": "Parameter",
    "n_responders": "Number of lesions with CR or PR and a value at both time points",
    "n_nonresponders": "Number of lesions with SD or PD and a value at both time points",
    "change_responders": "Mean change of the responders from the first to the last time point, "
    "percent",
    "change_nonresponders": "Mean change of the others from the first to the last time point, "
    "percent",
    "t": "Student's t (unpaired, pooled variance), responders minus others",
    "df": "Degrees of freedom",
    "p": "Two-sided p value",
    "sd_responders": "Standard deviation of the change of the responders",
    "sd_nonresponders": "Standard deviation of the change of the others",
    "ci_low": "Lower limit of the 95 % confidence interval of the difference, percentage points",
    "ci_high": "Upper limit of the 95 % confidence interval of the difference, percentage points",
    "note": _WHY,
}
_PREDICTION = {
    **_PAIR,
    "n_responders": "Number of lesions with CR or PR and a known change",
    "n_nonresponders": "Number of lesions with SD or PD and a known change",
    "auc": "Area under the ROC curve: probability that the percent change of a responder is lower "
    "than that of another lesion; 0.5: no discrimination, below 0.5: responders increase more",
    "ci_low": "Lower limit of its 95 % confidence interval",
    "ci_high": "Upper limit of its 95 % confidence interval",
    "p": "Two-sided p value (Mann-Whitney U test)",
    **_ADJUSTED,
    "exact": f"1 if the p value and the interval are exact (up to {EXACT_PAIRS} pairs of a "
    "responder and another lesion), 0 if they are approximate",
    "note": _WHY,
}
_ROC = {
    **_PAIR,
    "change_percent": "Threshold: a change at or below it predicts a response",
    "false_positive": "False positive rate: proportion of the others that are predicted to respond",
    "true_positive": "True positive rate: proportion of the responders that are predicted to "
    "respond",
}
_CORRELATION = {
    "timepoint": "Time point",
    **_XY,
    "n": "Number of lesions with both parameters",
    "r": "Pearson's correlation coefficient",
    "p": "Two-sided p value",
    "slope": "Slope of the regression line: change of y per unit of x",
    "intercept": "Intercept of the regression line: y at x = 0",
    "r_low": "Lower limit of the 95 % confidence interval of r",
    "r_high": "Upper limit of the 95 % confidence interval of r",
    "note": "Reason if there is no regression",
}
_AGREEMENT = {
    "question": "values: correlation at timepoint_a; change: correlation of the changes from "
    "timepoint_a to timepoint_b; within lesions: repeated measures correlation of all values",
    "timepoint_a": "Time point, or the earlier time point of a change",
    "timepoint_b": "Later time point of a change",
    **_XY,
    "n": "Number of lesions with both parameters; within lesions: number of values of lesions "
    "with two or more",
    "r": "Pearson's correlation coefficient; within lesions: repeated measures correlation",
    "r_low": "Lower limit of the 95 % confidence interval of r",
    "r_high": "Upper limit of the 95 % confidence interval of r",
    "df": "Degrees of freedom",
    "p": "Two-sided p value of r",
    "spearman": "Spearman's rank correlation coefficient",
    "spearman_low": "Lower limit of its 95 % confidence interval",
    "spearman_high": "Upper limit of its 95 % confidence interval",
    "p_spearman": "Its two-sided p value, exact up to 8 pairs",
    "note": "Reason if there is no correlation",
}
_LIMITS = {
    "timepoint": "Time point",
    "x": "First parameter, standardised by its mean and SD at the first time point",
    "y": "Second parameter, standardised in the same way",
    "n": "Number of lesions with both parameters",
    "bias": "Mean of y minus x, in these SDs; 0 by construction at the first time point if no "
    "lesion lacks either parameter",
    "bias_low": "Lower limit of its 95 % confidence interval",
    "bias_high": "Upper limit of its 95 % confidence interval",
    "sd": "Standard deviation of y minus x",
    "lower_limit": "Lower limit of agreement: bias - 1.96 SD",
    "upper_limit": "Upper limit of agreement: bias + 1.96 SD",
    "limit_half_width": "Half-width of the 95 % confidence interval of either limit",
    "note": "Reason if there are no limits",
}
_REPEATABILITY = {
    "parameter": "Parameter",
    "unit": "Unit of the parameter",
    "estimate": "Lesion values: mean over the voxels, or unmixed",
    "session_a": "First of the two sessions between which no change is expected (--repeats)",
    "session_b": "Second of these sessions",
    "n": "Number of lesions with a value in both",
    "bias": "Mean difference, second session minus first",
    "within_sd": "Standard deviation of one value of an unchanged lesion",
    "repeatability_coefficient": f"{SPAN:.2f} within_sd: the difference of two values of an "
    "unchanged lesion exceeds it in 5 % of cases",
    "ci_low": "Lower limit of its 95 % confidence interval",
    "ci_high": "Upper limit of its 95 % confidence interval",
    "within_cv": "Coefficient of variation of one value of an unchanged lesion, percent; missing "
    "if a value is not positive",
    "cv_low": "Lower limit of its 95 % confidence interval, percent",
    "cv_high": "Upper limit of its 95 % confidence interval, percent",
    "scale": "relative if differences in proportion to the value have the higher likelihood, "
    "absolute if constant ones have",
    "limit_low": "Limit of a decrease, below which 2.5 % of unchanged lesions lie: in percent of "
    "the earlier value if relative, in the unit of the parameter if absolute",
    "limit_high": "Limit of an increase, above which 2.5 % of unchanged lesions lie; likewise",
    "note": "Reason if it is unknown",
}
_CHANGES = {
    **_LESION,
    "parameter": "Parameter",
    "unit": "Unit of the values",
    "estimate": "Lesion values: mean over the voxels, or unmixed",
    "timepoint_a": "First time point",
    "timepoint_b": "Later time point",
    "value_a": "Value at timepoint_a",
    "value_b": "Value at timepoint_b",
    "change": "value_b minus value_a",
    "percent": "Change in percent of value_a; missing if that is not positive",
    "limit_from": "Origin of the limit: repeats (repeat scans of this study), simulation (of "
    "the session at timepoint_a), or published (other scanners and patients)",
    "limit_low": "Limit of a decrease of an unchanged lesion, in limit_unit",
    "limit_high": "Limit of an increase of an unchanged lesion, in limit_unit",
    "limit_unit": "Unit of the limits: that of the values, or % of value_a",
    "verdict": "Whether the change exceeds its limit; n/a for published limits, which are not from "
    "these data",
    "source": "Sessions or reference of the limit",
}
_PLANNING = {
    **_PAIR,
    "n": "Number of lesions in this study",
    "cohens_dz": "Cohen's dz observed in this study",
    "dz_cautious": "The limit of its 95 % confidence interval that is nearest to zero; 0 if the "
    "interval includes zero",
    "n_power80": "Number of lesions with which a paired t test detects this effect with a power "
    "of 80 %",
    "n_power90": "Number of lesions for a power of 90 %",
    "n_power80_cautious": "Number of lesions for a power of 80 % if the effect is dz_cautious",
    "note": "Reason if there is no number",
}
_SUMMARY = {
    "parameter": "Parameter",
    "timepoint": "Time point",
    "unit": "Unit of the values",
    "n": "Number of lesions with a value",
    "mean": "Mean of the lesions",
    "sd": "Standard deviation of the lesions (n - 1)",
    "median": "Median of the lesions",
    "minimum": "Smallest value",
    "maximum": "Largest value",
    "ci_low": "Lower limit of the 95 % confidence interval of the mean",
    "ci_high": "Upper limit of the 95 % confidence interval of the mean",
}
_MISSING = {
    **_LESION,
    "timepoint": "Time point with missing values",
    "parameters": "Parameters without a value",
    "reason": "Reason: the participant has no such session, its assignment is ambiguous, or there "
    "is no value",
}

TABLES: Mapping[str, Mapping[str, str]] = {
    "characteristics": {**_LESION, **{k: _RESPONSE[k] for k in list(_RESPONSE)[2:5]}},
    "summary": _SUMMARY,
    "paired": _PAIRED,
    "mixed": _MIXED,
    "trends": _TRENDS,
    "trend_curves": _TREND_CURVES,
    "influence": _INFLUENCE,
    "response": _RESPONSE,
    "rano": _RANO,
    "lesion_response": _LESION_RESPONSE,
    "progression": _PROGRESSION,
    "responders": _RESPONDERS,
    "prediction": _PREDICTION,
    "roc": _ROC,
    "correlation": _CORRELATION,
    "agreement": _AGREEMENT,
    "limits": _LIMITS,
    "repeatability": _REPEATABILITY,
    "changes": _CHANGES,
    "planning": _PLANNING,
    "excluded": {
        **_LESION,
        "sessions": "Sessions whose ROI table marks the lesion as excluded; n/a if none does",
        "raters": "Readers whose ratings exclude the lesion (--ratings); n/a if there is none",
        "reasons": "Their notes",
    },
    "missing": _MISSING,
}
"""Name of a table -> its columns, in order, with their descriptions."""

FURTHER_COLUMNS: Mapping[str, str] = {**EFFECTIVE_COLUMNS, **LESION_DOSES}
"""Columns that only some tables of characteristics have, with their descriptions."""

INPUT_COLUMN = (
    "As given in the table of participants, of lesion traits or of sessions; with the ending "
    "_baseline: of the session at the first time point"
)
"""Description of a column that was taken over from an input table."""
