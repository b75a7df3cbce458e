"""Checks of the voxel values of a session's images: damage, and implausible values."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidsapp.bids.images import check_contents
from bidsapp.bids.records import Session
from bidsapp.errors import BadInput

_NEGATIVE = 0.001
"""Proportion of negative values above which an image is probably not a magnitude image."""
_RISES = 1.05
"""Largest accepted ratio of the mean signals at a b-value and at a lower one."""

Data = NDArray[np.float32]


def drop_damaged_images(session: Session) -> Session:
    """Read all images of a session, and return the session without damaged ones.

    Parameters
    ----------
    session
        The session as found in the data set.

    Returns
    -------
    Session
        Removed images are listed in `problems`, implausible values in `warnings`.
    """
    problems, warnings = list(session.problems), list(session.warnings)

    def whole(path: Path | None, bvalues: Sequence[float] = ()) -> bool:
        if path is None:
            return False
        try:
            data = check_contents(path)
            _check_volumes(path, data)
        except BadInput as error:
            problems.append(str(error))
            return False
        warnings.extend(_value_warnings(path.name, data, bvalues))
        return True

    diffusion, dynamic = session.diffusion, session.dynamic
    return replace(
        session,
        t1w=session.t1w if whole(session.t1w) else None,
        diffusion=diffusion if diffusion and whole(diffusion.image, diffusion.bvalues) else None,
        dynamic=dynamic if dynamic and whole(dynamic.image) else None,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _check_volumes(path: Path, data: Data) -> None:
    """Raise an error if volumes of a series are empty, as after an aborted scan."""
    if data.ndim < 4:
        return
    empty = [n for n in range(data.shape[3]) if not np.any(np.nan_to_num(data[..., n]))]
    if empty:
        raise BadInput(
            f"{path}: {len(empty)} of the {data.shape[3]} volumes are empty (the first is number "
            f"{empty[0] + 1}); remove them with their times or b-values"
        )


def _value_warnings(name: str, data: Data, bvalues: Sequence[float]) -> Iterator[str]:
    """Yield a warning for each kind of implausible values of an image."""
    finite = np.isfinite(data)
    if not finite.all():
        voxels = finite.all(axis=-1) if data.ndim == 4 else finite
        yield f"{name}: {1 - voxels.mean():.2%} of the voxels contain NaN or infinity: not fitted"
    negative = float((data[finite] < 0).mean())
    if negative > _NEGATIVE:
        yield f"{name}: {negative:.1%} of the values are negative: is it a magnitude image?"
    if len(bvalues) > 1 and (rising := _find_rising_signal(data, bvalues)):
        yield (
            f"{name}: the mean signal is higher at b = {rising[1]:g} than at {rising[0]:g} s/mm2: "
            "are the b-values in the order of the volumes?"
        )


def _find_rising_signal(data: Data, bvalues: Sequence[float]) -> tuple[float, float] | None:
    """Return a b-value and a higher one at which the signal is clearly higher, or None."""
    means = [
        float(np.nanmean(np.where(np.isfinite(v), v, np.nan))) for v in np.moveaxis(data, 3, 0)
    ]
    shells = sorted({round(b, -1) for b in bvalues})
    course = [
        float(np.mean([m for m, b in zip(means, bvalues, strict=True) if round(b, -1) == shell]))
        for shell in shells
    ]
    for lower, shell in enumerate(shells):
        for higher in range(lower + 1, len(shells)):
            if course[higher] > _RISES * course[lower]:
                return shell, shells[higher]
    return None
