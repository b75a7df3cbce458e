"""The Boutiques descriptor lists the options of the parser, and is valid."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bidsapp.cli import options
from bidsapp.config import version

ROOT = Path(__file__).parent.parent
FILE = ROOT / "boutiques.json"


@pytest.fixture(scope="module")
def descriptor():
    return json.loads(FILE.read_text(encoding="utf-8"))


def test_the_descriptor_is_what_the_parser_says():
    """A change of an option that was not followed by scripts/boutiques is noticed."""
    made = subprocess.run(
        [sys.executable, ROOT / "scripts/boutiques"], capture_output=True, text=True, check=True
    )
    assert made.stdout == FILE.read_text(encoding="utf-8"), "run scripts/boutiques >boutiques.json"


def test_every_option_has_its_place_on_the_command_line(descriptor):
    """Each option of the parser is one input, whose key the command line has exactly once."""
    wanted = {a.dest for a in options.study_parser()._actions} - {"help", "version"}
    assert {i["id"] for i in descriptor["inputs"]} == wanted
    keys = descriptor["command-line"].split()[1:]
    assert sorted(keys) == sorted(i["value-key"] for i in descriptor["inputs"])
    assert descriptor["tool-version"] == version()


def test_defaults_are_among_the_choices(descriptor):
    """What an input takes by itself is what it may be given."""
    limited = [
        one for one in descriptor["inputs"] if {"default-value", "value-choices"} <= one.keys()
    ]
    assert len(limited) > 5
    for one in limited:
        assert one["default-value"] in one["value-choices"], one["id"]


def test_boutiques_accepts_it():
    """``bosh validate`` finds nothing, where it is installed; the image workflow has it."""
    bosh = shutil.which("bosh")
    if bosh is None:
        pytest.skip("bosh is not installed: pip install boutiques, anywhere on the path")
    done = subprocess.run([bosh, "validate", FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
