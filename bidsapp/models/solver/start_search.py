"""Starting points of a separable fit, and other local minima once it has ended.

`RatePairs` tries all pairs of rates on a grid. `find_other_minimum` searches along the second rate
alone for another local minimum of the projected cost, once the descent has ended in one.
"""

import numpy as np
from numpy.typing import NDArray

from bidsapp.models.solver.base import Array
from bidsapp.models.solver.matrices2x2 import dot

_PAIRS_AT_ONCE = 2**16  # times the voxels: the three arrays of scratch (0.8 MB) stay in the cache
_NODES_AT_ONCE = 2**13
_COLLINEAR = 1e-6  # relative length of what a column adds to another one, below which it is zero

Single = NDArray[np.float32]


class RatePairs:
    """All pairs of n1 first and n2 second columns, (K, n1) and (K, n2), in the reduced space.

    Notes
    -----
    The sum of squares of a signal z that a pair explains with both amplitudes >= 0 is

        min(max(u'z, 0)^2 + max(v_u'z, 0)^2, max(v'z, 0)^2 + max(u_v'z, 0)^2)

    for unit columns u and v whose inner product is not negative; ``v_u`` is the unit vector of v
    without its part along u. No cases need to be distinguished, hence there is no branch per voxel.
    Single precision is enough for a starting point.

    Either expression is the squared length of the projection of z onto the span of the pair, by
    Gram and Schmidt from u on, or from v on. Where both amplitudes are positive they agree. Where
    the unconstrained amplitude of v is negative, the first is ``max(u'z, 0)^2``, the solution with
    v held at zero, and the second exceeds it; likewise for u. Hence the minimum.
    """

    def __init__(self, first: Array, second: Array) -> None:
        # ``v_without_u`` (K, n1, n2) is v_u of the note for every pair, ``u_without_v`` is u_v.
        u, v = _unit(first), _unit(second)
        inner = u.T @ v
        v_without_u = _unit(v[:, None, :] - u[:, :, None] * inner)
        u_without_v = _unit(u[:, :, None] - v[:, None, :] * inner)
        self._shape = inner.shape
        self._along = [m.astype(np.float32) for m in (u, v)]
        self._orthogonal = [
            m.reshape(len(u), -1).astype(np.float32) for m in (v_without_u, u_without_v)
        ]

    def best(self, signal: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the columns' indices (V,) of the best pair for signals (K, V) of norm one."""
        # Blocks of voxels share one scratch array that stays in the cache.
        z = np.ascontiguousarray(signal.T, np.float32)
        size = self._shape[0] * self._shape[1]
        space = np.empty((3, _PAIRS_AT_ONCE // size + 1, size), np.float32)
        step = space.shape[1]
        parts = [z[i : i + step] for i in range(0, len(z), step)]
        found = [self._best(part, space[:, : len(part)]) for part in parts]
        first, second = np.divmod(np.concatenate(found), self._shape[1])
        return first, second

    def _best(self, z: Single, space: Single) -> NDArray[np.intp]:
        """Return the flat indices of the best pairs; space (3, V, pairs) is overwritten."""
        # Side 0: u, and v without its part along u; side 1: v, and u without its part along v.
        # 2 max(y, 0) = y + |y|: both sides are four times too large, which the argmax ignores.
        for side, (alone, orthogonal) in enumerate(zip(self._along, self._orthogonal, strict=True)):
            out = np.matmul(z, orthogonal, out=space[side])
            out += np.abs(out, out=space[2])  # twice the positive part, faster than maximum
            out *= out
            single = z @ alone
            single += np.abs(single)
            single *= single
            pairs = out.reshape(len(z), *self._shape)
            pairs += np.expand_dims(single, 2 - side)
        best: NDArray[np.intp] = np.minimum(space[0], space[1], out=space[2]).argmax(axis=1)
        return best


def _unit(vectors: Array) -> Array:
    """Return vectors (K, ...) of norm one; nearly zero ones become zero."""
    norm = np.sqrt(np.sum(vectors**2, axis=0))
    return np.where(norm > _COLLINEAR, vectors / np.where(norm > 0, norm, 1.0), 0.0)


def best_second_rate(signal: Array, first: Array, nodes: Array) -> NDArray[np.intp]:
    """Return the best second column (V,) for a first column that is fixed."""
    found = [
        _profile_second_rate(signal[:, p], first[:, p], None, nodes)
        for p in _cache_blocks(signal, nodes)
    ]
    return np.concatenate([profile.argmax(axis=1) for profile in found])


def find_other_minimum(
    signal: Array, first: Array, slope: Array | None, nodes: Array, place: Array
) -> tuple[NDArray[np.intp], Array]:
    """Return the lowest minimum along the second rate other than the one that was reached.

    Parameters
    ----------
    signal, first, slope, nodes
        As for `_profile_second_rate`.
    place : (V,) array
        The second rate that was reached, in nodes; minima within one node of it count as the same.

    Returns
    -------
    node : (V,) array of int
    explained : (V,) array
        Sum of squares explained there; minus infinity where there is no other minimum.
    """
    found = [
        _highest_other_peak(
            _profile_second_rate(
                signal[:, p], first[:, p], None if slope is None else slope[:, p], nodes
            ),
            place[p],
        )
        for p in _cache_blocks(signal, nodes)
    ]
    node, explained = (np.concatenate(part) for part in zip(*found, strict=True))
    return node, explained


def _cache_blocks(signal: Array, nodes: Array) -> list[slice]:
    """Return slices of the voxels that fit into the processor's cache."""
    step = max(_NODES_AT_ONCE // nodes.shape[1], 1)
    return [slice(i, i + step) for i in range(0, signal.shape[1], step)]


def _profile_second_rate(signal: Array, first: Array, slope: Array | None, nodes: Array) -> Array:
    """Return the sum of squares explained with each node as the second column, (V, n2).

    Parameters
    ----------
    signal : (K, V) array
        In the reduced space.
    first : (K, V) array
        The first column.
    slope : (K, V) array or None
        Its slope along its rate, by which the rate may still change a little; None if it is fixed.
    nodes : (K, n2) array
        The second column at some of its rates.

    Notes
    -----
    Amplitudes of the columns are >= 0, that of the slope is free.
    """
    # Gram and Schmidt: e1 along the first column, e2 along what its slope adds. Beside them a node
    # n has the part that is left, of squared length ``rest`` = n'n - (e1'n)^2 - (e2'n)^2, and
    # inner product ``excess`` with the signal's residual; it explains excess^2 / rest.
    size = np.sum(nodes**2, axis=0)
    e1 = _unit_or_zero(first)
    z1 = np.maximum(dot(e1, signal), 0)
    t1, product = e1.T @ nodes, signal.T @ nodes
    rest = size - t1 * t1
    excess = product - t1 * dot(e1, signal)[:, None]
    base = z1 * z1
    if slope is not None:
        e2 = _unit_or_zero(slope - e1 * dot(e1, slope), np.sqrt(dot(slope, slope)))
        z2, t2 = dot(e2, signal), e2.T @ nodes
        rest -= t2 * t2
        excess -= t2 * z2[:, None]
        base += z2 * z2
    # A node that is collinear with the others explains nothing more; one with a negative amplitude
    # is held at zero.
    rest[rest <= _COLLINEAR * size] = np.inf
    np.maximum(excess, 0, out=excess)
    amplitude = excess / rest
    excess *= amplitude
    excess += base[:, None]
    # The first column's amplitude is z1 - t1 amplitude; where that is negative the node stands
    # alone and explains (n'z)^2 / n'n.
    first_gone = t1 * amplitude > z1[:, None]
    np.maximum(product, 0, out=product)
    product *= product
    product /= np.where(size > 0, size, np.inf)
    np.copyto(excess, product, where=first_gone)
    return excess


def _unit_or_zero(vectors: Array, size: Array | float = 0.0) -> Array:
    """Return vectors (K, V) of norm one; zero where they are small relative to a size (V,)."""
    norm = np.sqrt(dot(vectors, vectors))
    known = norm > _COLLINEAR * size
    return vectors * (known / np.where(known, norm, 1.0))


def _highest_other_peak(profile: Array, place: Array) -> tuple[NDArray[np.intp], Array]:
    """Return the highest local maximum (V,) of profiles (V, n), and its height."""
    # A local maximum is not lower than either neighbour; the nodes next to the place are excluded.
    peak = np.abs(np.arange(profile.shape[1]) - place[:, None]) > 1
    rising = profile[:, 1:] > profile[:, :-1]
    peak[:, :-1] &= ~rising
    peak[:, 1:] &= rising
    heights = np.where(peak, profile, -np.inf)
    node = heights.argmax(axis=1)
    return node, heights[np.arange(len(node)), node]
