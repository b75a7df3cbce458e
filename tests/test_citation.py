"""The methods text reads well whatever was chosen."""

import re
from pathlib import Path

import pytest

from bidsapp.config import Config
from bidsapp.models.table import DCE_MODELS, IVIM_MODELS
from bidsapp.reports.methods import methods

CHOICES = [
    *({"aif": aif} for aif in ("roi", "auto", "table", "parker2006", "georgiou2019")),
    *({"ivim_model": model, "noise": "rician"} for model in IVIM_MODELS),
    *({"dce_model": model, "fit_delay": model != "auto"} for model in DCE_MODELS),
    {"distortion": "auto"},
    {"distortion": "t1w"},
    {"sloppy": True, "motion_correction": False, "t1_model": "vfa-t1-linear"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_sentences_are_whole(choice):
    """No mark doubled, none after a space, and every sentence begins with a capital."""
    text = methods(Config(Path(), Path(), Path(), "run", **choice))
    prose = text[: text.index("## References")]
    assert not re.search(r"[,;.]{2}| [,;.]|\(\)|  |None", prose)
    assert not re.search(r"[a-z)]\. [a-z]", prose.replace("et al. ", "et al "))
