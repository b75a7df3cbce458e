"""The methods section of the group level, for use in a publication: ``logs/CITATION_group.md``."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version as installed

import pandas as pd

from bidsapp.lesions import rano_records as rano
from bidsapp.lesions.dose import ALPHA_BETA, BIN_EDGES, DELTA, RING_DOSE
from bidsapp.lesions.response import PARTIAL_RESPONSE, PROGRESSION, RESPONSES
from bidsapp.reports.group.view import ALPHA, GroupView, count_of, join_words
from bidsapp.reports.methods import compose_methods
from bidsapp.reports.page.blocks import Block, Text
from bidsapp.reports.page.numbers import timepoint_label
from bidsapp.reports.references import cite
from bidsapp.study.statistics import SPAN
from bidsapp.study.statistics.agreement import MOST_EXACT
from bidsapp.study.statistics.clusters import draws_for
from bidsapp.study.tables import WARNINGS, GroupResult, Statistics, window
from bidsapp.study.tables.limits import published_table

_STUDENT = cite("t test", "student1908")
_HOLM = cite("Holm's correction", "holm1979")
_FDR = cite("False discovery rate", "benjamini1995")
_FOWLER = cite("Biologically effective dose", "fowler1989")
_GUERRERO = cite("Modified linear-quadratic model", "guerrero2004")
_LEHMANN = cite("Exact interval of the area", "lehmann1953")
_NEWCOMBE = cite("Approximate interval of the area", "newcombe2006")
_MEASUREMENT = cite("Measurement error", "bland1996")
_REPEATED = cite("Repeatability", "raunig2015")
_RANO = cite("Response", "lin2015")
_MIXED = cite("Mixed model", "laird1982")
_SATTERTHWAITE = cite("Degrees of freedom", "kuznetsova2017")
_SLOPES = cite("Random slopes", "schielzeth2009")
_SOFTWARE = {
    "numpy": ("NumPy", "harris2020"),
    "scipy": ("SciPy", "virtanen2020"),
    "pandas": ("pandas", "mckinney2010"),
    "matplotlib": ("Matplotlib", "hunter2007"),
}
"""Packages that the group level uses: name, and key of the reference."""
_MOST_NAMED = 10
"""Number of excluded lesions up to which they are named."""


@dataclass(frozen=True)
class Part:
    """What was done, and the references that it cites."""

    text: str
    references: tuple[str, ...] = ()


def group_methods(result: GroupResult) -> str:
    """Describe the methods of a group analysis in Markdown, with settings and references.

    Parameters
    ----------
    result
        The result; only tests of which there is a p value or an interval are described.
    """
    statistics = result.statistics
    topics = [
        [_lesions(result), *_dose(result), *_changes(statistics)],
        list(_trends(statistics)),
        list(_robustness(statistics)),
        list(_response(statistics)),
        list(_pair(statistics)),
        [*_single_lesions(statistics), *_planning(statistics)],
    ]
    paragraphs = [" ".join(part.text for part in parts) for parts in topics]
    cited = [line for parts in topics for part in parts for line in part.references]
    versions = [f"{name} {installed(package)}" for package, (name, _) in _SOFTWARE.items()]
    software = f"All computations were made in Python with {join_words(versions)}."
    cited += [cite(name, key) for name, key in _SOFTWARE.values()]
    return compose_methods("Lesion values were analysed", [*paragraphs, software], cited)


def show_methods(view: GroupView) -> list[Block]:
    """Show the methods text."""
    return [Text("", group_methods(view.result).strip())]


def _lesions(result: GroupResult) -> Part:
    """Describe lesions, time points, and what was left out."""
    statistics = result.statistics
    lesions = statistics.lesions
    number = len(lesions[["participant_id", "lesion"]].drop_duplicates())
    people = count_of(lesions["participant_id"].nunique(), "participant")
    points = [f"{timepoint_label(n)} ({_when(x)})" for n, x in statistics.timepoints.items()]
    text = (
        f"{count_of(number, 'lesion')} of {people} {'was' if number == 1 else 'were'} analysed at "
        f"{join_words(points)}: {join_words(list(result.cohort.parameters))}. "
        f"{_excluded(statistics.excluded)}"
    )
    if len(statistics.missing):
        count = len(statistics.missing)
        text += (
            f" At {count_of(count, 'time point')} of a lesion a value was missing; each test used "
            "the lesions with all values that it needs."
        )
    if result.lesion_values == "unmixed":
        text += (
            " The values of a lesion are those of its own signal, separated from the tissue around "
            "it by weighted least squares on the fractions of each voxel inside the lesion."
        )
    doubtful = lesions[lesions[WARNINGS].fillna("") != ""] if WARNINGS in lesions else lesions[:0]
    if len(doubtful):
        sessions = len(doubtful[["participant_id", "session_id"]].drop_duplicates())
        text += (
            f" {count_of(sessions, 'session')} with warnings about the data or the results "
            f"{'was' if sessions == 1 else 'were'} not excluded."
        )
    if result.problems:
        text += f" {count_of(len(result.problems), 'problem')} with the tables left values out."
    return Part(text)


def _dose(result: GroupResult) -> Iterator[Part]:
    """Describe the biologically effective dose, and changes by dose."""
    if _count(result.statistics.characteristics, "bed_mlq_gy"):
        yield Part(
            "The biologically effective dose of the prescribed dose was calculated by the "
            "linear-quadratic model (Fowler 1989) and by the modified linear-quadratic model for "
            f"high doses per fraction (Guerrero and Li 2004), with alpha/beta = {ALPHA_BETA:g} Gy "
            f"and delta = {DELTA:g} 1/Gy.",
            (_FOWLER, _GUERRERO),
        )
    if len(result.dose):
        edges = join_words([f"{edge:g}" for edge in BIN_EDGES])
        yield Part(
            f"Changes are described, without tests, in parts of the lesions divided at {edges} Gy, "
            f"and in the brain around the lesions that received at least {RING_DOSE:g} Gy."
        )


def _when(label: str) -> str:
    days = window(label)
    return f"days {days[0]:g} to {days[1]:g}" if days else label


def _excluded(table: pd.DataFrame) -> str:
    if not len(table):
        return "No lesion was excluded."
    names = [f"{row.participant_id} lesion {row.lesion}" for row in table.itertuples()]
    named = f" ({', '.join(names)})" if len(names) <= _MOST_NAMED else ""
    verb = "was" if len(names) == 1 else "were"
    sources = {"sessions": "in the ROI tables", "raters": "by the ratings of readers"}
    by = join_words([text for column, text in sources.items() if (table[column] != "").any()])
    count = count_of(len(names), "lesion")
    return f"{count}{named} {verb} excluded {by} and left out of all analyses."


def _count(table: pd.DataFrame, column: str) -> int:
    """Return the number of rows with a value in a column."""
    return int(table[column].notna().sum()) if column in table else 0


def _changes(statistics: Statistics) -> Iterator[Part]:
    """Describe the tests of the changes between time points."""
    tests = _count(statistics.paired, "p")
    if not tests:
        yield Part("There were too few lesions with values at two time points for a test.")
        return
    yield Part(
        "Changes between time points were tested by paired t tests (Student 1908), with lesions as "
        f"units and two-sided p values; p < {ALPHA:g} was considered significant. The "
        f"p values of {count_of(tests, 'test')} were also corrected by Holm's method (Holm 1979) "
        "and for the false discovery rate (Benjamini and Hochberg 1995).",
        (_STUDENT, _HOLM, _FDR),
    )
    if _count(statistics.mixed, "p"):
        yield Part(
            "Since lesions of one participant are correlated, changes were also estimated with a "
            "linear mixed model with a mean for each time point and random intercepts for "
            "participants and for lesions within participants (Laird and Ware 1982), by "
            "restricted maximum likelihood, with Satterthwaite's degrees of freedom (Kuznetsova "
            "et al. 2017).",
            (
                _MIXED,
                _SATTERTHWAITE,
            ),
        )


def _trends(statistics: Statistics) -> Iterator[Part]:
    """Describe the mixed model on days since treatment."""
    table, options = statistics.trends, statistics.trend_options
    if not _count(table, "p"):
        return
    used = sorted(set(table["random"]) - {""}, key=len)
    step = "a step at the treatment and " if options.step else ""
    yield Part(
        "Trends over all visits were estimated with a linear mixed model of the days since "
        f"treatment: a constant level before the treatment, {step}a straight line after it, and "
        f"random {join_words(used)} (of lesions within participants; slopes wherever the number of "
        "visits allows them, Schielzeth and Forstmeier 2009), by restricted maximum likelihood "
        "with Satterthwaite's degrees of freedom (Laird and Ware 1982, Kuznetsova et al. 2017). "
        "Departure from the line was tested by the square of the time.",
        (_MIXED, _SATTERTHWAITE, _SLOPES),
    )
    if options.covariate:
        compared = table.loc[table["compared"] != "", ["term", "compared"]].drop_duplicates()
        terms = join_words(list(compared["term"].unique()))
        yield Part(
            f"{options.covariate} was a covariate of {terms} "
            f"({'; '.join(compared['compared'].unique())})."
        )


def _robustness(statistics: Statistics) -> Iterator[Part]:
    """Describe effect sizes and the other tests of the same changes."""
    table = statistics.paired
    if _count(table, "cohens_dz"):
        yield Part(
            "Effect sizes are Cohen's dz with its interval from the noncentral t distribution, and "
            "Hedges' correction for small samples (Hedges 1981, Lakens 2013).",
            (
                cite("Hedges' correction", "hedges1981"),
                cite("Cohen's dz", "lakens2013"),
            ),
        )
    if _count(table, "p_wilcoxon"):
        yield Part(
            "Changes were also tested by ranks (Wilcoxon 1945).",
            (cite("Signed-rank test", "wilcoxon1945"),),
        )
    if _count(table, "p_normality"):
        yield Part(
            "Normality of the changes was tested by the method of Shapiro and Wilk (1965).",
            (cite("Normality", "shapiro1965"),),
        )
    if _count(table, "p_signflip"):
        draws = draws_for(int(table["n_participants"].max()))
        yield Part(
            "With participants as units, changes were tested by flipping the signs of all lesions "
            f"of a participant together (Winkler et al. 2014; all patterns, or {draws} random ones "
            "if there were more), and intervals were obtained by the studentised bootstrap of "
            f"participants (Cameron et al. 2008; {draws} samples, seed {statistics.seed}).",
            (
                cite("Sign flips", "winkler2014"),
                cite("Bootstrap of participants", "cameron2008"),
            ),
        )
    if _count(table, "p_without_max"):
        yield Part("Every paired t test was repeated without each participant in turn.")


def _rano_words() -> str:
    """Describe the response by RANO-BM."""
    return (
        "Patients were also assessed by RANO-BM (Lin et al. 2015) at every session: targets are "
        f"the up to {rano.MOST_TARGETS} largest lesions at baseline with a longest diameter of "
        f"{rano.MEASURABLE_DIAMETER:g} mm or more, a perpendicular one of "
        f"{rano.MEASURABLE_PERPENDICULAR:g} mm or more, on {rano.MEASURABLE_SLICES} slices or "
        f"more. Partial response is a decrease of the sum of their longest diameters by "
        f"{-rano.PARTIAL_RESPONSE:g} % or more from baseline; progression is an increase by "
        f"{rano.PROGRESSION:g} % or more from its smallest value with "
        f"{rano.PROGRESSION_INCREASE:g} mm or more in a lesion, such growth of a non-target "
        "lesion, a new lesion, or clinical worsening. Diameters were computed from the "
        "whole-lesion ROIs in the plane of acquisition. A response was confirmed if sustained for "
        f"{rano.CONFIRMATION_DAYS:g} days; where corticosteroids or clinical status are unknown, "
        "it is radiographic only."
    )


def _response(statistics: Statistics) -> Iterator[Part]:
    """Describe the categories of response, and their association with early changes."""
    if (statistics.response["response"] == "n/a").all():
        return
    first, last = (timepoint_label(list(statistics.timepoints)[n]) for n in (0, -1))
    yield Part(
        f"Response is the change of the whole-lesion volume from {first} to the last follow-up "
        "after the time points: complete if the lesion was no longer visible, partial for a "
        f"decrease of {-PARTIAL_RESPONSE:g} % or more, progression for an increase of "
        f"{PROGRESSION:g} % or more, and otherwise stable disease (categories of Lin et al. 2015).",
        (_RANO,),
    )
    if (statistics.rano["response"].isin(RESPONSES)).any():
        yield Part(_rano_words(), (_RANO,))
    if (statistics.lesion_response["volume_response"] != "n/a").any():
        yield Part(
            "Over all sessions, a lesion had progressed if its volume exceeded the smallest one "
            f"before, baseline included, by {PROGRESSION:g} % or more."
        )
    if _count(statistics.responders, "p"):
        yield Part(
            f"Percent changes from {first} to {last} were compared between lesions with complete "
            "or partial response and the others by unpaired t tests with pooled variance.",
            (_STUDENT,),
        )
    if _count(statistics.prediction, "p"):
        exact = statistics.prediction["exact"].dropna().astype(bool)
        ways = [
            ("exactly (Lehmann 1953)", _LEHMANN, exact.any()),
            ("approximately (Newcombe 2006)", _NEWCOMBE, not exact.all()),
        ]
        used = [(words, reference) for words, reference, there in ways if there]
        yield Part(
            "Prediction of the response from percent changes is described by the area under the "
            "ROC curve; the p value is that of the Mann-Whitney U test, corrected as above, and "
            f"the interval of the area was computed {' or '.join(words for words, _ in used)}.",
            tuple(reference for _, reference in used),
        )


def _pair(statistics: Statistics) -> Iterator[Part]:
    """Describe regression, correlation and agreement of the two parameters."""
    y, x = statistics.pair.y, statistics.pair.x
    if _count(statistics.correlation, "r"):
        yield Part(
            f"{y} was regressed on {x} at each time point by least squares; correlations are "
            "Pearson's, with Fisher's interval (Fisher 1915).",
            (cite("Interval of r", "fisher1915"),),
        )
    agreement = statistics.agreement
    if _count(agreement, "spearman"):
        yield Part(
            "Values and changes of both were also correlated by ranks (Spearman, interval of "
            f"Bonett and Wright 2000; exact p values up to {MOST_EXACT} lesions).",
            (cite("Interval of Spearman's correlation", "bonett2000"),),
        )
    within = agreement[agreement["question"] == "within lesions"]
    if _count(within, "r"):
        yield Part(
            "The correlation within lesions is that of repeated measures (Bakdash and Marusich "
            "2017).",
            (cite("Repeated measures", "bakdash2017"),),
        )
    if _count(statistics.limits, "bias"):
        yield Part(
            "Limits of agreement (Bland and Altman 1999) are those of both parameters, "
            "standardised by mean and SD at the first time point.",
            (cite("Limits of agreement", "bland1999"),),
        )


def _single_lesions(statistics: Statistics) -> Iterator[Part]:
    """Describe the limits with which changes of single lesions were compared."""
    repeats, changes = statistics.repeatability, statistics.changes
    if _count(repeats, "within_sd"):
        first = repeats.iloc[0]
        yield Part(
            f"Repeatability was estimated from {first['session_a']} and {first['session_b']}: the "
            f"SD within a lesion, the repeatability coefficient of {SPAN:.2f} SD (Bland and Altman "
            "1996) with its interval from the chi-squared distribution (Raunig et al. 2015), and "
            "the coefficient of variation from logarithms. The change of a lesion was compared "
            "with the 95 % range of unchanged lesions, absolute or relative, whichever had the "
            "higher likelihood.",
            (_MEASUREMENT, _REPEATED),
        )
    origins = set(changes["limit_from"])
    if "simulation" in origins:
        yield Part(
            "Changes of single lesions were compared with the change that a simulation of the "
            "session at the first time point could detect."
        )
    if "published" in origins:
        table = published_table()
        shown = table[table["source"].isin(changes["source"])]
        yield Part(
            f"Published limits of a change ({', '.join(shown['source'].unique())}) are shown for "
            "comparison; no change of a single lesion was judged by them.",
            tuple(
                f"Limit of {', '.join(rows['parameter'])}: {source}, "
                + (f"doi:{doi}" if doi != "n/a" else str(journal))
                for (source, journal, doi), rows in shown.groupby(
                    ["source", "journal", "doi"], sort=False
                )
            ),
        )


def _planning(statistics: Statistics) -> Iterator[Part]:
    """Describe sample sizes."""
    if _count(statistics.planning, "n_power80"):
        yield Part(
            "Sample sizes for a power of 80 % and 90 % are those of a paired t test for the "
            "observed effect size (Cohen 1988).",
            (cite("Sample size", "cohen1988"),),
        )
