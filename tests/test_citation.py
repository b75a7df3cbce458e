"""The methods text reads well whatever was chosen."""

import re
from pathlib import Path

import pytest

from bidsapp.config import Config
from bidsapp.models.table import DCE_MODELS, IVIM_MODELS, MODELS
from bidsapp.reports.methods import DATA, methods

CHOICES = [
    *({"aif": aif} for aif in ("roi", "auto", "table", "parker2006", "georgiou2019")),
    *({"aif": aif, "aif_scale": "vein"} for aif in ("roi", "auto")),
    *({"ivim_model": model, "noise": "rician"} for model in IVIM_MODELS),
    *({"dce_model": model, "fit_delay": f"{model}-delay" in MODELS} for model in DCE_MODELS),
    {"distortion": "auto"},
    {"denoise": "mppca", "correct_t2": True, "t2_blood": 0.15},
    {"ivim_model": "fixed-dstar", "model_options": (("dstar", 0.012),), "correct_t2": True},
    {"distortion": "t1w"},
    {"rois": ("enhancing", "whole", "ring", "mirror", "reference", "atlas")},
    {"sloppy": True, "motion_correction": False, "t1_model": "vfa-t1-linear"},
]


PARTS = [
    DATA,
    {"t1w", "dwi", "rois"},
    {"dwi", "ivim"},
    {"t1w", "dce", "follow-up"},
    {"dce", "vfa"},
    {"dce", "without-aif"},
    {"t1w", "follow-up", "rois"},
    set(),
]


@pytest.mark.parametrize("data", PARTS, ids=lambda data: "+".join(sorted(data)))
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_sentences_are_whole(choice, data):
    """No mark doubled, none after a space, and every sentence begins with a capital."""
    text = methods(Config(Path(), Path(), Path(), "run", **choice), data)
    prose = text[: text.index("## References")]
    assert not re.search(r"[,;.]{2}| [,;.]|\(\)|  |None", prose)
    assert not re.search(r"[a-z)]\. [a-z]", prose.replace("et al. ", "et al "))


WORDS = {
    "dwi": ("apparent diffusion coefficient", "b = 0 image"),
    "ivim": ("perfusion fraction", "Le Bihan et al. 1988"),
    "dce": ("dynamic", "Variable projection", "arterial input"),
    "vfa": ("flip angles were acquired",),
    "b1": ("B1",),
    "follow-up": ("other sessions",),
    "transforms": ("provided by the user",),
    "rois": ("value of a lesion",),
    "t1w": ("of the same session", "resampled once"),
}


@pytest.mark.parametrize("absent", WORDS)
def test_only_what_was_done_is_described(absent):
    """A run without such data does not mention what is done with them; with them it does."""
    config = Config(Path(), Path(), Path(), "run")
    without = methods(config, DATA - {absent} - ({"ivim"} if absent == "dwi" else set()))
    for word in WORDS[absent]:
        assert word in methods(config)
        assert word not in without


@pytest.mark.parametrize("model", sorted(DCE_MODELS))
def test_only_a_model_with_rates_is_searched(model):
    """A linear model needs no search for a global minimum, nor the reference for it."""
    text = methods(Config(Path(), Path(), Path(), "run", dce_model=model), {"dce"})
    closed = model == "patlak" or MODELS.get(model, MODELS["tofts"]).is_descriptive
    assert ("linear least squares" in text) == (model == "patlak")
    assert text.lower().count("variable projection") == (0 if closed else 2)


def test_what_was_done_without_an_arterial_input_is_described():
    """The description replaces the models where no session has one, and follows them otherwise."""
    config = Config(Path(), Path(), Path(), "run")
    both = methods(config, {"dce", "with-aif", "without-aif"})
    alone = methods(config, {"dce", "without-aif"})
    assert "Series without an arterial input were described semi-quantitatively" in both
    assert "extended Tofts" in both
    assert "Curves were described semi-quantitatively" in alone
    for word in ("extended Tofts", "haematocrit", "Variable projection"):
        assert word not in alone
    assert all("Hudson 1966, doi:" in text for text in (both, alone))
    assert "semi-quantitatively" not in methods(config, {"dce", "with-aif"})


def test_regions_are_described_only_if_they_were_measured():
    """Ring, mirror image and reference, with the reference of the template."""
    plain, more = (
        methods(Config(Path(), Path(), Path(), "run", rois=("enhancing", "whole", *names)))
        for names in ((), ("ring", "reference"))
    )
    for word in ("within 5 mm of each lesion", "centrum semiovale", "ICBM152"):
        assert word in more
        assert word not in plain
    assert "mirror image of each" not in more
