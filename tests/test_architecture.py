"""The house plan of docs/architecture.md, read off the source: who may import whom, and sizes."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "bidsapp").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60

# Room -> rooms that it may import. "errors" and "data" (files, no code) are for anyone.
ARROWS: dict[str, set[str]] = {
    "bidsapp": set(),
    "errors": set(),
    "data": set(),
    "models": set(),
    "response": set(),
    "config": set(),
    "stopping": set(),
    "imaging": {"models"},
    "rois": {"models"},
    "groupstats": set(),
    "cohort": {"groupstats", "response"},
    "lesiontables": {"cohort", "rois"},
    "bids": {"config", "rois"},
    "reports": {"bids", "cohort", "groupstats", "imaging", "models", "response"},
    "phantom": {"models", "bids", "cohort", "lesiontables", "response"},
    "interfaces": {"models", "imaging", "rois", "reports", "bids", "config"},
    "workflows": {"interfaces", "bids", "config", "models", "stopping"},
    "group": {"bids", "cohort", "groupstats", "lesiontables", "reports", "rois"},
    "progress": set(),
    "completion": {"bids", "config"},
    "participant": {"bids", "completion", "config", "progress", "reports", "stopping", "workflows"},
    "citation": {"config", "models"},
    "argumenttypes": set(),
    "folders": {"config"},
    "arguments": {"argumenttypes", "config", "models"},
    "slurm": {"bids", "config"},
    "slurmarguments": {"arguments", "argumenttypes", "slurm"},
    "cli": {
        "arguments",
        "bids",
        "citation",
        "cohort",
        "config",
        "folders",
        "group",
        "participant",
        "phantom",
        "progress",
        "reports",
        "slurm",
        "slurmarguments",
        "stopping",
    },
}
ANYONE = {"bidsapp", "errors", "data"}

# Room -> the only packages outside the standard library that it may import.
OUTSIDE = {
    "bidsapp": set(),
    "errors": set(),
    "stopping": set(),
    "models": {"numpy", "scipy"},
    "response": {"numpy"},
    "progress": set(),
    "groupstats": {"numpy", "scipy"},
    "cohort": {"numpy", "pandas"},
}


def room_of(module: str) -> str:
    """``bidsapp.models.aif`` -> ``models``; the package itself is the room ``bidsapp``."""
    return [*module.split("."), module][1]


def imported(path: Path) -> Iterator[str]:
    """Full names of all that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            if node.module == "bidsapp":
                yield from (f"bidsapp.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def name_of(path: Path) -> str:
    """Dotted module name of a source file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def label(path: Path) -> str:
    """Short test id of a source file."""
    return path.relative_to(ROOT).as_posix().removeprefix("bidsapp/")


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_arrows_run_one_way(path):
    """A room imports only the rooms below it, as the plan draws them."""
    room = room_of(name_of(path))
    assert room in ARROWS, f"{path}: a new room; draw its arrows in docs/architecture.md and here"
    others = {room_of(name) for name in imported(path) if name.split(".")[0] == "bidsapp"}
    assert others & ARROWS.keys() - ANYONE - {room} <= ARROWS[room]


def test_the_plan_has_no_circle():
    """The arrows can be laid out in one order, so that no two rooms need each other."""
    left = dict(ARROWS)
    while left:
        free = [room for room, below in left.items() if not below & left.keys()]
        assert free, f"these rooms import one another: {sorted(left)}"
        for room in free:
            del left[room]


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_pure_rooms_know_no_files_and_images(path):
    """``models`` works for anyone who has numpy and scipy: arrays in, arrays out."""
    allowed = OUTSIDE.get(room_of(name_of(path)))
    if allowed is not None:
        top = {name.split(".")[0] for name in imported(path)} - {"bidsapp"}
        assert top - set(sys.stdlib_module_names) <= allowed


@pytest.mark.parametrize("path", BENCHMARKS, ids=label)
def test_benchmarks_look_in_from_outside(path):
    """They measure what anyone can call, on the phantom's heads; runners see none of ours."""
    ours = {name for name in imported(path) if name.split(".")[0] in ("bidsapp", "benchmarks")}
    if path.parent.name == "peers":
        assert not ours
    else:
        theirs = {name for name in ours if name.startswith("bidsapp")}
        rooms = {"errors", "models", "imaging", "phantom", "reports"}
        assert {room_of(name) for name in theirs} <= rooms
        assert {name for name in theirs if room_of(name) == "reports"} <= {"bidsapp.reports.style"}


@pytest.mark.parametrize("path", [*SOURCES, *BENCHMARKS], ids=label)
def test_modules_and_functions_stay_readable(path):
    """One concern a module (< 400 lines), one thing a function (<= 60 and a docstring)."""
    source = path.read_text()
    assert source.count("\n") < MAX_MODULE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            size = node.end_lineno - node.lineno + 1 - (docstring or "").count("\n")
            assert size <= MAX_FUNCTION_LINES, f"{path}:{node.lineno}: {node.name} has {size} lines"


def test_asking_for_the_version_loads_no_heavy_library():
    """``--version`` and ``--help`` answer at once: the command line imports lazily."""
    code = "import sys, bidsapp.cli; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"nipype", "bids", "dipy", "nilearn", "scipy", "pandas", "matplotlib", "nibabel"}
    assert heavy & set(run.stdout.split()) == set()
