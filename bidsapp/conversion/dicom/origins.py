"""From which series each image of a data set was made, and images whose row was changed since."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bidsapp.bids.inheritance import read_sidecar
from bidsapp.conversion.dicom.plan import Target
from bidsapp.conversion.dicom.tables import Tables

SOURCE = "PreparedFrom"
"""Field of a sidecar with the pseudonyms of the studies, and the numbers of the series."""


def name_source(target: Target, names: Mapping[str, str]) -> str:
    """Return what an image is made from.

    Parameters
    ----------
    target
        The image.
    names
        UID of each study -> its pseudonym.
    """
    studies = sorted({names[series.study] for series in target.series})
    return f"{' '.join(studies)}: {target.numbers}"


def read_source(image: Path) -> str:
    """Return what an image was made from; empty if its sidecar does not state it."""
    sidecar = image.with_name(image.name.removesuffix(".nii.gz") + ".json")
    return str(read_sidecar(sidecar).get(SOURCE) or "") if sidecar.is_file() else ""


def find_strays(
    bids_dir: Path, targets: Sequence[Target], names: Mapping[str, str], tables: Tables
) -> Iterator[str]:
    """Yield a text for each image that the tables do not describe any more.

    A study that was given another label, or a series another use, leaves its first image behind.

    Parameters
    ----------
    bids_dir
        The data set.
    targets
        Images of the studies of this run.
    names
        UID of each study of this run -> its pseudonym.
    tables
        Uses and labels.
    """
    labels = {name: (v.participant, v.session) for name, v in tables.visits.items()}
    expected = {target.path(bids_dir) for target in targets}
    present = set(names.values())
    for image in sorted(bids_dir.glob("sub-*/ses-*/*/*.nii.gz")):
        studies = read_source(image).partition(":")[0].split()
        participant, session = image.relative_to(bids_dir).parts[:2]
        own = (participant.removeprefix("sub-"), session.removeprefix("ses-"))
        moved = any(labels.get(study) != own for study in studies)
        if studies and image not in expected and (moved or present & set(studies)):
            yield (
                f"{image.relative_to(bids_dir)}: was made from series {read_source(image)}, which "
                "now have another label or use in visits.tsv or series.tsv: remove its files"
            )
