"""A BIDS data set from a folder of DICOM: tables for the user to check, then images."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nibabel.filebasedimages import ImageFileError

from bidsapp.bids.derivatives import PART, compress_image, copy_file, to_json, write_bytes
from bidsapp.bids.pseudonyms import FRAME_PSEUDONYM, pseudonym, salted_pseudonym
from bidsapp.conversion.dicom.dataset import describe_dataset, list_participants
from bidsapp.conversion.dicom.images import Converted, convert
from bidsapp.conversion.dicom.kinds import Kind, Proposal, group_kinds, propose
from bidsapp.conversion.dicom.origins import SOURCE, find_strays, name_source, read_source
from bidsapp.conversion.dicom.plan import ENDINGS, Target, plan_targets
from bidsapp.conversion.dicom.records import Series
from bidsapp.conversion.dicom.scan import ARCHIVES, Scanned, scan_folder
from bidsapp.conversion.dicom.sidecar import complete
from bidsapp.conversion.dicom.tables import (
    FOLDER,
    Tables,
    read_tables,
    write_tables,
)
from bidsapp.conversion.dicom.visits import (
    identity_doubts,
    label_studies,
    list_series,
    read_key,
    read_treatment,
    treatment_doubts,
    write_key,
)
from bidsapp.errors import BadInput, NotWritable, TablesToCheck, UsageError
from bidsapp.issues import Issue

Report = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What is to be converted, and how.

    Attributes
    ----------
    dicom_dir, bids_dir
        The folder of DICOM, and the data set.
    treatment_date
        A date, the path of a table, or empty.
    key
        File outside the data set for who is who, if wanted.
    accept
        Whether the proposals are used without a check.
    overwrite
        Whether images that exist are replaced.
    """

    dicom_dir: Path
    bids_dir: Path
    treatment_date: str = ""
    key: Path | None = None
    accept: bool = False
    overwrite: bool = False


def prepare(request: Request, report: Report) -> list[Issue]:
    """Write the tables of series and visits, and once they are checked, the data set.

    Parameters
    ----------
    request
        What is to be done.
    report
        Takes a line of text on the progress.

    Returns
    -------
    list of Issue
        Failures of all series at once; warnings and notes.

    Raises
    ------
    TablesToCheck
        If the tables have new rows that the user has not seen.
    NothingToAnalyse
        If the folder has no MR images.
    BadInput
        If a table cannot be used.
    UsageError
        If the key file is in the data set, or the date of treatment cannot be used.
    NotWritable
        If a file cannot be written.
    """
    bids_dir, key = request.bids_dir, request.key
    if key and key.resolve().is_relative_to(bids_dir.resolve()):
        raise UsageError(
            f"--key {key} is in the data set; it tells who the participants are: keep it elsewhere"
        )
    tables = read_tables(bids_dir)
    _remove_remains(bids_dir)
    scanned = scan_folder(request.dicom_dir, report)
    names = {study.uid: pseudonym(study.uid, tables.salt) for study in scanned.studies}
    tables, issues = _update_tables(request, scanned, names, tables, report)
    targets, more = plan_targets(scanned.studies, names, tables)
    issues += more
    describe_dataset(bids_dir)
    issues += _convert_all(targets, request, names, tables.salt, report)
    issues += [Issue("failed", text) for text in find_strays(bids_dir, targets, names, tables)]
    present = [
        visit
        for visit in tables.visits.values()
        if (bids_dir / f"sub-{visit.participant}" / f"ses-{visit.session}").is_dir()
    ]
    issues += [Issue("warning", text) for text in list_participants(bids_dir, present)]
    return issues


def _remove_remains(bids_dir: Path) -> None:
    """Remove the temporary files of a run that was killed."""
    for path in [*bids_dir.glob(f"{PART}*"), *(bids_dir / FOLDER).glob(f"{PART}*")]:
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)


def _update_tables(
    request: Request,
    scanned: Scanned,
    names: Mapping[str, str],
    tables: Tables,
    report: Report,
) -> tuple[Tables, list[Issue]]:
    """Return the tables with the new kinds and studies; stop if the user should check them."""
    studies = scanned.studies
    kinds = group_kinds(studies)
    proposals = propose(kinds)
    new_kinds = [kind for kind in kinds if kind not in tables.uses]
    new_studies = [study for study in studies if names[study.uid] not in tables.visits]
    uses = {**tables.uses, **{kind: proposals[kind].use for kind in new_kinds}}
    changed = replace(tables, uses=uses)
    patients = {study.patient.key for study in studies}
    treatment = read_treatment(request.treatment_date, scanned.treated, len(patients))
    rows = read_key(request.key)
    known = {row["patient_id"]: row["participant_id"].removeprefix("sub-") for row in rows}
    visits, warnings = label_studies(studies, names, tables, known, treatment)
    for study in studies:
        name = names[study.uid]
        visits[name] = replace(visits[name], series=list_series(study, changed))
    changed = replace(changed, visits=visits)
    if new_kinds or new_studies or changed.visits != tables.visits:
        write_tables(request.bids_dir, changed, kinds, proposals)
    if request.key:
        write_key(request.key, rows, studies, names, visits)
    issues = [Issue("failed", text) for text in scanned.problems]
    doubts = [*warnings, *identity_doubts(studies, names, visits)]
    doubts += treatment_doubts(treatment, studies, names, visits)
    issues += [Issue("warning", text) for text in doubts]
    issues += [
        Issue("warning" if what == ARCHIVES else "note", f"not read: {count} {what}")
        for what, count in sorted(scanned.others.items())
    ]
    if new_kinds or new_studies:
        _report_proposals(kinds, proposals, new_kinds, report)
        if not request.accept:
            refused = [i for i in plan_targets(studies, names, changed)[1] if i.level == "failed"]
            for issue in [*issues, *refused]:
                report(f"{issue.level}: {': '.join(filter(None, (issue.place, str(issue))))}")
            raise TablesToCheck(
                f"{len(new_kinds)} new kinds of series and {len(new_studies)} new studies: check "
                f"the columns use of {request.bids_dir / FOLDER / 'series.tsv'} and "
                "participant_id, session_id and days_since_treatment of visits.tsv beside it, "
                "then run again (--yes accepts the proposals)"
            )
    return changed, issues


def _report_proposals(
    kinds: Mapping[Kind, Sequence[Series]],
    proposals: Mapping[Kind, Proposal],
    new: Sequence[Kind],
    report: Report,
) -> None:
    """Report the proposed use of each new kind."""
    for kind in sorted(new, key=lambda k: proposals[k].use == "ignore"):
        proposal = proposals[kind]
        report(f"{proposal.use:6} {kind.description} ({len(kinds[kind])} series): {proposal.why}")


def _convert_all(
    targets: Sequence[Target],
    request: Request,
    names: Mapping[str, str],
    salt: str,
    report: Report,
) -> list[Issue]:
    """Convert the images that do not exist yet; one that fails does not stop the others."""
    issues: list[Issue] = []
    kept = 0
    for number, target in enumerate(targets, 1):
        place = {"participant": f"sub-{target.participant}", "session": f"ses-{target.session}"}
        image, source = target.path(request.bids_dir), name_source(target, names)
        if image.exists() and not request.overwrite:
            kept += 1
            if (before := read_source(image)) not in ("", source):
                text = f"{image.name}: was made from series {before}, but the tables now state "
                text += f"{source}; --overwrite replaces it"
                issues.append(Issue("failed", text, **place))
            continue
        report(f"{number} of {len(targets)}: {target.stem.name} from series {target.numbers}")
        try:
            # dcm2niix writes names: a killed run must not leave them in the data set.
            with (
                tempfile.TemporaryDirectory(prefix="metperf-") as folder,
                tempfile.TemporaryDirectory(prefix=PART, dir=request.bids_dir) as staging,
            ):
                done = convert(target.series, target.use, Path(folder))
                fields = _fields(target, done, salt) | {SOURCE: source}
                _place(target, done, fields, Path(staging), request.bids_dir)
        except (BadInput, ValueError, LookupError, EOFError, ImageFileError) as error:
            text = f"{target.use}, series {target.numbers}: {error}"
            issues.append(Issue("failed", text, "BadInput", **place))
            continue
        except OSError as error:
            places = f"{request.bids_dir} or {tempfile.gettempdir()} (TMPDIR)"
            raise NotWritable(f"{places}: cannot be written ({error})") from error
        issues += [
            Issue("warning", f"{target.use}, series {target.numbers}: {text}", **place)
            for text in done.warnings
        ]
        if done.unverified:
            text = f"{target.stem.name}: placement of voxels not verified: {done.unverified}"
            issues.append(Issue("note", text, **place))
    if kept:
        text = f"{kept} images exist and are kept; --overwrite replaces them"
        issues.append(Issue("note", text))
    return issues


def _fields(target: Target, done: Converted, salt: str) -> dict[str, Any]:
    """Return the sidecar of an image."""
    one = target.series[0]
    fields = complete(done.fields, one, target.use, done.times, done.source)
    if one.frame_of_reference:
        fields[FRAME_PSEUDONYM] = salted_pseudonym(one.frame_of_reference, salt)
    return fields


def _place(
    target: Target, done: Converted, fields: Mapping[str, Any], staging: Path, bids_dir: Path
) -> None:
    """Write the files of an image into a folder beside the data, then move them, the image last."""
    write_bytes(target.path(staging, ".json"), to_json(fields))
    compress_image(done.image, target.path(staging))
    if target.use == "dwi":
        for extension in (".bval", ".bvec"):
            if (source := done.beside(extension)).is_file():
                copy_file(source, target.path(staging, extension))
    try:
        target.path(bids_dir).parent.mkdir(parents=True, exist_ok=True)
        target.path(bids_dir).unlink(missing_ok=True)
        for extension in (*ENDINGS[1:], ENDINGS[0]):
            if (made := target.path(staging, extension)).is_file():
                made.replace(target.path(bids_dir, extension))
            else:
                target.path(bids_dir, extension).unlink(missing_ok=True)
    except OSError as error:
        raise NotWritable(f"{target.path(bids_dir)}: cannot be written ({error})") from error
