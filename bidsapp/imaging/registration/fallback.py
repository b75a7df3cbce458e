"""What is done if a registration fails: another metric, or the result of another engine."""

from dataclasses import replace
from typing import Any

import nibabel as nib
import numpy as np

from bidsapp.imaging.registration.quality import DISAGREEMENT_MM, Verdict
from bidsapp.imaging.registration.register import register
from bidsapp.imaging.registration.result import Registration
from bidsapp.imaging.registration.similarity import Metric
from bidsapp.imaging.registration.starts import mean_distance
from bidsapp.imaging.transforms import Matrix, apply

SIGNED = {"lpc": "inverted", "lpp": "equal"}
"""Metrics that assume a relation of the contrasts, and this relation."""


def register_or_fall_back(
    moving: nib.Nifti1Image, fixed: nib.Nifti1Image, *, metric: Metric = "lpa", **options: Any
) -> Registration:
    """Register one image to another; if a signed correlation fails, by its absolute value.

    Parameters
    ----------
    moving, fixed : (X, Y, Z) Nifti1Image
    metric : str
    **options
        As of `register`.

    Returns
    -------
    Registration
        By ``lpa``, with the reason in `Quality.fallback`, if the registration by ``lpc`` or ``lpp``
        failed and that by ``lpa`` did not; otherwise by the metric given, also if it failed.

    Raises
    ------
    BadInput
        As by `register`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> from scipy.ndimage import gaussian_filter
    >>> head = nib.Nifti1Image(gaussian_filter(rng.random((24, 24, 24)), 2), np.diag([4, 4, 4, 1]))
    >>> negative = nib.Nifti1Image(1 - head.get_fdata(), head.affine)
    >>> found = register_or_fall_back(negative, head, metric="lpp", transform="rigid")
    >>> found.metric, found.quality.verdict.value
    ('lpa', 'doubtful')
    """
    found = register(moving, fixed, metric=metric, **options)
    failed = found.quality.verdict is Verdict.FAILED
    # An image that is mirrored is mirrored for any metric.
    if not failed or found.quality.looks_mirrored or metric not in SIGNED:
        return found
    either = register(moving, fixed, metric="lpa", **options)
    if either.quality.verdict is Verdict.FAILED:
        return found
    reason = (
        f"registered by the absolute local correlation, because the signed one, for "
        f"{SIGNED[metric]} contrasts, failed ({found.quality.reason})"
    )
    return replace(either, quality=replace(either.quality, fallback=reason))


def refine_solution(
    matrix: Matrix,
    moving: nib.Nifti1Image,
    fixed: nib.Nifti1Image,
    fixed_mask: nib.Nifti1Image,
    **options: Any,
) -> Registration | None:
    """Refine the result of another engine, where metperf's own search has failed.

    Parameters
    ----------
    matrix : (4, 4) array
        The other result: points of the fixed image to points of the moving one, RAS mm.
    moving, fixed, fixed_mask : (X, Y, Z) Nifti1Image
    **options
        As of `register`; without ``initial``.

    Returns
    -------
    Registration or None
        The solution next to the matrix; None if it fails, or is further from the matrix than
        `DISAGREEMENT_MM` tolerates: the similarity of the images then does not support the matrix.

    Raises
    ------
    BadInput
        As by `register`.
    """
    found = register_or_fall_back(moving, fixed, fixed_mask=fixed_mask, initial=matrix, **options)
    # Every 997th voxel, a prime number, so that the points do not lie on few planes.
    brain = np.argwhere(np.asanyarray(fixed_mask.dataobj) > 0)[::997]
    apart = mean_distance(matrix, found.matrix, apply(fixed.affine, brain))
    if found.quality.verdict is Verdict.FAILED or apart > DISAGREEMENT_MM[1]:
        return None
    return replace(found, quality=replace(found.quality, disagreement_mm=apart))
