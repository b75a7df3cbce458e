"""The pages on conversion: commands that can be typed, configurations that select the series."""

import json
import re
import shlex
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest

from bidsapp.cli.main import COMMANDS, main
from bidsapp.cli.options import study_parser
from tests import dicom_series as made

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("tutorial.md", "convert.md")


def commands(page: str) -> list[list[str]]:
    """Return the words of the commands that a page shows."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return [
        shlex.split(line, comments=True)[1:] for line in lines if line.startswith("    metperf ")
    ]


def block(language: str) -> str:
    """Return the block of a language in the page on conversion."""
    text = (DOCS / "convert.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_each_command_of_the_pages_is_accepted(page):
    """The parser accepts every command as it is printed."""
    shown = commands(page)
    assert len(shown) >= 2
    for words in shown:
        parser, _ = COMMANDS.get(words[0], (study_parser, None))
        parser().parse_args(words[1:] if words[0] in COMMANDS else words)


def test_the_tutorial_covers_the_whole_way():
    """Conversion, ROIs, check, participants and group, in at most six different commands."""
    shown = commands("tutorial.md")
    steps = [words[0] if words[0] in COMMANDS else words[2] for words in shown]
    assert steps == ["prepare", "prepare", "rois", "check", "participant", "group"]


def test_the_conversion_of_the_tutorial_runs(tmp_path, monkeypatch):
    """Its first command writes tables and ends with 3, its second one the data set."""
    monkeypatch.chdir(tmp_path)
    made.write_visit(tmp_path / "DICOM", made.Patient(), "siemens")
    Path("dates.tsv").write_text("patient\tdate\nPAT4711\t2021-08-31\n")
    first, second = commands("tutorial.md")[:2]
    assert main(first) == 3
    assert main(second) == 0
    table = tmp_path / "BIDS" / "sub-01" / "sub-01_sessions.tsv"
    assert table.read_text().splitlines()[1] == "ses-01\t2"
    assert "PAT4711" in Path("key.tsv").read_text()


def test_the_configuration_of_dcm2bids_selects_each_series_once():
    """It is valid JSON, and the names of typical series match one description each."""
    config = json.loads(block("json"))
    chosen = {}
    for name in ("T1W_3D_TFE_POST GD", "DWI_6b", "DCE", "Survey"):
        matches = [d["id"] for d in config["descriptions"]
                   if fnmatch(name, d["criteria"]["SeriesDescription"])]  # fmt: skip
        chosen[name] = matches
    assert chosen == {
        "T1W_3D_TFE_POST GD": ["t1w"], "DWI_6b": ["dwi"], "DCE": ["dce"], "Survey": [],
    }  # fmt: skip


def test_the_heuristic_of_heudiconv_selects_each_series_once():
    """It runs, and the names of typical series have one key each."""
    space: dict = {}
    exec(block("python"), space)  # noqa: S102 - the page of the project
    names = ("t1_mprage_sag_KM", "ep2d_dwi_b800", "t1_twist_tra_dyn", "localizer")
    series = [SimpleNamespace(series_id=n, series_description=n) for n in names]
    found = space["infotodict"](series)
    assert {key[0].rpartition("}_")[2]: ids for key, ids in found.items()} == {
        "ce-gadolinium_T1w": ["t1_mprage_sag_KM"],
        "dwi": ["ep2d_dwi_b800"],
        "dce": ["t1_twist_tra_dyn"],
    }
