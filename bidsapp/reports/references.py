"""The works that methods texts cite: lines of a list of references, and their BibTeX entries."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_"}
_CAPITALS = re.compile(r"\b(?:\w*[A-Z]\w*[A-Z]\w*|[A-Z]\d+|\d[A-Z]|[A-Z])\b")
"""Words whose capitals BibTeX styles must keep: abbreviations, and symbols such as T1."""


@dataclass(frozen=True)
class Work:
    """A work that is cited.

    Attributes
    ----------
    key
        Its BibTeX key.
    fields
        Its fields; ``type`` is that of the entry, ``short`` the journal, volume and pages of a
        work without a DOI.
    """

    key: str
    fields: Mapping[str, str]

    @property
    def citation(self) -> str:
        """Authors and year, as cited in a text."""
        names = [author.split(",")[0] for author in self.fields["author"].split(" and ")]
        authors = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        return f"{authors.replace(' and others', ' et al.')} {self.fields['year']}"

    @property
    def locator(self) -> str:
        """The DOI, or else journal, volume and pages."""
        return f"doi:{self.fields['doi']}" if "doi" in self.fields else self.fields["short"]

    def bibtex(self) -> str:
        """Return the entry of a BibTeX file."""
        kind = self.fields.get("type", "article")
        lines = [
            f"  {name} = {{{_escape(name, value)}}},\n"
            for name, value in self.fields.items()
            if name not in ("type", "short")
        ]
        return f"@{kind}{{{self.key},\n{''.join(lines)}}}\n"


@cache
def works() -> Mapping[str, Work]:
    """Return all works by their BibTeX key.

    Examples
    --------
    >>> works()["saad2009"].citation
    'Saad et al. 2009'
    """
    text = files("bidsapp").joinpath("data/references.toml").read_text(encoding="utf-8")
    return {
        key: Work(key, {name: str(value) for name, value in fields.items()})
        for key, fields in tomllib.loads(text).items()
    }


def reference(topic: str, key: str) -> str:
    """Return a line of a list of references.

    Parameters
    ----------
    topic
        What the work is cited for.
    key
        BibTeX key.

    Examples
    --------
    >>> reference("Holm's correction", "holm1979")
    "Holm's correction: Holm 1979, Scand J Stat 6:65-70"
    """
    work = works()[key]
    return f"{topic}: {work.citation}, {work.locator}"


def reference_by_doi(topic: str, text: str) -> str:
    """Return a line of a list of references for the work whose DOI a text contains.

    Parameters
    ----------
    topic
        What the work is cited for.
    text
        A DOI, or a citation that contains it.

    Examples
    --------
    >>> reference_by_doi("Patlak", "10.1038/jcbfm.1983.1")
    'Patlak: Patlak et al. 1983, doi:10.1038/jcbfm.1983.1'
    """
    found = [key for key, work in works().items() if text.endswith(work.fields.get("doi", "\n"))]
    (key,) = found
    return reference(topic, key)


def bibliography(text: str) -> str:
    """Return the BibTeX entries of the works in the list of references of a methods text.

    Parameters
    ----------
    text
        A methods text, Markdown.

    Examples
    --------
    >>> print(bibliography("- t test: Student 1908, doi:10.1093/biomet/6.1.1"))
    @article{student1908,
      author = {Student},
      title = {The probable error of a mean},
      journal = {Biometrika},
      year = {1908},
      volume = {6},
      pages = {1--25},
      doi = {10.1093/biomet/6.1.1},
    }
    <BLANKLINE>
    """
    lines = text.splitlines()
    listed = [
        work
        for work in works().values()
        if any(line.endswith(f"{work.citation}, {work.locator}") for line in lines)
    ]
    return "\n".join(work.bibtex() for work in listed)


def _escape(name: str, value: str) -> str:
    """Return the value of a field as BibTeX reads it."""
    if name == "doi":
        return value
    value = re.sub("[&%_]", lambda found: _LATEX[found[0]], value)
    if name == "pages":
        return value.replace("-", "--")
    return _CAPITALS.sub(r"{\g<0>}", value) if name == "title" else value
