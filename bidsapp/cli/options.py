"""What the command line takes: names, spellings and defaults of the options."""

import os
from argparse import ArgumentParser, _ArgumentGroup
from pathlib import Path

from bidsapp.cli.model_options import add_model, add_model_options
from bidsapp.cli.types import (
    NamedLabels,
    OneLineParser,
    count,
    derivative,
    existing_file,
    fraction,
    memory,
    memory_limit,
    positive,
    relaxation_time,
    relaxivity,
    whole,
)
from bidsapp.config import (
    AIF_SOURCES,
    DISTORTION,
    ENGINES,
    FIT_SPACES,
    HAEMATOCRIT,
    NOISE,
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
        "'metperf phantom OUT' writes a data set to try it on; 'metperf stats LESIONS.tsv OUT' "
        "makes the statistics from a table of yours; 'metperf slurm BIDS OUT' writes scripts for a "
        "cluster.",
        allow_abbrev=False,
    )
    add_folders(made)
    made.add_argument(
        "analysis_level", nargs="+", help="participant, group, or both one after the other"
    )
    made.add_argument("--version", action="version", version=f"metperf v{version()}")
    add_options(made)
    return made


def add_folders(made: ArgumentParser) -> None:
    """Add the two folders that every run of a study names."""
    made.add_argument("bids_dir", type=Path, help="the BIDS data set")
    made.add_argument("output_dir", type=Path, help="where the derivatives go")


def add_options(made: ArgumentParser) -> None:
    """Add all options of a study."""
    _add_selection(made)
    _add_analysis(made)
    _add_statistics(made)
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
        help="participants, with or without sub-",
    )
    group.add_argument(
        "--session-label",
        "--session-id",
        dest="sessions",
        nargs="+",
        metavar="LABEL",
        help="sessions, with or without ses-",
    )
    group.add_argument(
        "--bids-filter-file",
        dest="filter_file",
        type=existing_file,
        metavar="FILE",
        help='JSON {"query": {"entity": value}}; queries: t1w dwi fmap dce vfa b1 roi aif xfm',
    )
    group.add_argument(
        "-d",
        "--derivatives",
        nargs="+",
        type=derivative,
        metavar="[NAME=]PATH",
        help="derivatives with ROIs, AIF masks and transforms of yours "
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
    add_model(group, "ivim", "fit of the perfusion fraction")
    group.add_argument(
        "--b-min",
        type=positive,
        default=200.0,
        help="lowest b-value where perfusion is gone, s/mm2: the straight line begins there",
    )
    group.add_argument(
        "--b-max", type=positive, default=float("inf"), help="highest b-value used, s/mm2"
    )
    group.add_argument(
        "--noise",
        choices=NOISE,
        default=Config.noise,
        help="of the diffusion series: rician corrects the noise floor of magnitude images "
        "(five b-values are needed to estimate it)",
    )
    add_model(group, "dce", "kinetic model; auto fits all and tells which the data support")
    group.add_argument(
        "--fit-delay",
        action="store_true",
        help="fit the arrival of the bolus in the tissue after the artery, voxel by voxel",
    )
    group.add_argument(
        "--aif",
        choices=AIF_SOURCES,
        default=AIF_SOURCES[0],
        help="arterial input: of the voxels of label-AIF_mask, of an artery found in the series, "
        "of label-AIF_timeseries.tsv, or a population function",
    )
    add_model_options(group)
    add_model(group, "t1", "fit of the T1 map, where several flip angles were acquired")
    group.add_argument("--t1-tissue", type=relaxation_time, help="s; default: by field strength")
    group.add_argument("--t1-blood", type=relaxation_time, help="s; default: by field strength")
    group.add_argument(
        "--relaxivity", type=relaxivity, help="1/s/mM; default: the sidecar's, or the agent's"
    )
    group.add_argument(
        "--haematocrit", "--hematocrit", type=fraction, default=HAEMATOCRIT, help="default: 0.42"
    )
    group.add_argument(
        "--baseline-frames", type=whole, default=0, help="frames before the bolus; 0 finds them"
    )
    _add_motion(group)
    _add_spaces(group)
    group.add_argument(
        "--sloppy",
        action="store_true",
        help="quick look: rigid registration, without a second opinion; not for a study",
    )


def _add_spaces(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--registration-engine",
        choices=ENGINES,
        default=Config.registration_engine,
        help="our own local Pearson correlation (default; asks niimath where it is in doubt), or "
        "AFNI's in niimath",
    )
    group.add_argument(
        "--distortion",
        choices=DISTORTION,
        default=Config.distortion,
        help="EPI distortion of the diffusion series: none is corrected (default); auto corrects "
        "it by a field map in fmap, or else by an epi there with reversed phase encoding; t1w by "
        "what the T1w shows, where there is neither and the distortion is large",
    )
    group.add_argument(
        "--fit-space",
        choices=FIT_SPACES,
        default=Config.fit_space,
        help="where models are fitted: on the grid of their series (default), or on the T1w's, to "
        "which each volume is resampled once",
    )
    group.add_argument(
        "--roi-space",
        choices=ROI_SPACES,
        default=Config.roi_space,
        help="where lesions are measured: in the maps on the T1w (default), or in those of the "
        "series, each voxel with the weight of its fraction inside the ROI",
    )
    group.add_argument(
        "--output-spaces",
        nargs="+",
        choices=SPACES,
        metavar="SPACE",
        help=f"where maps are written: {', '.join(SPACES)} (the baseline T1w); "
        "default: native T1w, and T1w with --fit-space T1w",
    )
    group.add_argument(
        "--keep-dates",
        action="store_true",
        help="copy the date and time of acquisition into the sidecars of maps; default: do not",
    )


def _add_motion(group: _ArgumentGroup) -> None:
    group.add_argument("--no-motion-correction", dest="motion_correction", action="store_false")
    group.add_argument(
        "--drop-outliers",
        action="store_true",
        help="leave volumes that the motion table marks as outliers out of means and fits",
    )


def _add_resources(made: ArgumentParser) -> None:
    group = made.add_argument_group("resources")
    group.add_argument("-w", "--work-dir", type=Path, help="default: output_dir/.work")
    group.add_argument(
        "--nprocs",
        "--nthreads",
        "--n-procs",
        "--n_procs",
        "--n-cpus",
        "--n_cpus",
        type=count,
        default=len(os.sched_getaffinity(0)),
    )
    group.add_argument("--omp-nthreads", type=count, default=1, help="cores that one step may use")
    group.add_argument(
        "--mem",
        "--mem-mb",
        "--mem_mb",
        dest="memory_gb",
        type=memory,
        default=memory_limit(),
        metavar="MB",
        help="memory to plan with: MB, or with K, M, G or T",
    )
    group.add_argument(
        "--use-plugin",
        "--nipype-plugin-file",
        dest="plugin_file",
        type=existing_file,
        metavar="FILE",
        help="YAML with a nipype plugin and plugin_args",
    )


def _add_behaviour(made: ArgumentParser) -> None:
    group = made.add_argument_group("behaviour")
    group.add_argument("--dry-run", action="store_true", help="tell what would be done, and stop")
    group.add_argument(
        "--reports-only",
        action="store_true",
        help="build the pages of the level again, from what is stored; analyse no image",
    )
    group.add_argument(
        "--boilerplate-only", "--boilerplate_only", action="store_true", help="only CITATION.md"
    )
    group.add_argument("--stop-on-first-crash", action="store_true")
    group.add_argument("--write-graph", action="store_true")
    group.add_argument("--resource-monitor", action="store_true")
    group.add_argument(
        "--notrack", action="store_true", help="nothing is ever sent anywhere; kept for scripts"
    )
    group.add_argument("-v", "--verbose", dest="verbose_count", action="count", default=0)


def _add_statistics(made: ArgumentParser) -> None:
    from bidsapp.models.parameters import FOLLOWED

    group = made.add_argument_group("statistics of the group")
    group.add_argument(
        "--timepoints",
        nargs="+",
        action=NamedLabels,
        metavar="NAME=LABEL",
        help="sessions to compare, in time order: by label, or by first and last day since "
        "treatment as NAME=3:12 (default: the sessions baseline, 1week and 1month)",
    )
    group.add_argument(
        "--participants",
        dest="participants_table",
        type=existing_file,
        metavar="FILE",
        help="participants.tsv with age, sex and so on, for the table of characteristics",
    )
    group.add_argument(
        "--traits",
        dest="traits_table",
        type=existing_file,
        metavar="FILE",
        help="TSV with participant_id, lesion and what is known of each lesion, such as its dose",
    )
    group.add_argument(
        "--repeats",
        nargs=2,
        metavar="LABEL",
        help="two sessions between which nothing happened: they tell the noise of a lesion's value",
    )
    group.add_argument(
        "--regress",
        nargs=2,
        default=["f", "vp"],
        choices=FOLLOWED,
        metavar=("Y", "X"),
        help="two parameters that the group level compares with each other: regression of Y on X, "
        "limits of agreement, early change by response (default: f vp)",
    )
    group.add_argument(
        "--random-seed",
        "--random_seed",
        dest="seed",
        type=whole,
        default=0,
        metavar="N",
        help="of permutations and bootstrap (default: 0)",
    )


def stats_parser() -> ArgumentParser:
    """Return the parser of ``metperf stats LESIONS.tsv OUT``."""
    made = OneLineParser(
        prog="metperf stats",
        description="Make the group statistics from a table of lesions: one row per "
        "participant_id, lesion and session_id, with any of days_from_srs vp Ktrans ve ADC f "
        "volume_ml excluded.",
        allow_abbrev=False,
    )
    made.add_argument("table", type=existing_file, help="the table of lesions")
    made.add_argument("output_dir", type=Path, help="where tables, figures and page go")
    _add_statistics(made)
    made.add_argument("-v", "--verbose", dest="verbose_count", action="count", default=0)
    return made


def phantom_parser() -> ArgumentParser:
    """Return the parser of ``metperf phantom OUT``."""
    made = OneLineParser(
        prog="metperf phantom",
        description="Write a BIDS data set of brain metastases with known perfusion.",
        allow_abbrev=False,
    )
    made.add_argument("output_dir", type=Path, help="where to write it")
    made.add_argument(
        "--participants",
        type=count,
        default=None,
        help="how many (default: 3, or all of --cohort)",
    )
    made.add_argument("--cohort", type=existing_file, help="lesions.tsv to image (default: drawn)")
    made.add_argument("--resolution", choices=("paper", "fast"), default="fast")
    made.add_argument("--seed", type=whole, default=0)
    made.add_argument("--snr", type=positive, default=40.0, help="of white matter at b = 0")
    made.add_argument("--vfa", action="store_true", help="add images at several flip angles")
    made.add_argument(
        "--fmap", action="store_true", help="add a b = 0 image with reversed phase encoding"
    )
    made.add_argument("--nprocs", type=count, default=len(os.sched_getaffinity(0)))
    made.add_argument("-v", "--verbose", dest="verbose_count", action="count", default=0)
    return made
