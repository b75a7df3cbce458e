"""The architecture, checked against the source: which package may import which, and sizes."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "bidsapp").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
FACES = {path for path in SOURCES if path.name == "__init__.py"}
MODULES = [path for path in SOURCES if path not in FACES]
PACKAGES = {".".join(path.parent.relative_to(ROOT).parts) for path in FACES}
PACKAGES |= {
    "bidsapp.models.parameters"
}  # facts that models and displays share: a package of its own
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60

# Package -> packages that it may import. `errors` is for anyone; a package's face (its __init__.py)
# may hand on what its inner packages define.
ARROWS: dict[str, set[str]] = {
    "__main__": {"cli"},
    "errors": set(),
    "issues": set(),
    "data": set(),
    "config": set(),
    "models.parameters": set(),
    "models.solver": {"models.parameters"},
    "models.diffusion": {"models.parameters", "models.solver"},
    "models.kinetics": {"models.parameters", "models.solver"},
    "models.contrast": {"models.parameters", "models.solver"},
    "models": {
        "models.contrast",
        "models.diffusion",
        "models.kinetics",
        "models.solver",
    },
    "imaging": set(),
    "imaging.registration": {"imaging"},
    "imaging.motion": {"imaging"},
    "imaging.distortion": {"imaging", "imaging.registration"},
    "imaging.relaxometry": {"imaging", "imaging.motion", "imaging.registration"},
    "lesions": {"imaging"},
    "recovery": {
        "imaging",
        "lesions",
        "models",
        "models.contrast",
        "models.diffusion",
        "models.parameters",
    },
    "bids": {"config", "lesions"},
    "conversion": set(),
    "conversion.contours": {"bids", "conversion", "imaging", "lesions"},
    "conversion.dicom": {"bids", "config", "conversion", "issues"},
    "checks": {"models.contrast", "models.diffusion"},
    "study.statistics": set(),
    "study.tables": {"lesions", "models.parameters", "study.statistics"},
    "study.read": {"bids", "issues", "lesions", "models.parameters", "study.tables"},
    "phantom": {
        "bids",
        "models",
        "models.contrast",
        "models.parameters",
        "study.read",
        "study.tables",
    },
    "reports": {"config", "imaging.motion", "imaging.relaxometry", "models"},
    "reports.page": {"bids", "models.parameters", "study.tables"},
    "reports.figures": {"models.parameters", "reports.page", "study.statistics"},
    "reports.participant": {
        "bids",
        "config",
        "imaging",
        "issues",
        "lesions",
        "models",
        "models.contrast",
        "models.diffusion",
        "models.parameters",
        "reports.figures",
        "reports.page",
        "study.read",
        "study.tables",
        "imaging.motion",
    },
    "reports.group": {
        "bids",
        "lesions",
        "models.parameters",
        "reports",
        "reports.figures",
        "reports.page",
        "reports.participant",
        "study.statistics",
        "study.tables",
        "imaging.motion",
    },
    "reports.index": {
        "bids",
        "lesions",
        "reports.page",
        "reports.participant",
    },
    "run.nodes": {
        "bids",
        "config",
        "imaging",
        "imaging.distortion",
        "imaging.motion",
        "imaging.registration",
        "imaging.relaxometry",
        "lesions",
        "models",
        "models.contrast",
        "recovery",
        "models.diffusion",
        "models.kinetics",
        "models.parameters",
    },
    "run.graphs": {
        "bids",
        "config",
        "issues",
        "lesions",
        "models",
        "models.contrast",
        "models.diffusion",
        "run.nodes",
    },
    "run.engine": {"config"},
    "run": {
        "bids",
        "checks",
        "config",
        "imaging",
        "issues",
        "lesions",
        "models.parameters",
        "reports",
        "reports.group",
        "reports.index",
        "reports.page",
        "reports.participant",
        "run.engine",
        "run.graphs",
        "run.nodes",
        "study.read",
        "study.tables",
    },
    "run.recovery": {
        "bids",
        "config",
        "imaging",
        "issues",
        "lesions",
        "models",
        "models.contrast",
        "recovery",
        "run",
        "run.engine",
        "run.graphs",
        "run.nodes",
    },
    "run.rois": {
        "bids",
        "config",
        "conversion.contours",
        "imaging",
        "issues",
        "lesions",
        "run.nodes",
    },
    "cli": {
        "bids",
        "config",
        "conversion.contours",
        "conversion.dicom",
        "issues",
        "models",
        "models.parameters",
        "phantom",
        "recovery",
        "reports",
        "reports.index",
        "run",
        "run.engine",
        "run.graphs",
        "run.recovery",
        "run.rois",
        "study.tables",
    },
}

# Top-level package -> the only packages outside the standard library that it may import.
OUTSIDE = {
    "errors": set(),
    "models": {"numpy", "scipy"},
    "lesions": {"numpy", "scipy"},
    "study.statistics": {"numpy", "scipy"},
    "study.tables": {"numpy", "pandas"},
}


def package_of(module: str) -> str:
    """``bidsapp.models.contrast.aif`` -> ``models.contrast``; ``bidsapp.config`` -> ``config``."""
    parts = module.split(".")
    while parts[1:] and ".".join(parts) not in PACKAGES:
        parts.pop()
    return ".".join(parts[1:]) or [*module.split("."), "bidsapp"][1]


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


def arrows(path: Path) -> set[str]:
    """Packages of the project that a module imports, other than its own."""
    ours = {package_of(name) for name in imported(path) if name.split(".")[0] == "bidsapp"}
    return ours - {package_of(name_of(path)), "errors"}


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_imports_follow_the_plan(path):
    """A package imports only what the plan allows it."""
    package = package_of(name_of(path))
    assert package in ARROWS, f"{path}: a new package; add it to the plan above"
    assert arrows(path) <= ARROWS[package]


def test_every_allowed_import_is_used():
    """An arrow of the plan that no module needs is taken out of it."""
    used: dict[str, set[str]] = {package: set() for package in ARROWS}
    for path in MODULES:
        used[package_of(name_of(path))] |= arrows(path)
    assert {k: v - used[k] for k, v in ARROWS.items() if v - used[k]} == {}


def test_the_plan_has_no_circle():
    """The packages can be put in one order in which each imports only earlier ones."""
    left = dict(ARROWS)
    while left:
        free = [package for package, below in left.items() if not below & left.keys()]
        assert free, f"these packages import one another: {sorted(left)}"
        for package in free:
            del left[package]


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_pure_packages_know_no_files_and_images(path):
    """``models`` works for anyone who has numpy and scipy: arrays in, arrays out."""
    package = package_of(name_of(path))
    allowed = OUTSIDE.get(package, OUTSIDE.get(package.split(".")[0]))
    if allowed is not None:
        top = {name.split(".")[0] for name in imported(path)} - {"bidsapp"}
        assert top - set(sys.stdlib_module_names) <= allowed


@pytest.mark.parametrize("path", BENCHMARKS, ids=label)
def test_benchmarks_look_in_from_outside(path):
    """They measure public functions on heads of the phantom; runners import no package of it."""
    ours = {name for name in imported(path) if name.split(".")[0] in ("bidsapp", "benchmarks")}
    if path.parent.name == "peers":
        assert not ours
    else:
        theirs = {name for name in ours if name.startswith("bidsapp")}
        packages = {package_of(name).split(".")[0] for name in theirs}
        assert packages <= {"errors", "lesions", "models", "imaging", "phantom", "reports"}
        reports = {name for name in theirs if package_of(name).startswith("reports")}
        assert reports <= {"bidsapp.reports.page.style"}


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


def test_the_list_of_modules_is_current():
    """docs/architecture.md lists every module with the first line of its docstring."""
    script = [sys.executable, str(ROOT / "scripts" / "modules")]
    run = subprocess.run(script, capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert run.stdout in page, "write it anew: .venv/bin/python scripts/modules --write"


def test_asking_for_the_version_loads_no_heavy_library():
    """``--version`` and ``--help`` answer at once: the command line imports lazily."""
    code = "import sys, bidsapp.cli.main; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"nipype", "bids", "dipy", "nilearn", "scipy", "pandas", "matplotlib", "nibabel"}
    assert heavy & set(run.stdout.split()) == set()
