"""Findings that limit the interpretation of a participant's results, most severe first."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np

from bidsapp.bids import outputs
from bidsapp.imaging.motion.parameters import DISPLACEMENT
from bidsapp.issues import (
    DOUBTFUL_REGISTRATION,
    IMPOSSIBLE_VALUE,
    OUTLIERS_INCLUDED,
    UNFITTED_VOXELS,
)
from bidsapp.models.parameters import FRACTIONS, expected_parameters
from bidsapp.reports.participant.kinds import UNREADABLE, Finding, FindingLevel, kind_of
from bidsapp.reports.participant.noise import signal_to_noise, voxel_size
from bidsapp.reports.participant.records import (
    DATATYPES,
    ParticipantOutputs,
    SessionOutputs,
    read_frame,
    read_json,
)
from bidsapp.study.tables.analysis_options import option_differences

FAILED_SHARE = 0.1
"""Proportion of a lesion's voxels without a valid fit above which there is a warning."""

CONVERSION = {
    "VoxelsBeyondRange": "have frames with a signal that no concentration explains",
}
"""Counts in `desc-concentration_quality.json` that cause a warning, and its text.

Voxels that cannot be converted are reported where lesions have them: a T1 map may end at the brain.
"""

SMALL_LESION = 10.0
"""Volume of a lesion below which there is a warning of partial volume, voxels of the series."""

LOW_SNR = 15.0
"""Signal-to-noise ratio at b = 0 below which there is a warning."""

CONSISTENCY = 1.0
"""Distance between direct and chained registration above which there is a warning, mm."""

REGISTRATION = {
    "overlap": (
        0.85,
        math.inf,
        "the field of view covers only {:.0%} of the brain that it could cover",
    ),
    "determinant": (0.8, 1.25, "the volume changes by a factor of {:.2f}"),
    "rotation_degrees": (-20.0, 20.0, "the head is rotated by {:.0f}°"),
}
"""Registration quality: lowest and highest acceptable value, and the text of a warning."""


def _completeness(participant: ParticipantOutputs) -> Iterator[Finding]:
    if participant.problem:
        yield Finding("warning", participant.problem, "provenance")
    if not participant.sessions:
        yield Finding("failed", "There are no results for this participant.", "provenance")
    elif not any(session.ran(datatype) for session, datatype in _series(participant)):
        yield Finding("failed", "No session has maps: nothing was analysed.", "overview")
    if participant.last_run and not participant.status:
        yield Finding("failed", "The last run did not finish: it wrote no status.", "provenance")


def _crashes(participant: ParticipantOutputs) -> Iterator[Finding]:
    reported = " ".join(issue.text for issue in participant.issues)
    for path in participant.crashes:
        if path.name not in reported and path.parent == participant.last_run:
            yield Finding("failed", f"A step crashed: {path.name}", "crashes")


def _status(participant: ParticipantOutputs) -> Iterator[Finding]:
    order = {session.label: number for number, session in enumerate(participant.sessions)}
    for issue in sorted(participant.issues, key=lambda issue: order.get(issue.session, -1)):
        name = issue.session.removeprefix("ses-")
        if issue.level != "note" and issue.code != OUTLIERS_INCLUDED:  # see _motion
            anchor = "crashes" if issue.step else ""
            text, kind = f"{name}: {issue}", kind_of(issue)
            yield Finding(issue.level, text, anchor, kind=kind, session=name)


def _missing_data(participant: ParticipantOutputs) -> Iterator[Finding]:
    for session in participant.sessions:
        reported = [
            i.text
            for i in participant.issues
            if i.session == session.label and i.level == "missing"
        ]
        for lacking, rest, anchor in _gaps(session):
            if not any(text.startswith(lacking) for text in reported):
                text = f"{session.name}: {lacking}{rest}"
                yield Finding("missing", text, anchor, session=session.name)


def _gaps(session: SessionOutputs) -> Iterator[tuple[str, str, str]]:
    """Yield what a session lacks, the consequence, and the section to link to."""
    if session.t1w is None:
        yield "no T1w", ": maps in native space", "maps"
    if not any(session.files(kind) for kind in (outputs.ROIS, outputs.PROPAGATED_ROIS)):
        yield "no ROI", ": no lesion values", "lesions"
    for datatype, name in DATATYPES.items():
        if not session.ran(datatype):
            yield f"no {name}", " result", "overview"
        elif session.t1w and not session.ran(datatype, "T1w"):
            yield f"no {name} maps in the space of the T1w", ": none are shown", "maps"


def _failed_voxels(participant: ParticipantOutputs) -> Iterator[Finding]:
    table = participant.statistics
    if table.empty:
        return
    table = table[(table["n_voxels"] > 0) & (table["n_failed"] > 0)]
    reported = {(i.session, i.lesion) for i in participant.issues if i.code == UNFITTED_VOXELS}
    for (session, lesion, model), rows in table.groupby(
        ["session_id", "lesion", "model"], sort=False
    ):
        share = rows["n_failed"] / rows["n_voxels"]
        if share.max() > FAILED_SHARE and (session, str(lesion)) not in reported:
            name = rows["parameter"].iloc[int(share.argmax())]
            text = f"{100 * share.max():.0f} % of the voxels have no valid {name} ({model})"
            session = str(session).removeprefix("ses-")
            text = f"{session}, lesion {lesion}: {text}"
            yield Finding("warning", text, "lesions", session=session)


def _options(participant: ParticipantOutputs) -> Iterator[Finding]:
    for text in option_differences({participant.label: {"sessions": participant.status}}):
        message = text.replace(f"{participant.label} ses-", "")
        yield Finding(
            "warning", f"{message} The methods section describes the last run.", "provenance"
        )


def _fractions_above_one(participant: ParticipantOutputs) -> Iterator[Finding]:
    table = participant.statistics
    if table.empty:
        return
    # Earlier versions did not report them.
    reported = {i.session for i in participant.issues if i.code == IMPOSSIBLE_VALUE}
    fractions = table["parameter"].isin(FRACTIONS) & (table["mean"] > 1)
    fractions &= ~table["session_id"].isin(reported)
    for row in table[fractions].to_dict("records"):
        session = str(row["session_id"]).removeprefix("ses-")
        text = f"mean {row['parameter']} of {row['mean']:.2g} exceeds 1, which is impossible: "
        text += "check T1, relaxivity, arterial input and units"
        text = f"{session}, lesion {row['lesion']}: {text}"
        yield Finding("warning", text, "lesions", session=session)


def _small_lesions(participant: ParticipantOutputs) -> Iterator[Finding]:
    for session, datatype in _series(participant):
        for lesion, voxels in lesion_voxels(participant, session, datatype).items():
            if 0 < voxels < SMALL_LESION:
                size = " × ".join(f"{z:.2g}" for z in voxel_size(session, datatype) or ())
                text = f"has a volume of {voxels:.1f} voxels of {size} mm: "
                text += "its mean includes surrounding tissue"
                name = f"{session.name}, lesion {lesion}, {DATATYPES[datatype]}"
                yield Finding("warning", f"{name}: {text}", "lesions", session=session.name)


def lesion_voxels(
    participant: ParticipantOutputs, session: SessionOutputs, datatype: str
) -> dict[int, float]:
    """Return the volume of each lesion with values, in voxels of a series.

    Parameters
    ----------
    participant : ParticipantOutputs
    session : SessionOutputs
    datatype : {"dwi", "perf"}

    Returns
    -------
    voxels : dict of int to float
        By lesion; empty if the volumes or the voxel size are not known.
    """
    table, zooms = participant.statistics, voxel_size(session, datatype)
    if table.empty or "measured_ml" not in table or zooms is None:
        return {}
    own = table["parameter"].isin(expected_parameters(datatype))
    rows = table[own & (table["session_id"] == session.label)]
    largest = rows.groupby("lesion")["measured_ml"].max()
    voxels = largest * 1000 / math.prod(zooms)
    return {int(n): float(v) for n, v in zip(voxels.index, voxels, strict=True)}


def _noise(participant: ParticipantOutputs) -> Iterator[Finding]:
    for session in participant.sessions:
        snr = signal_to_noise(session)
        if snr is not None and snr < LOW_SNR:
            text = f"{session.name}, DWI: signal-to-noise ratio of {snr:.0f} at b = 0"
            yield Finding("warning", text, "diffusion", session=session.name)


def _conversion(participant: ParticipantOutputs) -> Iterator[Finding]:
    for session in participant.sessions:
        paths = session.files(outputs.UNEXPLAINED, extension=".json")
        if not paths:
            continue
        counts = read_json(paths[0])
        for key, say in CONVERSION.items():
            share = counts[key] / max(counts["Voxels"], 1)
            if share > FAILED_SHARE:
                text = f"{session.name}, DCE: {100 * share:.0f} % of the voxels {say}"
                yield Finding("warning", text, "lesions", session=session.name)


def _artery(participant: ParticipantOutputs) -> Iterator[Finding]:
    # The status of the session has them, too, since version 0.2.0.
    reported = {
        (issue.session, issue.text.split("arterial input: ")[-1]) for issue in participant.issues
    }
    for session in participant.sessions:
        path = session.find(outputs.ARTERIAL_QUALITY)
        for text in read_json(path).get("Warnings", []) if path else ():
            if (session.label, text) in reported:
                continue
            words = f"{session.name}, arterial input: {text}"
            yield Finding("warning", words, "arterial", session=session.name)


def _motion(participant: ParticipantOutputs) -> Iterator[Finding]:
    """Yield a finding on the series with most outliers, and the number of the others.

    The table decides which volumes are outliers: a displacement between two b-values, or within
    the uncertainty, does not show that the head moved.
    """
    outlying = []
    for session, datatype in _series(participant):
        path = session.find(outputs.MOTION, datatype)
        if path is None:
            continue
        name, table = f"{session.name}, {DATATYPES[datatype]}", read_frame(path)
        steps = table["framewise_displacement"].to_numpy(dtype=float)
        known = "outlier" in table  # not in early versions
        marks = table["outlier"].to_numpy() == 1 if known else steps > DISPLACEMENT
        bad, total = int(marks.sum()), len(marks)
        if bad:
            largest = float(np.nanmax(steps[marks], initial=0))
            sidecar = session.find(outputs.MOTION, datatype, ".json")
            out = bool(sidecar and read_json(sidecar).get("OutliersLeftOut"))
            done = "excluded from the fits" if out else "included in the fits (see --drop-outliers)"
            text = f"{bad} of {total} volumes are outliers (displacement up to {largest:.1f} mm), "
            text += done
            outlying.append((bad / total, f"{name}: {text}", session.name))
    if outlying:
        rest = len(outlying) - 1
        more = f"; {rest} more series {'are' if rest > 1 else 'is'} affected" if rest else ""
        reported = any(issue.code == OUTLIERS_INCLUDED for issue in participant.issues)
        _, text, name = max(outlying)
        yield Finding("warning", text + more, "motion", reported, session=name)


def _registration(participant: ParticipantOutputs) -> Iterator[Finding]:
    for session, datatype in _series(participant):
        path = session.find(outputs.TO_T1W_QUALITY, datatype)
        if path is None:
            if session.t1w is not None and session.ran(datatype):
                text = f"{session.name}, {DATATYPES[datatype]}: not registered to the T1w"
                yield Finding("failed", text, "registration", session=session.name)
            continue
        reported = _reported_reasons(participant, session)
        what = f"{session.name}, {DATATYPES[datatype]} on T1w"
        yield from _registration_findings(path, what, reported, session.name)
    for session in participant.sessions:
        path = session.find(outputs.TO_BASELINE_QUALITY)
        if path is not None:
            reported = _reported_reasons(participant, session)
            what = f"{session.name}, T1w on that of the baseline"
            yield from _registration_findings(path, what, reported, session.name)


def _reported_reasons(participant: ParticipantOutputs, session: SessionOutputs) -> set[str]:
    """Return why registrations of a session are doubtful, as its run has reported it.

    Earlier versions reported only what replaced a registration that had failed.
    """
    texts = [issue.text for issue in participant.issues if issue.session == session.label]
    return {
        text.split(f": {DOUBTFUL_REGISTRATION}: ")[1]
        for text in texts
        if f": {DOUBTFUL_REGISTRATION}: " in text
    }


def _registration_findings(
    path: Path, what: str, reported: set[str], session: str
) -> Iterator[Finding]:
    """Yield why a registration is doubtful, and its quality measures out of range."""
    quality = read_json(path)
    doubtful = quality.get("verdict") in ("doubtful", "failed")
    if doubtful and quality["reason"] not in {*reported, quality.get("fallback")}:
        text = f"{what}: {quality['reason']}"
        yield Finding("warning", text, "registration", session=session)
    for key, (low, high, say) in REGISTRATION.items():
        value = quality.get(key)
        if value is not None and not low <= float(value) <= high:
            text = f"{what}: {say.format(float(value))}"
            yield Finding("warning", text, "registration", session=session)


def _consistency(participant: ParticipantOutputs) -> Iterator[Finding]:
    for session, datatype in _series(participant):
        path = session.find(outputs.CONSISTENCY, datatype)
        apart = float(read_json(path)["consistency_mm"]) if path else 0.0
        if apart > CONSISTENCY:
            text = f"{session.name}, {DATATYPES[datatype]} on the baseline T1w: the direct "
            text += f"registration differs by {apart:.1f} mm from that via the session's T1w"
            yield Finding("warning", text, "registration", session=session.name)


def _series(participant: ParticipantOutputs) -> Iterator[tuple[SessionOutputs, str]]:
    for session in participant.sessions:
        for datatype in DATATYPES:
            yield session, datatype


RULES: Mapping[Callable[[ParticipantOutputs], Iterator[Finding]], str] = {
    _completeness: "Analysis incomplete",
    _crashes: "Failed steps",
    _status: "",
    _registration: "Registration",
    _consistency: "Registration",
    _artery: "Arterial input",
    _motion: "Motion",
    _conversion: "Conversion to concentration",
    _failed_voxels: "Voxels without a value",
    _fractions_above_one: "Impossible values",
    _options: "Analysis options",
    _small_lesions: "Small lesions",
    _noise: "Noise",
    _missing_data: "Missing data",
}
"""All checks, each a function that yields findings, and the kind of those that state none."""


def findings(participant: ParticipantOutputs) -> list[Finding]:
    """Return the findings of all checks of a participant.

    A check that fails, for example because a file cannot be read, is itself a finding.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    found : list of Finding
        Failures, then warnings, then missing data; each once.
    """
    found: list[Finding] = []
    for rule, kind in RULES.items():
        try:
            found.extend(replace(one, kind=one.kind or kind) for one in rule(participant))
        except Exception as error:  # the page is written all the same, and lists this failure
            name = rule.__name__.strip("_").replace("_", " ")
            text = f"The check of {name} failed: {error}"
            found.append(Finding("failed", text, "provenance", kind=UNREADABLE))
    order = get_args(FindingLevel)
    return sorted(dict.fromkeys(found), key=lambda finding: order.index(finding.level))
