"""One registration of one random pair: error, time and self-assessment."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks import heads
from benchmarks.heads import Case
from benchmarks.peers.harness import clock
from benchmarks.settings import Settings
from bidsapp.errors import RegistrationError
from bidsapp.imaging import register
from bidsapp.imaging.masks import grow

WRONG = 2.0
"""Error in the lesions from which a registration is wrong, mm."""
LEFT_OUT = 3.0
"""Margin around lesions that are excluded from the mask, mm."""
FLAGS = ("failed", "doubtful")
Record = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """Settings of one registration.

    Attributes
    ----------
    kind, seed, stress, image
        Arguments of `heads.draw_case` for the pair.
    metric
        Metric, if other than that of the kind.
    leave_out
        Whether the lesions, with a margin, are excluded from the fixed mask.
    start
        Seed of the registration.
    jobs
        Number of threads; 0 for that of the run.
    """

    kind: str
    seed: int
    stress: str = ""
    image: str = "mean"
    metric: str = ""
    leave_out: bool = False
    start: int = 0
    jobs: int = 0

    @property
    def answerable(self) -> bool:
        """Whether there is a true transform."""
        return self.stress not in heads.UNANSWERABLE


def run_all(trials: Iterable[Trial], settings: Settings) -> pd.DataFrame:
    """Return one row per trial."""
    return pd.DataFrame([run(trial, settings)[0] for trial in trials])


def run(trial: Trial, settings: Settings) -> tuple[Record, np.ndarray]:
    """Return the record and the matrix of a trial; results are cached."""
    return _run(trial, settings.rough, trial.jobs or settings.jobs)


@lru_cache(maxsize=4096)
def _run(trial: Trial, rough: bool, jobs: int) -> tuple[Record, np.ndarray]:
    case = case_of(trial, rough)
    options = case.options | ({"metric": trial.metric} if trial.metric else {})
    mask = _without_lesions(case) if trial.leave_out else case.fixed_mask

    def call() -> Any:
        try:
            return register(case.moving, case.fixed, **options, fixed_mask=mask, seed=trial.start)
        except RegistrationError as refusal:
            return refusal

    with threadpool_limits(jobs):
        wall, cpu, found = clock(call, repeats=1)
    said, matrix = _self_assessment(found), getattr(found, "matrix", np.full((4, 4), np.inf))
    record = vars(trial) | {"answerable": trial.answerable} | _errors(matrix, case) | said
    record["metric"] = options["metric"]
    record |= {"flagged": record["verdict"] in FLAGS, "wall_s": wall, "cpu_s": cpu}
    record["wrong"] = not trial.answerable or not record["lesion"] <= WRONG
    return record, matrix


@lru_cache(maxsize=1)
def _draw(kind: str, seed: int, stress: str, image: str, rough: bool) -> Case:
    return heads.draw_case(kind, seed, stress, image=image, rough=rough)


def case_of(trial: Trial, rough: bool) -> Case:
    """Return the pair of images of a trial."""
    return _draw(trial.kind, trial.seed, trial.stress, trial.image, rough)


def _without_lesions(case: Case) -> nib.Nifti1Image:
    lesions = grow(np.asarray(case.lesion_mask.dataobj), case.fixed.affine, LEFT_OUT)
    kept = (np.asarray(case.fixed_mask.dataobj) > 0) & ~lesions
    return nib.Nifti1Image(kept.astype(np.uint8), case.fixed.affine)


def _errors(matrix: np.ndarray, case: Case) -> Record:
    if np.isfinite(matrix).all():
        return vars(heads.error(matrix, case))
    truth = heads.error(case.truth, case)
    return dict.fromkeys(vars(truth), np.inf) | {"floor": truth.floor}


def _self_assessment(found: Any) -> Record:
    """Return the self-assessment of a registration, or of its failure."""
    if isinstance(found, RegistrationError):
        return {"cost": np.nan, "expected": np.inf, "verdict": "failed", "reason": str(found)}
    quality = found.quality
    return {
        "cost": found.cost,
        "expected": quality.expected_error_mm,
        "verdict": str(quality.verdict),
        "reason": quality.reason,
    }


def summary(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return errors, times and counts of each group of trials."""
    rows = [
        dict(zip(keys, values, strict=True)) | _numbers(group)
        for values, group in table.groupby(keys, sort=False)
    ]
    return pd.DataFrame(rows).replace({"stress": {"": "-"}})


def _numbers(group: pd.DataFrame) -> Record:
    lesion, wrong, flagged = group["lesion"], group["wrong"], group["flagged"]
    return {
        "n": len(group),
        "median_mm": lesion.median(),
        "p95_mm": lesion.quantile(0.95, interpolation="higher"),
        "max_mm": lesion.max(),
        "brain_mm": group["brain"].median(),
        "floor_mm": group["floor"].median(),
        "wall_s": group["wall_s"].median(),
        "cpu_s": group["cpu_s"].median(),
        "wrong": int(wrong.sum()),
        "wrong_unflagged": int((wrong & ~flagged).sum()),
        "right_flagged": int((flagged & ~wrong).sum()),
    }
