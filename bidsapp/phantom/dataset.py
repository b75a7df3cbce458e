"""The data set of the phantom: its participants, simulated in parallel, and its tables."""

import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from bidsapp.bids.derivatives import to_json, to_tsv, write_bytes
from bidsapp.errors import NotWritable, UsageError, WorkerKilled
from bidsapp.phantom import sidecars
from bidsapp.phantom.cohort import (
    FACTORS,
    SimulatedParticipant,
    add_retest,
    draw_cohort,
    read_cohort,
    study_rows,
)
from bidsapp.phantom.files import MASKS, TRUTH
from bidsapp.phantom.participant import Settings, write_participant
from bidsapp.phantom.series import PROTOCOLS
from bidsapp.study.read import STUDY_UNITS
from bidsapp.study.tables import lesion_columns

MOTION_LIMIT = 20.0
"""Largest motion between the images at several flip angles and the DCE, mm and degrees."""
ROI_ERROR_LIMIT = 5.0
"""Largest SD of the edges of ROIs, mm."""
DRAWN = 3
"""Default number of participants of a random cohort."""
RAW_IGNORE = "*_dce.*\n"
TRUTH_IGNORE = "*_dwimap.*\n*_dcemap.*\n*_xfm.*\n*_timeseries.*\nlesions.*\n"

_Imaged = tuple[int, SimulatedParticipant, list[str]]


def write_phantom(
    out: Path,
    *,
    participants: int | None = None,
    cohort: Path | None = None,
    resolution: Literal["paper", "fast"] = "fast",
    seed: int = 0,
    snr: float = 40.0,
    vfa: bool = False,
    vfa_motion: float = 0.0,
    fmap: bool = False,
    uneven: bool = False,
    veins: bool = False,
    roi_error: float = 0.0,
    retest: bool = False,
    dose: bool = False,
    nprocs: int = 1,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Write a digital reference object as a BIDS data set, with lesion masks and the truth.

    Parameters
    ----------
    out : Path
        A folder that does not exist or is empty.
    participants : int, optional
        Number of participants; default: 3 random ones, or all of the cohort.
    cohort : Path, optional
        A study table (TSV) of lesions to simulate; default: a random cohort, see `draw_cohort`.
    resolution : {"fast", "paper"}
        Voxel sizes: those of the study, or coarser in plane.
    seed : int
        The same seed gives the same bytes, whatever `nprocs`.
    snr : float
        Signal-to-noise ratio of white matter in the b = 0 image and in the first frame of the
        DCE; twice as high in the T1w.
    vfa : bool
        Whether to add images at several flip angles, for T1 mapping.
    vfa_motion : float
        Largest shift (mm) and rotation (degrees) along and about each axis by which the head has
        moved between each of these images and the DCE.
    fmap : bool
        Whether to add a b = 0 image with reversed phase encoding, for distortion correction.
    uneven : bool
        Whether perfusion varies within lesions; the truth is then the mean over the enhancing rim.
    veins : bool
        Whether veins pass the lesions at a short distance.
    roi_error : float
        SD by which the edges of ROIs are displaced, mm.
    retest : bool
        Whether the first session is repeated after a day, with the same lesions.
    dose : bool
        Whether the first session has a map of the dose of radiosurgery.
    nprocs : int
        Number of participants to simulate in parallel.
    progress : callable, optional
        Called with a line of text after each participant.

    Raises
    ------
    UsageError
        If a number is out of range, or the cohort has fewer participants.
    BadInput
        If the cohort cannot be simulated.
    NotWritable
        If the folder is not empty or cannot be written.
    WorkerKilled
        If a process was killed, most likely because memory ran out.
    """
    _check(resolution, seed, snr, nprocs, participants)
    _check_motion(vfa_motion, vfa=vfa)
    _check_roi_error(roi_error)
    settings = Settings(
        resolution, seed, snr, vfa, fmap, vfa_motion, uneven, veins, roi_error, retest, dose
    )
    if cohort is None:
        people = draw_cohort(DRAWN if participants is None else participants, seed)
    else:
        people = read_cohort(cohort, participants)
    if retest:
        people = [add_retest(person, str(cohort or "drawn cohort")) for person in people]
    _claim(out)
    done: dict[int, tuple[SimulatedParticipant, list[str]]] = {}
    for number, person, problems in _image_all(out, people, settings, min(nprocs, len(people))):
        done[number] = person, problems
        if progress:
            progress(f"{person.label} written ({len(done)} of {len(people)})")
            for problem in problems:
                progress(f"warning: {problem}")
    imaged = [done[n][0] for n in range(len(people))]
    problems = [problem for n in range(len(people)) for problem in done[n][1]]
    _write_tables(out, imaged, problems, settings, cohort)


def _check(resolution: str, seed: int, snr: float, nprocs: int, participants: int | None) -> None:
    if resolution not in PROTOCOLS:
        raise UsageError(f"resolution must be one of {', '.join(PROTOCOLS)}, got {resolution!r}")
    if seed < 0:
        raise UsageError(f"the seed must be 0 or more, got {seed}")
    if not 1 <= snr <= 1e6:
        raise UsageError(f"the SNR must be from 1 to 1e6, got {snr:g}")
    if nprocs < 1 or (participants is not None and participants < 1):
        raise UsageError(f"at least one process and participant, got {nprocs}, {participants}")


def _check_motion(vfa_motion: float, *, vfa: bool) -> None:
    if not 0 <= vfa_motion <= MOTION_LIMIT:
        raise UsageError(
            f"--vfa-motion must be from 0 to {MOTION_LIMIT:g} mm and degrees, got {vfa_motion:g}"
        )
    if vfa_motion and not vfa:
        raise UsageError("--vfa-motion needs --vfa, the images that it moves")


def _check_roi_error(roi_error: float) -> None:
    if not 0 <= roi_error <= ROI_ERROR_LIMIT:
        raise UsageError(f"--roi-error must be from 0 to {ROI_ERROR_LIMIT:g} mm, got {roi_error:g}")


def _claim(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        occupied = any(out.iterdir())
    except OSError as error:
        raise NotWritable(f"{out}: cannot be created ({error.strerror or error})") from error
    if occupied:
        raise NotWritable(f"{out}: is not empty; choose a new folder for the phantom")


def _image_all(
    out: Path, people: Sequence[SimulatedParticipant], settings: Settings, nprocs: int
) -> Iterator[_Imaged]:
    """Simulate all participants, and yield each as soon as it is done."""
    if nprocs == 1:
        for number, person in enumerate(people):
            yield number, *write_participant(out, person, number, settings)
        return
    with ProcessPoolExecutor(nprocs, mp_context=get_context("spawn")) as pool:
        jobs = {
            pool.submit(write_participant, out, person, number, settings): number
            for number, person in enumerate(people)
        }
        try:
            for job in as_completed(jobs):
                yield jobs[job], *job.result()
        except BrokenProcessPool as error:
            raise WorkerKilled(
                f"a process that wrote {out} was killed, most likely because memory ran out: "
                "use fewer processes or the resolution fast"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _write_tables(
    out: Path,
    people: Sequence[SimulatedParticipant],
    problems: list[str],
    settings: Settings,
    cohort: Path | None,
) -> None:
    """Write the descriptions and tables of the data set and its derivatives."""
    text = _readme(settings)
    for folder, kind, name, ignore in (
        (Path(), "raw", "metperf phantom", RAW_IGNORE),
        (MASKS, "derivative", "Lesion and arterial masks of the metperf phantom", ""),
        (TRUTH, "derivative", "Truth of the metperf phantom", TRUTH_IGNORE),
    ):
        description = to_json(sidecars.dataset_description(name, kind))
        write_bytes(out / folder / "dataset_description.json", description)
        write_bytes(out / folder / "README.md", text.encode())
        if ignore:
            write_bytes(out / folder / ".bidsignore", ignore.encode())
    rows = [{"participant_id": person.label} for person in people]
    write_bytes(out / "participants.tsv", to_tsv(["participant_id"], rows))
    about = {"participant_id": {"Description": "Unique label of the participant"}}
    write_bytes(out / "participants.json", to_json(about))
    for person in people:
        _write_sessions(out, person)
    truth = [row for person in people for row in study_rows(person)]
    write_bytes(out / TRUTH / "lesions.tsv", to_tsv(lesion_columns(FACTORS), truth))
    write_bytes(out / TRUTH / "lesions.json", to_json(_about_lesions(problems, settings, cohort)))


def _readme(settings: Settings) -> str:
    """Return the README, with a paragraph for each option that was used."""
    data = files("bidsapp.data")
    paragraphs = tomllib.loads(data.joinpath("phantom_options.toml").read_text(encoding="utf-8"))
    used = [text for name, text in paragraphs.items() if getattr(settings, name)]
    return data.joinpath("phantom.md").read_text(encoding="utf-8") + "".join(
        f"{text}\n" for text in used
    )


def _write_sessions(out: Path, person: SimulatedParticipant) -> None:
    rows = [
        {"session_id": session.label, "days_since_treatment": session.days}
        for session in person.sessions
    ]
    path = out / person.label / f"{person.label}_sessions.tsv"
    write_bytes(path, to_tsv(["session_id", "days_since_treatment"], rows))
    about = {
        "session_id": {"Description": "Label of the session"},
        "days_since_treatment": {
            "Description": "Days since stereotactic radiosurgery, negative before it",
            "Units": "d",
        },
    }
    write_bytes(path.with_suffix(".json"), to_json(about))


def _about_lesions(problems: list[str], settings: Settings, cohort: Path | None) -> dict[str, Any]:
    columns = {
        "lesion": "Number of the lesion, the same in every session",
        "days_from_srs": "Days since stereotactic radiosurgery",
        "vp": "Plasma volume fraction of the enhancing rim",
        "Ktrans": "Volume transfer constant of the enhancing rim",
        "ve": "Extravascular extracellular volume fraction of the enhancing rim",
        "ADC": "Mono-exponential apparent diffusion coefficient of the enhancing rim",
        "f": "Perfusion fraction of the enhancing rim",
        "volume_ml": "Volume of the whole lesion, as imaged",
        "excluded": "1 for a lesion with gross haemorrhage",
    }
    about: dict[str, Any] = {name: {"Description": text} for name, text in columns.items()}
    for name in (*FACTORS, "volume_ml"):
        about[name]["Units"] = STUDY_UNITS[name]
    if settings.uneven:
        for name in FACTORS:
            about[name]["Description"] += ", mean over its volume"
    about["Phantom"] = {
        "Resolution": settings.resolution,
        "Seed": settings.seed,
        "SNR": settings.snr,
        "VFA": settings.vfa,
        "VFAMotion": settings.vfa_motion,
        "Fmap": settings.fmap,
        "Cohort": cohort.name if cohort else "drawn around the study's Table 2",
        **{key: value for key, value in _later_settings(settings).items() if value},
        "Warnings": problems,
    }
    return about


def _later_settings(settings: Settings) -> dict[str, bool | float]:
    """Return the settings that are recorded only if used, so that other data sets do not change."""
    return {
        "UnevenLesions": settings.uneven,
        "Veins": settings.veins,
        "ROIError": settings.roi_error,
        "Retest": settings.retest,
        "Dose": settings.dose,
    }
