"""The methods text reads well whatever was chosen."""

import re
from pathlib import Path

import pytest

from bidsapp.config import Config
from bidsapp.models.table import DCE_MODELS, IVIM_MODELS, MODELS
from bidsapp.reports.methods import DATA, methods
from bidsapp.reports.references import bibliography, cited_references, references

CHOICES = [
    *({"aif": aif} for aif in ("roi", "auto", "table", "parker2006", "georgiou2019")),
    *({"aif": aif, "aif_scale": "vein"} for aif in ("roi", "auto")),
    *({"ivim_model": model, "noise": "rician"} for model in IVIM_MODELS),
    *({"dce_model": model, "fit_delay": f"{model}-delay" in MODELS} for model in DCE_MODELS),
    {"distortion": "auto", "drop_outliers": True},
    {"registration_engine": "niimath", "drop_outliers": True},
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
    "vfa": ("images at several flip angles",),
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


@pytest.mark.parametrize("used", [set(), {"fieldmap"}, {"reversed"}, {"fieldmap", "reversed"}])
def test_distortion_is_described_by_the_images_that_were_used(used):
    """Without any, --distortion auto corrects nothing; from the T1w it needs none of them."""
    words = {"fieldmap": "from a field map", "reversed": "image with reversed phase encoding"}
    cited = {"fieldmap": "- Field map: Jezzard", "reversed": "- Reversed phase encoding: Andersson"}
    data = DATA - {"fieldmap", "reversed"} | used
    text = methods(Config(Path(), Path(), Path(), "run", distortion="auto"), data)
    for name in words:
        assert (words[name] in text) == (cited[name] in text) == (name in used)
    assert ("corrected before registration" in text) == bool(used)
    other = methods(Config(Path(), Path(), Path(), "run", distortion="t1w"), data)
    assert "Jezzard" not in other
    assert "Bhushan et al. 2015, doi:" in other


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


LABEL = re.compile(
    r"((?:Le )?[A-Z][\w-]+)(?: et al\.| and (?:the )?[A-Z][a-z]+)? (\d{4})(?=[;,)]| and|:)"
)
"""Authors and year, as the texts cite them."""


def references_of(text: str) -> str:
    return text[text.index("## References") :]


@pytest.mark.parametrize("data", PARTS, ids=lambda data: "+".join(sorted(data)))
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_what_the_text_cites_is_in_its_references(choice, data):
    """Authors with their year in a sentence, and in the list below it."""
    text = methods(Config(Path(), Path(), Path(), "run", **choice), data)
    listed = references_of(text)
    for author, year in LABEL.findall(text[: text.index("## References")]):
        assert re.search(rf"{author}.*{year}", listed), f"{author} {year}"


def all_texts() -> list[str]:
    return [
        methods(Config(Path(), Path(), Path(), "run", **choice), data)
        for choice in CHOICES
        for data in PARTS
    ]


def test_every_reference_has_an_entry_in_bibtex():
    """Of each line of a list of references, one entry, and none besides."""
    for text in all_texts():
        lines = [line for line in text.splitlines() if line.startswith("- ")]
        found = {line.split(", ", 1)[1] if "doi:" not in line else line for line in lines}
        entries = bibliography(text)
        dois = {line.split("doi:")[1] for line in lines if "doi:" in line}
        assert dois <= set(re.findall(r"doi = \{(.*?)\}", entries))
        without = [line for line in found if "doi:" not in line]
        assert entries.count("@") == len(dois) + len(without)


def test_every_entry_is_cited_by_a_text():
    """Those of the participant level here, those of the group level in its own methods."""
    texts = "\n".join(all_texts())
    group = (Path(__file__).parent.parent / "bidsapp/reports/group/methods.py").read_text()
    limits = (Path(__file__).parent.parent / "bidsapp/data/change_limits.tsv").read_text()
    cited = {reference.key for reference in cited_references(texts)}
    for key, reference in references().items():
        elsewhere = f'"{key}"' in group or (reference.doi or reference.fields["short"]) in limits
        assert key in cited or elsewhere, key


def test_entries_are_valid_bibtex():
    """Balanced braces, a unique key with its year, escaped characters, and an author."""
    keys, dois = [], []
    for key, reference in references().items():
        entry = reference.bibtex()
        assert re.fullmatch(r"@(article|book|inproceedings)\{" + key + r",\n.*\}\n", entry, re.S)
        assert entry.count("{") == entry.count("}")
        assert not re.search(r"(?<!\\)[&%#]", entry)
        assert str(reference.fields["year"]) in key
        assert reference.doi or reference.fields["short"]
        keys.append(key)
        dois.append(reference.doi)
    assert len(set(keys)) == len(keys)
    assert len(set(filter(None, dois))) == len([doi for doi in dois if doi])


def test_a_run_cites_only_the_constants_that_it_used():
    """T1 and relaxivity that were given need no source; blood matters only for a measured AIF."""
    given = {"t1_tissue": 1.4, "t1_blood": 1.6, "relaxivity": 4.5}
    texts = [
        methods(Config(Path(), Path(), Path(), "run", **options), DATA)
        for options in ({}, given, {"aif": "parker2006"})
    ]
    for doi, expected in {
        "10.1002/mrm.24550": (True, False, False),
        "10.1007/s10334-008-0104-8": (True, False, True),
        "10.1097/01.rli.0000184756.66360.d3": (True, False, True),
    }.items():
        assert tuple(doi in text for text in texts) == expected
    assert "relaxivity was 4.5 1/s/mM" in texts[1]
    assert "T1 of tissue was taken from the literature" in texts[2]
