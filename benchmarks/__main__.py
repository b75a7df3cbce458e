"""The command line behind `scripts/bench`."""

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import bias, optimum, precision, report, scaling, shrinkage, speed
from benchmarks.challenge import challenge_scores, read_challenge
from benchmarks.lesions.accuracy import topic as lesion_topic
from benchmarks.lesions.cells import CELLS
from benchmarks.registration import (
    accuracy,
    distortion,
    engines,
    followups,
    images,
    quality,
    repeats,
)
from benchmarks.report import Section
from benchmarks.settings import QUICK, Settings

TOPICS: dict[str, Callable[[Settings], Section]] = {
    "speed": speed.run,
    "scaling": scaling.run,
    "optimum": optimum.run,
    "precision": precision.run,
    "bias": bias.run,
    "shrinkage": shrinkage.run,
}

REGISTRATION: dict[str, Callable[[Settings], Section]] = {
    "accuracy": accuracy.run,
    "followups": followups.run,
    "images": images.run,
    "distortion": distortion.run,
    "quality": quality.run,
    "repeats": repeats.run,
    "engines": engines.run,
}
LESIONS = {name: lesion_topic(name) for name in CELLS}
GROUPS = {"models": TOPICS, "registration": REGISTRATION, "lesions": LESIONS}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="scripts/bench", description="Measure speed and accuracy.")
    what = top.add_subparsers(dest="what", required=True)
    default = Settings()
    models = what.add_parser("models", help="the models: speed, minimum, precision, bias")
    _common(models, TOPICS)
    models.add_argument("--models", nargs="+", default=(), metavar="NAME", help="only these models")
    models.add_argument("--noise", nargs="+", default=default.noise, choices=default.noise,
        help="assumptions on the noise to compare")  # fmt: skip
    _common(what.add_parser("lesions", help="lesion values: error, changes, intervals"), LESIONS)
    osipi = what.add_parser("osipi", help="scores of the OSIPI-DCE challenge, from your values")
    osipi.add_argument("table", type=Path, help="TSV file: patient, visit, Ktrans, and where known "
        "truth and repeated (the value of a second analysis)")  # fmt: skip
    heads = what.add_parser("registration", help="registration: error, robustness, reliability")
    _common(heads, REGISTRATION)
    heads.add_argument(
        "--rough", action="store_true", help="voxels of 3 mm, only to test the benchmarks"
    )
    return top


def _common(parser: argparse.ArgumentParser, topics: Iterable[str]) -> None:
    """Add the arguments common to all groups of topics."""
    default, add = Settings(), parser.add_argument
    add("topics", nargs="*", metavar="topic", help=f"of {', '.join(topics)}; default: all")
    add("--scale", type=float, default=1.0, help="factor on all numbers of voxels or pairs")
    add("--quick", dest="scale", action="store_const", const=QUICK, default=1.0,
        help=f"--scale {QUICK:g}")  # fmt: skip
    add("--peers", action="store_true", help="also time other packages (from PyPI)")
    add(
        "--peer-dir",
        type=Path,
        default=default.peer_dir,
        help="their environments (default: %(default)s)",
    )
    add("--out", type=Path, default=default.out, help="folder of the report (default: %(default)s)")
    add("--jobs", type=int, default=default.jobs, help="threads of the parallel runs; 1: none")


def main(arguments: list[str] | None = None) -> None:
    """Run the topics, write the page of each when it is done, and finally a page of all."""
    top = parser()
    given = vars(top.parse_args(arguments))
    what = given.pop("what")
    if what == "osipi":
        try:
            print(report.markdown(challenge_scores(read_challenge(given["table"])).round(3)))
        except (OSError, ValueError) as error:
            top.error(f"{given['table']}: {error}")
        return
    group = GROUPS[what]
    topics = given.pop("topics") or list(group)
    if unknown := [topic for topic in topics if topic not in group]:
        top.error(f"no such topic: {', '.join(unknown)}; there are {', '.join(group)}")
    settings = Settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
    for topic in topics:
        start = time.perf_counter()
        print(f"bench: {topic} ...", end=" ", flush=True)
        section = group[topic](settings)
        report.write(topic, section, settings.out, settings.scale)
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
        for table in section.tables.values():
            print(report.markdown(table), "\n", flush=True)
    every = [name for topics in GROUPS.values() for name in topics]
    print(f"bench: {report.assemble(every, settings.out)}")


if __name__ == "__main__":
    main()
