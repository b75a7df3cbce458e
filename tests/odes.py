"""Compartment models solved as ordinary differential equations, to check closed forms against."""

import numpy as np
from scipy.integrate import solve_ivp


def solve_compartments(time, arterial, exchange, inflow):
    """Return the amounts (K, N) of K compartments, ``da/dt = exchange a + inflow ca(t)``.

    ``arterial`` ca (N,) is linear between the times (N,) and zero before the first; ``exchange``
    is (K, K), ``inflow`` (K,). One interval at a time, so that no step runs across a kink.
    """
    amounts = np.zeros((len(inflow), len(time)))
    for i in range(len(time) - 1):
        span, ends = time[i : i + 2], arterial[i : i + 2]
        solved = solve_ivp(
            lambda t, a, span=span, ends=ends: exchange @ a + inflow * np.interp(t, span, ends),
            span,
            amounts[:, i],
            method="DOP853",
            rtol=1e-10,
            atol=1e-12,
        )
        amounts[:, i + 1] = solved.y[:, -1]
    return amounts


def patlak(time, plasma, *, Ktrans, vp):
    """Return the tissue's concentration (N,): uptake without return, and the plasma's own."""
    return vp * plasma + solve_compartments(time, plasma, np.zeros((1, 1)), np.array([Ktrans]))[0]


def extended_tofts(time, plasma, *, Ktrans, ve, vp=0.0):
    """Return the tissue's concentration (N,); without vp it is the Tofts model."""
    exchange = np.array([[-Ktrans / ve]])
    return vp * plasma + solve_compartments(time, plasma, exchange, np.array([Ktrans]))[0]


def two_compartment_exchange(time, plasma, *, Fp, PS, ve, vp):
    """Return the tissue's concentration (N,): plasma and interstitium, both well mixed.

    ``vp dcp/dt = Fp (ca - cp) - PS (cp - ce)``, ``ve dce/dt = PS (cp - ce)``, C = vp cp + ve ce.
    """
    exchange = np.array([[-(Fp + PS) / vp, PS / ve], [PS / vp, -PS / ve]])
    return solve_compartments(time, plasma, exchange, np.array([Fp, 0.0])).sum(axis=0)
