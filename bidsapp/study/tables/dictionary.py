"""What every column of every table means."""

from collections.abc import Mapping

_LESION = {
    "participant_id": "Participant",
    "lesion": "Number of the lesion, the same in every session",
}
_PAIR = {
    "parameter": "The parameter; its unit is in group_summary.tsv",
    "timepoint_a": "The earlier time point",
    "timepoint_b": "The later time point",
}
_CHANGE = {
    "mean_difference": "Mean change, later minus earlier",
    "ci_low": "Lower end of the 95 % interval of the mean change",
    "ci_high": "Upper end of the 95 % interval of the mean change",
}
_FAMILY = "over the family of all parameters and pairs of time points in this table"
_ADJUSTED = {
    "p_holm": f"p corrected by Holm's method {_FAMILY}",
    "p_fdr": f"p corrected by Benjamini and Hochberg's method {_FAMILY}",
}
_XY = {"x": "Parameter on the x axis", "y": "Parameter on the y axis"}
_WHY = "Why there is no test"

_PAIRED = {
    **_PAIR,
    "n": "Lesions with a value at both",
    "mean_a": "Mean at the earlier time point, over these lesions",
    "sd_a": "Standard deviation (n - 1) at the earlier time point",
    "mean_b": "Mean at the later time point",
    "sd_b": "Standard deviation (n - 1) at the later time point",
    **_CHANGE,
    "t": "Student's t of the mean change (paired); every lesion counts once",
    "df": "Degrees of freedom",
    "p": "Two-sided p value, not corrected for the number of tests",
    **_ADJUSTED,
    "cohens_dz": "Mean change in standard deviations of the change",
    "dz_low": "Lower end of its 95 % interval",
    "dz_high": "Upper end of its 95 % interval",
    "hedges_gz": "The same, corrected for few lesions",
    "wilcoxon_w": "Sum of the ranks of the rises (Wilcoxon's signed ranks)",
    "p_wilcoxon": "Its two-sided p value, exact up to 50 lesions without ties",
    "p_normality": "p value of Shapiro and Wilk's test of the changes; small: not normal",
    "n_participants": "Participants whose lesions entered",
    "p_signflip": "p value when whole participants change sign: lesions need not be independent",
    "bootstrap_low": "Lower end of the 95 % interval of the mean change, participants drawn anew",
    "bootstrap_high": "Upper end of it (studentised bootstrap over participants)",
    "p_without_min": "Smallest p of the t test without one participant in turn",
    "p_without_max": "Largest p of the t test without one participant in turn",
    "without_max": "The participant without whom p is largest",
    "note": "Why there is no test, or how many lesions it is made without",
}
_MIXED = {
    **_PAIR,
    "n_participants": "Participants with a value at any time point",
    "n_lesions": "Lesions with a value at any time point",
    "n_values": "Values that entered",
    "mean_difference": "Change of the estimated mean, later minus earlier",
    "standard_error": "Its standard error",
    "ci_low": "Lower end of its 95 % interval",
    "ci_high": "Upper end of its 95 % interval",
    "t": "The change over its standard error",
    "df": "Satterthwaite's degrees of freedom",
    "p": "Two-sided p value of the mixed model, not corrected for the number of tests",
    **_ADJUSTED,
    "p_paired": "p of the paired t test, for comparison",
    "agrees": "1 if both are below 0.05 with one sign, or both above; else 0",
    "icc_participant": "Share of the variance that two lesions of a participant have in common",
    "icc_lesion": "Share of the variance that two time points of a lesion have in common",
    "sd_participant": "Standard deviation between participants; n/a if none has two lesions",
    "sd_lesion": "Standard deviation between lesions of a participant",
    "sd_residual": "Standard deviation within a lesion over time",
    "note": "Why there is no model",
}
_INFLUENCE = {
    **_PAIR,
    "without": "The participant that is left out",
    "mean_difference": "Mean change of the other lesions, later minus earlier",
    "t": "Student's t without the participant",
    "p": "Its two-sided p value",
}
_RESPONSE = {
    **_LESION,
    "followup_days": "Days from treatment to the follow-up",
    "volume_change_percent": "Change of the whole-lesion volume from baseline, percent",
    "response": "CR: gone; PR: smaller by 58.5 % or more; PD: larger by 71.5 % or more; SD: else",
    "followup_session": "Last session after the time points that has a whole-lesion ROI",
    "note": "Why there is no response category",
}
_RESPONDERS = {
    "parameter": "The parameter",
    "n_responders": "Lesions with CR or PR that have a value at both time points",
    "n_nonresponders": "Lesions with SD or PD that have a value at both time points",
    "change_responders": "Mean change from the first to the last time point, percent, responders",
    "change_nonresponders": "Mean change from the first to the last time point, percent, others",
    "t": "Student's t (unpaired, pooled variance), responders minus others",
    "df": "Degrees of freedom",
    "p": "Two-sided p value",
    "sd_responders": "Standard deviation of the change, responders",
    "sd_nonresponders": "Standard deviation of the change, others",
    "ci_low": "Lower end of the 95 % interval of the difference, percentage points",
    "ci_high": "Upper end of the 95 % interval of the difference, percentage points",
    "note": _WHY,
}
_PREDICTION = {
    **_PAIR,
    "n_responders": "Lesions with CR or PR that have the change",
    "n_nonresponders": "Lesions with SD or PD that have the change",
    "auc": "Chance that a responder's change in percent is the lower one; 0.5 tells nothing, "
    "below it responders rise more",
    "ci_low": "Lower end of its 95 % interval",
    "ci_high": "Upper end of its 95 % interval",
    "p": "Two-sided p value (Mann and Whitney)",
    **_ADJUSTED,
    "exact": "1 if p and interval are exact (up to 900 pairs of a responder and another)",
    "note": _WHY,
}
_ROC = {
    **_PAIR,
    "change_percent": "A change at or below this is called a response",
    "false_positive": "Share of the others that is called so",
    "true_positive": "Share of the responders that is called so",
}
_CORRELATION = {
    "timepoint": "The time point",
    **_XY,
    "n": "Lesions with both",
    "r": "Pearson's correlation",
    "p": "Two-sided p value",
    "slope": "Change of y per unit of x",
    "intercept": "y at x = 0",
    "r_low": "Lower end of the 95 % interval of r",
    "r_high": "Upper end of the 95 % interval of r",
    "note": "Why there is no line",
}
_AGREEMENT = {
    "question": "values: at timepoint_a; change: of the changes from timepoint_a to timepoint_b; "
    "within lesions: of all values, from each lesion's own mean (repeated measures)",
    "timepoint_a": "The time point, or the earlier one of a change",
    "timepoint_b": "The later time point of a change",
    **_XY,
    "n": "Lesions with both; within lesions: values of lesions that have two or more",
    "r": "Pearson's correlation; within lesions: repeated measures correlation",
    "r_low": "Lower end of the 95 % interval of r",
    "r_high": "Upper end of the 95 % interval of r",
    "df": "Degrees of freedom",
    "p": "Two-sided p value of r",
    "spearman": "Spearman's rank correlation",
    "spearman_low": "Lower end of its 95 % interval",
    "spearman_high": "Upper end of its 95 % interval",
    "p_spearman": "Its two-sided p value",
    "note": "Why there is no correlation",
}
_LIMITS = {
    "timepoint": "The time point",
    "x": "The first measure, in SDs from its mean, both those of the first time point",
    "y": "The second measure, likewise",
    "n": "Lesions with both",
    "bias": "Mean of y minus x, in these SDs; 0 at the first time point by construction, up to "
    "lesions that lack one of them",
    "bias_low": "Lower end of its 95 % interval",
    "bias_high": "Upper end of its 95 % interval",
    "sd": "Standard deviation of y minus x",
    "lower_limit": "Lower limit of agreement: bias - 1.96 SD",
    "upper_limit": "Upper limit of agreement: bias + 1.96 SD",
    "limit_half_width": "Half of the 95 % interval of either limit",
    "note": "Why there is none",
}
_REPEATABILITY = {
    "parameter": "The parameter",
    "unit": "Its unit",
    "source": "What tells the noise: two sessions between which nothing happened, or 'fit': the "
    "standard errors of the fits, which leave out all else that differs between two scans",
    "n": "Lesions scanned twice, or values with a standard error",
    "bias": "Mean of the second scan minus the first",
    "within_sd": "Standard deviation of one measurement of an unchanged lesion",
    "detectable_change": "Change that noise alone exceeds in one of twenty lesions: 2.77 within_sd",
    "ci_low": "Lower end of its 95 % interval",
    "ci_high": "Upper end of its 95 % interval",
    "timepoint_a": "The first time point",
    "timepoint_b": "The last time point",
    "n_lesions": "Lesions with a change between them",
    "n_changed": "Lesions that changed by more than that",
    "note": "Why it is unknown",
}
_PLANNING = {
    **_PAIR,
    "n": "Lesions of this study",
    "cohens_dz": "Mean change in standard deviations of the change, as found here",
    "dz_cautious": "The end of its 95 % interval that is nearest to zero; 0 if zero lies inside",
    "n_power80": "Lesions with which a paired t test finds such an effect in 80 % of studies",
    "n_power90": "The same for 90 %",
    "n_power80_cautious": "The same as n_power80 for the cautious effect",
    "note": "Why there is no number",
}
_SUMMARY = {
    "parameter": "The parameter",
    "timepoint": "The time point",
    "unit": "Unit of the values",
    "n": "Lesions with a value",
    "mean": "Mean of the lesions",
    "sd": "Standard deviation of the lesions (n - 1)",
    "median": "Median of the lesions",
    "minimum": "Smallest",
    "maximum": "Largest",
    "ci_low": "Lower end of the 95 % interval of the mean",
    "ci_high": "Upper end of the 95 % interval of the mean",
}
_MISSING = {
    **_LESION,
    "timepoint": "Time point without a value",
    "parameters": "Parameters that lack",
    "reason": "Why: the participant has no such session, it is in conflict, or it gave no value",
}

TABLES: Mapping[str, Mapping[str, str]] = {
    "characteristics": {**_LESION, **{k: _RESPONSE[k] for k in list(_RESPONSE)[2:5]}},
    "summary": _SUMMARY,
    "paired": _PAIRED,
    "mixed": _MIXED,
    "influence": _INFLUENCE,
    "response": _RESPONSE,
    "responders": _RESPONDERS,
    "prediction": _PREDICTION,
    "roc": _ROC,
    "correlation": _CORRELATION,
    "agreement": _AGREEMENT,
    "limits": _LIMITS,
    "repeatability": _REPEATABILITY,
    "planning": _PLANNING,
    "excluded": {
        **_LESION,
        "sessions": "Sessions whose ROI table marks the lesion as excluded",
    },
    "missing": _MISSING,
}
"""Name of a table -> its columns, in order, and what they mean."""

GIVEN = "As given in the table of participants or of lesion traits"
"""What is said of a column that someone else's table brought."""
