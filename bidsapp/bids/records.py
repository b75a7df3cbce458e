"""Frozen records of the contents of a data set: paths, and numbers in internal units."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

Space = Literal["T1w", "dwi", "dce"]
FRAME_RANGE = (0.2, 120.0)
"""Plausible time between two frames of a dynamic series, s."""
RELAXIVITY_RANGE = (0.5, 50.0)
"""Accepted relaxivities, 1/s/mM."""
TR_RANGE = (5e-4, 0.2)
"""Plausible time between two excitations of a spoiled gradient echo, s; no volume of a 3D series
takes so little."""


@dataclass(frozen=True)
class SpinEcho:
    """Timing of a spin-echo series in s, and the field strength in T."""

    echo_time: float
    repetition_time: float
    field_strength: float


@dataclass(frozen=True)
class Diffusion:
    """A diffusion series: its image, the b-value of each volume (s/mm2), and gradients.

    `phase_axis` is the voxel axis of phase encoding; `left_out` are volumes of the image, counted
    from 0, that are not analysed and have no b-value here. `fifth_axis`: the image is stored with
    a fifth axis, of length one. `spin_echo` is its timing; without it,
    `unknown_timing` is the reason.
    """

    image: Path
    bvalues: tuple[float, ...]
    bvectors: Path | None
    phase_axis: int | None = None
    left_out: tuple[int, ...] = ()
    fifth_axis: bool = False
    spin_echo: SpinEcho | None = None
    unknown_timing: str = "the echo time of the diffusion series is not known"

    @property
    def sources(self) -> tuple[Path, ...]:
        """The image of the data set."""
        return (self.image,)

    def without(self, volumes: Collection[int]) -> "Diffusion":
        """Return the series without some of its present volumes, counted from 0."""
        kept, left_out = _leave_out(self.bvalues, self.left_out, volumes)
        return replace(self, bvalues=kept, left_out=left_out)


@dataclass(frozen=True)
class FieldSource:
    """The image from which the distortion of an EPI series is calculated.

    `kind` is ``fieldmap`` (times `scale` it is the shift in mm along the phase-encode axis),
    ``epi`` with reversed phase encoding (shifted `scale` times as far, in mm), or ``T1w``.
    """

    kind: Literal["fieldmap", "epi", "T1w"]
    image: Path
    scale: float = 1.0


@dataclass(frozen=True)
class Distortion:
    """The phase-encoding axis of a diffusion series, and the source of its distortion.

    Without a source, `lack` describes what is missing, or `problem` what is wrong. `note` is a
    remark on the source.
    """

    axis: int | None
    source: FieldSource | None = None
    lack: str = ""
    problem: str = ""
    note: str = ""


@dataclass(frozen=True)
class Stated:
    """A number, and where the data set states it."""

    value: float
    source: str


@dataclass(frozen=True)
class Dynamic:
    """A spoiled gradient-echo DCE series: TR in s, flip angle in rad, times in min.

    `haematocrit` (fraction) and `t1_blood` (s) are those of the visit, if they are stated;
    `doubts` are warnings about the sequence and its timing.
    `left_out` are frames of the image, counted from 0, that are not analysed and have no time here.
    `fifth_axis`: the image is stored with a fifth axis, of length one.
    `times_source` and `repetition_time_source` are the field or option that states them, and
    `agent_source` is the field that names the agent.
    `frames` are the images of the single frames in order of time, if the data set has no image of
    the whole series; `image` is then the first of them until they are joined.
    """

    image: Path
    times: tuple[float, ...]
    repetition_time: float
    flip_angle: float
    field_strength: float
    relaxivity: float | None
    agent: str | None
    haematocrit: Stated | None = None
    t1_blood: Stated | None = None
    doubts: tuple[str, ...] = ()
    left_out: tuple[int, ...] = ()
    fifth_axis: bool = False
    times_source: str = ""
    repetition_time_source: str = ""
    agent_source: str = ""
    frames: tuple[Path, ...] = ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The images of the data set: one, or one per frame."""
        return self.frames or (self.image,)

    def without(self, volumes: Collection[int]) -> "Dynamic":
        """Return the series without some of its present frames, counted from 0."""
        kept, left_out = _leave_out(self.times, self.left_out, volumes)
        return replace(self, times=kept, left_out=left_out)


def _leave_out(
    values: tuple[float, ...], left_out: tuple[int, ...], volumes: Collection[int]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the values of the remaining volumes, and all volumes of the image left out so far."""
    total = len(values) + len(left_out)
    present = [number for number in range(total) if number not in left_out]
    kept = tuple(value for i, value in enumerate(values) if i not in volumes)
    return kept, tuple(sorted({*left_out, *(present[i] for i in volumes)}))


@dataclass(frozen=True)
class FlipAngleSeries:
    """Images at several flip angles (rad) and one TR (s), for a T1 map."""

    images: tuple[Path, ...]
    flip_angles: tuple[float, ...]
    repetition_time: float


@dataclass(frozen=True)
class TransmitField:
    """A B1 map; multiplied by `scale`, it is the ratio of actual to nominal flip angle."""

    image: Path
    scale: float


@dataclass(frozen=True)
class T1Map:
    """A T1 map; multiplied by `scale`, it is in s. `source` names the file and its unit."""

    image: Path
    scale: float
    source: str


@dataclass(frozen=True)
class Lesion:
    """One row of an ROI table."""

    index: int
    name: str
    excluded: bool = False


@dataclass(frozen=True)
class Rois:
    """A label image, its space, the lesions in it, and their table.

    `masks` are the number and the mask of each lesion, if the labels are not in one image; `grid`
    is the image on whose grid the labels are used, if they are drawn with other axes. `drawn_in`
    are the user's files behind an image that combines or reorients them. `propagated_from` is the
    session for which they were drawn, if they were carried from it.
    """

    image: Path
    space: Space
    lesions: tuple[Lesion, ...]
    table: Path | None = None
    masks: tuple[tuple[int, Path], ...] = ()
    grid: Path | None = None
    drawn_in: tuple[Path, ...] = ()
    propagated_from: str = ""

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that the user has drawn."""
        return self.drawn_in or tuple(path for _, path in self.masks) or (self.image,)


@dataclass(frozen=True)
class UserTransform:
    """An ITK transform of the user, from an image to the T1w, or from the T1w to the baseline.

    `moving` is the image to be moved: ``dwi``, ``dce`` or ``T1w``.
    """

    moving: Space
    file: Path


def _slug(name: str) -> str:
    """Return a name with an underscore for each other sign; labels contain no underscores."""
    return re.sub(r"\W", "_", name, flags=re.ASCII)


@dataclass(frozen=True)
class Session:
    """The data of one session; missing data are None.

    `problems` describe unusable files, `warnings` usable but doubtful ones, and `notes` what was
    inferred without doubt. `dose` is a map of the dose in Gy on the T1w. `regions` are the user's
    other regions by name, such as ``reference``. `incomplete` is a dynamic series that is not
    analysed because its sidecar lacks what `problems` name; numbers that are not known are NaN.
    """

    participant: str
    label: str
    days: float | None = None
    t1w: Path | None = None
    diffusion: Diffusion | None = None
    distortion: Distortion | None = None
    dynamic: Dynamic | None = None
    incomplete: Dynamic | None = None
    flip_angle_series: FlipAngleSeries | None = None
    transmit_field: TransmitField | None = None
    t1_map: T1Map | None = None
    enhancing: tuple[Rois, ...] = ()
    whole: tuple[Rois, ...] = ()
    artery: Rois | None = None
    arterial_table: Path | None = None
    dose: Path | None = None
    regions: tuple[tuple[str, Rois], ...] = ()
    transforms: tuple[UserTransform, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``ses-baseline``."""
        return f"ses-{self.label}"

    @property
    def slug(self) -> str:
        """The name of the session in a workflow: letters, digits and underscores.

        >>> Session("01", "post+1wk").slug
        'ses_post_1wk'
        """
        return _slug(self.id)

    def lack_of(self, image: str) -> str:
        """Return that there is no such image, or none that can be used if it was refused."""
        refused = any(f"_{image.lower()}." in text.lower() for text in self.problems)
        return f"no {image} that can be used" if refused else f"no {image}"

    def user_transforms(self, moving: Space) -> tuple[Path, ...]:
        """Return the user's transforms of an image: to the T1w, or of the T1w to the baseline."""
        return tuple(t.file for t in self.transforms if t.moving == moving)

    def rois(self, kind: Literal["enhancing", "whole"], space: Space) -> Rois | None:
        """Return the ROIs of a kind in a space, or None."""
        found = self.enhancing if kind == "enhancing" else self.whole
        return next((r for r in found if r.space == space), None)

    def region(self, name: str) -> Rois | None:
        """Return a region of the user by its name, or None."""
        return dict(self.regions).get(name)


@dataclass(frozen=True)
class Participant:
    """A participant and the sessions in chronological order.

    `order` are the labels of all sessions in that order, including those not selected.
    """

    label: str
    sessions: tuple[Session, ...] = field(default_factory=tuple)
    order: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``sub-01``."""
        return f"sub-{self.label}"

    @property
    def slug(self) -> str:
        """The name of the participant in a workflow: letters, digits and underscores."""
        return _slug(self.id)

    def session(self, label: str) -> Session:
        """Return the session with a label, without ``ses-``."""
        return next(session for session in self.sessions if session.label == label)

    def baseline(self, label: str | None) -> Session | None:
        """Return the session with the reference T1w: the labelled one, or the first with a T1w."""
        with_anatomy = [s for s in self.sessions if s.t1w]
        if label is not None:
            return next((s for s in with_anatomy if s.label == label), None)
        return with_anatomy[0] if with_anatomy else None
