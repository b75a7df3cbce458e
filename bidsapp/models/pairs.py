"""Algebra of 2 x 2 matrices, one a voxel, written out: (V,) arrays in, (V,) arrays out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bidsapp.models.base import Array

Symmetric = tuple[Array, Array, Array]
"""Elements 00, 01 and 11 of symmetric 2 x 2 matrices."""

_WELL_POSED = 1e-12


def dot(a: Array, b: Array) -> Array:
    """Return the inner products (V,) of vectors (K, V)."""
    result: Array = np.einsum("kv,kv->v", a, b)
    return result


def nonnegative(gram: Symmetric, first: Array, second: Array) -> tuple[Array, Array, Symmetric]:
    """Return the amplitudes >= 0 that minimise ``a'Ga - 2 a'm``, and the inverse of G.

    Parameters
    ----------
    gram
        Inner products of the two columns.
    first, second : (V,) array
        Inner products m of each column with the signal.

    Returns
    -------
    first, second : (V,) array
        The amplitudes.
    inverse
        Of the part of G whose amplitudes are above zero; zero elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> nonnegative((one, 0 * one, one), 2 * one, -1 * one)[:2]
    (array([2.]), array([0.]))
    """
    a, b, d = gram
    determinant = a * d - b * b
    posed = determinant > _WELL_POSED * a * d
    scale = posed / np.where(posed, determinant, 1.0)
    both = (d * first - b * second) * scale, (a * second - b * first) * scale
    inside = posed & (both[0] > 0) & (both[1] > 0)
    inverse_a, inverse_d = (np.where(x > 0, 1 / np.where(x > 0, x, 1.0), 0.0) for x in (a, d))
    alone = np.maximum(first, 0) * inverse_a, np.maximum(second, 0) * inverse_d
    choose = alone[0] * first >= alone[1] * second
    one, two = choose * alone[0], ~choose * alone[1]
    inverse = (
        np.where(inside, d * scale, (one > 0) * inverse_a),
        np.where(inside, -b * scale, 0.0),
        np.where(inside, a * scale, (two > 0) * inverse_d),
    )
    return np.where(inside, both[0], one), np.where(inside, both[1], two), inverse


def schur(block: Symmetric, cross: Sequence[Sequence[Array]], inverse: Symmetric) -> Symmetric:
    """Return ``block - H' inverse H`` with column j of H in ``cross[j]``."""

    def eliminated(x: Sequence[Array], y: Sequence[Array]) -> Array:
        mixed = x[0] * y[1] + x[1] * y[0]
        return inverse[0] * x[0] * y[0] + inverse[1] * mixed + inverse[2] * x[1] * y[1]

    first, second = cross
    return (
        block[0] - eliminated(first, first),
        block[1] - eliminated(first, second),
        block[2] - eliminated(second, second),
    )


def invert(matrix: Symmetric) -> tuple[Symmetric, NDArray[np.bool_]]:
    """Return the inverse, and where there is one (elsewhere it is zero)."""
    a, b, d = matrix
    determinant = a * d - b * b
    posed = (a > 0) & (d > 0) & (determinant > _WELL_POSED * a * d)
    scale = posed / np.where(posed, determinant, 1.0)
    return (d * scale, -b * scale, a * scale), posed


def covariance(jacobian: Sequence[Array]) -> Array:
    """Return ``inv(J'J)`` of four columns (K, V), as (4, 4, V).

    Rows and columns of a column that is zero are NaN; where the others are singular all is NaN.

    Notes
    -----
    By blocks of two: with amplitudes A and rates C, and B between them, the rates have
    ``inv(C - B' inv(A) B)``.
    """
    norm = [np.sqrt(dot(c, c)) for c in jacobian]
    known = [n > 0 for n in norm]
    unit = [c / np.where(k, n, 1.0) for c, k, n in zip(jacobian, known, norm, strict=True)]
    c0, c1, c2, c3 = unit
    one = np.ones_like(norm[0])
    missing = [(~k).astype(float) for k in known]
    inner, fine = invert((one, dot(c0, c1), one))
    cross = [[dot(c0, c), dot(c1, c)] for c in (c2, c3)]
    block = (dot(c2, c2) + missing[2], dot(c2, c3), dot(c3, c3) + missing[3])
    rates, posed = invert(schur(block, cross, inner))
    solved = _full(inner, cross, rates)
    scale = np.stack(
        [np.where(k & fine & posed, n, np.nan) for k, n in zip(known, norm, strict=True)]
    )
    result: Array = solved / (scale[:, None] * scale[None, :])
    return result


def propagate(gradient: Array, covariance: Array) -> Array:
    """Return the standard error (V,) of a function with that gradient (P, V)."""
    variance = np.einsum("iv,ijv,jv->v", gradient, covariance, gradient)
    result: Array = np.sqrt(np.maximum(variance, 0))
    return result


def _full(inner: Symmetric, cross: Sequence[Sequence[Array]], rates: Symmetric) -> Array:
    """Put the four blocks of the inverse together."""
    a = _square(inner)
    s = _square(rates)
    b = np.array([[cross[j][i] for j in (0, 1)] for i in (0, 1)])
    ab = np.einsum("ijv,jkv->ikv", a, b)
    abs_ = np.einsum("ijv,jkv->ikv", ab, s)
    top = np.concatenate([a + np.einsum("ijv,kjv->ikv", abs_, ab), -abs_], axis=1)
    bottom = np.concatenate([-abs_.transpose(1, 0, 2), s], axis=1)
    return np.concatenate([top, bottom])


def _square(m: Symmetric) -> Array:
    return np.array([[m[0], m[1]], [m[1], m[2]]])
