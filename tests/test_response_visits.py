"""Response over all visits: RANO-BM of a cohort, volumes against their nadir, progression."""

import numpy as np
import pandas as pd
import pytest

from bidsapp.errors import BadInput
from bidsapp.lesions.response import course_categories
from bidsapp.study.read import load_study_table, read_output
from bidsapp.study.tables import CLINICAL, Cohort, analyse
from bidsapp.study.tables.rano import rano_tables
from bidsapp.study.tables.visits import visits_since_baseline

DAYS = {"ses-early": -40.0, "ses-baseline": -3.0, "ses-1week": 7.0, "ses-1month": 35.0}
DAYS |= {"ses-late": 100.0, "ses-last": 200.0}


def cohort_of(diameters, sessions=tuple(DAYS), **columns):
    """Lesions of participants, as lists of diameters over sessions; volumes are of spheres."""
    rows = [
        {"participant_id": f"sub-{p}", "lesion": lesion, "session_id": s, "diameter_mm": d,
         "volume_ml": np.pi / 6 * d**3 / 1000, "excluded": False,
         **{name: values[i] for name, values in columns.items()}}
        for p, lesions in diameters.items()
        for lesion, sizes in enumerate(lesions, start=1)
        for i, (s, d) in enumerate(zip(sessions, sizes, strict=True))
    ]  # fmt: skip
    visits = [
        {"participant_id": f"sub-{p}", "session_id": s, "days": DAYS[s], "position": float(i)}
        for p in diameters
        for i, s in enumerate(sessions)
    ]
    return pd.DataFrame(rows), pd.DataFrame(visits)


def tables_of(diameters, **columns):
    lesions, sessions = cohort_of(diameters, **columns)
    return rano_tables(lesions, sessions, {f"sub-{p}": "ses-baseline" for p in diameters})


def test_visits_count_from_the_baseline_and_by_days():
    """Earlier sessions are left out; days decide, not the order of the rows."""
    _, sessions = cohort_of({"01": [[20.0] * 6]})
    shuffled = sessions.sample(frac=1, random_state=0)
    found = visits_since_baseline(shuffled, {"sub-01": "ses-baseline"})
    assert found["session_id"].tolist() == list(DAYS)[1:]
    assert found["visit"].tolist() == [0, 1, 2, 3, 4]


def test_a_patient_over_time():
    """Partial response, confirmed, then progression from the nadir while below the baseline."""
    table = tables_of({"01": [[25, 25, 24, 15, 14, 20]]}).patients
    assert table["response"].tolist() == ["n/a", "SD", "PR", "PR", "PD"]
    assert table["confirmed"].tolist()[2:4] == [1, 1]
    assert table["diameter_sum_mm"].tolist() == [25, 24, 15, 14, 20]
    assert table["nadir_mm"].tolist()[1:] == [25, 24, 15, 14]
    assert table["radiographic_only"].tolist()[1:] == [1, 1, 1, 1]
    assert table["from_nadir_percent"].iloc[-1] == pytest.approx(100 * 6 / 14)


def test_progression_is_dated_or_censored():
    """Day of the first progression; without one, day of the last assessment."""
    table = tables_of({"01": [[25, 25, 24, 15, 14, 20]], "02": [[20, 20, 12, 12, 12, 12]]})
    patients = table.progression[table.progression["criterion"] == "RANO-BM"]
    assert patients["progressed"].tolist() == [1, 0]
    assert patients["days"].tolist() == [200, 200]
    assert patients["best_confirmed"].tolist() == ["PR", "PR"]
    lesions = table.progression[table.progression["criterion"] == "volume"]
    assert lesions["progressed"].tolist() == [1, 0]
    assert lesions["lesion"].tolist() == [1, 1]


def test_each_lesion_has_both_rules():
    """By its diameter and by its volume, each against its own baseline and nadir."""
    table = tables_of({"01": [[0, 20, 12, 10, 16, 0], [0, 0, 0, 8, 8, 8]]}).lesions
    first, second = (table[table["lesion"] == n] for n in (1, 2))
    assert first["role"].unique().tolist() == ["target"]
    assert first["rano_bm"].tolist() == ["n/a", "PR", "PR", "PD", "CR"]
    assert first["volume_response"].tolist() == ["n/a", "PR", "PR", "PD", "CR"]
    assert second["role"].unique().tolist() == ["new"]
    assert second["rano_bm"].tolist() == ["n/a", "NE", "PD", "PD", "PD"]
    assert second["volume_response"].tolist() == ["n/a", "n/a", "PD", "PD", "PD"]
    assert first["volume_nadir_ml"].iloc[3] == pytest.approx(np.pi / 6)


def test_the_rules_of_volumes_differ_at_their_thresholds():
    """-58.5 and +71.5 % of the study, -65 and +72.8 % of the extension of RANO-BM."""
    lesions, sessions = cohort_of({"01": [[1.0] * 6]})
    lesions["volume_ml"] = [9, 10, 4.15, 3.5, 6.01, 6.05]
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"}).lesions
    assert table["volume_response"].tolist() == ["n/a", "PR", "PR", "PD", "PD"]
    assert table["volume_rano_bm"].tolist() == ["n/a", "SD", "PR", "SD", "PD"]


def test_course_categories_need_arrays_of_one_length():
    with pytest.raises(BadInput, match="cannot pair"):
        course_categories([1.0, 2.0], [1.0], [1.0])


def test_a_lesion_without_a_volume_in_between_keeps_its_nadir():
    """A missing visit neither interrupts nor lowers the smallest volume."""
    lesions, sessions = cohort_of({"01": [[20, 20, 10, np.nan, 10, 16]]})
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"})
    assert table.lesions["volume_response"].tolist() == ["n/a", "PR", "n/a", "PR", "PD"]
    assert table.patients["response"].tolist() == ["n/a", "PR", "NE", "PR", "PD"]


def test_a_vanished_lesion_has_no_diameter_although_only_its_volume_is_stated():
    lesions, sessions = cohort_of({"01": [[20, 20, 10, 10, 10, 10]]})
    last = lesions["session_id"] == "ses-last"
    lesions.loc[last, ["volume_ml", "diameter_mm"]] = [0.0, np.nan]
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"}).patients
    assert table["response"].iloc[-1] == "CR"


def test_tables_without_diameters_have_volumes_alone():
    """As of earlier versions: no table of patients, and no role; nothing is made up."""
    lesions, sessions = cohort_of({"01": [[20, 20, 10, 10, 10, 0]]})
    table = rano_tables(lesions.drop(columns="diameter_mm"), sessions, {"sub-01": "ses-baseline"})
    assert table.patients.empty
    assert table.lesions["role"].unique().tolist() == ["n/a"]
    assert table.lesions["diameter_mm"].isna().all()
    assert table.lesions["volume_response"].tolist() == ["n/a", "PR", "PR", "PR", "CR"]
    assert table.progression["criterion"].tolist() == ["volume"]


def test_a_participant_without_baseline_is_named():
    lesions, sessions = cohort_of({"01": [[20.0] * 6], "02": [[20.0] * 6]})
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"}).patients
    last = table.iloc[-1]
    assert (last["participant_id"], last["response"]) == ("sub-02", "NE")
    assert last["note"] == "no session at baseline"


def test_an_early_baseline_is_noted():
    """RANO-BM: not more than four weeks before the treatment."""
    lesions, sessions = cohort_of({"01": [[20.0] * 6]})
    table = rano_tables(lesions, sessions, {"sub-01": "ses-early"}).patients
    assert table["note"].iloc[0] == "baseline, 40 days before the treatment: more than four weeks"


def test_steroids_and_clinical_status_decide():
    """A higher dose rules out a response, and worsening is a progression; both known, no flag."""
    lesions, sessions = cohort_of({"01": [[20, 20, 12, 12, 12, 12]]})
    sessions["steroid_dose"] = [4, 4, 4, 8, 2, 2]
    sessions["clinical_status"] = ["stable", "stable", "stable", "stable", "improved", "worse"]
    table = rano_tables(lesions, sessions, {"sub-01": "ses-baseline"}).patients
    assert table["response"].tolist() == ["n/a", "PR", "SD", "PR", "PD"]
    assert table["radiographic_only"].tolist()[1:] == [0, 0, 0, 0]


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(map(str, row)) for row in [header, *rows]) + "\n")
    return path


TABLE = ["participant_id", "lesion", "session_id", "days_from_srs", "vp", "volume_ml"]
TABLE += ["diameter_mm", *CLINICAL]


def test_a_table_of_the_users_may_state_diameters_and_clinic(tmp_path):
    """Columns diameter_mm, steroid_dose and clinical_status; in any row of a session."""
    rows = [
        ["01", 1, "baseline", -3, 4.0, 4.2, 20, 4, "stable"],
        ["01", 1, "1month", 30, 3.0, 0.9, 12, 2, "Improved"],
        ["01", 2, "baseline", -3, 4.0, 4.2, 12, "n/a", "n/a"],
        ["01", 2, "1month", 30, 3.0, 0.9, 8, 2, "improved"],
    ]
    cohort = load_study_table(write(tmp_path / "lesions.tsv", TABLE, rows))
    assert cohort.notes == cohort.problems == ()
    row = analyse(cohort).rano.iloc[-1]
    assert (row["diameter_sum_mm"], row["response"], row["radiographic_only"]) == (20, "PR", 0)


def test_clinic_that_contradicts_itself_is_refused(tmp_path):
    rows = [
        ["01", 1, "baseline", -3, 4.0, 4.2, 20, 4, "stable"],
        ["01", 2, "baseline", -3, 4.0, 4.2, 20, 8, "stable"],
    ]
    with pytest.raises(BadInput, match="differs between the lesions of sub-01 in ses-baseline"):
        load_study_table(write(tmp_path / "lesions.tsv", TABLE, rows))
    rows = [["01", 1, "baseline", -3, 4.0, 4.2, 20, 4, "fine"]]
    with pytest.raises(BadInput, match="is 'fine': write improved, stable, worse or n/a"):
        load_study_table(write(tmp_path / "lesions.tsv", TABLE, rows))
    rows = [["01", 1, "baseline", -3, 4.0, 4.2, 20, -4, "stable"]]
    with pytest.raises(BadInput, match="steroid_dose is -4, below zero"):
        load_study_table(write(tmp_path / "lesions.tsv", TABLE, rows))


STATED = ["participant_id", "session_id", "lesion", "roi", "model", "parameter", "unit", "mean"]
STATED += ["excluded"]


def write_session(folder, session, sizes):
    """The table of whole lesions of a session: volume, diameters and slices of each lesion."""
    rows = [
        ["sub-01", session, lesion, "whole", "n/a", name, unit, value, 0]
        for lesion, values in sizes.items()
        for (name, unit), value in zip(
            [("volume", "ml"), ("longest_diameter", "mm"), ("perpendicular_diameter", "mm"),
             ("slices", "1")],
            values,
            strict=True,
        )
    ]  # fmt: skip
    name = f"sub-01_{session}_seg-whole_roistats.tsv"
    return write(folder / "sub-01" / session / "anat" / name, STATED, rows)


def test_diameters_of_the_participant_level_are_read_into_the_cohort(tmp_path):
    """With slices and the perpendicular, which decide what is measurable; and the clinic."""
    write_session(tmp_path, "ses-baseline", {1: (4, 20, 15, 8), 2: (1, 12, 4, 6)})
    write_session(tmp_path, "ses-1month", {1: (1, 12, 9, 5), 2: (1, 12, 4, 6)})
    rows = [["ses-baseline", -3, 4, "stable"], ["ses-1month", 30, 2, "improved"]]
    header = ["session_id", "days_since_treatment", *CLINICAL]
    write(tmp_path / "sub-01" / "sub-01_sessions.tsv", header, rows)
    found = read_output(tmp_path)
    assert found.problems == ()
    statistics = analyse(found.cohort)
    row = statistics.rano.iloc[-1]
    assert (row["n_targets"], row["response"], row["radiographic_only"]) == (1, "PR", 0)
    assert statistics.lesion_response["role"].tolist() == ["target"] * 2 + ["non-target"] * 2


def test_a_negative_diameter_is_a_problem_of_its_table(tmp_path):
    write_session(tmp_path, "ses-baseline", {1: (4, 20, 15, 8)})
    write_session(tmp_path, "ses-1month", {1: (1, -12, 9, 5)})
    found = read_output(tmp_path)
    assert any("longest_diameter is -12, below zero" in text for text in found.problems)
    assert isinstance(found.cohort, Cohort)
