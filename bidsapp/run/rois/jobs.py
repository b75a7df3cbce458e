"""Which files are the contours of which visit: named, in folders, in a table, or by their frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bidsapp.bids.tables import read_numbered_table
from bidsapp.conversion.contours.choice import KINDS, Use
from bidsapp.conversion.contours.read import is_dose, is_drawing
from bidsapp.errors import BadInput, UsageError
from bidsapp.run.rois.frames import Visit, visits_by_frame

_OTHER_TABLES = (".csv", ".xlsx", ".xls", ".ods")
_COLUMNS = ("participant", "session", "file", "use", "as", "drawn_on")
"""Columns of a table of contours; the first three are required."""
_OTHER_NAMES = {"participant_id": "participant", "session_id": "session"}
"""Names of BIDS for columns -> names here."""


@dataclass(frozen=True)
class Job:
    """Files of one visit, and what their regions are.

    Attributes
    ----------
    participant, session
        Labels without ``sub-`` and ``ses-``.
    files
        Files with contours or masks.
    uses
        Patterns of names with what the regions are.
    drawn_on
        The image on which they were drawn, if it is not the T1w.
    """

    participant: str
    session: str
    files: tuple[Path, ...]
    uses: tuple[Use, ...]
    drawn_on: Path | None = None


@dataclass(frozen=True)
class Selection:
    """What the command line states: labels, if any, uses, and the image that was drawn on.

    `drawn_on` is a file, or the name of one beside the contours of each visit.
    """

    participants: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()
    drawn_on: Path | None = None

    def includes(self, job: Job) -> bool:
        """Return whether a visit is selected."""
        return (not self.participants or job.participant in self.participants) and (
            not self.sessions or job.session in self.sessions
        )


def find_jobs(
    sources: Sequence[Path], chosen: Selection, bids_dir: Path
) -> tuple[list[Job], list[str], list[str]]:
    """Return the files of each visit, notes on files that are not used, and warnings.

    Parameters
    ----------
    sources
        A table; or a folder with folders of participants and in these of sessions, or with DICOM
        files whose frames of reference are those of the T1w of visits; or files or folders of one
        visit, if one participant and one session are selected.
    chosen
        What the command line states.
    bids_dir
        The data set.

    Raises
    ------
    UsageError
        If it remains unknown which visit.
    BadInput
        If a table cannot be used, or files cannot be assigned.
    """
    first, *more = sources
    warnings: list[str] = []
    one_visit = len(chosen.participants) == len(chosen.sessions) == 1
    if first.suffix.lower() in _OTHER_TABLES:
        raise UsageError(f"{first.name}: save the table with tabs between its columns, as .tsv")
    if first.suffix.lower() == ".tsv":
        if more:
            raise UsageError(f"{first.name}: a table of contours is the only source")
        jobs, notes = list(_jobs_of_table(first, chosen)), list[str]()
    elif first.is_dir() and not more and (not one_visit or _has_visit(first, chosen)):
        jobs, notes, warnings = _jobs_of_folder(first, chosen, bids_dir)
    elif one_visit:
        files, notes = _drawings(sources, chosen.drawn_on)
        label, session = chosen.participants[0], chosen.sessions[0]
        jobs = [_with_image(Job(label, session, tuple(files), chosen.uses), chosen.drawn_on)]
    else:
        raise UsageError(
            "which visit? name it with --participant-label and --session-label; contours of a "
            "whole study are in one folder, as PARTICIPANT/SESSION/FILE, or in a table (.tsv) with "
            "the columns participant, session, file"
        )
    selected = [job for job in jobs if chosen.includes(job)]
    if not any(job.files for job in selected):
        visits = ", ".join(dict.fromkeys(f"sub-{j.participant} ses-{j.session}" for j in jobs))
        there = f"; it has those of {visits}" if visits and not selected else ""
        raise BadInput(f"{first}: no file with contours or masks of the selected visits{there}")
    return selected, notes, warnings


def _jobs_of_table(table: Path, chosen: Selection) -> Iterator[Job]:
    """Yield a job for each row; cells that are missing are those of the command line."""
    problems = []
    known = (*_COLUMNS, *_OTHER_NAMES)
    for line, row in read_numbered_table(table, _COLUMNS[2:3], known=known):
        cells = {
            _OTHER_NAMES.get(name, name): "" if value.strip() == "n/a" else value.strip()
            for name, value in row.items()
        }
        if missing := [repr(name) for name in _COLUMNS[:3] if name not in cells]:
            raise BadInput(
                f"{table}: column {', '.join(missing)} is missing; the columns are {', '.join(row)}"
            )
        kind, where = cells.get("as", ""), f"{table}: line {line}"
        uses = chosen.uses
        if kind and kind not in KINDS:
            problems.append(f"{where}: as is {kind!r}; use one of {', '.join(KINDS)}")
            continue
        if kind:
            uses = (Use(cells.get("use", ""), next(k for k in KINDS if k == kind)),)
        elif cells.get("use"):
            uses = tuple(replace(use, pattern=cells["use"]) for use in chosen.uses)
        label = cells["participant"].removeprefix("sub-")
        session = cells["session"].removeprefix("ses-")
        files = (table.parent / cells["file"],) if cells["file"] else ()
        if not (label and session and files):
            problems.append(f"{where}: participant, session or file is empty")
        elif not files[0].is_file():
            problems.append(f"{where}: {files[0]} is not a file")
        else:
            image = cells.get("drawn_on")
            drawn_on = table.parent / image if image else chosen.drawn_on
            yield _with_image(Job(label, session, files, uses), drawn_on)
    if problems:
        raise BadInput("\n".join(problems))


def _jobs_of_folder(
    folder: Path, chosen: Selection, bids_dir: Path
) -> tuple[list[Job], list[str], list[str]]:
    """Return a job for each visit, by folder or frame of reference, notes, and warnings."""
    files, notes = _drawings([folder], chosen.drawn_on)
    named = {file: _visit_of_folder(file.relative_to(folder)) for file in files}
    elsewhere = [file for file, visit in named.items() if not _has_folder(visit, bids_dir)]
    by_frame = visits_by_frame(elsewhere, bids_dir)
    visits: dict[Visit, list[Path]] = {}
    lost = []
    for file in files:
        same_frame = by_frame.get(file, [])
        visit = same_frame[0] if len(same_frame) == 1 else named[file]
        if visit:
            visits.setdefault(visit, []).append(file)
        else:
            shared = ", ".join(f"sub-{label}/ses-{session}" for label, session in same_frame)
            name = file.relative_to(folder).as_posix()
            lost.append(f"{name} (the frame of reference of {shared})" if shared else name)
    if lost:
        raise BadInput(
            f"{folder}: these files are in no folder PARTICIPANT/SESSION, such as "
            "sub-01/ses-baseline, and their frame of reference is not that of one visit: "
            f"{', '.join(lost[:10])}{' ...' if len(lost) > 10 else ''}"
        )
    jobs = [
        _with_image(Job(label, session, tuple(paths), chosen.uses), chosen.drawn_on)
        for (label, session), paths in visits.items()
    ]
    return jobs, notes, _unread_visits(folder, files, chosen, bids_dir)


def _unread_visits(
    folder: Path, read: Sequence[Path], chosen: Selection, bids_dir: Path
) -> list[str]:
    """Return a warning for each folder of a selected visit of a participant that is not read."""
    texts = []
    for place in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        parts = place.relative_to(folder).parts
        label, session = parts[0].removeprefix("sub-"), parts[1].removeprefix("ses-")
        inside = [path.relative_to(folder) for path in _files_in(place)]
        if (
            inside
            and (bids_dir / f"sub-{label}").is_dir()
            and chosen.includes(Job(label, session, (), ()))
            and not any(place in path.parents for path in read)
        ):
            texts.append(f"nothing is read from {'/'.join(parts)}: {_list_some(inside)}")
    return texts


def _visit_of_folder(file: Path) -> Visit | None:
    """Return the labels of the folders PARTICIPANT/SESSION that a file is in."""
    if len(file.parts) < 3:
        return None
    return file.parts[0].removeprefix("sub-"), file.parts[1].removeprefix("ses-")


def _has_folder(visit: Visit | None, bids_dir: Path) -> bool:
    """Return whether a data set has a visit."""
    return visit is not None and (bids_dir / f"sub-{visit[0]}" / f"ses-{visit[1]}").is_dir()


def _has_visit(folder: Path, chosen: Selection) -> bool:
    """Return whether a folder contains the folder of the only visit that is selected."""
    (label,), (session,) = chosen.participants, chosen.sessions
    places = [(p, s) for p in (label, f"sub-{label}") for s in (session, f"ses-{session}")]
    return any((folder / participant / visit).is_dir() for participant, visit in places)


def _with_image(job: Job, drawn_on: Path | None) -> Job:
    """Return a job with the image that was drawn on: a file, or one of that name beside it."""
    if drawn_on is None:
        return job
    beside = [file.parent / drawn_on for file in job.files[:1]]
    return replace(job, drawn_on=next((path for path in beside if path.is_file()), drawn_on))


def _drawings(sources: Sequence[Path], drawn_on: Path | None) -> tuple[list[Path], list[str]]:
    """Return files of contours, masks and dose, and notes; files named one by one are all used."""
    found, others = [], []
    for source in sources:
        if source.is_dir():
            inside = _files_in(source)
            inside = [path for path in inside if drawn_on is None or path.name != drawn_on.name]
            own = [path for path in inside if is_drawing(path) or is_dose(path)]
            found += own
            others += [path.relative_to(source) for path in inside if path not in own]
        elif source.is_file():
            found.append(source)
        else:
            raise BadInput(f"{source}: does not exist")
    count = f"{len(others)} files" if len(others) > 1 else "1 file"
    return found, [f"not read: {count} without contours ({_list_some(others)})"] if others else []


def _files_in(folder: Path) -> list[Path]:
    """Return the files in a folder and its folders, without those that macOS adds (``._*``)."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("._"))


def _list_some(paths: Sequence[Path]) -> str:
    """Return the first three of several paths, for messages."""
    return ", ".join(path.as_posix() for path in paths[:3]) + (" ..." if len(paths) > 3 else "")
