"""The works that the methods texts cite, each described once: as text and as BibTeX."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_PRINTED = "short"
"""Field that is no field of BibTeX: where a work without a DOI was published."""


@dataclass(frozen=True)
class Reference:
    """A work that is cited.

    Attributes
    ----------
    key : str
        Of its BibTeX entry.
    fields : mapping of str to str
        As in ``references.toml``.
    """

    key: str
    fields: Mapping[str, str]

    @property
    def doi(self) -> str:
        """The DOI, or an empty text."""
        return self.fields.get("doi", "")

    @property
    def label(self) -> str:
        """Authors and year, as in the text."""
        authors = self.fields["author"].split(" and ")
        names = [author.split(",")[0] for author in authors]
        several = len(names) > 2 or names[-1] == "others"
        who = f"{names[0]} et al." if several else " and ".join(names)
        return f"{who} {self.fields['year']}"

    @property
    def text(self) -> str:
        """Authors, year, and where the work is found, as in the list of references."""
        where = f"doi:{self.doi}" if self.doi else self.fields[_PRINTED]
        return f"{self.label}, {where}"

    def bibtex(self) -> str:
        """Return the BibTeX entry."""
        hidden = ("type", _PRINTED)
        rows = [f"  {name} = {{{v}}}" for name, v in self.fields.items() if name not in hidden]
        escaped = ",\n".join(rows).replace("&", "\\&")
        return f"@{self.fields['type']}{{{self.key},\n{escaped}\n}}\n"


@cache
def references() -> Mapping[str, Reference]:
    """Return all works by key.

    Examples
    --------
    >>> references()["holm1979"].text
    'Holm 1979, Scand J Stat 6:65-70'
    >>> references()["saad2009"].label
    'Saad et al. 2009'
    """
    text = (files("bidsapp.data") / "references.toml").read_text(encoding="utf-8")
    return {
        key: Reference(key, {name: str(value) for name, value in fields.items()})
        for key, fields in tomllib.loads(text).items()
    }


def cite(topic: str, key: str) -> str:
    """Return a line of a list of references.

    Parameters
    ----------
    topic : str
        For what the work is cited.
    key : str

    Examples
    --------
    >>> cite("Mixed model", "laird1982")
    'Mixed model: Laird and Ware 1982, doi:10.2307/2529876'
    """
    return f"{topic}: {references()[key].text}"


def find_by_doi(doi: str) -> Reference:
    """Return the work with a DOI.

    Examples
    --------
    >>> find_by_doi("10.1038/jcbfm.1983.1").text
    'Patlak et al. 1983, doi:10.1038/jcbfm.1983.1'
    """
    return next(reference for reference in references().values() if reference.doi == doi)


def cited_references(text: str) -> Iterator[Reference]:
    """Yield the works in the list of references of a methods text, once each.

    Parameters
    ----------
    text : str
        Markdown with lines such as those of `cite`.
    """
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    for reference in references().values():
        mark = f"doi:{reference.doi}" if reference.doi else reference.text
        if any(line.endswith(mark) for line in lines):
            yield reference


def bibliography(text: str) -> str:
    """Return the references of a methods text as a BibTeX file.

    Parameters
    ----------
    text : str
        Markdown with a list of references.

    Examples
    --------
    >>> print(bibliography("- Sample size: Cohen 1988, doi:10.4324/9780203771587"))
    @book{cohen1988,
      author = {Cohen, Jacob},
      title = {Statistical power analysis for the behavioral sciences},
      year = {1988},
      doi = {10.4324/9780203771587},
      edition = {2},
      publisher = {Routledge}
    }
    <BLANKLINE>
    """
    return "\n".join(reference.bibtex() for reference in cited_references(text))
