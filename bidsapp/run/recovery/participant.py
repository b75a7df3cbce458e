"""Known changes in the series of one participant: the tables of what is recovered."""

import math
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bidsapp.bids import documents, outputs
from bidsapp.bids.derivatives import to_json, to_tsv, write_bytes
from bidsapp.bids.records import Rois, Session, Space
from bidsapp.bids.tables import read_table
from bidsapp.config import Config, version
from bidsapp.errors import BadInput, NothingSelected
from bidsapp.imaging.labels import label_fractions
from bidsapp.issues import Issue, from_error
from bidsapp.lesions.surroundings import LesionSurroundings, find_surroundings
from bidsapp.recovery.changes import VOLUME, Change, select_changes
from bidsapp.recovery.lesion import LesionInSeries, find_lesion
from bidsapp.recovery.means import NativeRegion, Region, ResampledRegion
from bidsapp.recovery.recovery import RECOVERY_COLUMNS, Chain, Visits, recover_changes
from bidsapp.run.graphs.plan import Plan, SessionPlan, plan_participant
from bidsapp.run.graphs.sidecars import identity, lesion_list, lesion_rois
from bidsapp.run.joined_frames import join_frames
from bidsapp.run.nodes.files import load_labels
from bidsapp.run.recovery.checks import compare_with_run
from bidsapp.run.recovery.series import READERS, AnalysedSeries, Results
from bidsapp.run.recovery.settings import recorded_config
from bidsapp.run.roi_images import prepare_rois
from bidsapp.run.survey import open_query

Report = Callable[[str], None]
_SETTINGS = (
    "Changes put into the series of this session in simulated visits; see the table for the columns"
)


_NO_EXPECTED_ERROR = (
    "the registration has no expected error (niimath, or a transform of the user), so that "
    "simulated visits do not contain its error: detectable changes are too small"
)


@dataclass(frozen=True)
class Request:
    """What is to be simulated.

    Attributes
    ----------
    bids_dir, output_dir : Path
        The data set, and the derivatives of its participant level.
    derivatives : tuple of Path
        Folders with ROIs; if empty, those of the run.
    sessions : tuple of str
        Labels without ``ses-``; if empty, the first session with results.
    changes : tuple of Change
    visits : Visits
        Without the error of position, which is that of each registration.
    """

    bids_dir: Path
    output_dir: Path
    derivatives: tuple[Path, ...]
    sessions: tuple[str, ...]
    changes: tuple[Change, ...]
    visits: Visits


def recover_participant(label: str, request: Request, report: Report) -> list[Issue]:
    """Simulate visits of one participant, and write the tables.

    Parameters
    ----------
    label
        Without ``sub-``.
    request
        What is to be simulated.
    report
        Takes a line of text on the progress.

    Returns
    -------
    list of Issue
        Failures of one session do not prevent the others; none is raised.
    """
    participant = f"sub-{label}"
    try:
        configs = recorded_config(request.bids_dir, request.output_dir, label, request.derivatives)
        chosen = _select_sessions(participant, configs, request)
    except Exception as error:
        return [from_error(error, participant=participant, step="recovery")]
    issues: list[Issue] = []
    for session in chosen:
        try:
            issues += _recover_session(label, session, configs[session], request, report)
        except Exception as error:
            issues.append(from_error(error, participant, session, "recovery"))
    return issues


def _select_sessions(participant: str, configs: dict[str, Config], request: Request) -> list[str]:
    """Return the sessions to simulate, such as ``ses-baseline``: by default the first one."""
    wanted = [f"ses-{label}" for label in request.sessions]
    if absent := [name for name in wanted if name not in configs]:
        raise NothingSelected(
            f"{participant} has no results of {', '.join(absent)}; it has {', '.join(configs)}"
        )
    if wanted:
        return wanted
    order = _chronology(participant, request.output_dir)
    known = [name for name in order if name in configs] or list(configs)
    measured = [s for s in known if _has_values(request.output_dir / participant / s)]
    if not measured:
        raise BadInput(
            f"{participant} has no lesion values: the recovery of changes needs an ROI of the "
            "enhancing part and a fitted series"
        )
    return measured[:1]


def _chronology(participant: str, output_dir: Path) -> list[str]:
    """Return the sessions of a participant in chronological order, as the run has written them."""
    path = documents.SESSIONS.path(output_dir, participant=participant)
    return [row["session_id"] for row in read_table(path, ["session_id"])] if path.exists() else []


def _has_values(folder: Path) -> bool:
    return bool(outputs.LESION_VALUES.find(folder))


def _recover_session(
    label: str, session: str, config: Config, request: Request, report: Report
) -> list[Issue]:
    """Simulate visits of one session, and write a table for each of its series."""
    if config.fit_space != "native":
        raise BadInput(
            "analysed with --fit-space T1w: changes are put into voxels as acquired; run the "
            "participant level with --fit-space native"
        )
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(label, config, Path(folder))
        one = next(p for p in plan.sessions if p.session.id == session)
        issues: list[Issue] = []
        with_volume = True
        for space, read in READERS.items():
            if space not in one.branches or not lesion_rois(one.session, space, config):
                continue
            try:
                series = read(Results(one, config))
                changes = _changes(series, request.changes)
                if not changes:
                    continue
                rows, found = _recover_series(plan, one, series, config, request, report)
            except Exception as error:
                issues.append(from_error(error, f"sub-{label}", session, f"recovery {space}"))
                continue
            issues += [
                replace(issue, participant=f"sub-{label}", session=session) for issue in found
            ]
            rows = [row for row in rows if with_volume or row["parameter"] != VOLUME]
            with_volume &= not any(row["parameter"] == VOLUME for row in rows)
            _write_table(one.session, space, rows, config, request)
    return issues


def _plan(label: str, config: Config, folder: Path) -> Plan:
    """Return the plan of a participant under the recorded settings, with the label images."""
    found = open_query(config, [label]).participant(label)
    rois = prepare_rois(join_frames(found, folder), config, folder)
    return plan_participant(rois.participant, config)


def _changes(series: AnalysedSeries, changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the changes that concern a series."""
    return select_changes(changes, [name for m in series.models for name in m.parameters])


def _recover_series(
    plan: Plan,
    one: SessionPlan,
    series: AnalysedSeries,
    config: Config,
    request: Request,
    report: Report,
) -> tuple[list[dict[str, Any]], list[Issue]]:
    """Return the rows of all lesions in a series, and the issues."""
    session, space = one.session, series.space
    rois = lesion_rois(session, space, config)
    assert rois is not None
    rows: list[dict[str, Any]] = []
    issues = [Issue("missing", text, "NotSimulated") for text in series.left_out]
    position_error = series.position_error if rois.space == "T1w" else 0.0
    if math.isnan(position_error):
        issues.append(Issue("warning", f"{space.upper()}: {_NO_EXPECTED_ERROR}", "NoExpectedError"))
        position_error = 0.0
    known = {k: v for k, v in identity(session, "enhancing", space).items() if k != "space"}
    lesions = lesion_list(rois, plan.excluded_lesions)
    scenes = _surroundings(session, series, rois)
    for number, (lesion, excluded) in enumerate(lesions, 1):
        where = f"sub-{session.participant} {session.id} {space.upper()}: lesion {lesion}"
        began = time.monotonic()
        try:
            chain = _chain(scenes, series, rois, lesion, config)
        except BadInput as error:
            issues.append(
                Issue("missing", f"{space.upper()}, lesion {lesion}: {error}", "NoLesion")
            )
            continue
        issues += compare_with_run(chain, config, session, space, lesion)
        visits = replace(
            request.visits,
            seed=(*request.visits.seed, *_stream(session, space), lesion),
            position_error=position_error,
        )
        found, problems = recover_changes(chain, _changes(series, request.changes), visits)
        issues += [
            Issue("missing", f"{space.upper()}, lesion {lesion}: {text}", "NotInjected")
            for text in problems
        ]
        rows += [{**known, "lesion": lesion, "excluded": excluded, **row} for row in found]
        seconds = time.monotonic() - began
        report(f"{where} ({number} of {len(lesions)}, {seconds:.0f} s)")
    return rows, issues


def _stream(session: Session, space: Space) -> Iterator[int]:
    """Yield seeds that differ between participants, sessions and series."""
    for text in (session.participant, session.label, space):
        yield zlib.crc32(text.encode())


def _surroundings(
    session: Session, series: AnalysedSeries, rois: Rois
) -> dict[int, LesionSurroundings]:
    """Return the lesions of a series by number."""
    enhancing, drawn = load_labels(str(rois.image))
    whole = session.rois("whole", rois.space)
    all_parts = load_labels(str(whole.image), str(rois.image))[0] if whole else enhancing
    return find_surroundings(
        series.data, series.affine, enhancing, all_parts, drawn.affine, _mapping(series, rois)
    )


def _mapping(series: AnalysedSeries, rois: Rois) -> Any:
    """Return the mapping from points of a series to points of its ROIs."""
    moved = rois.space == "T1w" and series.to_rois is not None
    return series.to_rois if moved else np.eye(4)


def _chain(
    scenes: Mapping[int, LesionSurroundings],
    series: AnalysedSeries,
    rois: Rois,
    lesion: int,
    config: Config,
) -> Chain:
    """Return a lesion with the analysis of its run.

    Raises
    ------
    BadInput
        If the lesion has no voxel, or none with a complete signal course.
    """
    if lesion not in scenes:
        raise BadInput("the ROI has no voxel")
    found = find_lesion(scenes[lesion], _mapping(series, rois))
    return Chain(
        lesion=found,
        signal=series.signal.cropped(found.box),
        models=series.models,
        region=_region(found, series, rois, config),
        brain=series.brain[found.box],
    )


def _region(lesion: LesionInSeries, series: AnalysedSeries, rois: Rois, config: Config) -> Region:
    """Return the voxels over which the run has averaged a lesion."""
    scene = lesion.scene
    if rois.space == "T1w" and config.roi_space == "T1w" and series.to_t1w is not None:
        return ResampledRegion(lesion, series.to_t1w)
    if rois.space != "T1w":
        drawn = (scene.parts == 1)[lesion.box].astype(float)
        return NativeRegion(lesion, drawn, weighted=False)
    share = label_fractions(
        scene.parts, scene.drawn, lesion.mapping, scene.data.shape[:3], scene.affine, [1]
    )
    return NativeRegion(lesion, np.asarray(share[lesion.box][..., 0], float), weighted=True)


def _write_table(
    session: Session,
    space: Space,
    rows: Sequence[dict[str, Any]],
    config: Config,
    request: Request,
) -> None:
    """Write a table with its sidecar."""
    datatype = outputs.DATATYPES[space]
    table, sidecar = (
        config.output_dir / outputs.RECOVERY.path(session, datatype, extension)
        for extension in outputs.RECOVERY.extensions
    )
    visits = request.visits
    described: dict[str, Any] = {k: {"Description": v} for k, v in RECOVERY_COLUMNS.items()}
    described["Simulation"] = {
        "Description": _SETTINGS,
        "Software": f"metperf {version()}",
        "Changes": [change.name for change in request.changes],
        "Repeats": visits.repeats,
        "RandomSeed": visits.seed[0],
        "EdgeError": visits.edge_error,
        "NoiseFactor": visits.noise,
        "HeadMoved": visits.moved,
    }
    write_bytes(sidecar, to_json(described))
    write_bytes(table, to_tsv(list(RECOVERY_COLUMNS), rows))
