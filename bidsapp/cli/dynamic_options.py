"""Options of the dynamic series: kinetic model, arterial input, frames, and conversion."""

from argparse import _ArgumentGroup

from bidsapp.cli.model_options import add_model
from bidsapp.cli.types import (
    fraction,
    frame_time,
    nonnegative_integer,
    relaxation_time,
    relaxivity,
    repetition_time,
)
from bidsapp.config import AIF_SCALES, AIF_SOURCES, HAEMATOCRIT, Config


def add_dynamic(group: _ArgumentGroup) -> None:
    """Add the options of the dynamic series."""
    add_model(
        group,
        "dce",
        "kinetic model; auto fits all and reports which one the data support, while lesion values "
        "stay those of extended-tofts; semi-quantitative needs no arterial input",
    )
    group.add_argument(
        "--fit-delay",
        action="store_true",
        help="fit the delay of the bolus between artery and tissue, voxel by voxel",
    )
    group.add_argument(
        "--aif",
        choices=AIF_SOURCES,
        default=Config.aif,
        help="arterial input function: from the voxels of label-AIF_mask (roi), an artery found "
        "in the series (auto), label-AIF_timeseries.tsv (table), or a population average; without "
        "any, a session is described semi-quantitatively "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--aif-scale",
        choices=AIF_SCALES,
        default=Config.aif_scale,
        help="with --aif roi or auto: use the artery as measured (none), or correct it for tissue "
        "in its voxels and for inflow such that the area under its curve is that of the venous "
        "sinuses (vein) (default: %(default)s)",
    )
    _add_frames(group)
    _add_conversion(group)


def _add_frames(group: _ArgumentGroup) -> None:
    """Add when the frames were acquired, and which of them are used."""
    group.add_argument(
        "--frame-time",
        type=frame_time,
        metavar="SECONDS",
        help="time between two frames of the dynamic series, s (default: the first of "
        "VolumeTiming, FrameTimesStart, the acquisition times that heudiconv keeps, RepetitionTime "
        "above 0.2 s, and TriggerDelayTime of GE)",
    )
    group.add_argument(
        "--baseline-frames",
        type=nonnegative_integer,
        default=Config.baseline_frames,
        metavar="N",
        help="number of frames before the bolus; 0 detects it (default: %(default)s)",
    )
    group.add_argument(
        "--skip-frames",
        type=nonnegative_integer,
        default=Config.skip_frames,
        metavar="N",
        help="leave out the first frames of the dynamic series, before the steady state "
        "(default: those that differ from the rest of the baseline)",
    )


def _add_conversion(group: _ArgumentGroup) -> None:
    """Add what the conversion of signal to concentration depends on."""
    group.add_argument(
        "--repetition-time",
        type=repetition_time,
        metavar="SECONDS",
        help="time between two excitations (TR) of the dynamic series, s (default: "
        "RepetitionTimeExcitation, or RepetitionTime up to 0.2 s of a 3D series)",
    )
    add_model(group, "t1", "fit of the T1 map, if several flip angles were acquired")
    group.add_argument(
        "--t1-tissue",
        type=relaxation_time,
        metavar="SECONDS",
        help="T1 of tissue before contrast, s (default: a T1map, VFA images, or by field strength)",
    )
    group.add_argument(
        "--t1-blood",
        type=relaxation_time,
        metavar="SECONDS",
        help="T1 of blood before contrast, s (default: BloodT1 in the sidecar, t1_blood in "
        "sessions.tsv, or by field strength)",
    )
    group.add_argument(
        "--relaxivity",
        type=relaxivity,
        help="r1 of the contrast agent, 1/s/mM (default: from the sidecar, or by agent)",
    )
    group.add_argument(
        "--haematocrit",
        "--hematocrit",
        type=fraction,
        default=Config.haematocrit,
        help="haematocrit of large vessels, a fraction (default: Haematocrit in the JSON of the "
        f"AIF table or of the DCE, or haematocrit in sessions.tsv, otherwise {HAEMATOCRIT:g})",
    )
