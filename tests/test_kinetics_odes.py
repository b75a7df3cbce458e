"""The closed forms of the kinetic models against a numerical solution of their equations."""

import numpy as np
import odes
import pytest
from scipy.integrate import solve_ivp

from bidsapp.models import MODELS, Status, fit
from bidsapp.models.contrast.aif import parker2006

KTRANS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.35]
VE = [0.01, 0.05, 0.1, 0.2, 0.5]
UNEVEN = np.r_[np.arange(30) * 4.8, 30 * 4.8 + np.arange(15) * 11.0] / 60
PLASMA = parker2006(UNEVEN, 0.4) / 0.58
ORACLES = {
    "patlak": odes.patlak,
    "tofts": odes.extended_tofts,
    "extended-tofts": odes.extended_tofts,
}
PARAMETERS = {
    "patlak": [{"Ktrans": 0.05, "vp": 0.03}, {"Ktrans": 0.0, "vp": 0.2}],
    "tofts": [{"Ktrans": 0.08, "ve": 0.25}, {"Ktrans": 0.3, "ve": 0.05}, {"Ktrans": 1e-4, "ve": 1}],
    "extended-tofts": [
        {"Ktrans": 0.08, "ve": 0.25, "vp": 0.03},
        {"Ktrans": 0.3, "ve": 0.05, "vp": 0.15},
        {"Ktrans": 1e-4, "ve": 0.9, "vp": 0.01},
    ],
}


def predicted(model, values):
    arrays = {name: np.array(float(value)) for name, value in values.items()}
    return MODELS[model].predict(arrays, time=UNEVEN, plasma=PLASMA)


@pytest.mark.parametrize(("model", "values"), [(m, v) for m in ORACLES for v in PARAMETERS[m]])
def test_predictions_solve_the_equations(model, values):
    """On uneven frames the model's curve is the numerical solution to 1e-6 mM."""
    expected = ORACLES[model](UNEVEN, PLASMA, **values)
    np.testing.assert_allclose(predicted(model, values), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        {"Fp": 0.4, "PS": 0.05, "ve": 0.25, "vp": 0.05},
        {"Fp": 1.2, "PS": 0.3, "ve": 0.1, "vp": 0.15},
        {"Fp": 0.1, "PS": 0.005, "ve": 0.6, "vp": 0.02},
    ],
)
def test_two_compartment_exchange_solves_its_equations(values):
    """On uneven frames the two-compartment curve is the numerical solution to 1e-6 mM."""
    expected = odes.two_compartment_exchange(UNEVEN, PLASMA, **values)
    got = predicted("two-compartment-exchange", values)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_the_oracle_keeps_the_agent():
    """Without washout nothing is lost: the two compartments hold all that flowed in less out."""
    exchange = np.array([[-0.7, 0.2], [0.7, -0.2]])
    held = odes.solve_compartments(UNEVEN, PLASMA, exchange, np.array([0.4, 0.0])).sum(axis=0)
    inflow = np.r_[0, np.cumsum((PLASMA[1:] + PLASMA[:-1]) / 2 * np.diff(UNEVEN))]
    np.testing.assert_allclose(held, 0.4 * inflow, atol=1e-9)


def test_tofts_on_the_grid_of_qiba():
    """On QIBA's grid of Ktrans and ve, solved with a smooth input, both are recovered within 0.1 %.

    The grid and frames of 0.5 s are those of QIBA's digital reference object, version 6; curves
    and input (Parker's, in continuous time) are made here. A patch whose kep lies beyond the
    model's bound cannot be recovered and must be marked.
    """
    time = np.arange(0, 6, 0.5 / 60)
    ktrans, ve = (x.ravel() for x in np.meshgrid(KTRANS, VE))
    curves = solve_ivp(
        lambda t, c: ktrans * parker2006(np.array([t]))[0] - ktrans / ve * c,
        (0, time[-1]),
        np.zeros(len(ktrans)),
        t_eval=time,
        max_step=0.05,
        rtol=1e-8,
        atol=1e-10,
    ).y
    found = fit("tofts", curves, time=time, plasma=parker2006(time))
    bound = MODELS["tofts"].parameter("kep").upper
    inside, beyond = ktrans / ve < 0.99 * bound, ktrans / ve > 1.01 * bound
    assert inside.sum() >= 27
    assert (found.status[inside] == Status.OK).all()
    np.testing.assert_allclose(found.values["Ktrans"][inside], ktrans[inside], rtol=1e-3)
    np.testing.assert_allclose(found.values["ve"][inside], ve[inside], rtol=1e-3)
    assert (found.status[beyond] != Status.OK).all()
