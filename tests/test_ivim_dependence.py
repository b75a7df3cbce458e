"""What f depends on, from the command line to the page: D*, relaxation, and denoising."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from datasets import write_description, write_dwi, write_json, write_roi

from bidsapp.bids.records import Diffusion, Session, SpinEcho
from bidsapp.cli.main import main
from bidsapp.config import Config
from bidsapp.models.diffusion.relaxation import correct_fraction
from bidsapp.models.diffusion.what_if import explaining_dstar, explaining_t2, held_fraction
from bidsapp.run.graphs.plan import plan_session
from bidsapp.run.image_checks import check_images

BVALUES = [0, 200, 200, 200, 400, 400, 400, 600, 600, 600, 800, 800, 800, 1000, 1000, 1000]
B = np.array(BVALUES, float)
SHELLS = np.unique(B)
SHAPE = (12, 12, 6)
TIMING = {"EchoTime": 0.08, "RepetitionTime": 4.0, "MagneticFieldStrength": 3}
PLAIN = ("--skip-bids-validation", "--no-motion-correction", "--nprocs", "1")


def mixture(b, f, d=1e-3, dstar=0.01):
    return 1000 * (f * np.exp(-b * dstar) + (1 - f) * np.exp(-b * d))


def write_session(root: Path, label: str, f: float, timing=None) -> None:
    """Write a DWI with a lesion in its middle, and the lesion on its grid."""
    stem = f"sub-01/ses-{label}/dwi/sub-01_ses-{label}"
    rng = np.random.default_rng(len(label))
    brightness = rng.uniform(0.5, 1.5, (*SHAPE, 1))
    diffusivity = rng.uniform(0.7e-3, 1.3e-3, (*SHAPE, 1))
    data = brightness * mixture(B, f, diffusivity) + rng.normal(0, 8, (*SHAPE, len(B)))
    write_dwi(root, stem, data.astype(np.float32), BVALUES)
    write_json(root / f"{stem}_dwi.json", TIMING if timing is None else timing)
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:9, 3:9, 2:4] = 1
    write_roi(root, stem, labels, "index\tname\n1\tleft\n", "enhancing",
              space="dwi")  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.fixture(scope="module")
def analysed(tmp_path_factory) -> Path:
    """The derivatives of two sessions, f = 0.08 and 0.10, with f corrected and denoised."""
    root = tmp_path_factory.mktemp("study")
    write_description(root / "bids")
    for label, f in (("a", 0.08), ("bb", 0.10)):
        write_session(root / "bids", label, f)
    words = [str(root / "bids"), str(root / "out"), "participant", *PLAIN]
    assert main([*words, "--correct-t2", "--denoise", "mppca"]) == 0
    return root / "out"


def test_both_fractions_are_in_the_lesion_table(analysed):
    """F stays the fraction of the signal; fT2 is that of the protons; the sidecar states how."""
    folder = analysed / "sub-01/ses-a/dwi"
    (path,) = folder.glob("*_model-ivimt2_roistats.tsv")
    means = {row["parameter"]: float(row["mean"]) for row in rows_of(path)}
    sidecar = json.loads((folder / "sub-01_ses-a_model-ivimt2_param-fT2_dwimap.json").read_text())
    settings = sidecar["Model"]["Parameters"]
    assert means["fT2"] == pytest.approx(
        float(correct_fraction(np.array(means["f"]), settings["blood_signal"])), rel=0.02
    )
    assert settings["t2_blood"] == 0.275
    assert settings["echo_time"] == 0.08
    assert "mppca" in settings["denoised"]


def test_the_table_by_dstar_has_the_truth_at_the_true_dstar(analysed):
    """At D* = 10e-3 mm2/s f is that of the phantom; the straight line finds 15 % less."""
    (path,) = (analysed / "sub-01/ses-a/dwi").glob("*_desc-dstar_roistats.tsv")
    line, *held = rows_of(path)
    by_dstar = {float(row["dstar"]): float(row["f"]) for row in held}
    assert list(by_dstar) == [0.008, 0.01, 0.015, 0.02]
    assert by_dstar[0.01] == pytest.approx(0.08, abs=0.005)
    assert list(by_dstar.values()) == sorted(by_dstar.values(), reverse=True)
    assert float(line["f"]) / by_dstar[0.01] == pytest.approx(0.85, abs=0.03)


def test_the_page_shows_what_would_explain_a_change(analysed):
    """Both tables are in the section on diffusion, with the D* and T2 that would suffice."""
    html = (analysed / "sub-01.html").read_text(encoding="utf-8")
    section = html[html.index('id="diffusion"') : html.index('id="methods"')]
    assert "D* = 10" in section
    assert "f (T2)" in html
    assert "a to bb" in section
    text = (analysed / "logs/CITATION.md").read_text()
    assert "Lemke et al. 2010" in text
    assert "Veraart et al. 2016" in text


def test_without_an_echo_time_f_is_not_corrected_and_the_reason_is_given(tmp_path, capsys):
    """The rest is analysed, under the usual label."""
    write_description(tmp_path / "bids")
    write_session(tmp_path / "bids", "a", 0.1, {"RepetitionTime": 4.0})
    words = [str(tmp_path / "bids"), str(tmp_path / "out"), "participant", *PLAIN]
    main([*words, "--correct-t2"])
    assert "no f corrected for T2: sub-01_ses-a_dwi.json: EchoTime is missing" in (
        " ".join(capsys.readouterr().err.split())
    )
    assert list((tmp_path / "out").rglob("*_model-ivim_param-f_dwimap.nii.gz"))
    assert not list((tmp_path / "out").rglob("*fT2*"))


def planned(series: Diffusion, **options):
    config = Config(Path(), Path(), Path(), "run", **options)
    return plan_session(Session("01", "a", diffusion=series), config)


def test_a_field_without_literature_values_needs_them_as_options():
    """At 7 T there is no default T2; with both given there is a correction."""
    series = Diffusion(Path(), (0.0, 200.0, 600.0), None, spin_echo=SpinEcho(0.08, 4.0, 7.0))
    plan = planned(series, correct_t2=True)
    assert plan.blood_signal is None
    assert "no default T2 at 7 T; give it in seconds with --t2-blood" in "\n".join(
        map(str, plan.issues)
    )
    given = planned(series, correct_t2=True, t2_blood=0.07, t2_tissue=0.07)
    assert given.diffusion_models[-1].name == "ivim-asymptotic-t2"
    assert given.blood_signal == pytest.approx(1, abs=0.05)


def test_a_thin_series_is_not_denoised_and_the_reason_is_given():
    """Nine volumes, as of the study, are too few; ten are not."""
    few, enough = (
        planned(Diffusion(Path(), tuple(100.0 * n for n in range(count)), None), denoise="mppca")
        for count in (9, 10)
    )
    text = "DWI not denoised: --denoise mppca needs 10 volumes to tell noise from signal, the"
    assert any(text in str(issue) and "has 9" in str(issue) for issue in few.issues)
    assert not any("not denoised" in str(issue) for issue in enough.issues)
    assert any("standard errors of ADC and IVIM are too small" in str(i) for i in enough.issues)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--t2-blood", "0.2"], "--t2-blood has no effect without --correct-t2"),
        (["--correct-t2", "--t2-tissue", "80"], "must be a T2 of tissue or blood (0.01 to 3 s)"),
        (["--denoise", "mppca", "--noise", "rician"], "cannot be combined with --denoise mppca"),
    ],
)
def test_options_that_make_no_sense_are_refused(words, message, tmp_path, capsys):
    """With the reason, and exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), str(tmp_path / "o"), "participant", *words])
    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_an_explaining_dstar_is_that_of_the_curve():
    """The D* found is the one of which the curve was made; outside the range there is none."""
    for dstar in (7e-3, 0.02):
        curve = mixture(SHELLS, 0.12, dstar=dstar)
        assert explaining_dstar(curve, SHELLS, 0.12) == pytest.approx(dstar, rel=1e-3)
        assert held_fraction(curve, SHELLS, dstar) == pytest.approx(0.12, rel=1e-3)
    assert np.isnan(explaining_dstar(curve, SHELLS, 0.6))


@pytest.mark.parametrize(("part", "t2"), [("tissue", 0.1), ("blood", 0.2)])
def test_an_explaining_t2_changes_f_as_stated(part, t2):
    """With that T2 the same protons give the second f; what would need a negative rate is none."""
    times = {"tissue": 0.1, "blood": 0.2}

    def fraction(times, share=0.05):
        weight = {k: np.exp(-0.08 / v) for k, v in times.items()}
        blood, tissue = share * weight["blood"], (1 - share) * weight["tissue"]
        return blood / (blood + tissue)

    before = fraction(times)
    found = explaining_t2(before, 1.2 * before, 0.08, t2, part)
    assert fraction(times | {part: found}) == pytest.approx(1.2 * before)
    assert np.isnan(explaining_t2(0.02, 0.2, 0.08, 0.2, "blood"))
    assert np.isnan(explaining_t2(0.0, 0.2, 0.08, t2, part))


def test_of_two_wrong_volumes_both_are_left_out(tmp_path):
    """Each finding numbers the volumes of the image, whatever the others leave out."""
    rng = np.random.default_rng(0)
    d = rng.uniform(0.5e-3, 1.2e-3, (20, 20, 6, 1))
    data = rng.uniform(500, 900, d.shape) * np.exp(-B * d)
    for volume in (4, 15):
        data[..., volume] = 900 * d[..., 0] / 1e-3  # an ADC map among the images
    write_dwi(tmp_path, "wrong", data.astype(np.float32), BVALUES)
    series = Diffusion(tmp_path / "wrong_dwi.nii.gz", tuple(B), None)
    found = check_images(Session("01", "a", diffusion=series)).diffusion
    assert found.left_out == (4, 15)
    assert found.bvalues == tuple(np.delete(B, (4, 15)))
