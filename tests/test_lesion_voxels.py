"""Lesion voxels whose signal is cut off, missing or wrapped are found, and sound ones pass."""

import numpy as np
import pytest
from test_checks import MULTI_B, SHAPE, diffusion
from test_slices import dynamic

from bidsapp.checks.lesion_voxels import check_lesion_voxels

LESION = np.zeros(SHAPE, bool)
LESION[8:13, 8:13, 3:6] = True


def bright(seed):
    """Return a diffusion series in which the lesion is brighter than other tissue, as integers."""
    data = diffusion(seed, MULTI_B)
    data[LESION] *= 1.5
    return np.rint(data)


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_lesion_has_no_finding(seed):
    """Bright or dark, with noise; of diffusion and dynamic series."""
    assert check_lesion_voxels(bright(seed), LESION, MULTI_B) == []
    assert check_lesion_voxels(diffusion(seed, MULTI_B, noise=80), LESION, MULTI_B) == []
    assert check_lesion_voxels(dynamic(seed), LESION) == []
    strong = dynamic(seed) * np.where(np.arange(40) > 7, 3, 1)
    assert check_lesion_voxels(strong.astype(np.float32), LESION) == []


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.8])
def test_a_lesion_that_is_cut_off_is_found(quantile):
    """With the share of its voxels and the volumes."""
    data = bright(0)
    top = np.quantile(data[LESION][:, 0], quantile)
    (text,) = check_lesion_voxels(np.minimum(data, top), LESION, MULTI_B)
    assert "the largest value of the image, in volume" in text
    assert abs(float(text.split(" %")[0]) - 100 * (1 - quantile)) < 5


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.8])
def test_a_lesion_that_wraps_around_is_found(quantile):
    """The brightest voxels at b = 0 become the darkest."""
    data = bright(0)
    top = np.quantile(data[LESION][:, 0], quantile)
    (text,) = check_lesion_voxels(np.where(data > top, data - top, data), LESION, MULTI_B)
    assert "are darker by a fifth than at a higher one at b = 0 s/mm2" in text


def test_a_lesion_with_missing_signal_is_found():
    """In a part of the lesion, which no slice and no head shows."""
    data = bright(0)
    data[8:10, 8:13, 3:6, 5] = 0
    (text,) = check_lesion_voxels(data, LESION, MULTI_B)
    assert text.startswith("up to 40 % of its voxels are 0 in volume 6")
    series = dynamic(0)
    series[8:10, 8:13, 3:6, 20:22] *= 0.3
    (text,) = check_lesion_voxels(series, LESION)
    assert text.startswith("40 % of its voxels fall below 0.5 of their first signal in volumes 21")


def test_a_tenth_of_a_lesion_is_not_reported():
    """It changes the mean by less than the values are uncertain."""
    data = bright(0)
    data[8:9, 8:10, 3:6, 5] = 0
    assert check_lesion_voxels(data, LESION, MULTI_B) == []
    assert check_lesion_voxels(data, np.zeros(SHAPE, bool), MULTI_B) == []
