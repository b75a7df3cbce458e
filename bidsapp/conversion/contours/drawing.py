"""What a file of contours or masks contains: named regions, and the image they were drawn on."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bidsapp.errors import BadInput

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Slab:
    """The contours of one plane, and the slab of space that they stand for.

    Attributes
    ----------
    position, low, high : float, mm
        Of the plane and of both faces of the slab, along the normal of the planes.
    areas : tuple of tuple of (N, 2) array, mm
        Closed contours in the plane, in groups. An area is what any contour of a group encloses;
        what lies inside an even number of areas is outside.
    """

    position: float
    low: float
    high: float
    areas: tuple[tuple[Points, ...], ...]

    @property
    def polygons(self) -> tuple[Points, ...]:
        """All contours of the plane."""
        return tuple(polygon for area in self.areas for polygon in area)


@dataclass(frozen=True, eq=False)
class Contours:
    """A region drawn as closed contours in parallel planes.

    Attributes
    ----------
    axes : (3, 3) array
        Two directions in the planes and their normal as rows, orthonormal, RAS.
    slabs : tuple of Slab
        In ascending order. A region in one plane of unknown distance has a slab without thickness.
    """

    axes: NDArray[np.float64]
    slabs: tuple[Slab, ...]

    @property
    def is_flat(self) -> bool:
        """Whether the distance of the planes is not known."""
        return all(slab.high <= slab.low for slab in self.slabs)


@dataclass(frozen=True, eq=False)
class VoxelMask:
    """A region drawn as voxels.

    Attributes
    ----------
    inside : (X, Y, Z) array of bool
    affine : (4, 4) array
        Its voxels to RAS mm.
    """

    inside: NDArray[np.bool_]
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class Region:
    """A named region of a file.

    Attributes
    ----------
    name : str
        As it is in the file, but for what identifies the patient.
    key : str
        Its number in the file, by which it can also be selected.
    shape : Contours or VoxelMask or None
        None if it cannot be used.
    problem : str
        Why it cannot be used.
    warnings : tuple of str
        What is doubtful about it.
    empty : bool
        Whether nothing is drawn of it.
    """

    name: str
    key: str
    shape: Contours | VoxelMask | None
    problem: str = ""
    warnings: tuple[str, ...] = ()
    empty: bool = False

    def require_shape(self) -> Contours | VoxelMask:
        """Return the shape.

        Raises
        ------
        BadInput
            If the region cannot be used.
        """
        if self.shape is None:
            raise BadInput(f"{self.name!r}: {self.problem}")
        return self.shape


@dataclass(frozen=True)
class ImageSeries:
    """A series of images to which a file with contours refers.

    Attributes
    ----------
    uid : str
    count : int
        Number of its images that are listed.
    modality : str
        ``CT`` or ``PET``; empty for all others.
    """

    uid: str
    count: int = 0
    modality: str = ""


@dataclass(frozen=True)
class Drawing:
    """The regions of a file.

    Attributes
    ----------
    format : str
        Of the file, for messages.
    regions : tuple of Region
    frame : str
        UID of the frame of reference of its coordinates; empty if the format has none.
    images : tuple of ImageSeries
        The series of images that the file refers to.
    warnings : tuple of str
        What is doubtful about the file.
    identity : tuple of str
        What only copies of the file share: its UID, if it has one, and a digest of its bytes.
    patient : str
        Identifier of the patient, for comparison only: it is never shown or written.
    words : frozenset of str
        Texts that identify the patient, the place or the day, likewise.
    """

    format: str
    regions: tuple[Region, ...]
    frame: str = ""
    images: tuple[ImageSeries, ...] = ()
    warnings: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    patient: str = field(default="", repr=False)
    words: frozenset[str] = field(default=frozenset(), repr=False)
