"""Options of ``metperf rois``."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp.cli.statistics_options import add_verbosity
from bidsapp.cli.types import OneLineParser, nonnegative_number

if TYPE_CHECKING:
    from bidsapp.conversion.contours.choice import Use
    from bidsapp.issues import Issue


def contour_parser() -> ArgumentParser:
    """Return the parser of ``metperf rois bids_dir source ...``."""
    made = OneLineParser(
        prog="metperf rois",
        description="Write the ROIs of lesions and arteries that metperf reads, from contours and "
        "masks of other programs: RTSTRUCT, DICOM SEG, 3D Slicer, ITK-SNAP, label images, masks.",
        allow_abbrev=False,
    )
    made.add_argument("bids_dir", type=Path, help="the data set")
    made.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="source",
        help="files or folders of one visit; or of a study, a folder with "
        "PARTICIPANT/SESSION/FILE, or with DICOM files in any folders that state the frame of "
        "reference of the T1w, or a table (.tsv) with the columns participant, session, file, "
        "and optionally use, as, drawn_on",
    )
    _add_regions(made)
    _add_placement(made)
    _add_dose(made)
    _add_output(made)
    add_verbosity(made)
    return made


def _add_regions(made: ArgumentParser) -> None:
    from bidsapp.conversion.contours.choice import KINDS

    group = made.add_argument_group("what is used")
    for name, what in (("participant", "sub-"), ("session", "ses-")):
        group.add_argument(
            f"--{name}-label",
            dest=f"{name}s",
            nargs="+",
            metavar="LABEL",
            help=f"{name}s, with or without {what}; one of each for files of one visit",
        )
    group.add_argument(
        "--use",
        action="append",
        metavar="PATTERN",
        help="regions with these names or numbers (* and ? as in file names); may be repeated, "
        "each with its --as (default: all regions, except of an RTSTRUCT)",
    )
    group.add_argument(
        "--as",
        dest="kinds",
        action="append",
        choices=[kind for kind in KINDS if kind != "artery"],
        help="what these regions are: whole lesions, their enhancing part, both (lesions that "
        "enhance throughout), or the core without enhancement, which is taken from the other part",
    )
    group.add_argument(
        "--artery", metavar="PATTERN", help="the region that is the artery for the DCE series"
    )
    group.add_argument(
        "--split",
        action="store_true",
        help="each connected part is a lesion: for classes such as those of BraTS and nnU-Net, and "
        "for one mask of all lesions",
    )
    group.add_argument(
        "--min-volume",
        type=nonnegative_number,
        default=0.0,
        metavar="ML",
        help="leave out parts below this volume, with --split (default: %(default)g)",
    )


def _add_placement(made: ArgumentParser) -> None:
    group = made.add_argument_group("where regions are")
    group.add_argument(
        "--drawn-on",
        type=Path,
        metavar="IMAGE",
        help="the NIfTI image on which they were drawn, if it is not the T1w: a file, or the name "
        "of one beside the contours of each visit; it is registered to the T1w",
    )
    group.add_argument(
        "--aligned",
        action="store_true",
        help="the coordinates are those of the T1w, although slices or voxels are not",
    )
    group.add_argument(
        "--vanished",
        action="store_true",
        help="lesions of earlier visits that are not drawn have disappeared: list them, without "
        "voxels",
    )


def _add_dose(made: ArgumentParser) -> None:
    group = made.add_argument_group("dose")
    group.add_argument(
        "--dose",
        choices=("plan", "sum", "none"),
        default="plan",
        help="RTDOSE among the sources: the dose of the only plan of a visit, the sum of the doses "
        "of several plans, or none (default: %(default)s)",
    )


def _add_output(made: ArgumentParser) -> None:
    group = made.add_argument_group("what is written")
    group.add_argument(
        "--rois-dir",
        type=Path,
        metavar="FOLDER",
        help="folder of the ROIs (default: bids_dir/derivatives/manual_masks)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace ROIs that exist (default: refuse)"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="check everything and list it, but write nothing"
    )


def parse_uses(parser: ArgumentParser, options: Namespace) -> tuple["Use", ...]:
    """Return the patterns of names with what the regions are."""
    from bidsapp.conversion.contours.choice import Use

    patterns, kinds = options.use or [], options.kinds or []
    if patterns and len(kinds) == 1:
        kinds = kinds * len(patterns)
    if not patterns and len(kinds) == 1:
        patterns = [""]
    if len(patterns) != len(kinds) and kinds:
        parser.error(
            f"{len(patterns)} --use and {len(kinds)} --as: give each --use its --as, in this order"
        )
    artery = (Use(options.artery, "artery"),) if options.artery else ()
    return (*(Use(p, k) for p, k in zip(patterns, kinds, strict=bool(kinds))), *artery)


def convert_contours(
    parser: ArgumentParser, options: Namespace, report: Callable[[str], None]
) -> list["Issue"]:
    """Write the ROIs that the options describe, and return the issues."""
    from bidsapp.issues import Issue
    from bidsapp.run.rois.jobs import Selection, find_jobs
    from bidsapp.run.rois.study import Request, convert
    from bidsapp.run.rois.visit import Options

    bids_dir = options.bids_dir.resolve()
    chosen = Selection(
        tuple(label.removeprefix("sub-") for label in options.participants or ()),
        tuple(label.removeprefix("ses-") for label in options.sessions or ()),
        parse_uses(parser, options),
        options.drawn_on,
    )
    jobs, notes, warnings = find_jobs(options.sources, chosen, bids_dir)
    for note in notes:
        report(note)
    request = Request(
        bids_dir,
        (options.rois_dir or bids_dir / "derivatives" / "manual_masks").resolve(),
        Options(
            split=options.split,
            smallest=options.min_volume,
            aligned=options.aligned,
            vanished=options.vanished,
            dose=options.dose,
        ),
        overwrite=options.overwrite,
        dry_run=options.dry_run,
    )
    return [*(Issue("warning", text) for text in warnings), *convert(jobs, request, report)]
