"""Small BIDS data sets that tests write."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal

SPGR = {"RepetitionTimeExcitation": 0.004, "FlipAngle": 15}
T1 = 1.6
RELAXIVITY = 4.5


def write_json(path: Path, content: dict) -> None:
    """Write JSON, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_image(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write a NIfTI image, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.eye(4) if affine is None else affine), path)
    return path


def write_description(root: Path, kind: str = "raw") -> None:
    """Write the description that makes a folder a BIDS data set."""
    description = {"Name": "test", "BIDSVersion": "1.10.0", "DatasetType": kind}
    if kind == "derivative":
        description["GeneratedBy"] = [{"Name": "Manual"}]
    write_json(root / "dataset_description.json", description)


def write_dwi(root: Path, stem: str, data: np.ndarray, bvalues: list[float]) -> Path:
    """Write a diffusion series with its gradients; ``stem`` is like ``sub-01/ses-1/dwi/...``."""
    image = write_image(root / f"{stem}_dwi.nii.gz", data)
    directions = np.eye(3)[np.arange(len(bvalues)) % 3] * (np.array(bvalues)[:, None] > 0)
    np.savetxt(root / f"{stem}_dwi.bval", [bvalues], fmt="%g")
    np.savetxt(root / f"{stem}_dwi.bvec", directions.T, fmt="%g")
    return image


def write_dce(root: Path, stem: str, data: np.ndarray, seconds: list[float], **sidecar) -> Path:
    """Write a dynamic series with its sidecar; keywords change or, when None, remove a field."""
    fields = {
        **SPGR,
        "EchoTime": 0.002,
        "VolumeTiming": list(seconds),
        "MagneticFieldStrength": 3,
        "ContrastAgentRelaxivity": RELAXIVITY,
    } | sidecar
    write_json(root / f"{stem}_dce.json", {k: v for k, v in fields.items() if v is not None})
    return write_image(root / f"{stem}_dce.nii.gz", data)


def dynamic_signal(concentration: np.ndarray, t1: float = T1) -> np.ndarray:
    """Return the signal of a concentration; zero where no signal has such a concentration."""
    r1 = contrast_r1(concentration, t1, RELAXIVITY)
    angle = np.deg2rad(SPGR["FlipAngle"])
    possible = np.where(r1 > 0, r1, 1.0)
    signal = spgr_signal(possible, SPGR["RepetitionTimeExcitation"], angle, 10000.0)
    return np.where(r1 > 0, signal, 0.0).astype(np.float32)


def write_roi(root: Path, stem: str, labels: np.ndarray, rows: str, kind: str, **where) -> None:
    """Write a segmentation with its table below ``derivatives/manual_masks``."""
    space = f"_space-{where['space']}" if "space" in where else ""
    masks = root / "derivatives" / "manual_masks"
    write_description(masks, "derivative")
    name = f"{stem}{space}_seg-{kind}_dseg"
    write_image(masks / f"{name}.nii.gz", labels)
    (masks / f"{name}.tsv").write_text(rows, encoding="utf-8")


def write_aif_mask(root: Path, stem: str, mask: np.ndarray, space: str = "dce") -> None:
    """Write an AIF mask below ``derivatives/manual_masks``."""
    masks = root / "derivatives" / "manual_masks"
    write_description(masks, "derivative")
    write_image(masks / f"{stem}_space-{space}_label-AIF_mask.nii.gz", mask)
