"""Algebra of 2 x 2 matrices, one per voxel, written out in (V,) arrays of their elements."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bidsapp.models.solver.base import Array

Symmetric = tuple[Array, Array, Array]
"""Elements 00, 01 and 11 of symmetric 2 x 2 matrices."""

_WELL_POSED = 1e-12  # determinant relative to the product of the diagonal: 1 - cos^2 of the angle


def dot(a: Array, b: Array) -> Array:
    """Return the inner products (V,) of vectors (K, V)."""
    result: Array = np.einsum("kv,kv->v", a, b)
    return result


def nonnegative_amplitudes(
    gram: Symmetric, first: Array, second: Array
) -> tuple[Array, Array, Symmetric]:
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
        Inverse of the part of G whose amplitudes are above zero; zero elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones(1)
    >>> nonnegative_amplitudes((one, 0 * one, one), 2 * one, -1 * one)[:2]
    (array([2.]), array([0.]))
    """
    # Of the four sets of active constraints three matter: both amplitudes free (Cramer's rule), the
    # first alone, the second alone. If the first solution is not positive in both, the optimum of
    # this convex problem has one amplitude at zero: the one alone that explains more, m^2 / G_ii.
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


def schur_complement(
    block: Symmetric, cross: Sequence[Sequence[Array]], inverse: Symmetric
) -> Symmetric:
    """Return ``block - H' inverse H`` with column j of H in ``cross[j]``."""

    def bilinear_form(x: Sequence[Array], y: Sequence[Array]) -> Array:
        mixed = x[0] * y[1] + x[1] * y[0]
        return inverse[0] * x[0] * y[0] + inverse[1] * mixed + inverse[2] * x[1] * y[1]

    first, second = cross
    return (
        block[0] - bilinear_form(first, first),
        block[1] - bilinear_form(first, second),
        block[2] - bilinear_form(second, second),
    )


def invert_symmetric(matrix: Symmetric) -> tuple[Symmetric, NDArray[np.bool_]]:
    """Return the inverses, and which matrices have one (the others give zero)."""
    a, b, d = matrix
    determinant = a * d - b * b
    posed = (a > 0) & (d > 0) & (determinant > _WELL_POSED * a * d)
    scale = posed / np.where(posed, determinant, 1.0)
    return (d * scale, -b * scale, a * scale), posed


def inverse_normal_matrix(jacobian: Sequence[Array]) -> Array:
    """Return ``inv(J'J)`` of four columns (K, V), as (4, 4, V).

    Rows and columns that belong to a zero column are NaN; all are where the others are singular.

    Notes
    -----
    By blocks: with A the block of the amplitudes, C that of the rates and B the one between them,
    the inverse has the block ``inv(C - B' inv(A) B)`` for the rates.
    """
    # Columns of norm one keep amplitudes and rates, which differ by orders of magnitude, from
    # spoiling the condition; `back` undoes the scaling in rows and columns.
    norm = [np.sqrt(dot(c, c)) for c in jacobian]
    known = [n > 0 for n in norm]
    scale = [k / np.where(k, n, 1.0) for k, n in zip(known, norm, strict=True)]

    def inner(i: int, j: int) -> Array:
        return dot(jacobian[i], jacobian[j]) * scale[i] * scale[j]

    one = np.ones_like(norm[0])
    a, fine = invert_symmetric((one, inner(0, 1), one))
    cross = [[inner(0, 2), inner(1, 2)], [inner(0, 3), inner(1, 3)]]
    s, posed = invert_symmetric(schur_complement((one, inner(2, 3), one), cross, a))
    sound = fine & posed
    back = [np.where(k & sound, x, np.nan) for k, x in zip(known, scale, strict=True)]
    return _assemble(a, cross, s, back)


def _assemble(
    a: Symmetric, cross: Sequence[Sequence[Array]], s: Symmetric, scale: Sequence[Array]
) -> Array:
    """Return the inverse assembled from its blocks, with rows and columns scaled."""
    # inv [[A, B], [B', C]] = [[inv(A) + W S W', -W S], [-S W', S]], W = inv(A) B,
    # S = inv(C - B' W).
    first = [_times(a, c) for c in cross]  # inv(A) B, by columns
    mixed = [  # inv(A) B S, by columns
        [s[j] * first[0][i] + s[j + 1] * first[1][i] for i in (0, 1)] for j in (0, 1)
    ]
    result = np.empty((4, 4, len(scale[0])))
    for i, k, entry in ((0, 0, a[0]), (0, 1, a[1]), (1, 1, a[2])):
        result[i, k] = entry + mixed[0][i] * first[0][k] + mixed[1][i] * first[1][k]
    for j in (0, 1):
        for i in (0, 1):
            result[i, 2 + j] = -mixed[j][i]
    result[2, 2], result[2, 3], result[3, 3] = s
    for i in range(4):
        for k in range(i, 4):
            result[i, k] *= scale[i] * scale[k]
            result[k, i] = result[i, k]
    return result


def _times(matrix: Symmetric, vector: Sequence[Array]) -> tuple[Array, Array]:
    a, b, d = matrix
    return a * vector[0] + b * vector[1], b * vector[0] + d * vector[1]


def propagate_error(gradient: Array, covariance: Array) -> Array:
    """Return the standard error (V,) of a function with that gradient (P, V)."""
    # First order, g'Cg; rounding can leave a variance of zero slightly negative.
    variance = np.einsum("iv,ijv,jv->v", gradient, covariance, gradient)
    result: Array = np.sqrt(np.maximum(variance, 0))
    return result
