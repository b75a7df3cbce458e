"""ROI images of a session: one label image, or a mask for each lesion."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bidsapp.bids.grids import has_other_axes, is_same_grid, reorient
from bidsapp.bids.images import UNREADABLE
from bidsapp.bids.index import IndexedFile, how_to_choose, image_path
from bidsapp.bids.records import Lesion, Rois, Space
from bidsapp.bids.roi_tables import find_lesions, find_table, read_labels
from bidsapp.bids.tissue_classes import REMEDY, named_classes
from bidsapp.errors import BadInput

_SPACE_OF_FOLDER: Mapping[str, Space] = {"anat": "T1w", "dwi": "dwi", "perf": "dce"}
_MASK_VALUE = 100
"""Lowest value of a mask that cannot be the number of a lesion: it means 1."""


def find_rois(
    kind: str,
    segmentations: Sequence[IndexedFile],
    masks: Sequence[IndexedFile],
    numbers: Mapping[str, int],
) -> tuple[Rois, ...]:
    """Return the ROIs of one kind in each space; masks count only where there is no label image.

    Parameters
    ----------
    kind
        ``enhancing`` or ``whole``.
    segmentations, masks
        Files with the suffixes ``dseg`` and ``mask`` of one session.
    numbers
        Number of the lesion of each ``label-`` of a mask.

    Raises
    ------
    BadInput
        If it is unknown which image is meant, or an image cannot be used.
    """
    by_space: dict[Space, list[IndexedFile]] = {}
    drawn = {space_of(found) for found in segmentations}
    for found in [*segmentations, *(m for m in masks if space_of(m) not in drawn)]:
        by_space.setdefault(space_of(found), []).append(found)
    rois = []
    for space, several in by_space.items():
        labels = [f.entities.get("label") for f in several]
        # A single label in all sessions, such as label-lesion, does not number lesions.
        numbered = len(numbers) > 1 and set(labels) <= numbers.keys()
        is_mask = {f.entities.get("suffix") for f in several} == {"mask"}
        if is_mask and numbered and len(set(labels)) == len(labels):
            rois.append(_combine_masks(space, several, numbers))
        elif len(several) > 1:
            names = ", ".join(sorted(f.filename for f in several))
            raise BadInput(
                f"several {kind} ROI images in the space of the {space}: {names}; "
                f"{how_to_choose('roi', several)}; masks of single lesions are named like "
                f"label-1_desc-{kind}_mask, label-2_desc-{kind}_mask"
            )
        else:
            rois.append(_read_rois(space, several[0]))
    return tuple(rois)


def _read_rois(space: Space, found: IndexedFile) -> Rois:
    """Return the ROIs of one label image or mask."""
    image = image_path(found, 3)
    table = find_table(image, found.root)
    if table is None and found.entities.get("suffix") == "mask":
        values = np.unique(read_labels(image))
        if len(values) == 2 and values[0] == 0 and values[1] >= _MASK_VALUE:
            return Rois(image, space, (Lesion(1, "lesion 1"),), masks=((1, image),))
    lesions = find_lesions(image, table)
    if len(classes := named_classes(lesions)) > 1:
        named = ", ".join(f"{number} is {name}" for name, number in classes.items())
        raise BadInput(f"{image}: its labels are tissue classes, not lesions: {named}. {REMEDY}")
    _check_listed(image, lesions, table)
    return Rois(image, space, lesions, table)


def read_region(name: str, found: Sequence[IndexedFile]) -> tuple[Rois, ...]:
    """Return the region of the user in an image, with a label for each part; none without one.

    Parameters
    ----------
    name
        Such as ``reference``, or the ``seg-`` of an atlas.
    found
        Its images in one session.

    Raises
    ------
    BadInput
        If there are several, or an image cannot be used.
    """
    if len(found) > 1:
        names = ", ".join(sorted(f.filename for f in found))
        raise BadInput(
            f"several images of the region {name}: {names}; {how_to_choose('roi', found)}"
        )
    regions = []
    for one in found:
        image, space = image_path(one, 3), space_of(one)
        if one.entities.get("suffix") == "mask" or name == "reference":  # one region, always
            if not _read_mask(image).any():
                raise BadInput(f"{image}: the mask is empty; draw the region {name}")
            regions.append(Rois(image, space, (Lesion(1, name),), masks=((1, image),)))
        else:
            table = find_table(image, one.root)
            lesions = find_lesions(image, table)
            _check_listed(image, lesions, table)
            regions.append(Rois(image, space, lesions, table))
    return tuple(regions)


def _check_listed(image: Path, lesions: Sequence[Lesion], table: Path | None) -> None:
    """Refuse an image with labels none of which its table has.

    Its lesions are there under other numbers; they would be taken for lesions that have vanished.
    """
    labels = sorted(set(np.unique(read_labels(image)).tolist()) - {0})
    listed = sorted(lesion.index for lesion in lesions)
    if table is None or not labels or set(labels) & set(listed):
        return
    have, known = (", ".join(map(str, numbers[:5])) for numbers in (labels, listed))
    raise BadInput(
        f"{image}: none of its labels ({have}) is in {table.name} (which lists "
        f"{known or 'none of them'}); use the same numbers in both"
    )


def _combine_masks(space: Space, found: Sequence[IndexedFile], numbers: Mapping[str, int]) -> Rois:
    """Return the ROIs of masks of single lesions, after checking that they do not overlap."""
    files = sorted(found, key=lambda f: numbers[f.entities["label"]])
    labels = [str(f.entities["label"]) for f in files]
    masks = [(numbers[n], image_path(f, 3)) for n, f in zip(labels, files, strict=True)]
    (_, first), *others = masks
    for _, path in others:
        if not is_same_grid(path, first):
            raise BadInput(f"{path}: its grid is not that of {first.name}; draw both on one image")
    inside = {path: _read_mask(path) for _, path in masks}
    for one, other in combinations(inside, 2):
        if common := int(np.count_nonzero(inside[one] & inside[other])):
            raise BadInput(
                f"{one.name} and {other.name} overlap in {common} voxels; a voxel can belong to "
                "one lesion only"
            )
    table = find_table(first, files[0].root)
    lesions = tuple(Lesion(numbers[label], _lesion_name(label)) for label in labels)
    return Rois(first, space, find_lesions(first, table) if table else lesions, table, tuple(masks))


def _lesion_name(label: str) -> str:
    """Return the name of the lesion of a mask: its label, or ``lesion 1`` for a number."""
    numbered = re.fullmatch(r"(?:lesion)?0*(\d+)", label)
    return f"lesion {numbered[1]}" if numbered else label


def number_masks(labels: Iterable[str]) -> dict[str, int]:
    """Return the number of the lesion for each ``label-`` of the masks of a participant.

    It is the number in the label, if all labels differ in their number only, otherwise the rank.

    Examples
    --------
    >>> number_masks(["lesion3", "lesion1"])
    {'lesion1': 1, 'lesion3': 3}
    >>> number_masks(["frontal", "cerebellum"])
    {'cerebellum': 1, 'frontal': 2}
    """
    names = sorted(set(labels))
    found = [re.fullmatch(r"(\D*)0*([1-9]\d{0,8})", name) for name in names]
    matches = [match for match in found if match]
    numbers = [int(match[2]) for match in matches]
    alike = len(matches) == len(names) and len({match[1] for match in matches}) <= 1
    if not alike or len(set(numbers)) < len(names):
        numbers = list(range(1, len(names) + 1))
    return dict(zip(names, numbers, strict=True))


def _read_mask(path: Path) -> NDArray[np.bool_]:
    """Return a mask; several values are refused."""
    labels = read_labels(path)
    values = np.unique(labels[labels > 0])
    if len(values) > 1:
        raise BadInput(f"{path}: is a mask of one region, but has the values {values[:5].tolist()}")
    return labels > 0


def roi_labels(rois: Rois) -> NDArray[np.int32]:
    """Return the labels of ROIs: masks combined, and on the grid of the image they belong to."""
    labels = read_labels(rois.image)
    if rois.masks:
        labels = np.zeros_like(labels)
        for number, path in rois.masks:
            labels[_read_mask(path)] = number
    return reorient(labels, rois.image, rois.grid) if rois.grid else labels


def fit_to_grid(rois: Rois, image: Path) -> tuple[Rois, str]:
    """Return ROIs whose voxels coincide with those of an image, on its grid, and a note on it.

    Parameters
    ----------
    rois
        ROIs without a `bidsapp.bids.grids.grid_difference` to the image.
    image
        The image that they belong to.
    """
    if is_same_grid(rois.image, image):
        return rois, ""
    if not has_other_axes(rois.image, image):
        return replace(rois, grid=image), ""
    return replace(rois, grid=image), (
        f"{rois.image.name}: its axes differ in order or direction from those of {image.name}: "
        "reoriented without interpolation"
    )


def write_labels(rois: Rois, path: Path) -> Rois:
    """Write combined or reoriented labels as one image, and return the ROIs with this image."""
    save_labels(roi_labels(rois), nib.load(rois.grid or rois.image).affine, path)
    return replace(rois, image=path, masks=(), grid=None, drawn_in=rois.sources)


def save_labels(labels: NDArray[np.int32], affine: NDArray[np.float64], path: Path) -> None:
    """Write labels as an image; an unchanged file is left, and keeps its steps up to date."""
    if not _holds(path, labels, affine):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(labels, affine)
        image.header.set_xyzt_units("mm")
        nib.save(image, path)


def _holds(path: Path, labels: NDArray[np.int32], affine: NDArray[np.float64]) -> bool:
    """Return whether a file contains these labels on this grid."""
    try:
        image = nib.load(path)
        same = np.array_equal(np.asanyarray(image.dataobj), labels)
    except UNREADABLE:
        return False
    return same and np.allclose(image.affine, affine, atol=1e-6)


def space_of(found: Any) -> Space:
    """Return the space of an ROI: its ``space-`` entity, or else that of its folder."""
    named = found.entities.get("space")
    if named in (None, "T1w", "dwi", "dce"):
        space: Space = named or _SPACE_OF_FOLDER.get(found.entities.get("datatype"), "T1w")
        return space
    raise BadInput(f"{found.filename}: space-{named} is not supported; use T1w, dwi or dce")
