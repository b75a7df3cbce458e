"""Run test files as if numpy, scipy, pytest and hypothesis were all that is installed.

python tests/alone.py tests/test_models_contract.py
"""

import os
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

ALONE = ("numpy", "scipy", "pytest", "hypothesis")


class Refuse(MetaPathFinder):
    """Refuses to import the packages of any distribution but those given, in words."""

    def __init__(self, allowed: set[str]) -> None:
        self.refused = {
            package
            for package, owners in metadata.packages_distributions().items()
            if not allowed.intersection(owner.lower() for owner in owners)
        }

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Fail for a refused package; leave any other to the finders that follow."""
        if name.split(".")[0] in self.refused:
            raise ModuleNotFoundError(f"{name} is refused: only {', '.join(ALONE)}", name=name)


def with_needs(names: Sequence[str]) -> set[str]:
    """Return these distributions and all that they need themselves, extras left out."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop().lower()
        if name in found:
            continue
        found.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # one for another system, such as colorama
            continue
        left += [re.split(r"[^\w.-]", need)[0] for need in needs if "extra ==" not in need]
    return found


def refuse() -> None:
    """Refuse from now on all that `ALONE` does not need; the project itself stays."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    sys.meta_path.insert(0, Refuse(with_needs(ALONE) | {"metperf"}))


if __name__ == "__main__":
    refuse()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    import pytest

    sys.exit(pytest.main(["--noconftest", "-p", "no:cacheprovider", *sys.argv[1:]]))
