"""The point spread of an image: its kernels, and how a series shows which one it has."""

import numpy as np
import pytest

from bidsapp.imaging.edges import find_edge
from bidsapp.imaging.point_spread import CANDIDATES, KERNELS, PointSpread
from bidsapp.lesions.surroundings import find_surroundings

SERIES = np.diag([2.0, 2.0, 6.0, 1.0])
SHAPE = (24, 24, 10)


def image(name, fine):
    """Return voxels along one axis from four samples of each."""
    stack = np.broadcast_to(fine[:, None, None], (len(fine), 4, 4))
    # All of the plane lies in one voxel, whose mean is that of the samples.
    spread = PointSpread({"box": 1.0}, {name: 1.0})
    return spread.apply(np.moveaxis(stack, 0, 2), (4, 4, 4), (1, 1, 2))[0, 0]


@pytest.mark.parametrize("name", KERNELS)
def test_a_uniform_object_keeps_its_signal(name):
    """The weights of all points add up to one, but for what lies beyond 50 voxels."""
    assert image(name, np.ones(400))[50] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ["fourier", "filtered", "hann"])
@pytest.mark.parametrize("cycles", [0.1, 0.2, 0.4, 0.6])
def test_frequencies_pass_as_the_filter_states(name, cycles):
    """All of them up to 0.5 per voxel (fourier), none above; the others fall before."""
    place = (np.arange(1600) + 0.5) / 4 - 0.5
    found = np.sqrt(2) * image(name, np.cos(2 * np.pi * cycles * place))[100:300].std()
    low, width = {"fourier": (0.5, 1e-9), "filtered": (0.25, 0.25), "hann": (0.0, 0.5)}[name]
    expected = (1 + np.cos(np.pi * np.clip((cycles - low) / width, 0, 1))) / 2
    assert found == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("spread", CANDIDATES, ids=str)
def test_a_series_shows_its_point_spread(spread):
    """Of all candidates, that with which a lesion was imaged has nearly all of the weight."""
    parts = (np.linalg.norm(np.indices((48, 48, 60)) - [[[[22.3]]], [[[23.6]]], [[[28.0]]]], axis=0)
             < 9).astype(int)  # fmt: skip
    sampled = find_edge(parts, np.eye(4)).sample(np.eye(4), SHAPE, SERIES, 8.0)
    share = np.zeros(SHAPE)
    share[sampled.box] = sampled.fractions([1], spread)[..., 0]
    noise = np.random.default_rng(1).normal(0, 0.02, (*SHAPE, 8))
    data = 1 + share[..., None] * np.linspace(0.5, 1.5, 8) + noise
    found = find_surroundings(data, SERIES, parts, parts, np.eye(4), np.eye(4))
    shown = found[1].spread
    assert all(shown.in_plane[name] > 0.9 for name in spread.in_plane)
    assert all(shown.across[name] > 0.9 for name in spread.across)


def test_a_lesion_outside_the_series_is_no_obstacle():
    """The others decide; it is among the lesions, and is refused when it is measured."""
    parts = np.zeros((48, 48, 90), int)
    parts[20:28, 20:28, 24:32] = 1
    parts[20:28, 20:28, 80:88] = 2
    data = np.ones((*SHAPE, 4)) + np.random.default_rng(1).normal(0, 0.02, (*SHAPE, 4))
    assert set(find_surroundings(data, SERIES, parts, parts, np.eye(4), np.eye(4))) == {1, 2}
