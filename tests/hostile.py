"""A small valid data set for tests to damage, and the messages of a run of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import (
    dynamic_signal,
    write_aif_mask,
    write_dce,
    write_description,
    write_dwi,
    write_image,
    write_roi,
)

from bidsapp.cli.main import main
from bidsapp.models.contrast.aif import parker2006

SHAPE = (6, 6, 4)
BVALUES = [0, 50, 200, 500, 1000]
SECONDS = [6.0 * n for n in range(20)]
ARTERY = (0, 0, 0)
LESION = (slice(2, 4), slice(2, 4), slice(1, 3))
RUN = ("participant", "--no-motion-correction", "--nprocs", "1", "--skip-bids-validation")


@dataclass(frozen=True)
class Outcome:
    """The exit code of a run and its messages."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams."""
        return self.out + self.err


def write_study(root: Path, sessions: tuple[str, ...] = ("a", "b"), label: str = "01") -> Path:
    """Write a participant's sessions, without a T1w: DWI, DCE, an ROI in both, and an artery."""
    write_description(root)
    for session in sessions:
        write_session(root, session, label)
    rows = "".join(f"ses-{s}\t{7 * i}\n" for i, s in enumerate(sessions))
    table = root / f"sub-{label}/sub-{label}_sessions.tsv"
    table.write_text("session_id\tdays_since_treatment\n" + rows, encoding="utf-8")
    return root


def write_session(root: Path, session: str, label: str = "01") -> None:
    """Write one session of it."""
    folder, name = f"sub-{label}/ses-{session}", f"sub-{label}_ses-{session}"
    write_dwi(root, f"{folder}/dwi/{name}", diffusion(), BVALUES)
    write_dce(root, f"{folder}/perf/{name}", dynamic(), SECONDS)
    labels = np.zeros(SHAPE, np.uint8)
    labels[LESION] = 1
    for space, part in (("dwi", "dwi"), ("dce", "perf")):
        stem = f"{folder}/{part}/{name}"
        write_roi(root, stem, labels, "index\tname\n1\tleft\n", "enhancing", space=space)
    artery = np.zeros(SHAPE, np.uint8)
    artery[ARTERY] = 1
    write_aif_mask(root, f"{folder}/perf/{name}", artery)


def diffusion() -> np.ndarray:
    """Return a bi-exponential decay with noise."""
    b = np.array(BVALUES, float)
    decay = 0.1 * np.exp(-b * 0.01) + 0.9 * np.exp(-b * 0.001)
    noise = np.random.default_rng(0).normal(1, 0.005, (*SHAPE, len(b)))
    return (1000 * decay * noise).astype(np.float32)


def dynamic(start: float = 30.0, artery: float = 1.0) -> np.ndarray:
    """Return the signal of an artery and of tissue that follows it; the bolus comes at `start`."""
    time = (np.array(SECONDS) - start) / 60
    blood = parker2006(np.maximum(time, 0)) * (time > 0)
    tissue = 0.05 * blood + 0.1 * np.cumsum(blood) * 0.1
    noise = np.random.default_rng(1).normal(1, 0.002, (*SHAPE, len(time)))
    concentration = np.broadcast_to(tissue, noise.shape).copy()
    concentration[ARTERY] = artery * blood
    return (dynamic_signal(concentration) * noise).astype(np.float32)


def raw(root: Path, ending: str, session: str = "a") -> Path:
    """Return the raw file of a session with that ending, such as ``dwi.nii.gz``."""
    folder = root / f"sub-01/ses-{session}"
    return next(p for p in sorted(folder.rglob(f"*_{ending}")))


def roi(root: Path, ending: str, session: str = "a") -> Path:
    """Return an ROI file of a session, such as ``space-dwi_seg-enhancing_dseg.nii.gz``."""
    return raw(root / "derivatives/manual_masks", ending, session)


def edit_json(path: Path, **fields: Any) -> None:
    """Change fields of a sidecar; None removes one."""
    content = json.loads(path.read_text(encoding="utf-8")) | fields
    kept = {k: v for k, v in content.items() if v is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change an image's data."""
    import nibabel as nib

    image = nib.load(path)
    data = change(np.asarray(image.dataobj))
    path.unlink()
    write_image(path, data, image.affine)


def run(root: Path, capsys: Any, *words: str) -> Outcome:
    """Run the participant level on a data set, its output beside it."""
    capsys.readouterr()
    code = main([str(root), str(root.parent / "out"), *RUN, *words])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return Outcome(code, captured.out, captured.err)


def dry(root: Path, capsys: Any, *words: str) -> Outcome:
    """Check a data set without computing: `run` with ``--dry-run``, which writes no file."""
    outcome = run(root, capsys, *words, "--dry-run")
    assert not [path for path in (root.parent / "out").rglob("*") if path.is_file()]
    return outcome
