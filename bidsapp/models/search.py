"""Where a separable fit begins, and whether it ended in the deepest valley.

`Pairs` tries all pairs of rates on a grid. `survey` stands at one place and looks along the
second rate alone, with everything else at its linear best; `other_valley` reads the result.
"""

import numpy as np
from numpy.typing import NDArray

from bidsapp.models.base import Array
from bidsapp.models.pairs import dot

_BLOCK = 2**17
_COLLINEAR = 1e-6

Single = NDArray[np.float32]


class Pairs:
    """All pairs of n1 first and n2 second columns, (K, n1) and (K, n2), in the reduced space.

    Notes
    -----
    What a pair with both amplitudes >= 0 explains of a signal z is

        min(max(u'z, 0)^2 + max(v_u'z, 0)^2, max(v'z, 0)^2 + max(u_v'z, 0)^2)

    for unit columns u and v whose inner product is not negative; ``v_u`` is the unit vector of v
    without its part along u. It needs no case distinction, hence no branch a voxel. Single
    precision is enough for a place to begin.
    """

    def __init__(self, first: Array, second: Array) -> None:
        u, v = _unit(first), _unit(second)
        inner = u.T @ v
        beside_u = _unit(v[:, None, :] - u[:, :, None] * inner)
        beside_v = _unit(u[:, :, None] - v[:, None, :] * inner)
        self._shape = inner.shape
        self._along = [m.astype(np.float32) for m in (u, v)]
        self._beside = [m.reshape(len(u), -1).astype(np.float32) for m in (beside_u, beside_v)]

    def best(self, signal: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the columns' indices (V,) of the best pair for signals (K, V) of norm one."""
        flat = np.ascontiguousarray(signal.T, np.float32)
        step = max(_BLOCK // (self._shape[0] * self._shape[1]), 1)
        blocks = [self._best(flat[i : i + step]) for i in range(0, len(flat), step)]
        first, second = np.divmod(np.concatenate(blocks), self._shape[1])
        return first, second

    def _best(self, z: Single) -> NDArray[np.intp]:
        u, v = (z @ m for m in self._along)
        beside_u, beside_v = (z @ m for m in self._beside)
        for part in (u, v, beside_u, beside_v):
            np.maximum(part, 0, out=part)
            np.multiply(part, part, out=part)
        shape = (len(z), *self._shape)
        beside_u.reshape(shape)[...] += u[:, :, None]
        beside_v.reshape(shape)[...] += v[:, None, :]
        best: NDArray[np.intp] = np.minimum(beside_u, beside_v, out=beside_u).argmax(axis=1)
        return best


def _unit(vectors: Array) -> Array:
    """Return vectors (K, ...) of norm one; nearly zero ones become zero."""
    norm = np.sqrt(np.sum(vectors**2, axis=0))
    return np.where(norm > _COLLINEAR, vectors / np.where(norm > 0, norm, 1.0), 0.0)


def survey(signal: Array, first: Array, slope: Array, nodes: Array) -> Array:
    """Return what is explained with each node as the second column, (V, n2).

    Parameters
    ----------
    signal : (K, V) array
        In the reduced space.
    first, slope : (K, V) array
        The first column and its slope along its rate, which may thus move a little; zero for
        what must not move.
    nodes : (K, n2) array
        The second column at some of its rates.

    Notes
    -----
    Amplitudes of the columns are >= 0, that of the slope is free.
    """
    e1 = _direction(first)
    e2 = _direction(slope - e1 * dot(e1, slope), np.sqrt(dot(slope, slope)))
    z1, z2 = dot(e1, signal), dot(e2, signal)
    t1, t2, tz = e1.T @ nodes, e2.T @ nodes, signal.T @ nodes
    size = np.sum(nodes**2, axis=0)
    rest = size - t1 * t1 - t2 * t2
    posed = rest > _COLLINEAR * size
    amplitude = np.maximum(tz - t1 * z1[:, None] - t2 * z2[:, None], 0) * posed
    amplitude /= np.where(posed, rest, 1.0)
    both = (np.maximum(z1, 0) ** 2 + z2**2)[:, None] + amplitude**2 * rest
    alone = np.maximum(tz, 0) ** 2 / np.where(size > 0, size, np.inf)
    result: Array = np.where(t1 * amplitude > np.maximum(z1, 0)[:, None], alone, both)
    return result


def _direction(vectors: Array, size: Array | float = 0.0) -> Array:
    """Return vectors (K, V) of norm one; zero where they are small beside a size (V,)."""
    norm = np.sqrt(dot(vectors, vectors))
    known = norm > _COLLINEAR * size
    return vectors * (known / np.where(known, norm, 1.0))


def other_valley(profile: Array, place: Array) -> tuple[NDArray[np.intp], Array]:
    """Return the deepest other valley: its node, and what is explained there.

    Parameters
    ----------
    profile : (V, n) array
        What is explained at each node; a valley of the cost is a peak of it.
    place : (V,) array
        Where the voxel stands, in nodes; valleys within one node of it are its own.

    Returns
    -------
    node : (V,) array of int
    explained : (V,) array
        Minus infinity where there is no other valley.
    """
    padded = np.pad(profile, ((0, 0), (1, 1)), constant_values=-np.inf)
    peak = (profile >= padded[:, :-2]) & (profile >= padded[:, 2:])
    peak &= np.abs(np.arange(profile.shape[1]) - place[:, None]) > 1
    heights = np.where(peak, profile, -np.inf)
    node = heights.argmax(axis=1)
    return node, heights[np.arange(len(node)), node]
