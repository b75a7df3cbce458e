"""Sections of the group page that the study itself printed: its tables 1 and 2, figures 2 and 3."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import pandas as pd

from bidsapp.lesions.response import RESPONSES
from bidsapp.reports.figures.courses import significance, spaced
from bidsapp.reports.group.view import ALPHA, GroupView, listed, many, span, table_files
from bidsapp.reports.page.blocks import Block, Cell, Table, Words
from bidsapp.reports.page.numbers import Shown, number, percent, pvalue

_MEANING = {
    "CR": "complete response: gone",
    "PR": "partial response: smaller by 58.5 % or more",
    "SD": "stable disease: between",
    "PD": "progressive disease: larger by 71.5 % or more",
    "n/a": "unknown: no volume at a follow-up",
}
_HEADINGS = {
    "participant_id": "Participant",
    "lesion": "Lesion",
    "age": "Age",
    "sex": "Sex",
    "primary": "Primary tumour",
    "location": "Location",
    "dose_cgy": "Dose (cGy)",
    "followup_days": "Follow-up (days)",
    "volume_change_percent": "Volume change (%)",
    "response": "Response",
}

_TEST_COLUMNS = ["Parameter", "Time points", "n", "Change", "95 % interval", "t", "df", "p"]
_TEST_COLUMNS += ["p Holm", "p FDR", "Note"]


def characteristics(view: GroupView) -> list[Block]:
    """Give the study's Table 1, and the responses in short."""
    response, table = view.statistics.response, view.statistics.characteristics
    early = view.timepoints
    sentences = [
        _response_words(response),
        f"Response is that of the whole-lesion volume at the last follow-up after {early[-1]}, "
        f"against {early[0]}. {_followup(response)}".strip(),
    ]
    shares = Table(
        "Response of the lesions",
        ["Response", "Meaning", "Lesions", "Volume change"],
        list(_responses(response)),
        text=frozenset({1}),
    )
    names = [str(column) for column in table]
    every = Table(
        "Every lesion",
        [_HEADINGS.get(name, name.replace("_", " ")) for name in names],
        [[_cell(name, row[name]) for name in names] for row in table.to_dict("records")],
        text=frozenset(i for i, name in enumerate(names) if _is_text(table[name])),
        files=table_files("characteristics") + table_files("response"),
        summary="" if len(table) <= 30 else f"All {len(table)} lesions",
        hrefs={p: f"{p}.html" for p in table["participant_id"].unique() if p in view.pages},
    )
    return [Words(sentences), shares, every]


def _is_text(column: pd.Series) -> bool:
    """Whether a column holds anything but numbers."""
    given = column[column != ""]
    return bool(pd.to_numeric(given, errors="coerce").isna().ne(given.isna()).any())


def _cell(name: str, value: Any) -> str:
    """Print one cell of Table 1."""
    if name == "volume_change_percent":
        return number(value, 1, sign=True)
    if isinstance(value, float):
        return number(value, 0)
    return str(value) if value != "" else "–"


def _responses(response: pd.DataFrame) -> Iterator[list[str]]:
    """Rows of the response categories: how many lesions, and how their volume changed."""
    for category in (*RESPONSES, "n/a"):
        changes = response.loc[response["response"] == category, "volume_change_percent"]
        mean, sd = changes.mean(), changes.std()
        text = (
            f"{number(mean, 1, sign=True)} % (SD {number(sd, 1)})" if changes.notna().any() else "–"
        )
        yield [category, _MEANING[category], str(len(changes)), text.replace(" (SD –)", "")]


def _response_words(response: pd.DataFrame) -> str:
    """Say how many lesions responded, stayed or progressed."""
    counts = response["response"].value_counts()
    cr, pr, sd, pd_ = (int(counts.get(category, 0)) for category in RESPONSES)
    followed = cr + pr + sd + pd_
    words = f"Of {len(response)} lesions, {followed} have a volume at baseline and at a follow-up"
    if not followed:
        return f"{words}."
    return f"{words}: {cr + pr} responded ({cr} are gone), {sd} stayed stable, {pd_} progressed."


def _followup(response: pd.DataFrame) -> str:
    """How long the follow-up was, over participants."""
    known = response[response["response"] != "n/a"]
    days = known.drop_duplicates("participant_id")["followup_days"].dropna()
    if days.empty:
        return ""
    spread = f"{days.min():.0f} to {days.max():.0f}; {many(len(days), 'participant')}"
    return f"Follow-up was after {days.mean():.0f} days in the mean ({spread})."


def changes(view: GroupView) -> list[Block]:
    """Give the study's Table 2 and Figure 2, and every test in full."""
    paired = view.statistics.paired
    caveat = (
        f"{int(paired['p'].notna().sum())} paired tests were made; by chance alone about one in "
        "twenty falls below 0.05. p after Holm's correction is in the full table."
    )
    every = Table(
        "Every paired t test",
        _TEST_COLUMNS,
        list(_tests(paired, view.forms)),
        text=frozenset({1, 10}),
        files=table_files("paired"),
        summary="Every test: n, mean difference, 95 % interval, t, corrected p",
    )
    return [
        Words(list(_changes(paired, view.forms)), caveat),
        _table2(view),
        view.picture("timecourse"),
        *view.pictures("timecourse_others"),
        every,
    ]


def _table2(view: GroupView) -> Table:
    """The study's Table 2: mean and SD at every time point, p of every pair."""
    statistics = view.statistics
    rows: list[list[str]] = []
    bold: set[tuple[int, int]] = set()
    for name, form in view.forms.items():
        means = statistics.summary[statistics.summary["parameter"] == name]
        tests = statistics.paired[statistics.paired["parameter"] == name]
        cells = [
            f"{form.number(m)} ± {form.number(s)}" for m, s in means[["mean", "sd"]].to_numpy()
        ]
        cells = ["–" if cell == "– ± –" else cell for cell in cells]
        first = 1 + len(cells)
        bold |= {(len(rows), first + i) for i, p in enumerate(tests["p"]) if p < ALPHA}
        rows.append([form.title, *cells, *(pvalue(p) for p in tests["p"])])
    spans = statistics.paired[["timepoint_a", "timepoint_b"]].drop_duplicates()
    columns: list[Cell] = ["Parameter", *view.timepoints]
    columns += [("p", span(row)) for row in spans.to_dict("records")]
    caption = "Mean ± SD of the lesions, and p of the paired t tests"
    files = table_files("summary")
    return Table(caption, columns, rows, bold=frozenset(bold), files=files)


def _tests(paired: pd.DataFrame, forms: Mapping[str, Shown]) -> Iterator[list[str]]:
    """Rows of all that a paired test says."""
    for row in paired.to_dict("records"):
        form = forms[row["parameter"]]
        yield [
            form.title,
            span(row),
            str(row["n"]),
            form.number(row["mean_difference"], sign=True),
            f"{form.number(row['ci_low'])} to {form.number(row['ci_high'])}",
            number(row["t"], 2),
            number(row["df"], 0),
            *(pvalue(row[name]) for name in ("p", "p_holm", "p_fdr")),
            row["note"],
        ]


def _changes(paired: pd.DataFrame, forms: Mapping[str, Shown]) -> Iterator[str]:
    """One sentence per parameter: what changed between which time points."""
    quiet = []
    for name, form in forms.items():
        tests = paired[paired["parameter"] == name]
        found = tests[tests["p"] < ALPHA]
        if tests["p"].notna().any() and found.empty:
            quiet.append(form.name)
        if not found.empty:
            parts = [_change(row, form) for row in found.to_dict("records")]
            yield f"{form.name} {'; '.join(parts)}."
    if quiet:
        yield f"{listed(quiet)}: no change was seen (every p ≥ {ALPHA})."
    counts = paired.groupby("parameter")["p"].count()
    untested = [form.name for name, form in forms.items() if counts.get(name, 0) == 0]
    if untested:
        yield f"{listed(untested)}: too few lesions with two time points, so there is no test."


def _change(row: Mapping[Hashable, Any], form: Shown) -> str:
    """One change in words."""
    verb = "rose" if row["mean_difference"] > 0 else "fell"
    unit = "" if form.unit == "fraction" else f" {form.unit}"
    values = f"from {form.number(row['mean_a'])} to {form.number(row['mean_b'])}{unit}"
    times = f"between {spaced(row['timepoint_a'])} and {spaced(row['timepoint_b'])}"
    return f"{verb} {values} {times} (p = {pvalue(row['p'])})".replace("= <", "<")


def responders(view: GroupView) -> list[Block]:
    """Give the study's comparison of responders with the others."""
    table = view.statistics.responders
    rows = [
        [
            view.forms[row["parameter"]].name,
            f"{percent(row['change_responders'])} (n = {row['n_responders']})",
            f"{percent(row['change_nonresponders'])} (n = {row['n_nonresponders']})",
            number(row["t"], 2),
            number(row["df"], 0),
            pvalue(row["p"]),
        ]
        for row in table.to_dict("records")
    ]
    caption = f"Change from {view.timepoints[0]} to {view.timepoints[-1]}, unpaired t test"
    columns = ["Parameter", "Responders (CR, PR)", "Others (SD, PD)", "t", "df", "p"]
    words = [_meaning(row, view.forms) for row in table.to_dict("records")]
    return [Words(words), Table(caption, columns, rows, files=table_files("responders"))]


def _meaning(row: Mapping[Hashable, Any], forms: Mapping[str, Shown]) -> str:
    """Say in words what the comparison of one parameter found."""
    name = forms[row["parameter"]].name
    if row["note"]:
        return f"{name}: {row['note']}."
    if row["p"] < ALPHA:
        return f"{name} changed differently in lesions that later responded."
    return f"{name}: no difference was seen between lesions that later responded or not."


def correlation(view: GroupView) -> list[Block]:
    """Give the regression of the pair and the study's Figure 3."""
    x, y = view.statistics.pair
    table = view.statistics.correlation.to_dict("records")
    found = [spaced(row["timepoint"]) for row in table if significance(row["p"])]
    if found:
        words = f"{y} goes with {x} at {listed(found)}."
    elif any(not row["note"] for row in table):
        words = f"{y} and {x}: no correlation was seen at any time point."
    else:
        words = f"There are too few lesions with both {y} and {x}, so there is no correlation."
    rows = [
        [
            spaced(row["timepoint"]),
            str(row["n"]),
            number(row["r"], 2),
            f"{number(row['r_low'], 2)} to {number(row['r_high'], 2)}",
            pvalue(row["p"]),
            row["note"],
        ]
        for row in table
    ]
    columns = ["Time point", "n", "r", "95 % interval", "p", "Note"]
    shown = Table(
        f"{y} on {x}, Pearson's r",
        columns,
        rows,
        text=frozenset({5}),
        files=table_files("correlation"),
    )
    return [Words([words]), shown, view.picture("regression")]
