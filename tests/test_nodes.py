"""Every input of a node that computes changes what the node writes: none is ignored."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import nibabel as nib
import numpy as np
import pytest
from datasets import RELAXIVITY, SPGR, T1, dynamic_signal, write_image
from nipype.interfaces.base import SimpleInterface

from bidsapp.bids.derivatives import to_tsv
from bidsapp.bids.tables import read_table
from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import translation, write_itk
from bidsapp.models import MODELS, fit_masked
from bidsapp.models.contrast.aif import parker2006, plasma_from_blood
from bidsapp.models.contrast.spgr import spgr_signal
from bidsapp.models.table import AUTO, DCE_MODELS
from bidsapp.run import nodes
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.bolus import FindBolus
from bidsapp.run.nodes.denoising import DenoiseMPPCA, patch_radius
from bidsapp.run.nodes.derivatives import AverageVolumes, LeaveOutVolumes
from bidsapp.run.nodes.dose import DoseRegions, DoseStatistics, RegionStatistics
from bidsapp.run.nodes.dstar_sensitivity import DstarSensitivity
from bidsapp.run.nodes.fitting import FitDiffusion, FitKinetics, map_names, read_column
from bidsapp.run.nodes.lesion_fractions import LesionFractions
from bidsapp.run.nodes.lesions import LesionCurves, RoiStatistics
from bidsapp.run.nodes.model_choice import CompareModels
from bidsapp.run.nodes.perfusion import (
    FindArterialInput,
    FindReferenceFrame,
    SignalToConcentration,
)
from bidsapp.run.nodes.regions import FindNeighbourhood, FindReference
from bidsapp.run.nodes.relaxometry import FitT1, ReadB1, ReadT1
from bidsapp.run.nodes.unmixing import UnmixLesions

SHAPE = (6, 6, 3)
TIMES = 0.1 * np.arange(24)
BLOOD = 0.4 * parker2006(np.maximum(TIMES - 0.5, 0)) * (TIMES > 0.5)
TISSUE = 0.05 * BLOOD + 0.1 * np.cumsum(BLOOD) * 0.1
BVALUES = [0.0, 10, 20, 50, 100, 200, 300, 500, 800, 1000]
ACQUISITION = {
    "repetition_time": SPGR["RepetitionTimeExcitation"],
    "flip_angle": np.deg2rad(SPGR["FlipAngle"]),
    "relaxivity": RELAXIVITY,
}


def flip_angle_image(angle):
    """Return the signal of T1 = 1.2 s at a flip angle."""
    return np.full(SHAPE, spgr_signal(1 / 1.2, 0.005, angle, 1e4))


def head_files(folder):
    """Write a T1w of white matter around the centrum semiovale in the space of the template."""
    grid = np.diag([3.0, 3, 3, 1])
    grid[:3, 3] = -45, -60, 15
    shape = (31, 34, 14)
    lesion, earlier = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    lesion[3:12, 10:20, 4:12], earlier[5:11, 13:20, 4:9] = 1, 1
    noise = np.random.default_rng(0).normal(0, 1, shape)
    bright = np.zeros(shape)
    bright[7, 17, 7] = 50
    images = {
        "head": 100 + noise,
        "head2": 100 + noise + bright,
        "head_lesion": lesion,
        "head_earlier": earlier,
    }
    return {
        name: str(write_image(folder / f"{name}.nii", values, grid))
        for name, values in images.items()
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write the images and tables that the nodes read; return their paths by name."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    concentration = np.tile(TISSUE, (*SHAPE, 1)) * rng.uniform(0.5, 1.5, (*SHAPE, 1))
    concentration *= rng.normal(1, 0.02, concentration.shape)
    concentration[:2, :2, 1] = BLOOD * rng.uniform(0.9, 1.1, (2, 2, 1))
    b = np.array(BVALUES)
    decay = 100 * (0.1 * np.exp(-0.01 * b) + 0.9 * np.exp(-1e-3 * b))
    diffusion = decay * rng.normal(1, 0.01, (*SHAPE, len(b)))
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:4, 2:5], labels[4:, 2:5] = 1, 2
    artery = np.zeros(SHAPE, np.uint8)
    artery[:2, :2, 1] = 1
    brain = np.ones(SHAPE, np.uint8)
    brain[0, 4:] = 0
    volumes = {
        "dce": dynamic_signal(concentration),
        "dce_cut": np.minimum(dynamic_signal(concentration), dynamic_signal(0.4 * BLOOD.max())),
        "dce2": dynamic_signal(0.5 * concentration),
        "concentration": concentration,
        "concentration2": 0.5 * concentration,
        "dwi": diffusion,
        "dwi2": diffusion**1.1,
        "map": diffusion[..., 0],
        "map2": diffusion[..., 5],
        "ramp": np.fromfunction(lambda i, j, k: 1 + i + 2 * j, SHAPE),
        "labels": labels,
        "labels2": np.roll(labels, 1, axis=1),
        "dose": np.fromfunction(lambda i, j, k: 8.0 + 3 * i + j, SHAPE),
        "dose2": np.fromfunction(lambda i, j, k: 24.0 - 3 * i - j, SHAPE),
        "artery": artery,
        "artery2": artery[:, ::-1].copy(),
        "brain": brain,
        "full": np.ones(SHAPE, np.uint8),
        "b1": np.linspace(0.8, 1.2, labels.size).reshape(SHAPE),
        "percent": np.linspace(80, 120, labels.size).reshape(SHAPE),
        "percent2": np.linspace(90, 130, labels.size).reshape(SHAPE),
        "t1": np.full(SHAPE, 1.2),
        "fractions": np.stack([0.5 * (labels == n) for n in (1, 2)], axis=-1),
        "fractions2": np.stack([0.2 * (labels != n) for n in (1, 2)], axis=-1),
        **{f"flip{n}": flip_angle_image(0.1 * n) * rng.normal(1, 0.01, SHAPE) for n in (1, 2, 3)},
    }
    paths = {
        name: str(write_image(folder / f"{name}.nii", values.astype(np.float32)))
        for name, values in volumes.items()
        if values.dtype != np.uint8
    } | {
        name: str(write_image(folder / f"{name}.nii", values))
        for name, values in volumes.items()
        if values.dtype == np.uint8
    }
    paths |= head_files(folder)
    thick = np.diag([1.0, 1, 2, 1])
    paths["thick"] = str(write_image(folder / "thick.nii", np.ones((6, 6, 2), np.uint8), thick))
    for name, curve in (("aif", BLOOD), ("aif2", 0.5 * BLOOD)):
        plasma = plasma_from_blood(curve, 0.42)
        rows = [
            {"time": 60 * t, "blood": x, "plasma": p}
            for t, x, p in zip(TIMES, curve, plasma, strict=True)
        ]
        path = folder / f"{name}.tsv"
        path.write_bytes(to_tsv(["time", "blood", "plasma"], rows))
        paths[name] = str(path)
        shown = ("time", "blood")
        path = folder / f"{name}_blood.tsv"
        path.write_bytes(to_tsv(shown, [{k: row[k] for k in shown} for row in rows]))
        paths[f"{name}_blood"] = str(path)
    for name, count, bad in (("dwi", len(b), 6), ("dce", len(TIMES), 9)):
        path = folder / f"{name}_motion.tsv"
        path.write_bytes(to_tsv(["outlier"], [{"outlier": int(i == bad)} for i in range(count)]))
        paths[f"{name}_motion"] = str(path)
    for name, step in (("shift", (0.5, 0, 0)), ("shift2", (0, 0.5, 0)), ("middle", (2.5, 0, 0))):
        write_itk(translation(np.array(step)), folder / f"{name}.txt")
        paths[name] = str(folder / f"{name}.txt")
    noise = '{"adc": {}, "ivim-asymptotic": {"sigma": %g}}'
    for name, sigma in (("learnt", 1.0), ("learnt2", 30.0)):
        (folder / f"{name}.json").write_text(noise % sigma, encoding="utf-8")
        paths[name] = str(folder / f"{name}.json")
    for name, error in (("quality", 0.3), ("quality2", 0.6)):
        (folder / f"{name}.json").write_text(f'{{"expected_error_mm": {error}}}', encoding="utf-8")
        paths[name] = str(folder / f"{name}.json")
    vectors = np.eye(3)[np.arange(len(b)) % 3].T
    for name, directions in (("bvec", vectors), ("bvec2", -vectors)):
        np.savetxt(folder / f"{name}.bvec", directions)
        paths[name] = str(folder / f"{name}.bvec")
    return paths


_FIND = {
    **ACQUISITION,
    "in_file": "@dce",
    "source": "roi",
    "artery": "@artery",
    "times": TIMES.tolist(),
    "t1_blood": T1,
    "haematocrit": 0.42,
    "baseline_frames": 5,
}
_CONVERT = {**ACQUISITION, "in_file": "@dce", "baseline_frames": 5, "t1_tissue": T1}
_DIFFUSION = {"in_file": "@dwi", "model": "ivim-asymptotic", "bvalues": BVALUES}
_KINETICS = {
    "in_file": "@concentration",
    "model": "patlak",
    "times": TIMES.tolist(),
    "arterial": "@aif",
}
_DESCRIBE = {
    "in_file": "@concentration",
    "model": "semi-quantitative",
    "times": TIMES.tolist(),
}
_ROIS = {
    "maps": ["@map"],
    "errors": ["@map2"],
    "series": "@map",
    "rois": "@labels",
    "lesions": [(1, False), (2, True)],
    "parameters": [("ADC", "mm2/s", "monoexp")],
    "identity": {"participant_id": "sub-01", "space": "T1w"},
}
_COURSES = {"lesions": [(1, False)], "rois": "@labels"}
_COURSE = {**_COURSES, "series": "@dwi", "model": "ivim-asymptotic", "bvalues": BVALUES}
_SENSITIVITY = {**_COURSE, "dstars": [0.01, 0.02], "identity": {"participant_id": "sub-01"}}
_CURVE = {
    **_COURSES,
    "series": "@concentration",
    "model": "patlak",
    "times": TIMES.tolist(),
    "arterial": "@aif",
}
_UNMIX = {"enhancing": "@labels", "lesions": [(1, False)], "identity": {"roi": "enhancing"}}
_UNMIX_DWI = {
    **_UNMIX,
    "series": "@dwi",
    "models": [("ivim-asymptotic", ["f"], {})],
    "bvalues": BVALUES,
}
_UNMIX_DCE = {
    **_UNMIX,
    **ACQUISITION,
    "series": "@dce",
    "models": [("patlak", ["Ktrans", "vp"], {})],
    "times": TIMES.tolist(),
    "arterial": "@aif",
    "baseline_frames": 5,
    "t1_tissue": T1,
}
_FLIPS = {
    "in_files": ["@flip1", "@flip2", "@flip3"],
    "flip_angles": [0.1, 0.2, 0.3],
    "repetition_time": 0.005,
}
_COMPARE = {
    "maps": ["@map", "@map2"],
    "models": ["a", "b"],
    "rois": "@labels",
    "lesions": [(1, False)],
    "identity": {"roi": "enhancing"},
    "reported": "a",
}
_ONTO = {"in_files": ["@ramp"], "reference": "@map", "transform": ["@shift"]}
_TEMPLATE = {"from_template": "@shift"}

_DOSE = {"dose": "@dose", "enhancing": "@labels", "whole": "@labels", "brain": "@brain"}
_OTHER_DOSE = {"dose": "@dose2", "enhancing": "@labels2", "whole": "@labels2", "brain": "@artery"}

CASES = [
    (
        SignalToConcentration,
        _CONVERT,
        {
            "in_file": "@dce2",
            "repetition_time": 0.006,
            "flip_angle": 0.3,
            "relaxivity": 3.0,
            "b1_map": "@b1",
            "baseline_frames": 8,
            "t1_tissue": 1.1,
            "t1_map": "@t1",
            "mask": "@brain",
        },
    ),
    (
        FindArterialInput,
        _FIND,
        {
            "in_file": "@dce2",
            "raw_file": "@dce_cut",
            "source": "parker2006",
            "artery": "@artery2",
            "times": (2 * TIMES).tolist(),
            "repetition_time": 0.006,
            "flip_angle": 0.3,
            "relaxivity": 3.0,
            "b1_map": "@b1",
            "t1_blood": 1.1,
            "haematocrit": 0.3,
            "baseline_frames": 8,
            "motion": "@dce_motion",
        },
    ),
    (
        FindArterialInput,
        {**_FIND, "source": "table", "table": "@aif_blood"},
        {"table": "@aif2_blood"},
    ),
    (FindReferenceFrame, {"in_file": "@dce"}, {"baseline_frames": 8}),
    (
        FindBolus,
        {"in_file": "@dce", "times": TIMES.tolist()},
        {"times": (2 * TIMES).tolist(), "baseline_frames": 4},
    ),
    (
        FitKinetics,
        {**_DESCRIBE, "arrival": 0.5},
        {"arrival": 0.4},
    ),
    (
        FitDiffusion,
        _DIFFUSION,
        {
            "in_file": "@dwi2",
            "mask": "@brain",
            "motion": "@dwi_motion",
            "model": "ivim-segmented",
            "options": {"b_min": 400.0},
            "aicc": True,
            "bvalues": [1.1 * b for b in BVALUES],
        },
    ),
    (FitDiffusion, _DIFFUSION, {"options": {"b_max": 600.0}}),
    (FitDiffusion, _DIFFUSION, {"options": {"noise": "rician"}}),
    (
        FitKinetics,
        _KINETICS,
        {
            "in_file": "@concentration2",
            "mask": "@brain",
            "motion": "@dce_motion",
            "model": "extended-tofts",
            "options": {"delay": 0.05},
            "aicc": True,
            "times": (2 * TIMES).tolist(),
            "arterial": "@aif2",
        },
    ),
    (
        FitT1,
        _FLIPS,
        {
            "in_files": ["@flip1", "@flip2", "@flip2"],
            "flip_angles": [0.1, 0.2, 0.35],
            "repetition_time": 0.006,
            "b1_map": "@b1",
            "model": "vfa-t1-linear",
            "alignment": "@learnt",
        },
    ),
    (ReadT1, {"in_file": "@percent", "scale": 1.0}, {"in_file": "@percent2", "scale": 0.001}),
    (ReadB1, {"in_file": "@percent", "scale": 0.01}, {"in_file": "@percent2", "scale": 0.009}),
    (
        RoiStatistics,
        _ROIS,
        {
            "maps": ["@map2"],
            "errors": ["@map"],
            "series": "@thick",
            "rois": "@labels2",
            "lesions": [(1, True), (2, True)],
            "parameters": [("f", "1", "ivim")],
            "identity": {"participant_id": "sub-02", "space": "T1w"},
        },
    ),
    (
        RoiStatistics,
        {k: v for k, v in _ROIS.items() if k != "rois"} | {"fractions": "@fractions"},
        {"fractions": "@fractions2"},
    ),
    (
        RegionStatistics,
        _ROIS | {"regions": [(1, 4, "ring12"), (2, 4, "dose20")]},
        {
            "maps": ["@map2"],
            "errors": ["@map"],
            "series": "@thick",
            "rois": "@labels2",
            "lesions": [(1, True), (2, True)],
            "parameters": [("f", "1", "ivim")],
            "identity": {"participant_id": "sub-02", "space": "T1w"},
            "regions": [(1, 4, "dose20"), (2, 5, "dose20")],
        },
    ),
    (
        RegionStatistics,
        {k: v for k, v in _ROIS.items() if k != "rois"}
        | {"fractions": "@fractions", "regions": [(1, 4, "ring12"), (2, 4, "dose20")]},
        {"fractions": "@fractions2"},
    ),
    (
        LesionCurves,
        _COURSE,
        {
            "series": "@dwi2",
            "rois": "@labels2",
            "lesions": [(2, False)],
            "to_series": ["@shift"],
            "model": "adc",
            "bvalues": [1.1 * b for b in BVALUES],
            "options": {"b_min": 400.0},
            "motion": "@dwi_motion",
        },
    ),
    (
        LesionCurves,
        _COURSE | {"options": {"noise": "rician"}, "learnt": "@learnt"},
        {"learnt": "@learnt2"},
    ),
    (
        LesionCurves,
        _CURVE,
        {
            "times": (2 * TIMES).tolist(),
            "arterial": "@aif2",
            "motion": "@dce_motion",
            "options": {"delay": 0.05},
        },
    ),
    (
        LesionCurves,
        {k: v for k, v in _CURVE.items() if k != "rois"} | {"fractions": "@fractions"},
        {"fractions": "@fractions2"},
    ),
    (
        DstarSensitivity,
        _SENSITIVITY,
        {
            "series": "@dwi2",
            "rois": "@labels2",
            "lesions": [(2, False)],
            "to_series": ["@shift"],
            "model": "ivim-segmented",
            "bvalues": [1.1 * b for b in BVALUES],
            "options": {"b_min": 400.0},
            "motion": "@dwi_motion",
            "dstars": [0.01, 0.03],
            "identity": {"participant_id": "sub-02"},
        },
    ),
    (
        DstarSensitivity,
        _SENSITIVITY | {"options": {"noise": "rician"}, "learnt": "@learnt"},
        {"learnt": "@learnt2"},
    ),
    (
        DstarSensitivity,
        {k: v for k, v in _SENSITIVITY.items() if k != "rois"} | {"fractions": "@fractions"},
        {"fractions": "@fractions2"},
    ),
    (
        UnmixLesions,
        _UNMIX_DWI,
        {
            "series": "@dwi2",
            "enhancing": "@labels2",
            "whole": "@labels2",
            "lesions": [(1, True)],
            "identity": {"roi": "whole"},
            "transform": ["@shift"],
            "quality": "@quality",
            "models": [("ivim-segmented", ["f"], {})],
            "motion": "@dwi_motion",
            "bvalues": [b if b < 700 else 1.2 * b for b in BVALUES],
        },
    ),
    (UnmixLesions, {**_UNMIX_DWI, "quality": "@quality"}, {"quality": "@quality2"}),
    (
        UnmixLesions,
        {
            **_UNMIX_DWI,
            "models": [("ivim-asymptotic", ["f"], {"noise": "rician"})],
            "learnt": ["@learnt"],
        },
        {"learnt": ["@learnt2"]},
    ),
    (
        UnmixLesions,
        _UNMIX_DCE,
        {
            "repetition_time": 0.006,
            "flip_angle": 0.3,
            "relaxivity": 3.0,
            "times": (2 * TIMES).tolist(),
            "arterial": "@aif2",
            "baseline_frames": 8,
            "t1_tissue": 1.1,
            "t1_map": "@t1",
            "b1_map": "@b1",
            "motion": "@dce_motion",
        },
    ),
    (
        CompareModels,
        _COMPARE,
        {
            "maps": ["@map2", "@map"],
            "models": ["b", "a"],
            "rois": "@labels2",
            "lesions": [(1, True)],
            "identity": {"roi": "whole"},
            "reported": "b",
        },
    ),
    (
        ApplyTransform,
        _ONTO,
        {
            "in_files": ["@map"],
            "reference": "@thick",
            "transform": ["@shift2"],
            "then": "@shift",
            "order": 0,
            "labels": True,
        },
    ),
    (
        LesionFractions,
        {"rois": "@labels", "lesions": [1], "reference": "@map", "transform": ["@shift"]},
        {"rois": "@labels2", "lesions": [2], "reference": "@thick", "transform": ["@shift2"]},
    ),
    (DoseRegions, {**_DOSE, "lesions": [1, 2]}, {**_OTHER_DOSE, "lesions": [2]}),
    (
        DoseStatistics,
        {**_DOSE, "lesions": [(1, False)], "identity": {"session_id": "ses-a"}},
        {**_OTHER_DOSE, "lesions": [(1, True)], "identity": {"session_id": "ses-b"}},
    ),
    (
        FindNeighbourhood,
        {"kind": "ring", "lesions": ["@labels"], "brain": "@full", **_TEMPLATE},
        {"kind": "mirror", "lesions": ["@labels2"], "brain": "@brain", "width": 1.0},
    ),
    (
        FindNeighbourhood,
        {"kind": "mirror", "lesions": ["@labels"], "brain": "@full", "from_template": "@middle"},
        {"lesions": ["@labels", "@brain"], "from_template": "@shift"},
    ),
    (
        FindReference,
        {"t1w": "@head", **_TEMPLATE},
        {
            "t1w": "@head2",
            "from_template": "@shift2",
            "lesions": ["@head_lesion"],
        },
    ),
    (
        FindReference,
        {"t1w": "@head", **_TEMPLATE, "earlier": "@head_earlier", "to_earlier": "@shift"},
        {"earlier": "@head_lesion", "to_earlier": "@middle", "is_drawn": True},
    ),
    (
        AverageVolumes,
        {"in_file": "@dwi"},
        {"in_file": "@dwi2", "volumes": [0, 6], "motion": "@dwi_motion"},
    ),
    (
        LeaveOutVolumes,
        {"in_file": "@dwi", "in_gradients": ["@bvec"], "volumes": [1]},
        {"in_file": "@dwi2", "in_gradients": ["@bvec2"], "volumes": [0, 2]},
    ),
    (DenoiseMPPCA, {"in_file": "@dwi"}, {"in_file": "@dwi2"}),
]
"""Node, inputs that it runs with (``@name`` is a file), and another value for each input."""

INDIFFERENT = {
    "FindBolus.in_file": "the bolus is found in it: tests/test_without_artery.py",
    "DstarSensitivity.times": "a dynamic series has no f",
    "DstarSensitivity.arterial": "an artery is that of a dynamic series, which has no f",
    "FitDiffusion.regions": "only the Bayesian fit has regions: tests/test_bayes.py",
    "FindArterialInput.scale": "to the vein: tests/test_interfaces_perfusion.py",
    "FindArterialInput.table_fields": "its units: tests/test_arterial_table.py",
    "FitT1.field_strength": "what T1 is plausible: tests/test_t1_checks.py",
    "ReadT1.field_strength": "what T1 is plausible: tests/test_t1_checks.py",
    "SignalToConcentration.lesions": "whether T1 fits the images: tests/test_t1_checks.py",
    "FindReferenceFrame.in_file": "the frame is found in it: tests/test_interfaces_perfusion.py",
}
"""Inputs without a case, and why."""

ELSEWHERE = {
    "AlignFlipAngles": "test_flip_angles",
    "BrainMask": "test_imaging_masks",
    "CheckConsistency": "test_registration",
    "CorrectMotion": "test_interfaces_motion",
    "DistortionEffect": "test_distortion",
    "EstimateShift": "test_distortion",
    "MotionTable": "test_interfaces_niimath",
    "EmbedInGrid": "test_spaces",
    "Register": "test_registration",
    "SaveDerivatives": "test_derivatives",
    "SeriesOnT1w": "test_spaces",
    "TakeTransform": "test_spaces",
}
"""Nodes of registration and of files, and the tests that run them."""


def resolved(value, files):
    """Return an input with the paths for the names of files."""
    if isinstance(value, list):
        return [resolved(part, files) for part in value]
    return files[value[1:]] if isinstance(value, str) and value.startswith("@") else value


def outcome(node, inputs, files, folder):
    """Run a node; return its outputs, of files the content."""
    folder.mkdir()
    given = {name: resolved(value, files) for name, value in inputs.items()}
    outputs = node(**given).run(cwd=str(folder)).outputs.get()

    def content(value):
        if isinstance(value, list):
            return [content(part) for part in value]
        if isinstance(value, str) and Path(value).is_file():
            return Path(value).read_bytes()
        return repr(value)

    return {name: content(value) for name, value in outputs.items()}


@pytest.mark.parametrize(
    ("node", "inputs", "name", "value"),
    [(node, inputs, *one) for node, inputs, others in CASES for one in others.items()],
    ids=lambda x: x if isinstance(x, str) and not x.startswith("@") else getattr(x, "__name__", ""),
)
def test_an_input_changes_the_output(node, inputs, name, value, files, tmp_path):
    """With one input changed the node writes something else; the same inputs write the same."""
    one, again = (outcome(node, inputs, files, tmp_path / n) for n in ("one", "again"))
    other = outcome(node, {**inputs, name: value}, files, tmp_path / "other")
    assert one == again
    assert one != other


def test_volumes_are_left_out_with_their_gradients(files, tmp_path):
    """The others stay in their order, with the b-values and directions that they had."""
    np.savetxt(tmp_path / "a.bval", [BVALUES], fmt="%g")
    node = LeaveOutVolumes(in_file=files["dwi"], volumes=[0, 3])
    node.inputs.in_gradients = [str(tmp_path / "a.bval"), files["bvec"]]
    found = node.run(cwd=tmp_path).outputs
    kept = [n for n in range(len(BVALUES)) if n not in (0, 3)]
    before, after = (np.asarray(nib.load(f).dataobj) for f in (files["dwi"], found.out_file))
    np.testing.assert_array_equal(after, before[..., kept])
    bvalues, directions = map(np.loadtxt, found.gradients)
    np.testing.assert_array_equal(bvalues, np.array(BVALUES)[kept])
    np.testing.assert_allclose(directions, np.loadtxt(files["bvec"])[:, kept])


def test_every_input_of_every_node_has_a_case():
    """A new node, or a new input, needs a case here; only what is not hashed is left out."""
    found = {
        kind
        for module in iter_modules(nodes.__path__)
        for kind in vars(import_module(f"{nodes.__name__}.{module.name}")).values()
        if isinstance(kind, type)
        and issubclass(kind, SimpleInterface)
        and kind.__module__.startswith(nodes.__name__)
    }
    assert {kind.__name__ for kind in found} == {n.__name__ for n, *_ in CASES} | set(ELSEWHERE)
    for kind in {node for node, *_ in CASES}:
        changed = {name for node, _, others in CASES if node is kind for name in others}
        changed |= {k.split(".")[1] for k in INDIFFERENT if k.startswith(f"{kind.__name__}.")}
        traits = kind.input_spec().traits(nohash=lambda x: x is not True)
        assert changed == set(kind.input_spec().copyable_trait_names()) & set(traits), kind


def test_concentration_is_inverse_to_the_relaxivity(files, tmp_path):
    """Half the relaxivity gives twice the concentration, and T1 = truth gives the truth."""

    def mean(**changed):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        inputs = {k: resolved(v, files) for k, v in {**_CONVERT, **changed}.items()}
        out = SignalToConcentration(**inputs).run(cwd=str(folder)).outputs.out_file
        return np.asarray(nib.load(out).dataobj)

    truth = np.asarray(nib.load(files["concentration"]).dataobj)
    np.testing.assert_allclose(mean(), truth, atol=1e-3)
    np.testing.assert_allclose(mean(relaxivity=RELAXIVITY / 2), 2 * truth, atol=2e-3)


@pytest.mark.parametrize("haematocrit", [0.3, 0.42, 0.55])
def test_plasma_is_blood_over_one_minus_the_haematocrit(haematocrit, files, tmp_path):
    """In every source of the arterial input, of blood or plasma; its time is in seconds."""
    tables = [{"source": "table", "table": table} for table in ("@aif_blood", "@aif")]
    for i, changed in enumerate(({}, *tables, {"source": "parker2006"})):
        folder = tmp_path / str(i)
        folder.mkdir()
        inputs = {**_FIND, "haematocrit": haematocrit, **changed}
        node = FindArterialInput(**{k: resolved(v, files) for k, v in inputs.items()})
        path = node.run(cwd=str(folder)).outputs.out_file
        blood, plasma = (read_column(path, name) for name in ("blood", "plasma"))
        assert blood.max() > 1
        np.testing.assert_allclose(plasma * (1 - haematocrit), blood, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(read_column(path, "time"), 60 * TIMES, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in DCE_MODELS if name != AUTO])
def test_every_kinetic_model_passes_through_the_nodes_of_a_lesion(name, files, tmp_path):
    """Its maps, the fit to the mean curve and the unmixed values hold all of its parameters."""
    row, plain = MODELS[name], {"times": TIMES.tolist(), "model": name}
    plain |= {"arterial": "@aif"} if row.needs_artery else {}
    arrival = {"arrival": 0.5} if row.is_descriptive else {}

    def run(node, **inputs):
        folder = tmp_path / node.__name__
        folder.mkdir()
        known = {k: resolved(v, files) for k, v in inputs.items()}
        return node(**known).run(cwd=str(folder)).outputs

    maps = run(FitKinetics, in_file="@concentration", **plain, **arrival)
    assert len(maps.out_files) == len(map_names(row))
    curve = run(LesionCurves, **_COURSES, series="@concentration", learnt=maps.learnt, **plain)
    assert np.isfinite(read_column(curve.out_file, "lesion-1_fit")).all()
    names = [p.name for p in row.parameters]
    inputs = {k: v for k, v in _UNMIX_DCE.items() if k != "arterial"}
    inputs |= {k: v for k, v in plain.items() if k == "arterial"}
    inputs |= {"models": [(name, names, {})], "learnt": [maps.learnt]}
    table = read_table(Path(run(UnmixLesions, **inputs).out_file), ["parameter", "arterial"])
    assert [line["parameter"] for line in table] == names
    assert row.needs_artery or {line["arterial"] for line in table} == {"n/a"}


def test_each_map_of_a_fit_is_saved_under_its_name(files, tmp_path):
    """Values, standard errors and measures are those of the model, in the order of map_names."""
    inputs = {name: resolved(value, files) for name, value in _KINETICS.items()}
    paths = FitKinetics(**inputs).run(cwd=str(tmp_path)).outputs.out_files
    data = np.asarray(nib.load(files["concentration"]).dataobj, float)
    plasma = read_column(files["aif"], "plasma")
    found = fit_masked("patlak", data, None, time=TIMES, plasma=plasma)
    expected = {**found.values, **{f"{k}_stderr": v for k, v in found.stderr.items()}}
    saved = dict(zip(map_names(MODELS["patlak"]), paths, strict=True))
    for name, values in (expected | {"rmse": found.rmse, "rsquared": found.rsquared}).items():
        np.testing.assert_allclose(np.asarray(nib.load(saved[name]).dataobj), values, rtol=1e-4)


def test_the_delay_of_a_lesions_course_is_in_minutes(files, tmp_path):
    """As that of the voxels; the table of the arterial input is in seconds."""
    plasma = read_column(files["aif"], "plasma")
    truth = {"Ktrans": np.array(0.1), "vp": np.array(0.05)}
    curve = MODELS["patlak"].predict(truth, time=TIMES, plasma=plasma, delay=0.25)
    series = write_image(tmp_path / "delayed.nii", np.tile(curve, (*SHAPE, 1)))
    inputs = {**_CURVE, "series": str(series), "options": {"delay": 0.25}}
    node = LesionCurves(**{name: resolved(value, files) for name, value in inputs.items()})
    path = node.run(cwd=str(tmp_path)).outputs.out_file
    np.testing.assert_allclose(read_column(path, "lesion-1_fit"), curve, atol=1e-3)
    np.testing.assert_allclose(read_column(path, "time"), 60 * TIMES)


def test_the_error_of_a_lesions_mean_is_that_of_the_voxels_of_the_series(files, tmp_path):
    """Four voxels inside and eight by a quarter are six of the map: three of twice their size."""
    share = np.zeros((*SHAPE, 2), np.float32)
    share[0, :4, 0, 0], share[1:3, :4, 0, 0], share[5, 5, 2, 1] = 1, 0.25, 1
    error = np.full(SHAPE, 0.6, np.float32)
    node = RoiStatistics(
        maps=[files["ramp"]],
        errors=[str(write_image(tmp_path / "error.nii", error))],
        fractions=str(write_image(tmp_path / "fractions.nii", share)),
        lesions=[(1, False), (2, True)],
        parameters=[("ADC", "mm2/s", "monoexp")],
        identity={},
    )
    for series, voxels in (("map", 6), ("thick", 3)):
        node.inputs.series = files[series]
        table = read_table(Path(node.run(cwd=str(tmp_path)).outputs.out_file), ["lesion"])
        assert [(row["lesion"], row["excluded"]) for row in table] == [("1", "0"), ("2", "1")]
        numbers = [float(table[0][k]) for k in ("standard_error", "measured_ml", "n_voxels")]
        assert numbers == pytest.approx([0.6 / np.sqrt(voxels), 0.006, 12])
        # The ramp is 1 + i + 2 j: i is 0 where the weight is 1, and 1 or 2 where it is a quarter.
        assert float(table[0]["mean"]) == pytest.approx(4.5)
        assert float(table[1]["mean"]) == pytest.approx(16)


def test_without_maps_lesions_are_measured_in_volume_and_diameter(files, tmp_path):
    """Four rows of each lesion, in their units; a lesion without voxels has the size 0."""
    node = RoiStatistics(
        rois=files["labels"], lesions=[(1, False), (3, False)], identity={"roi": "whole"}
    )
    table = read_table(Path(node.run(cwd=str(tmp_path)).outputs.out_file), ["lesion"])
    found = {(row["lesion"], row["parameter"]): float(row["mean"]) for row in table}
    names = ["volume", "longest_diameter", "perpendicular_diameter", "slices"]
    assert list(found) == [(lesion, name) for lesion in ("1", "3") for name in names]
    assert [row["unit"] for row in table[:4]] == ["ml", "mm", "mm", "1"]
    # 2 x 3 x 3 voxels of 1 mm: half a voxel longer than the distances between their centres.
    assert found["1", "volume"] == pytest.approx(0.018)
    assert 2 < found["1", "longest_diameter"] < np.hypot(2, 3)
    assert found["1", "slices"] == 3
    assert [found["3", name] for name in names] == [0, 0, 0, 0]


@pytest.mark.parametrize("node", [LesionFractions, ApplyTransform])
def test_steps_of_a_transform_are_taken_in_their_order(node, files, tmp_path):
    """From the grid's points: a shift by one along x, then x and y exchanged."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 1, 1] = 1
    path = str(write_image(tmp_path / "labels.nii", labels))
    exchange = np.eye(4)[[1, 0, 2, 3]]
    steps = [
        str(write_itk(matrix, tmp_path / f"{name}.txt"))
        for name, matrix in (("shift", translation([1, 0, 0])), ("exchange", exchange))
    ]
    own = {"in_files": [path], "labels": True}
    if node is LesionFractions:
        own = {"rois": path, "lesions": [1]}
    outputs = node(**own, reference=files["map"], transform=steps).run(cwd=str(tmp_path)).outputs
    written = outputs.out_files if node is ApplyTransform else outputs.out_file
    found = np.asarray(nib.load(written).dataobj).reshape(SHAPE)
    assert np.argwhere(found > 0.5).tolist() == [[0, 4, 1]]


def test_the_sensitivity_to_dstar_is_that_of_the_mean_curve(files, tmp_path):
    """The first row is the fit of the run; each other one that with D* held at its value."""
    b = np.array(BVALUES)
    curve = 100 * (0.1 * np.exp(-0.012 * b) + 0.9 * np.exp(-1e-3 * b))
    series = write_image(tmp_path / "decay.nii", np.tile(curve, (*SHAPE, 1)))
    inputs = {**_SENSITIVITY, "series": str(series), "dstars": [0.012, 0.02]}
    node = DstarSensitivity(**{name: resolved(value, files) for name, value in inputs.items()})
    path = Path(node.run(cwd=str(tmp_path)).outputs.out_file)
    line, held, faster = read_table(path, ["model", "dstar", "f", "f_standard_error", "D"])
    own = fit_masked("ivim-asymptotic", curve, None, bvalues=b)
    assert (line["model"], line["dstar"]) == ("ivim", "n/a")
    assert float(line["f"]) == pytest.approx(float(own.values["f"]), rel=1e-4)
    assert (held["model"], float(held["dstar"])) == ("fixeddstar", 0.012)
    assert float(held["f"]) == pytest.approx(0.1, rel=1e-3)
    assert float(held["D"]) == pytest.approx(1e-3, rel=1e-3)
    assert float(faster["f"]) < float(held["f"])


def test_denoising_removes_noise_and_keeps_the_signal(tmp_path):
    """Of the noise of a smooth series hardly a third remains, and the mean stays."""
    rng = np.random.default_rng(3)
    x = np.linspace(0, 1, 12)[:, None, None, None]
    clean = 100 * np.exp(-np.linspace(0, 1, 16) * (0.7 + 0.3 * x)) * np.ones((12, 12, 6, 1))
    noisy = write_image(tmp_path / "noisy.nii", clean + rng.normal(0, 3, clean.shape))
    path = DenoiseMPPCA(in_file=str(noisy)).run(cwd=str(tmp_path)).outputs.out_file
    left = np.asarray(nib.load(path).dataobj) - clean
    assert left.std() < 1
    assert abs(left.mean()) < 0.05


def test_a_patch_has_more_voxels_than_volumes():
    """Noise is separable only then: it grows within the slices of a thin slab, or is refused."""
    assert patch_radius((64, 64, 3, 80)) == (3, 3, 1)
    with pytest.raises(BadInput, match="too small to denoise 300 volumes"):
        patch_radius((5, 5, 5, 300))
