"""Options of a study."""

import os
from argparse import ArgumentParser, _ArgumentGroup
from pathlib import Path

from bidsapp.cli.diffusion_options import add_diffusion
from bidsapp.cli.dynamic_options import add_dynamic
from bidsapp.cli.model_options import add_model, add_model_options
from bidsapp.cli.statistics_options import add_statistics, add_verbosity
from bidsapp.cli.types import (
    OneLineParser,
    derivative_folder,
    existing_file,
    existing_path,
    memory,
    memory_limit,
    positive_integer,
    roi_name,
)
from bidsapp.config import (
    DISTORTION,
    ENGINES,
    FIT_SPACES,
    ROI_SPACES,
    SPACES,
    Config,
    version,
)


def study_parser() -> ArgumentParser:
    """Return the parser of ``metperf bids_dir output_dir analysis_level``."""
    made = OneLineParser(
        prog="metperf",
        description="Perfusion MRI (IVIM and DCE) of brain tumours under treatment. "
        "'metperf prepare DICOM BIDS' makes a data set of DICOM; "
        "'metperf check BIDS' lists what a data set lacks; "
        "'metperf phantom OUT' writes a synthetic data set to try it on; 'metperf rois "
        "BIDS SOURCE' writes ROIs from contours of other programs; 'metperf stats "
        "LESIONS.tsv OUT' computes the group statistics from a table of lesions; 'metperf recovery "
        "BIDS OUT' shows which changes a scan and its analysis recover; 'metperf slurm BIDS OUT' "
        "writes scripts for a cluster.",
        allow_abbrev=False,
    )
    add_folders(made)
    made.add_argument(
        "analysis_level", nargs="+", help="participant, group, or both, run in this order"
    )
    made.add_argument("--version", action="version", version=f"metperf v{version()}")
    add_options(made)
    return made


def add_folders(made: ArgumentParser) -> None:
    """Add the input and output folders of a study."""
    add_bids_dir(made)
    made.add_argument("output_dir", type=Path, help="folder for the derivatives")


def add_bids_dir(made: ArgumentParser) -> None:
    """Add the input folder."""
    made.add_argument("bids_dir", type=Path, help="the BIDS data set")


def add_options(made: ArgumentParser) -> None:
    """Add all options of a study."""
    _add_selection(made)
    _add_analysis(made)
    group = add_statistics(made)
    group.add_argument(
        "--ratings",
        nargs="+",
        type=existing_path,
        default=[],
        metavar="PATH",
        help="ratings of lesions saved from the pages of the participants, or folders with such "
        "files: the group level leaves out lesions rated exclude, and those rated repeat until "
        "they are analysed again",
    )
    group.add_argument(
        "--lesion-values",
        choices=["mean", "unmixed"],
        default="mean",
        help="which values of the lesions the group level compares: means over the voxels, or "
        "those of each lesion's own course, without the tissue around it (default: %(default)s)",
    )
    _add_resources(made)
    _add_behaviour(made)


def _add_selection(made: ArgumentParser) -> None:
    group = made.add_argument_group("what to analyse")
    group.add_argument(
        "--participant-label",
        "--participant_label",
        dest="participants",
        nargs="+",
        metavar="LABEL",
        help="participants to analyse, with or without sub- (default: all)",
    )
    group.add_argument(
        "--session-label",
        "--session-id",
        dest="sessions",
        nargs="+",
        metavar="LABEL",
        help="sessions to analyse, with or without ses- (default: all)",
    )
    group.add_argument(
        "--bids-filter-file",
        dest="filter_file",
        type=existing_file,
        metavar="FILE",
        help='JSON file {"query": {"entity": value}} that restricts the images found; queries: '
        "t1w dwi fmap dce vfa b1 roi aif xfm",
    )
    group.add_argument(
        "-d",
        "--derivatives",
        nargs="+",
        type=derivative_folder,
        metavar="[NAME=]PATH",
        help="folders with your ROIs, AIF masks and transforms "
        "(default: bids_dir/derivatives/manual_masks)",
    )
    group.add_argument(
        "--skip-bids-validation",
        "--skip_bids_validation",
        "--skip_bids_validator",
        action="store_true",
        help="do not run the BIDS validator",
    )
    group.add_argument(
        "--baseline-session",
        type=lambda x: x.removeprefix("ses-"),
        metavar="LABEL",
        help="session whose T1w the others are registered to (default: the first with a T1w)",
    )


def _add_analysis(made: ArgumentParser) -> None:
    group = made.add_argument_group("how to analyse")
    add_model(group, "ivim", "diffusion model fitted besides the ADC")
    add_diffusion(group)
    add_dynamic(group)
    add_model_options(group)
    _add_motion(group)
    _add_spaces(group)
    group.add_argument(
        "--sloppy",
        action="store_true",
        help="for a quick look, not for a study: rigid registration that is not cross-checked",
    )


def _add_spaces(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--registration-engine",
        choices=ENGINES,
        default=Config.registration_engine,
        help="metperf: local Pearson correlation, cross-checked with niimath when uncertain; "
        "niimath: AFNI's algorithm only (default: %(default)s)",
    )
    group.add_argument(
        "--distortion",
        choices=DISTORTION,
        default=Config.distortion,
        help="correction of EPI distortion in the diffusion series: none; auto: from a field map "
        "in fmap, or else from an epi image there with reversed phase encoding; t1w: estimated "
        "from the T1w, for data without either (default: %(default)s)",
    )
    group.add_argument(
        "--fit-space",
        choices=FIT_SPACES,
        default=Config.fit_space,
        help="grid on which models are fitted: that of the series (native), or that of the T1w, "
        "to which each volume is resampled once (default: %(default)s)",
    )
    _add_rois(group)
    group.add_argument(
        "--output-spaces",
        nargs="+",
        choices=SPACES,
        metavar="SPACE",
        help=f"spaces in which maps are written: {', '.join(SPACES)} (the baseline T1w) "
        "(default: native T1w; only T1w with --fit-space T1w)",
    )
    group.add_argument(
        "--keep-dates",
        action="store_true",
        help="copy the date and time of acquisition into the sidecars of maps",
    )


def _add_rois(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--roi-space",
        choices=ROI_SPACES,
        default=Config.roi_space,
        help="grid on which lesions are measured: that of the T1w, or that of the series "
        "(native), each voxel weighted by its fraction inside the ROI (default: %(default)s)",
    )
    group.add_argument(
        "--match-lesions",
        action="store_true",
        help="number the lesions of all visits by their place, as at the first visit with ROIs; "
        "what cannot be decided is a failure of that lesion",
    )
    group.add_argument(
        "--propagate-rois",
        action="store_true",
        help="carry the enhancing ROIs of the nearest visit to visits with series but without "
        "ROIs; marked everywhere, and without volumes",
    )
    group.add_argument(
        "--rois",
        nargs="+",
        type=roi_name,
        default=[],
        metavar="NAME",
        help="further regions with tables: ring (5 mm around each lesion), mirror (each lesion "
        "reflected into the other hemisphere), reference (normal-appearing white matter, found or "
        "given as label-reference_mask), and label images in --derivatives by their seg- "
        "(default: enhancing whole, which are always measured)",
    )


def _add_motion(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--no-motion-correction",
        dest="motion_correction",
        action="store_false",
        help="do not correct the series for motion",
    )
    group.add_argument(
        "--drop-outliers",
        action="store_true",
        help="exclude volumes marked as outliers in the motion table from means and fits",
    )


def _add_resources(made: ArgumentParser) -> None:
    group = made.add_argument_group("resources")
    group.add_argument(
        "-w",
        "--work-dir",
        type=Path,
        help="folder for intermediate files (default: output_dir/.work)",
    )
    group.add_argument(
        "--nprocs",
        "--nthreads",
        "--n-procs",
        "--n_procs",
        "--n-cpus",
        "--n_cpus",
        type=positive_integer,
        default=len(os.sched_getaffinity(0)),
        help="cores that the run may use (default: all available)",
    )
    group.add_argument(
        "--omp-nthreads",
        type=positive_integer,
        default=Config.omp_nthreads,
        help="cores that one step may use (default: %(default)s)",
    )
    group.add_argument(
        "--mem",
        "--mem-mb",
        "--mem_mb",
        dest="memory_gb",
        type=memory,
        default=memory_limit(),
        metavar="MB",
        help="memory that the run may use: in MB, or with a unit K, M, G or T "
        "(default: 90 %% of what is available)",
    )
    group.add_argument(
        "--use-plugin",
        "--nipype-plugin-file",
        dest="plugin_file",
        type=existing_file,
        metavar="FILE",
        help="YAML file with a nipype plugin and its plugin_args",
    )


def _add_behaviour(made: ArgumentParser) -> None:
    group = made.add_argument_group("behaviour")
    group.add_argument("--dry-run", action="store_true", help="print what would be done, and stop")
    group.add_argument(
        "--reports-only",
        action="store_true",
        help="rebuild the report pages of the level from stored results, without any analysis",
    )
    group.add_argument(
        "--boilerplate-only",
        "--boilerplate_only",
        action="store_true",
        help="write only CITATION.md",
    )
    group.add_argument(
        "--stop-on-first-crash", action="store_true", help="stop at the first step that fails"
    )
    group.add_argument(
        "--write-graph",
        action="store_true",
        help="draw the graph of the steps into the work folder",
    )
    group.add_argument(
        "--resource-monitor", action="store_true", help="record memory and CPU time of each step"
    )
    group.add_argument(
        "--notrack",
        action="store_true",
        help="no effect: metperf never sends usage data; accepted for compatibility",
    )
    add_verbosity(group)
