"""Options of the diffusion series: denoising, range of b-values, noise, and relaxation."""

from argparse import ArgumentParser, Namespace, _ArgumentGroup

from bidsapp.cli.types import nonnegative_number, positive_number, transverse_relaxation_time
from bidsapp.config import DENOISING, NOISE, Config


def add_diffusion(group: _ArgumentGroup) -> None:
    """Add the options of the diffusion series, besides the model."""
    _add_b_values(group)
    group.add_argument(
        "--noise",
        choices=NOISE,
        default=Config.noise,
        help="noise model of the diffusion series: rician corrects the noise floor of magnitude "
        "images (at least five b-values are needed) (default: %(default)s)",
    )
    group.add_argument(
        "--denoise",
        choices=DENOISING,
        default=Config.denoise,
        help="denoising of the diffusion series before all other steps: mppca keeps the principal "
        "components that exceed noise, and needs ten volumes (default: %(default)s)",
    )
    _add_relaxation(group)


def _add_b_values(group: _ArgumentGroup) -> None:
    """Add the range of b-values."""
    group.add_argument(
        "--b-min",
        type=positive_number,
        default=Config.b_min,
        help="lowest b-value at which the perfusion signal has decayed, s/mm2; the diffusion "
        "fit starts there (default: %(default)g)",
    )
    group.add_argument(
        "--b-max",
        type=positive_number,
        default=Config.b_max,
        help="highest b-value used, s/mm2 (default: no limit)",
    )
    group.add_argument(
        "--b0-threshold",
        type=nonnegative_number,
        metavar="B",
        help="b-values up to this count as b = 0, s/mm2 (default: those below 5; if there are "
        "none, the lowest b-value up to 20)",
    )


def _add_relaxation(group: _ArgumentGroup) -> None:
    """Add the correction of the perfusion fraction for relaxation."""
    group.add_argument(
        "--correct-t2",
        action="store_true",
        help="also give f corrected for T1 and T2 of blood and tissue, as fT2: the fraction of "
        "protons instead of signal; needs EchoTime, RepetitionTime and MagneticFieldStrength",
    )
    for name, what in (("blood", "blood"), ("tissue", "tissue, by default grey matter")):
        group.add_argument(
            f"--t2-{name}",
            type=transverse_relaxation_time,
            metavar="SECONDS",
            help=f"T2 of {what}, for --correct-t2, s (default: by field strength)",
        )


def check_diffusion(parser: ArgumentParser, options: Namespace) -> None:
    """Refuse options of the diffusion series that exclude each other or have no effect."""
    for name in ("t2_blood", "t2_tissue"):
        if getattr(options, name) is not None and not options.correct_t2:
            parser.error(f"--{name.replace('_', '-')} has no effect without --correct-t2")
    if options.denoise != "none" and options.noise == "rician":
        parser.error(
            f"--noise rician cannot be combined with --denoise {options.denoise}: it estimates the "
            "noise level from the residuals of the fit, which denoising reduces; choose one of them"
        )
