"""Kinetics and relaxation: numbers that others published (`tests/data/*/README.md`)."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bidsapp.models import Status, fit
from bidsapp.models.contrast.aif import georgiou2019, parker2006
from bidsapp.models.contrast.spgr import signal_to_concentration

OSIPI = Path(__file__).parent / "data" / "dce_osipi"
RRIFT = np.load(Path(__file__).parent / "data" / "dce_gbm_rrift" / "curves.npz")


def rows(name):
    with (OSIPI / name).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def numbers(text):
    return np.array(text.split(), float)


@pytest.mark.parametrize("row", rows("dce_DRO_data_extended_tofts.csv"), ids=lambda r: r["label"])
def test_extended_tofts_of_osipi(row):
    """OSIPI's curves give OSIPI's parameters: within 1 % without noise, its tolerances with it."""
    time, plasma = numbers(row["t"]) / 60, numbers(row["ca"])
    found = fit("extended-tofts", numbers(row["C"]), time=time, plasma=plasma)
    noisy = not row["label"].endswith("highSNR")
    limits = {"Ktrans": 0.005, "ve": 0.05, "vp": 0.025}
    for name, limit in limits.items():
        truth = float(row[name])
        tolerance = limit if noisy else 0.01 * truth
        assert found.values[name] == pytest.approx(truth, abs=tolerance)


@pytest.mark.parametrize("row", rows("patlak_sd_0.02_delay_0.csv"), ids=lambda r: r["label"])
def test_patlak_of_osipi(row):
    """OSIPI's noisy curves give OSIPI's parameters: Ktrans to 0.0005 1/min, vp to 0.002.

    OSIPI asks for 0.005 + 10 % and 0.025. The noise of 0.02 mM allows for a tenth of that: each
    error lies within four of our standard errors, and the residual is the noise that they added.
    """
    time, plasma = numbers(row["t"]) / 60, numbers(row["cp_aif"])
    found = fit("patlak", numbers(row["C_t"]), time=time, plasma=plasma)
    truth = {"Ktrans": (float(row["ps"]), 0.0005), "vp": (float(row["vp"]), 0.002)}
    for name, (true, limit) in truth.items():
        assert found.values[name] == pytest.approx(true, abs=limit)
        assert abs(found.values[name] - true) < 4 * found.stderr[name]
    assert found.rmse == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("row", rows("t1_brain_data.csv"), ids=lambda r: r["label"])
def test_t1_of_a_brain_measured_in_vivo(row):
    """R1 from three flip angles in vivo is OSIPI's value to 5e-5."""
    found = fit(
        "vfa-t1",
        numbers(row["s"]),
        flip_angles=np.deg2rad(numbers(row["FA"])),
        repetition_time=numbers(row["TR"])[0],
    )
    assert 1 / found.values["T1"] == pytest.approx(float(row["R1"]), rel=5e-5)


@pytest.mark.parametrize("row", rows("SI2Conc_data.csv"), ids=lambda r: r["label"])
def test_concentration_of_osipi(row):
    """Signal to concentration is OSIPI's value to 1e-9 mM; OSIPI requires 1e-5."""
    signal = numbers(row["s"])
    frames = int(row["numbaselinepts"])
    got = signal_to_concentration(
        signal,
        signal[1:frames].mean() if frames > 1 else signal[0],
        t1=float(row["T1base"]),
        repetition_time=float(row["TR"]),
        flip_angle=np.deg2rad(float(row["FA"])),
        relaxivity=float(row["r1"]),
    )
    np.testing.assert_allclose(got, numbers(row["conc"]), rtol=0, atol=1e-9)


def test_parker_function_of_osipi():
    """The population function is OSIPI's to 1e-4 mM + 1 %, for every time and delay."""
    for row in rows("ParkerAIF_ref.csv"):
        got = parker2006(np.array([float(row["time"])]), float(row["delay"]) / 60)
        assert got[0] == pytest.approx(float(row["Cb"]), abs=1e-4, rel=0.01)


def test_georgiou_function_of_osipi():
    """The population function is the authors' curve, as OSIPI keeps it, to 1e-4 mM + 1 %."""
    table = rows("GeorgiouAIF_ref.csv")
    time, blood = (np.array([float(row[k]) for row in table]) for k in ("time", "Cb"))
    np.testing.assert_allclose(georgiou2019(time), blood, atol=1e-4, rtol=0.01)


def linear_extended_tofts(tissue, time, plasma):
    """Fit as the authors did: linear in the integrals of tissue and plasma."""
    step = time[1] - time[0]
    tissue, plasma = np.maximum(tissue, 0), np.maximum(plasma, 0)

    def integral(y):
        sums = np.cumsum((y[..., 1:] + y[..., :-1]) / 2, axis=-1) * step
        return np.concatenate([np.zeros((*y.shape[:-1], 1)), sums], axis=-1)

    columns = np.stack(
        [
            np.broadcast_to(integral(plasma), tissue.shape),
            -integral(tissue),
            np.broadcast_to(plasma, tissue.shape),
        ],
        axis=-1,
    )
    b = np.stack(
        [np.linalg.lstsq(a, y, rcond=None)[0] for a, y in zip(columns, tissue, strict=True)]
    )
    return np.stack([b[:, 0] - b[:, 1] * b[:, 2], b[:, 1], b[:, 2]], axis=1)


def visit_curves(visit):
    """Return time, plasma, and the curves and published fits (voxel; Ktrans, kep, vp) they made."""
    time, plasma, tissue, published = (
        np.asarray(RRIFT[f"{k}_{visit}"], float) for k in ("time", "plasma", "tissue", "published")
    )
    kept = np.isfinite(published).all(axis=1)
    return time, plasma, tissue[kept], published[kept]


@pytest.mark.parametrize("visit", [1, 2, 3])
def test_published_recipe_gives_the_published_fits_of_a_glioblastoma(visit):
    """The authors' own linear recipe on these curves gives their published medians."""
    time, plasma, tissue, published = visit_curves(visit)
    linear = np.median(linear_extended_tofts(tissue, time, plasma), axis=0)
    np.testing.assert_allclose(linear, np.median(published, axis=0), rtol=2e-3, atol=2e-5)


BESIDE = {
    1: {"Ktrans": (1.000, 1.01), "kep": (1.000, 1.01), "vp": (0.95, 0.97)},
    2: {"Ktrans": (1.005, 1.02), "kep": (1.000, 1.02), "vp": (0.93, 0.95)},
    3: {"Ktrans": (1.010, 1.03), "kep": (1.015, 1.04), "vp": (0.95, 0.97)},
}
"""Ratio of metperf's to the published values, as medians over a visit: the ranges measured."""


@pytest.mark.parametrize("visit", BESIDE)
def test_bounded_fit_beside_the_published_fits_of_a_glioblastoma(visit):
    """Where the published fit is physical, that of metperf fits at least as well, in each voxel.

    Ktrans and kep come out 0 to 4 % above theirs and vp 3 to 7 % below. The two minimise different
    residuals: theirs has the integral of the noisy, clipped curve among its regressors, which on
    simulated curves of these visits raises vp by 1 to 4 % and at the noisiest lowers Ktrans and
    kep by 3 to 4 %, and it weighs otherwise what no extended Tofts curve explains.
    """
    time, plasma, tissue, published = visit_curves(visit)
    physical = (published > 0).all(axis=1) & (published[:, 0] <= published[:, 1])
    tissue, theirs = tissue[physical], dict(zip(BESIDE[visit], published[physical].T, strict=True))
    ours = fit("extended-tofts", tissue, time=time, plasma=plasma)
    good = ours.status == Status.OK
    assert good.mean() > 0.85
    for name, (low, high) in BESIDE[visit].items():
        assert low < np.median((ours.values[name] / theirs[name])[good]) < high
    ve = theirs["Ktrans"] / theirs["kep"]
    curve = ours.model.predict({**theirs, "ve": ve}, time=time, plasma=plasma)
    their_rmse = np.sqrt(np.mean((tissue - curve) ** 2, axis=1))
    assert (ours.rmse <= their_rmse * (1 + 1e-9)).all()
