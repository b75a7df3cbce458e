"""Settings of a benchmark run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

QUICK = 0.2


@dataclass(frozen=True)
class Settings:
    """What to measure, with how many voxels, and where to write the results.

    Attributes
    ----------
    out
        Folder of the report.
    scale
        Factor on all numbers of voxels or pairs; ``--quick`` is 0.2.
    models
        Only these models; none means all.
    jobs
        Threads of the runs in parallel; 1 leaves these out.
    noise
        Assumptions on the noise to compare: ``gaussian``, ``rician``.
    peers, peer_dir
        Whether to time other packages, and where their environments are kept.
    rough
        Whether heads have voxels of 3 mm, only to test the benchmarks.
    """

    out: Path = Path("build/bench")
    scale: float = 1.0
    models: tuple[str, ...] = ()
    jobs: int = 2
    noise: tuple[str, ...] = ("gaussian", "rician")
    peers: bool = False
    peer_dir: Path = field(default_factory=lambda: Path.home() / ".cache" / "metperf-bench")
    rough: bool = False

    def count(self, full: int, least: int = 2) -> int:
        """Return a number of voxels or pairs at this scale."""
        return max(least, round(full * self.scale))

    def wants(self, model: str) -> bool:
        """Return whether a model is to be measured."""
        return not self.models or model in self.models

    def noise_options(self, noise: str, sigma: float) -> dict[str, Any]:
        """Return the options of `fit` for an assumption on the noise."""
        return {} if noise == "gaussian" else {"noise": noise, "sigma": sigma}
