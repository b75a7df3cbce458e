"""Tables of the reference region: its values over sessions, their variation, and ratios to it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp.bids.derivatives import to_json, to_tsv
from bidsapp.bids.outputs import REFERENCE, REGION_VALUES
from bidsapp.bids.records import Participant, Session
from bidsapp.bids.tables import read_table
from bidsapp.config import Config
from bidsapp.lesions import COLUMNS
from bidsapp.reports.group.reference import show_reference
from bidsapp.run.lesion_checks import reference_warnings
from bidsapp.run.result_checks import result_warnings
from bidsapp.study.read import read_output, region_values
from bidsapp.study.tables.reference import (
    REFERENCE_TABLES,
    implausible_values,
    reference_tables,
)

MODELS = {"ADC": ("monoexp", "mm2/s"), "f": ("ivim", "1"), "vp": ("etofts", "1")}


def row(roi, parameter, mean, *, lesion=1, session="a", participant="01", error=None, excluded=0):
    """Return a row of a table, as text."""
    model, unit = MODELS[parameter]
    known = {
        "participant_id": f"sub-{participant}",
        "session_id": f"ses-{session}",
        "lesion": lesion,
        "roi": roi,
        "parameter": parameter,
        "model": model,
        "unit": unit,
        "space": "T1w",
        "mean": mean,
        "standard_error": error,
        "excluded": excluded,
    }
    return {k: "n/a" if v is None else str(v) for k, v in known.items()}


SESSIONS = pd.DataFrame(
    [["sub-01", "ses-a", -3.0], ["sub-01", "ses-b", 30.0], ["sub-02", "ses-a", 0.0]],
    columns=["participant_id", "session_id", "days"],
)


def tables(rows):
    """Return the tables of the reference from rows."""
    return reference_tables(region_values(rows), SESSIONS)


def test_ratios_are_those_of_the_means_of_one_session():
    """Each region of each lesion is divided by the reference of its own session."""
    rows = [
        row("reference", "ADC", 0.8e-3), row("reference", "vp", 0.01),
        row("reference", "ADC", 0.5e-3, session="b"),
        row("enhancing", "ADC", 1.2e-3), row("enhancing", "vp", 0.05),
        row("ring", "ADC", 1.0e-3), row("enhancing", "ADC", 1.0e-3, session="b", lesion=2),
    ]  # fmt: skip
    found = tables(rows)["ratios"].set_index(["session_id", "lesion", "roi"])
    assert found.loc[("ses-a", 1, "enhancing"), "rADC"] == pytest.approx(1.5)
    assert found.loc[("ses-a", 1, "enhancing"), "rvp"] == pytest.approx(5.0)
    assert found.loc[("ses-a", 1, "ring"), "rADC"] == pytest.approx(1.25)
    assert found.loc[("ses-b", 2, "enhancing"), "rADC"] == pytest.approx(2.0)
    assert len(found) == 3


def test_a_reference_that_may_be_zero_gives_no_ratio():
    """Within two standard errors of zero the ratio is missing, and its note names the parameter."""
    rows = [row("reference", "vp", 0.001, error=0.001), row("enhancing", "vp", 0.05)]
    found = tables(rows)["ratios"].iloc[0]
    assert np.isnan(found["rvp"])
    assert found["note"] == "vp"


def test_values_of_another_model_or_unit_are_not_divided():
    """A reference of one model is no reference for a lesion of another."""
    other = row("enhancing", "vp", 0.05) | {"model": "patlak"}
    assert tables([row("reference", "vp", 0.01), other])["ratios"].empty


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(0.5, 2), min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_variation_within_participants_is_pooled(people):
    """It is the root of the pooled variance, whatever the differences between participants."""
    rows, sessions = [], []
    for person, values in enumerate(people):
        for visit, value in enumerate(values):
            where = {"participant": f"{person:02d}", "session": str(visit)}
            rows.append(row("reference", "ADC", value, **where))
            sessions.append([f"sub-{person:02d}", f"ses-{visit}", float(visit)])
    frame = pd.DataFrame(sessions, columns=SESSIONS.columns)
    found = reference_tables(region_values(rows), frame)["referencevariation"].iloc[0]
    freedom = sum(len(values) - 1 for values in people)
    if not freedom:
        assert np.isnan(found["within_cv"])
        return
    squares = sum((len(values) - 1) * np.var(values, ddof=1) for values in people if values[1:])
    overall = np.mean([value for values in people for value in values])
    assert found["within_cv"] == pytest.approx(100 * np.sqrt(squares / freedom) / overall, abs=1e-6)
    assert found["n_repeated"] == sum(len(values) > 1 for values in people)


def test_implausible_white_matter_is_named_with_its_limits():
    """An ADC of oedema is reported with participant and session; parameters without limits not."""
    rows = [
        row("reference", "ADC", 1.4e-3), row("reference", "ADC", 0.75e-3, session="b"),
        row("reference", "f", 0.9),
    ]  # fmt: skip
    table = tables(rows)["reference"]
    assert table["session_id"].tolist() == ["ses-a", "ses-a", "ses-b"]
    assert table["days"].tolist() == [-3, -3, 30]
    found = table.set_index(["parameter", "session_id"])["plausible"]
    assert (found["ADC", "ses-a"], found["ADC", "ses-b"]) == (0, 1)
    assert np.isnan(found["f", "ses-a"])
    (text,) = implausible_values(table)
    assert "ADC of the reference region is outside 0.0006 to 0.00105 mm2/s" in text
    assert "sub-01 ses-a (0.0014)" in text


def test_without_a_reference_there_are_no_tables():
    """An empty region, whose mean is missing, gives none either."""
    assert tables([row("enhancing", "ADC", 1e-3)]) == {}
    assert tables([row("reference", "ADC", None), row("enhancing", "ADC", 1e-3)]) == {}


def test_every_column_of_the_tables_is_described():
    """The tables have exactly the columns of their dictionaries, in that order."""
    rows = [row("reference", "ADC", 0.8e-3), row("enhancing", "ADC", 1.2e-3)]
    for name, table in tables(rows).items():
        assert list(table) == list(REFERENCE_TABLES[name])


def test_regions_beside_lesions_do_not_change_the_cohort(tmp_path):
    """Rings, mirror images, an atlas and the reference are read, and are no lesions."""

    def write(name, rows):
        path = tmp_path / "sub-01/ses-a/dwi" / f"sub-01_ses-a_{name}_roistats.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_tsv(list(COLUMNS), rows))
        assert read_table(path)

    write("seg-enhancing_model-ivim", [row("enhancing", "ADC", 1.1e-3)])
    before = read_output(tmp_path)
    for roi, lesion in (("ring", 1), ("mirror", 1), ("reference", 1), ("atlas", 17)):
        write(f"seg-{roi}_model-ivim", [row(roi, "ADC", 0.8e-3, lesion=lesion)])
    after = read_output(tmp_path)
    pd.testing.assert_frame_equal(before.cohort.lesions, after.cohort.lesions)
    pd.testing.assert_frame_equal(before.cohort.sessions, after.cohort.sessions)
    assert {r["roi"] for r in after.rows} == {"enhancing", "ring", "mirror", "reference", "atlas"}
    assert after.problems == before.problems


def test_a_run_warns_of_implausible_white_matter(tmp_path):
    """The warning of a session names parameter, value, range and what to look at."""
    session = Session("01", "a")
    config = Config(tmp_path, tmp_path, tmp_path, "run")
    path = tmp_path / REGION_VALUES.path(session, "dwi", seg="reference", model="ivim")
    path.parent.mkdir(parents=True)
    rows = [row("reference", "ADC", 1.4e-3), row("reference", "f", 0.9)]
    path.write_bytes(to_tsv(list(COLUMNS), rows))
    (text,) = reference_warnings(session, config)
    assert "reference region: mean ADC of 0.0014 mm2/s is outside the range" in text
    assert "compare its b-values with the protocol" in text


def test_the_record_of_a_region_is_a_warning_if_there_is_none(tmp_path):
    """The sidecar of an empty reference mask states the reason, which the session reports."""
    session = Session("01", "a")
    path = tmp_path / REFERENCE.path(session, extension=".json")
    path.parent.mkdir(parents=True)
    path.write_bytes(to_json({"Warnings": ["no reference region: too many lesions"]}))
    config = Config(tmp_path, tmp_path, tmp_path, "run")
    (issue,) = result_warnings(Participant("01", (session,)), config)
    assert (issue.level, issue.session) == ("warning", "ses-a")
    assert issue.text == "no reference region: too many lesions"


def test_the_group_page_shows_the_variation_and_what_is_not_plausible():
    """The section counts values outside the range, and is empty without a reference."""
    rows = [
        row("reference", "ADC", 1.4e-3), row("reference", "ADC", 1.0e-3, session="b"),
        row("enhancing", "ADC", 1.2e-3),
    ]  # fmt: skip
    view = SimpleNamespace(result=SimpleNamespace(reference=tables(rows)), pages={"sub-01"})
    words, variation, values = show_reference(view)
    assert words.sentences == ["1 of 2 values is outside the range of normal white matter."]
    assert variation.rows == [["ADC", "1.20 10⁻³ mm²/s", "2", "1 of 1", "23.6", "–"]]
    assert [line[4] for line in values.rows] == ["1.40 10⁻³ mm²/s", "1.00 10⁻³ mm²/s"]
    assert values.bold == {(0, 4)}
    assert show_reference(SimpleNamespace(result=SimpleNamespace(reference={}), pages=())) == []
