"""Images at several flip angles, from which T1 is mapped, with their sidecars."""

import math
from collections.abc import Sequence

from bidsapp.bids.index import IndexedFile, image_path
from bidsapp.bids.problems import Problems
from bidsapp.bids.pulse_sequence import check_spoiled_gradient_echo
from bidsapp.bids.records import FlipAngleSeries
from bidsapp.bids.sidecar import read_field
from bidsapp.bids.timing import read_repetition_time
from bidsapp.errors import BadInput


def read_flip_angles(files: Sequence[IndexedFile], problems: Problems) -> FlipAngleSeries | None:
    """Return the images at several flip angles; None if there are none, or a sidecar is incomplete.

    Parameters
    ----------
    files
        The VFA images of a session.
    problems
        Receives what the sidecars lack.

    Raises
    ------
    BadInput
        If an image cannot be used, or the images have different TR.
    """
    found = sorted(files, key=lambda f: str(f.filename))
    if not found:
        return None
    images = [image_path(f, 3) for f in found]
    sidecars = [(f.get_metadata(), i) for f, i in zip(found, images, strict=True)]
    for metadata, image in sidecars:
        check_spoiled_gradient_echo(metadata, image)
    attempt, limits = problems.attempt, ("degrees", 0.5, 90)
    angles = [attempt(read_field, m, "FlipAngle", i, *limits) for m, i in sidecars]
    stated = [attempt(read_repetition_time, m, i) for m, i in sidecars]
    times = {time.value for time in stated if time}
    if None in (*angles, *stated):
        return None
    if len(times) > 1:
        raise BadInput(
            f"{images[0].name}: the VFA images have different RepetitionTimeExcitation: "
            f"{', '.join(f'{t:g}' for t in sorted(times))} s"
        )
    radians = tuple(math.radians(a) for a in angles if a is not None)
    return FlipAngleSeries(tuple(images), radians, times.pop())
