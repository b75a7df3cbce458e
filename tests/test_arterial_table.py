"""The table of an arterial input: units are converted, or refused in words."""

import json
from pathlib import Path

import numpy as np
import pytest
from hostile import SECONDS, dry, raw, run, write_study

from bidsapp.bids.arterial_table import (
    ArterialTable,
    check_coverage,
    read_arterial_table,
)
from bidsapp.errors import BadInput
from bidsapp.models.contrast.aif import parker2006

TIME = np.array(SECONDS) / 60
BLOOD = parker2006(TIME, 0.5)


def write_table(path, *, time=60.0, blood=1.0, units=None):
    """Write the curve with times in units of 1/`time` min and values in units of 1/`blood` mM."""
    rows = [f"{t * time:.12g}\t{c * blood:.12g}" for t, c in zip(TIME, BLOOD, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["time\tblood", *rows]) + "\n", encoding="utf-8")
    if units is not None:
        fields = {column: {"Units": unit} for column, unit in units.items()}
        path.with_suffix(".json").write_text(json.dumps(fields), encoding="utf-8")
    return path


UNITS = {
    "s, mM": (60, 1, {"time": "s", "blood": "mM"}),
    "min, umol/l": (1, 1e3, {"time": "min", "blood": "umol/l"}),
    "ms, M": (6e4, 1e-3, {"time": "milliseconds", "blood": "M"}),
    "mol/L": (60, 1e-3, {"blood": "mol/L"}),
    "µM": (60, 1e3, {"blood": "µM"}),
    "nothing stated": (60, 1, {}),
}


@pytest.mark.parametrize(("time", "blood", "units"), UNITS.values(), ids=UNITS)
def test_the_units_of_each_column_are_converted(tmp_path, time, blood, units):
    """The same curve in any units gives the same concentrations at the same times."""
    path = write_table(tmp_path / "t.tsv", time=time, blood=blood)
    fields = {column: {"Units": unit} for column, unit in units.items()}
    table = read_arterial_table(path, fields)
    np.testing.assert_allclose(table.times, TIME)
    np.testing.assert_allclose(table.values, BLOOD)


REFUSED = {
    "unknown unit": ({"blood": "a.u."}, {}, "Units of blood is 'a.u.'; it must be a conc"),
    "unknown unit of time": ({"time": "frames"}, {}, "Units of time is 'frames'; it must be s"),
    "M without units": ({}, {"blood": 1e-3}, r"peak of blood is 0.00\d+ mM \(without Units\)"),
    "umol/l without units": ({}, {"blood": 1e3}, "outside 0.05 to 50 mM; state the right Units"),
    "M called mM": ({"blood": "mM"}, {"blood": 1e-3}, "with the Units 'mM'"),
    "ms without units": ({}, {"time": 6e4}, "rows are 6000 s apart; is time in seconds"),
    "backwards": ({}, {"time": -60.0}, "time is not ascending"),
}


@pytest.mark.parametrize(("units", "scales", "message"), REFUSED.values(), ids=REFUSED)
def test_a_table_in_no_usable_unit_is_refused(tmp_path, units, scales, message):
    """The message names the file, the column and what to state."""
    path = write_table(tmp_path / "t.tsv", **scales)
    fields = {column: {"Units": unit} for column, unit in units.items()}
    with pytest.raises(BadInput, match=message):
        read_arterial_table(path, fields)


@pytest.mark.usefixtures("short_pages")
def test_a_run_uses_the_units_of_the_table(tmp_path, capsys):
    """With umol/l in the JSON the input is in mM; without it the DCE is refused in advance."""
    root = write_study(tmp_path / "bids", ("a",))
    folder = raw(root / "derivatives/manual_masks", "label-AIF_mask.nii.gz").parent
    path = folder / "sub-01_ses-a_label-AIF_timeseries.tsv"
    write_table(path, blood=1e3)
    outcome = dry(root, capsys, "--aif", "table")
    assert outcome.code == 1
    assert "outside 0.05 to 50 mM" in outcome.out
    write_table(path, blood=1e3, units={"blood": "umol/l"})
    assert run(root, capsys, "--aif", "table").code == 0
    written = next((root.parent / "out").rglob("*_label-AIF_timeseries.tsv"))
    lines = written.read_text().splitlines()[1:]
    peak = max(float(line.split("\t")[1]) for line in lines)
    assert peak == pytest.approx(BLOOD.max(), rel=1e-6)


COVERAGE = {
    "too short": ([0.0, 1.0, 2.0], [0.0, 1.0, 3.0], "are 0 to 120 s: extend it"),
    "late": ([1.0, 2.0, 4.0], [0.0, 1.0, 3.0], "are 60 to 240 s: are they counted from another"),
    "numbers of frames": ([0, 1 / 60, 2 / 60], [0.0, 1.0, 3.0], "are these numbers of frames?"),
    "minutes": ([0, 0.5 / 60, 3 / 60], [0.0, 1.0, 3.0], "is time in min?"),
    "time of day": ([600.0, 601.0, 603.0], [0.0, 1.0, 3.0], "are they counted from another moment"),
}


@pytest.mark.parametrize(("times", "frames", "hint"), COVERAGE.values(), ids=COVERAGE)
def test_a_table_that_does_not_cover_the_frames_is_refused_with_a_guess(times, frames, hint):
    """The times of both, and what they look like; a table that covers the frames passes."""
    table = ArterialTable("blood", tuple(times), (0.0, 1.0, 0.5))
    with pytest.raises(BadInput, match="does not cover the frames from 0 to 180 s") as caught:
        check_coverage(Path("t.tsv"), table, frames)
    assert hint in str(caught.value)
    check_coverage(Path("t.tsv"), table, times)


@pytest.mark.usefixtures("short_pages")
def test_a_table_of_minutes_is_refused_before_the_run(tmp_path, capsys):
    """--dry-run compares the times of the frames with those of the table."""
    root = write_study(tmp_path / "bids", ("a",))
    folder = raw(root / "derivatives/manual_masks", "label-AIF_mask.nii.gz").parent
    write_table(folder / "sub-01_ses-a_label-AIF_timeseries.tsv", time=1)
    outcome = dry(root, capsys, "--aif", "table")
    assert outcome.code == 1
    assert "does not cover the frames from 0 to 114 s" in outcome.out


def write_both(path, blood, plasma):
    rows = [f"{60 * t:g}\t{b}\t{p}" for t, b, p in zip(TIME, blood, plasma, strict=True)]
    path.write_text("\n".join(["Time\tBLOOD\tPlasma", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("factor", "hint"),
    [(1.0, "they are the same"), (0.58, "are they exchanged"), (5.0, "correct one")],
)
def test_blood_and_plasma_must_be_related_by_a_haematocrit(tmp_path, factor, hint):
    """Plasma / blood = 1 / (1 - Hct): identical and exchanged columns are refused."""
    blood = np.array(BLOOD)
    with pytest.raises(BadInput, match=hint):
        read_arterial_table(write_both(tmp_path / "t.tsv", blood, factor * blood), {})
    sound = read_arterial_table(write_both(tmp_path / "t.tsv", blood, blood / 0.58), {})
    assert sound.compartment == "plasma"
    np.testing.assert_allclose(sound.values, blood / 0.58)


def test_a_decimal_comma_is_named(tmp_path):
    """The row, the column, and to write a decimal point."""
    path = tmp_path / "t.tsv"
    path.write_text("time\tblood\n0\t0\n6\t1,5\n", encoding="utf-8")
    with pytest.raises(BadInput, match="row 2, blood: '1,5' is not a number; write a decimal"):
        read_arterial_table(path, {})
