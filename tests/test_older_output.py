"""The output of an older version stays readable: `tests/data/output_0.1.0` has its README."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from bidsapp.errors import NothingToAnalyse
from bidsapp.run.group import run_group
from bidsapp.study.read import read_output

OLDER = Path(__file__).parent / "data" / "output_0.1.0"

REPLACED = {"group_repeatability.tsv"}
"""Tables that are no longer written so: 0.1.0 judged changes by the errors of the fits."""

ADDED = {"group_excluded.tsv": ["raters", "reasons"], "group_roistats.tsv": ["p10", "p90"]}
"""Columns that 0.1.0 did not have."""

EXACT = ("p_spearman",)
"""Columns that 0.1.0 approximates where the pairs are few: test_effects_agreement.py tests them."""
REWORDED = ["note"]
"""Columns of texts, whose words have changed."""

pytestmark = pytest.mark.usefixtures("tables_only")


@pytest.fixture
def older(tmp_path):
    """A copy of the tables of version 0.1.0."""
    return Path(shutil.copytree(OLDER / "out", tmp_path / "out"))


def roistats(folder: Path) -> list[Path]:
    paths = sorted(folder.rglob("*_roistats.tsv"))
    assert paths
    return paths


def same_tables(out: Path) -> None:
    """Compare the group tables with those of 0.1.0."""
    kept = [p for p in sorted((OLDER / "group").glob("*.tsv")) if p.name not in REPLACED]
    assert len(kept) == 18
    for path in kept:
        wanted = pd.read_table(path, na_values="n/a").drop(
            columns=[*REWORDED, *EXACT], errors="ignore"
        )
        found = pd.read_table(out / path.name, na_values="n/a")
        found = found.drop(columns=[*ADDED.get(path.name, []), *REWORDED, *EXACT], errors="ignore")
        # The mixed model reaches its optimum by another way than in 0.1.0.
        pd.testing.assert_frame_equal(found, wanted, rtol=1e-5, obj=path.name)


def test_the_group_level_gives_the_tables_of_that_version(older):
    """Every table that 0.1.0 wrote, but for `REPLACED`, is written again with the same values."""
    run_group(older)
    same_tables(older)


def test_an_added_column_changes_nothing(older):
    """A new statistic in the lesion tables, and a new column of quality, break nothing."""
    for path in [*roistats(older), *older.glob("sub-*/sub-*_quality.tsv")]:
        table = pd.read_table(path, dtype=str, keep_default_na=False)
        table.assign(new_statistic="1.5").to_csv(path, sep="\t", index=False)
    run_group(older)
    same_tables(older)


def test_a_column_that_only_describes_may_be_missing(older):
    """Without percentiles, as in a version before them, the lesion means are the same."""
    wanted = read_output(older).cohort.lesions
    for path in roistats(older):
        table = pd.read_table(path, dtype=str, keep_default_na=False)
        table.drop(columns=["p25", "p75"]).to_csv(path, sep="\t", index=False)
    found = read_output(older)
    assert found.problems == ()
    pd.testing.assert_frame_equal(found.cohort.lesions, wanted)
    run_group(older)
    assert pd.read_table(older / "group_roistats.tsv", na_values="n/a")["p25"].isna().all()


def test_a_column_that_is_needed_is_named(older):
    """Without its means a lesion table cannot be used, which is reported with file and column."""
    for path in roistats(older):
        table = pd.read_table(path, dtype=str, keep_default_na=False)
        table.drop(columns="mean").to_csv(path, sep="\t", index=False)
    with pytest.raises(NothingToAnalyse, match=r"_roistats\.tsv: column 'mean' is missing"):
        read_output(older)
