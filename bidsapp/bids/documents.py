"""The files that metperf writes besides those of the sessions: names and content."""

import re
from collections import defaultdict
from dataclasses import dataclass
from glob import escape
from pathlib import Path

_ANY = {"participant": "sub-*", "session": "sub-*"}


@dataclass(frozen=True)
class Document:
    """A file, or a family of files, with a fixed location in the output folder.

    Attributes
    ----------
    template
        Path relative to the output folder, with labels to be filled in.
    description
        Content of the file.

    Examples
    --------
    >>> STATUS.path(Path("out"), participant="sub-01").as_posix()
    'out/sub-01/log/status.json'
    >>> STATUS.pattern()
    'sub-*/log/status.json'
    """

    template: str
    description: str

    def path(self, output_dir: Path, **labels: str) -> Path:
        """Return the path of the file with given labels, such as ``participant="sub-01"``."""
        return output_dir / self.template.format(**labels)

    def pattern(self, **labels: str) -> str:
        """Return the glob pattern of the files, with a wildcard for labels that are not given."""
        filled = _ANY | {name: escape(label) for name, label in labels.items()}
        return self.template.format_map(defaultdict(lambda: "*", filled))

    def find(self, output_dir: Path, **labels: str) -> list[Path]:
        """Return the files with given labels in an output folder, sorted by name."""
        return sorted(output_dir.glob(self.pattern(**labels)))


PARTICIPANT_PAGE = Document("{participant}.html", "Report of a participant")
GROUP_PAGE = Document("group.html", "Report of the group")
INDEX_PAGE = Document(
    "index.html", "All participants, with thumbnail, response, quality and rating"
)
VIEWER = Document(
    "{participant}/figures/{participant}_viewer.html",
    "T1w, maps and curves of two visits side by side, with the values at the cross-hair",
)
SESSIONS = Document(
    "{participant}/{participant}_sessions.tsv", "Sessions in chronological order, with their days"
)
QUALITY = Document(
    "{participant}/{participant}_quality.tsv",
    "Registration, motion, noise and failed voxels of every series",
)
LESIONS = Document(
    "{participant}/{participant}_lesions.tsv",
    "Lesions followed over the sessions by their place: new, gone, merged, misnumbered",
)
RATINGS_NAME = "*_ratings.json"
"""Name of the files in which the pages save ratings."""
STATUS = Document(
    "{participant}/log/status.json",
    "Completed branches, options and issues of each session",
)
CARD = Document("{participant}/log/card.json", "Summary of a participant for the index")
COMPLETION = Document(
    "{participant}/log/completion.json",
    "Digests of all inputs and results, written after a run without failures",
)
SETTINGS = Document("{participant}/log/{run}/app.toml", "All settings of a run")
INPUTS = Document("{participant}/log/{run}/inputs.json", "Digests of the inputs of a run")
CRASH = Document("{participant}/log/{run}/crash-{step}.txt", "Traceback of a failed step")
METHODS = Document("logs/CITATION.md", "Methods text of the last run, with its references")
BIBLIOGRAPHY = Document("logs/CITATION.bib", "References of that text as BibTeX")
GROUP_METHODS = Document(
    "logs/CITATION_group.md", "Methods text of the group level, with its references"
)
GROUP_BIBLIOGRAPHY = Document("logs/CITATION_group.bib", "References of that text as BibTeX")
GROUP_TABLE = Document("group_{table}.tsv", "Tables of the group level")
GROUP_FIGURE = Document("figures/group_{figure}.svg", "Figures of the group level; also as PDF")

DOCUMENTS = (
    PARTICIPANT_PAGE, GROUP_PAGE, INDEX_PAGE, VIEWER, SESSIONS, QUALITY, LESIONS, STATUS, CARD,
    COMPLETION, SETTINGS, INPUTS, CRASH, METHODS, BIBLIOGRAPHY, GROUP_METHODS,
    GROUP_BIBLIOGRAPHY, GROUP_TABLE, GROUP_FIGURE,
)  # fmt: skip
"""All files besides those of the sessions."""


def participants_in(output_dir: Path) -> list[str]:
    """Return the participants of an output folder in the order of the pages: 2 before 10.

    Parameters
    ----------
    output_dir : pathlib.Path

    Returns
    -------
    labels : list of str
        Such as ``sub-01``: those with a folder or a page.
    """
    folders = {path.name for path in output_dir.glob("sub-*") if path.is_dir()}
    pages = {path.stem for path in PARTICIPANT_PAGE.find(output_dir)}
    return sorted(folders | pages, key=natural_order)


def natural_order(label: str) -> tuple[tuple[int, str], ...]:
    """Return a key that compares numbers within labels by their value.

    Examples
    --------
    >>> sorted(["sub-10", "sub-2"], key=natural_order)
    ['sub-2', 'sub-10']
    """
    parts = re.findall(r"\d+|\D+", label)
    keys = tuple((int(p), "") if p.isdigit() else (-1, p) for p in parts)
    return (*keys, (-2, label))
