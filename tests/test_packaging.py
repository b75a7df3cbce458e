"""The installed package has the stated requirements and one version everywhere."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OPTIONAL = [one for extra in PROJECT["project"]["optional-dependencies"].values() for one in extra]
RUNTIME = PROJECT["project"]["dependencies"] + OPTIONAL
LOCKED = {
    "requirements.lock": RUNTIME,
    "requirements-dev.lock": RUNTIME + PROJECT["dependency-groups"]["dev"],
    "requirements-build.lock": PROJECT["build-system"]["requires"],
}


def pins(lock: str) -> dict[str, set[str]]:
    """Versions that a lock file pins for each package: one for each marker."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def is_met(requirement: Requirement, locked: dict[str, set[str]]) -> bool:
    """Whether the package is pinned, and every one of its pins lies in the range asked for."""
    versions = locked.get(canonicalize_name(requirement.name), set())
    return bool(versions) and all(map(requirement.specifier.contains, versions))


@pytest.mark.parametrize("lock", LOCKED)
def test_every_requirement_is_pinned_within_its_range(lock):
    """An edit of pyproject.toml that was not followed by scripts/lock is noticed."""
    requirements, locked = map(Requirement, LOCKED[lock]), pins(lock)
    unmet = [str(requirement) for requirement in requirements if not is_met(requirement, locked)]
    assert not unmet, f"{lock} does not meet {unmet}: run scripts/lock"


def test_tests_run_on_the_versions_that_users_get():
    """The development lock repeats every pin of the runtime lock."""
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


@pytest.mark.parametrize("lock", LOCKED)
def test_every_pin_has_a_hash(lock):
    """No file is installed whose content is not fixed by the lock."""
    blocks = re.split(r"^(?=[\w.-]+==)", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]
    assert blocks
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("Dockerfile", r"^ARG VERSION=(.+)$"),
        ("CITATION.cff", r"^version: (.+)$"),
        ("CHANGELOG.md", r"^## (\d\S+)"),
    ],
)
def test_the_version_is_one_number(file, pattern):
    """Whatever must repeat the number in the file ``version`` repeats that number."""
    found = re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE)
    assert found
    assert found[0] == (ROOT / "version").read_text().strip()
    assert file != "Dockerfile" or len(set(found)) == 1


def test_every_library_that_is_imported_is_asked_for():
    """No import relies on a library that only another dependency requires."""
    names_of = packages_distributions()
    declared = {canonicalize_name(Requirement(line).name) for line in RUNTIME}
    sources = [path.read_text() for path in (ROOT / "bidsapp").rglob("*.py")]
    imports = re.findall(r"^\s*(?:from|import) (\w+)", "\n".join(sources), re.MULTILINE)
    undeclared = [
        name
        for name in sorted(set(imports) & names_of.keys() - {"bidsapp"})
        if not declared & set(map(canonicalize_name, names_of[name]))
    ]
    assert undeclared == []
