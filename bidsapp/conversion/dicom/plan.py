"""Which series become which image of the data set."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsapp.conversion.dicom.kinds import has_contrast, kind_of
from bidsapp.conversion.dicom.records import Series, Study
from bidsapp.conversion.dicom.tables import Tables, Visit
from bidsapp.issues import Issue

ENDINGS = (".nii.gz", ".json", ".bval", ".bvec")
"""Files of an image."""
_FOLDERS = {"t1w": "anat", "vfa": "anat", "t1map": "anat", "dwi": "dwi", "dce": "perf",
            "fmap": "fmap"}  # fmt: skip
_NEEDED = {"t1w": "T1w", "dwi": "diffusion series", "dce": "dynamic series"}
"""What a session should have."""


@dataclass(frozen=True)
class Target:
    """An image to be made.

    Attributes
    ----------
    participant, session
        Labels.
    use
        Its use.
    series
        One, or the single volumes of a dynamic series.
    stem
        Path in the data set, without extension.
    """

    participant: str
    session: str
    use: str
    series: tuple[Series, ...]
    stem: Path

    def path(self, bids_dir: Path, extension: str = ".nii.gz") -> Path:
        """Return the path of a file of the image."""
        return bids_dir / self.stem.with_name(self.stem.name + extension)

    @property
    def numbers(self) -> str:
        """Numbers of its series, as text."""
        numbers = [str(one.number) for one in self.series]
        return ", ".join(numbers) if len(numbers) < 4 else f"{numbers[0]} to {numbers[-1]}"


def plan_targets(
    studies: Sequence[Study], names: Mapping[str, str], tables: Tables
) -> tuple[list[Target], list[Issue]]:
    """Return the images to be made of all studies, and what prevents others.

    Parameters
    ----------
    studies
        With their series.
    names
        UID of each study -> its pseudonym.
    tables
        With the uses and labels that the user has checked.
    """
    issues: list[Issue] = []
    sessions: dict[tuple[str, str], list[Series]] = {}
    for study in studies:
        visit: Visit = tables.visits[names[study.uid]]
        own = sessions.setdefault((visit.participant, visit.session), [])
        own += [one for one in study.series if one.number not in visit.leave_out]
        absent = set(visit.leave_out) - {one.number for one in study.series}
        if absent:
            text = f"leave_out of visits.tsv names series that are not there: {sorted(absent)}"
            issues.append(_issue("warning", text, visit.participant, visit.session))
    targets: list[Target] = []
    for (participant, session), series in sorted(sessions.items()):
        by_use: dict[str, list[Series]] = {}
        for one in series:
            by_use.setdefault(tables.uses[kind_of(one)], []).append(one)
        by_use.pop("ignore", None)
        for use, chosen in by_use.items():
            found, problem = _targets(participant, session, use, chosen)
            targets += found
            if problem:
                issues.append(_issue("failed", problem, participant, session))
        issues += [
            _issue("warning", f"no series is used as {use} ({what})", participant, session)
            for use, what in _NEEDED.items()
            if use not in by_use
        ]
    return targets, issues


def _issue(level: str, text: str, participant: str, session: str) -> Issue:
    return Issue(level, text, participant=f"sub-{participant}", session=f"ses-{session}")  # type: ignore[arg-type]


def _targets(
    participant: str, session: str, use: str, series: list[Series]
) -> tuple[list[Target], str]:
    """Return the images of one use in a session, or a problem."""

    def target(own: Iterable[Series], name: str) -> Target:
        stem = Path(f"sub-{participant}", f"ses-{session}", _FOLDERS[use])
        labels = f"sub-{participant}_ses-{session}_{name}"
        return Target(participant, session, use, tuple(own), stem / labels)

    if use == "vfa":
        ordered = sorted(series, key=lambda s: s.flip_angle or 0.0)
        angles = [one.flip_angle for one in ordered]
        if len(set(angles)) < len(angles):
            return [], _several(use, ordered)
        return [target([s], f"flip-{n}_VFA") for n, s in enumerate(ordered, 1)], ""
    joined = use == "dce" and all(one.volumes == 1 for one in series)
    if len(series) > 1 and not joined:
        return [], _several(use, series)
    contrast = "ce-gadolinium_" if has_contrast(series[0]) else ""
    name = {"t1w": f"{contrast}T1w", "t1map": "T1map", "fmap": "dir-reversed_epi"}.get(use, use)
    return [target(series, name)], ""


def _several(use: str, series: Sequence[Series]) -> str:
    """Return the problem of several series with the same use."""
    texts = [f"{s.number} ({s.description}, {s.volumes} volumes)" for s in series]
    parts = {
        "dce": "; parts of one acquisition, such as before and after the injection, are not joined",
        "dwi": "; series of one b-value each are not joined: join them with another converter",
    }
    return (
        f"several series are used as {use}: {', '.join(texts)}; state in visits.tsv which numbers "
        f"to leave_out, or change the use of a kind in series.tsv{parts.get(use, '')}"
    )
