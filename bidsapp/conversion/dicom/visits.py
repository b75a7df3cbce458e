"""Labels of participants and sessions of new studies, and days since treatment."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from bidsapp.bids.derivatives import to_tsv, write_bytes
from bidsapp.bids.tables import read_numbered_table, read_table
from bidsapp.conversion.dicom.kinds import kind_of
from bidsapp.conversion.dicom.records import Study
from bidsapp.conversion.dicom.tables import Tables, Visit
from bidsapp.errors import BadInput, UsageError

KEY_COLUMNS = ("study", "participant_id", "session_id", "patient_id", "patient_name", "study_date")
"""Columns of the key file, which is kept outside the data set."""
_FAR = 1827
"""Days from the treatment above which its date is doubted: five years."""


@dataclass(frozen=True)
class Treatment:
    """Days of treatment: one of all patients, or by patient; and those of RT objects.

    Attributes
    ----------
    everyone
        Date that the user states for the only patient.
    by_patient
        Patient -> date, as the user states them.
    planned
        Patient -> dates in RT objects, ``YYYYMMDD``.
    """

    everyone: date | None
    by_patient: Mapping[str, date]
    planned: Mapping[str, set[str]]

    def find(self, patient: str) -> tuple[date | None, str]:
        """Return the date for a patient, and where it is from."""
        if self.everyone or patient in self.by_patient:
            return self.everyone or self.by_patient[patient], "--treatment-date"
        dates = sorted(filter(None, map(parse_date, self.planned.get(patient, ()))))
        if len(dates) == 1:
            return dates[0], "RT plan, dose or treatment record"
        return None, f"{len(dates)} dates in RT objects" if dates else ""


def parse_date(text: str) -> date | None:
    """Return a date in DICOM or ISO format, or None.

    Examples
    --------
    >>> parse_date("20210902") == parse_date("2021-09-02"), parse_date("2 Sep")
    (True, None)
    """
    for form in ("%Y%m%d", "%Y-%m-%d"):
        try:
            return datetime.strptime(text.strip(), form).date()
        except ValueError:
            continue
    return None


def read_treatment(text: str, planned: Mapping[str, set[str]], patients: int) -> Treatment:
    """Return the dates of treatment that the user states, as a date or a table.

    Parameters
    ----------
    text
        A date, the path of a TSV table with ``patient`` and ``date``, or nothing.
    planned
        Patient -> dates in RT objects.
    patients
        Number of patients.

    Raises
    ------
    UsageError
        If it is neither, or one date is given for several patients.
    BadInput
        If the table cannot be used.
    """
    if not text:
        return Treatment(None, {}, planned)
    if day := parse_date(text):
        if day > date.today():
            raise UsageError(f"--treatment-date {text} is in the future")
        if patients > 1:
            raise UsageError(
                f"--treatment-date {text} is one date, but there are {patients} patients; give a "
                "table (.tsv) with the columns patient and date"
            )
        return Treatment(day, {}, planned)
    table = Path(text)
    if not table.is_file():
        raise UsageError(f"--treatment-date {text} is neither a date such as 2024-03-01 nor a file")
    stated: dict[str, date] = {}
    problems = []
    for line, row in read_numbered_table(table, ("patient", "date"), known=("patient", "date")):
        day, patient = parse_date(row["date"]), row["patient"].strip()
        if day is None:
            problems.append(f"line {line}: {row['date']!r} is no date; write it as 2024-03-01")
        elif day > date.today():
            problems.append(f"line {line}: {row['date']} is in the future")
        elif stated.setdefault(patient, day) != day:
            problems.append(f"line {line}: {patient} has another date before; keep one")
    if problems:
        raise BadInput("\n".join(f"{table}: {text}" for text in problems))
    return Treatment(None, stated, planned)


def treatment_doubts(
    treatment: Treatment,
    studies: Sequence[Study],
    names: Mapping[str, str],
    visits: Mapping[str, Visit],
) -> list[str]:
    """Return warnings on dates without a patient, patients without a date, and implausible days."""
    found = [
        f"sub-{v.participant} ses-{v.session}: is {v.days:g} days from the treatment: is the year "
        "of its date right?"
        for v in (visits[names[study.uid]] for study in studies)
        if abs(v.days or 0) > _FAR
    ]
    if not treatment.by_patient:
        return found
    keys = {study.patient.key for study in studies}
    others = [patient for patient in treatment.by_patient if patient not in keys]
    undated = {
        f"sub-{visits[names[s.uid]].participant}"
        for s in studies
        if visits[names[s.uid]].days is None
    }
    found += [
        f"--treatment-date: {len(others)} patients are not in the folder, such as {others[0]!r}: "
        "the column patient must have their PatientID"
    ] if others else []  # fmt: skip
    if undated:
        found.append(f"no date of treatment is known of {', '.join(sorted(undated))}")
    return found


def label_studies(
    studies: Sequence[Study],
    names: Mapping[str, str],
    tables: Tables,
    known: Mapping[str, str],
    treatment: Treatment,
) -> tuple[dict[str, Visit], list[str]]:
    """Return the visits of all studies: those of the table, and new ones with proposed labels.

    Parameters
    ----------
    studies
        By date.
    names
        UID of each study -> its pseudonym.
    tables
        Those of the data set.
    known
        Patient -> participant, from the key file.
    treatment
        Dates of treatment.

    Returns
    -------
    (dict of str to Visit, list of str)
        Visits by pseudonym, and warnings.
    """
    visits = dict(tables.visits)
    people = dict(known)
    for study in studies:
        if (visit := visits.get(names[study.uid])) is not None:
            people.setdefault(study.patient.key, visit.participant)
    dates = {names[s.uid]: s.date for s in studies}
    warnings = []
    for study in studies:
        name = names[study.uid]
        day, source = treatment.find(study.patient.key)
        days = _days(study.date, day)
        if name in visits:
            visits[name], text = _with_days(visits[name], days, source)
            warnings += [text] if text else []
            continue
        used = {visit.participant for visit in visits.values()} | set(people.values())
        label = people.setdefault(study.patient.key, _next_label(used))
        own = [visit for visit in visits.values() if visit.participant == label]
        same = [v.session for v in own if study.date and dates.get(v.study) == study.date]
        session = same[0] if same else _next_label(v.session for v in own)
        visits[name] = Visit(name, label, session, days, source)
        later = [v.session for v in own if not same and dates.get(v.study, "") > study.date]
        if later:
            warnings.append(
                f"sub-{label} ses-{session}: was acquired before ses-{later[0]}; only "
                "days_since_treatment, or another label, tells their order"
            )
    return visits, warnings


def _days(text: str, treated: date | None) -> float | None:
    """Return the days from a treatment to a date."""
    day = parse_date(text)
    return float((day - treated).days) if day and treated else None


def _with_days(visit: Visit, days: float | None, source: str) -> tuple[Visit, str]:
    """Return a visit of the table with its days, where they were not known, and a warning."""
    if visit.days is None and days is not None:
        return replace(visit, days=days, days_from=source), ""
    if days is not None and visit.days != days:
        return visit, (
            f"sub-{visit.participant} ses-{visit.session}: days_since_treatment is "
            f"{visit.days:g} in visits.tsv, which is used, but {days:g} by {source}"
        )
    return visit, ""


def _next_label(used: Iterable[str]) -> str:
    """Return the label after the highest number in use.

    Examples
    --------
    >>> _next_label(["01", "02", "baseline"]), _next_label([])
    ('03', '01')
    """
    numbers = [int(label) for label in used if re.fullmatch(r"\d+", label)]
    return f"{max(numbers, default=0) + 1:02d}"


def identity_doubts(
    studies: Sequence[Study], names: Mapping[str, str], visits: Mapping[str, Visit]
) -> list[str]:
    """Return warnings on patients that may be several, or studies that may be of one patient."""
    people: dict[str, set[str]] = {}
    labels: dict[str, set[str]] = {}
    days: dict[tuple[str, str], set[str]] = {}
    for study in studies:
        visit = visits[names[study.uid]]
        plain, key = (re.sub(r"[\W_]+", " ", t.casefold()).strip() for t in
                      (study.patient.name, study.patient.key))  # fmt: skip
        people.setdefault(visit.participant, set()).add(plain)
        days.setdefault((visit.participant, visit.session), set()).add(study.date)
        for what in filter(None, (f"name {plain}" if plain else "", key.replace(" ", ""))):
            labels.setdefault(what, set()).add(f"sub-{visit.participant}")
    found = [
        f"sub-{label}: its studies have different names of the patient: is it one patient?"
        for label, plain in people.items()
        if len(plain) > 1
    ]
    alike = {tuple(sorted(own)) for own in labels.values() if len(own) > 1}
    alike = {own for own in alike if not any(set(own) < set(other) for other in alike)}
    found += [
        f"{', '.join(own)}: the same name, or PatientIDs that differ in case or blanks only: is it "
        "one patient? Then give its studies one participant_id in visits.tsv, and a session_id each"
        for own in sorted(alike)
    ]
    found += [
        f"sub-{label} ses-{session}: has studies of {len(dates)} days: give each its session_id"
        for (label, session), dates in days.items()
        if len(dates) > 1
    ]
    undated = sum(not study.date for study in studies)
    if undated:
        found.append(
            f"{undated} studies have no date: the order of their sessions is not known; state "
            "session_id and days_since_treatment in visits.tsv"
        )
    unknown = sum(study.patient.key == study.uid for study in studies)
    if unknown:
        found.append(
            f"{unknown} studies have neither PatientID nor name, and are participants of their own "
            "unless visits.tsv gives them the same label"
        )
    return found


def list_series(study: Study, tables: Tables) -> str:
    """Return the numbers of the series of a study that are used, as text."""
    pairs = [(s.number, tables.uses.get(kind_of(s), "ignore")) for s in study.series]
    return "; ".join(f"{number} {use}" for number, use in pairs if use != "ignore")


def read_key(key: Path | None) -> list[dict[str, str]]:
    """Return the rows of the key file; none if it does not exist yet.

    Raises
    ------
    BadInput
        If it cannot be read as a key file.
    """
    if key is None or not key.exists():
        return []
    return read_table(key, KEY_COLUMNS)


def write_key(
    key: Path,
    rows: Sequence[Mapping[str, str]],
    studies: Sequence[Study],
    names: Mapping[str, str],
    visits: Mapping[str, Visit],
) -> None:
    """Write who is who, readable by the user only.

    Parameters
    ----------
    key
        The file.
    rows
        Those that it has.
    studies, names, visits
        Studies of this run, their pseudonyms, and all visits by pseudonym.

    Raises
    ------
    NotWritable
        If it cannot be written.
    """
    found: dict[str, Mapping[str, str]] = {row["study"]: row for row in rows}
    for study in studies:
        name = names[study.uid]
        visit = visits[name]
        texts = (study.patient.key, study.patient.name, study.date)
        labels = (f"sub-{visit.participant}", f"ses-{visit.session}")
        found[name] = dict(zip(KEY_COLUMNS, (name, *labels, *texts), strict=True))
    ordered = sorted(found.values(), key=lambda row: (row["participant_id"], row["session_id"]))
    write_bytes(key, to_tsv(KEY_COLUMNS, ordered))
    key.chmod(0o600)
