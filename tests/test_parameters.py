"""One table of parameters, from which models, displays and the group level take theirs."""

from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest

from bidsapp.cli.main import main
from bidsapp.lesions import COLUMNS as ROISTATS
from bidsapp.models.parameters import DISPLAY, FOLLOWED, PARAMETERS
from bidsapp.models.table import MODELS
from bidsapp.run.group import load_study_table
from bidsapp.study.read import read_output
from bidsapp.study.tables import ParameterPair, analyse

pytestmark = pytest.mark.usefixtures("short_pages")

STUDY = Path(__file__).parent / "data" / "reference_cohort" / "lesions.tsv"
BY_PARAMETER = ["summary", "paired", "mixed", "influence", "prediction", "repeatability"]
BY_PARAMETER += ["planning"]


@pytest.fixture
def exchange(tmp_path) -> Path:
    """The study's table with Fp and PS in place of Ktrans, as of a two-compartment exchange."""
    table = pd.read_csv(STUDY, sep="\t", dtype=str, keep_default_na=False)
    table["PS"] = table["Ktrans"]
    table = table.rename(columns={"Ktrans": "Fp"})
    path = tmp_path / "lesions.tsv"
    table.to_csv(path, sep="\t", index=False)
    return path


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_a_model_estimates_what_the_table_lists(model):
    """Every parameter of a model is a row of the table, under its own name."""
    assert all(PARAMETERS[row.name] is row for row in model.parameters)


def test_what_is_shown_is_what_models_estimate():
    """A display belongs to a parameter of a model, or to the size of a lesion."""
    names = {row.name for model in MODELS.values() for row in model.parameters}
    shown = {name.removesuffix("_stderr") for name in DISPLAY}
    assert shown == (names | {"volume", "longest_diameter"}) - {"S0", "M0", "T1"}
    assert set(FOLLOWED) <= shown
    assert {row.colormap for row in DISPLAY.values()} <= set(mpl.colormaps)


def test_the_group_level_takes_the_parameters_of_the_tables(exchange):
    """Fp and PS are in every table by parameter, and Ktrans, which no lesion has, is in none."""
    cohort = load_study_table(exchange)
    expected = ["vp", "Fp", "PS", "ve", "ADC", "f"]
    assert list(cohort.parameters) == expected
    tables = analyse(cohort).tables()
    for name in BY_PARAMETER:
        found = [p for p in tables[name]["parameter"].unique() if p != "volume"]
        assert found == expected, name


def test_the_group_level_reads_the_parameters_of_another_kinetic_model(tmp_path):
    """Fp and PS of the participants are in every group table by parameter; Ktrans is in none."""
    for participant in ("sub-01", "sub-02"):
        for session, factor in (("ses-baseline", 1.0), ("ses-1month", 0.8)):
            rows = []
            for number, (name, unit) in enumerate({"Fp": "1/min", "PS": "1/min"}.items(), start=1):
                cells = dict.fromkeys(ROISTATS, "n/a") | {
                    "participant_id": participant,
                    "session_id": session,
                    "lesion": "1",
                    "roi": "enhancing",
                    "model": "2cxm",
                    "parameter": name,
                    "unit": unit,
                    "mean": str(0.1 * number * factor),
                    "excluded": "0",
                }
                rows.append("\t".join(cells.values()))
            folder = tmp_path / participant / session / "perf"
            folder.mkdir(parents=True)
            path = folder / f"{participant}_{session}_seg-enhancing_model-2cxm_roistats.tsv"
            path.write_text("\n".join(["\t".join(ROISTATS), *rows]) + "\n")
    cohort = read_output(tmp_path).cohort
    assert cohort.parameters == ("Fp", "PS")
    assert {"Ktrans", "Ktrans_se"}.isdisjoint(cohort.lesions)
    tables = analyse(cohort).tables()
    for name in BY_PARAMETER:
        assert set(tables[name]["parameter"]) - {"volume"} == {"Fp", "PS"}, name
    means = tables["summary"].set_index(["parameter", "timepoint"])["mean"]
    assert means["PS", "1month"] == pytest.approx(0.16)


def test_the_pair_of_the_study_is_a_setting(exchange):
    """Regression, agreement, limits and early responses are of the pair that is named."""
    tables = analyse(load_study_table(exchange), pair=ParameterPair("Fp", "ADC")).tables()
    for name in ("correlation", "agreement", "limits"):
        assert (set(tables[name]["x"]), set(tables[name]["y"])) == ({"Fp"}, {"ADC"}), name
    assert list(tables["responders"]["parameter"]) == ["Fp", "ADC"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["f", "Ktrans"], "Ktrans is not in the lesion tables; there are vp, Fp, PS, ve, ADC, f."),
        (["f", "f"], "name two different parameters"),
        (["f", "kep"], "invalid choice: 'kep'"),
    ],
)
def test_a_pair_that_cannot_be_compared_is_refused(exchange, tmp_path, capsys, words, message):
    """A pair that was named is either used or refused with the parameters that there are."""
    try:
        code = main(["stats", str(exchange), str(tmp_path / "out"), "--regress", *words])
    except SystemExit as stop:
        code = int(str(stop.code))
    assert code == 2
    assert message in capsys.readouterr().err
