"""Checks of the voxel values of a session's images: damage, and implausible values."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bidsapp.bids.images import check_contents
from bidsapp.bids.records import Diffusion, Dynamic, Session
from bidsapp.checks import Finding
from bidsapp.checks.diffusion import check_diffusion_signal
from bidsapp.checks.dynamic import check_dynamic_signal
from bidsapp.checks.dynamic_slices import check_dynamic_slices
from bidsapp.errors import BadInput

_NEGATIVE = 0.001
"""Proportion of negative values above which an image is probably not a magnitude image."""
Data = NDArray[np.float32]
Series = TypeVar("Series", Diffusion, Dynamic)


def check_images(session: Session) -> Session:
    """Read all images of a session; leave out damaged ones, and volumes that cannot be right.

    Parameters
    ----------
    session
        The session as found in the data set.

    Returns
    -------
    Session
        Images that were left out are listed in `problems`, volumes and implausible values in
        `warnings`.
    """
    problems, warnings = list(session.problems), list(session.warnings)

    def read(path: Path | None) -> Data | None:
        if path is None:
            return None
        try:
            data = check_contents(path)
            _check_volumes(path, data)
        except BadInput as error:
            problems.append(str(error))
            return None
        warnings.extend(_value_warnings(path.name, data))
        return data

    def checked(
        series: Series | None, find: Callable[[Data, Series], list[Finding]]
    ) -> Series | None:
        data = read(series.image) if series else None
        if series is None or data is None:
            return None
        present = np.delete(data, series.left_out, axis=3) if series.left_out else data
        findings = find(present, series)
        for found in findings:
            (problems if found.fatal else warnings).append(f"{series.image.name}: {found.text}")
            if found.fatal:
                return None
        # All at once: the findings number the volumes of the series as it was checked.
        return series.without({volume for found in findings for volume in found.volumes})

    t1w = session.t1w if read(session.t1w) is not None else None
    diffusion = checked(session.diffusion, lambda data, s: check_diffusion_signal(data, s.bvalues))
    dynamic = checked(session.dynamic, lambda data, s: _check_dynamic(data, s.times))
    return replace(
        session,
        t1w=t1w,
        diffusion=diffusion,
        dynamic=dynamic,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _check_dynamic(data: Data, times: Sequence[float] | None) -> list[Finding]:
    """Find frames, and slices of the other frames, that are not one course."""
    frames = check_dynamic_signal(data, times)
    if any(found.fatal for found in frames):
        return frames
    return frames + check_dynamic_slices(data, [v for found in frames for v in found.volumes])


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


def _value_warnings(name: str, data: Data) -> Iterator[str]:
    """Yield a warning for each kind of implausible values of an image."""
    finite = np.isfinite(data)
    if not finite.all():
        voxels = finite.all(axis=-1) if data.ndim == 4 else finite
        yield f"{name}: {1 - voxels.mean():.2%} of the voxels contain NaN or infinity: not fitted"
    negative = float((data[finite] < 0).mean())
    if negative > _NEGATIVE:
        yield f"{name}: {negative:.1%} of the values are negative: is it a magnitude image?"
