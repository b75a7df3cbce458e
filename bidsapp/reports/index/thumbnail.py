"""Thumbnail of a participant: the T1w slice with the largest lesions, and their outline."""

from io import BytesIO

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.bids import outputs
from bidsapp.errors import BadInput
from bidsapp.reports.participant.records import ParticipantOutputs, SessionOutputs, load_volume
from bidsapp.reports.participant.slices import brain_box, grey_window, spacing, turn

SIDE = 70
"""Rows and columns of a thumbnail, pixels."""

_QUALITY = 42
"""Quality of the JPEG file: about 1.3 kB."""

_OUTLINE = (255, 170, 0)
"""Colour of the outline of lesions."""


def participant_thumbnail(participant: ParticipantOutputs) -> bytes:
    """Return the thumbnail of a participant as a JPEG file.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    data : bytes
        Of the first session with a T1w and lesions, or else with a T1w; empty without a T1w, or if
        no image can be read.
    """
    with_t1w = [session for session in participant.sessions if session.t1w]
    kinds = ("whole", "enhancing")
    drawn = [s for s in with_t1w if any(s.roi_files("anat", kind) for kind in kinds)]
    for session in (*drawn[:1], *with_t1w[:1]):
        try:
            return _session_thumbnail(session)
        except BadInput:  # named by the findings of the participant
            continue
    return b""


def _session_thumbnail(session: SessionOutputs) -> bytes:
    """Return the thumbnail of a session with a T1w."""
    assert session.t1w is not None
    volume = load_volume(session.t1w)
    labels = session.lesions(volume, "anat")
    inside = np.zeros(volume.data.shape, bool) if labels is None else labels > 0
    axis = volume.slice_axis
    others = tuple(i for i in range(3) if i != axis)
    index = int(np.argmax(inside.sum(axis=others)))
    if not inside.any():
        index = volume.data.shape[axis] // 2
    mask = session.find(outputs.BRAIN_MASK)
    brain = load_volume(mask) if mask else volume
    brain = brain if brain.same_grid(volume) else volume
    row, column, rows, columns = brain_box(brain, axis)
    part = np.s_[row : row + rows, column : column + columns]
    plane = turn(np.nan_to_num(np.take(volume.data, index, axis)))[part]
    lesion = turn(np.take(inside, index, axis))[part]
    return draw_thumbnail(plane, lesion, spacing(volume, axis), grey_window(volume, brain))


def draw_thumbnail(
    plane: NDArray[np.float64],
    lesion: NDArray[np.bool_],
    size: tuple[float, float],
    window: tuple[float, float],
) -> bytes:
    """Draw a slice with the outline of its lesions as a small JPEG file.

    Parameters
    ----------
    plane, lesion : (M, N) array
        As displayed.
    size : (float, float)
        Of a row and a column, mm.
    window : (float, float)
        Grey limits.

    Returns
    -------
    data : bytes
        The same arrays always give the same bytes.

    Examples
    --------
    >>> draw_thumbnail(np.eye(80), np.eye(80) > 0, (1.0, 1.0), (0.0, 1.0))[:2].hex()
    'ffd8'
    """
    extent = np.array(plane.shape) * size
    scale = SIDE / extent.max() * np.array(size)
    grey = np.clip((plane - window[0]) / (window[1] - window[0]), 0, 1)
    # Blurred to the size of the pixels, so that fine detail does not become a pattern.
    smooth = ndimage.gaussian_filter(grey, np.maximum(0.5 / scale - 0.5, 0))
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    small = np.clip(ndimage.zoom(smooth, scale, order=1), 0, 1)[:SIDE, :SIDE]
    mask = (
        ndimage.zoom(ndimage.binary_fill_holes(lesion).astype(float), scale, order=1)[:SIDE, :SIDE]
        > 0.5
    )
    start = (SIDE - np.array(small.shape)) // 2
    place = np.s_[start[0] : start[0] + small.shape[0], start[1] : start[1] + small.shape[1]]
    picture[place] = (255 * small[..., None]).astype(np.uint8)
    picture[place][ndimage.binary_dilation(mask) & ~mask] = _OUTLINE
    buffer = BytesIO()
    options = {"quality": _QUALITY, "optimize": True}
    imsave(buffer, picture, format="jpeg", pil_kwargs=options)
    return buffer.getvalue()
