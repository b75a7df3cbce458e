"""Which regions of a file are used, and as what."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from re import IGNORECASE, fullmatch
from typing import Literal, get_args

from bidsapp.conversion.contours.drawing import Region
from bidsapp.errors import BadInput

Kind = Literal["whole", "enhancing", "both", "core", "artery"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a region is: the whole lesion; its enhancing part; a lesion that enhances throughout, which
is both; the core without enhancement, or an artery."""


@dataclass(frozen=True)
class Use:
    """A pattern of names (empty: all regions), and what the regions with these names are."""

    pattern: str
    kind: Kind


def choose_regions(regions: Sequence[Region], uses: Sequence[Use]) -> list[tuple[Region, Kind]]:
    """Return the regions that are used, in their order.

    Parameters
    ----------
    regions : sequence of Region
        Of the files of a visit.
    uses : sequence of Use
        Patterns (``*``, ``?``) of names or numbers, in any letter case. A name or number itself,
        also with brackets in it, is a pattern, too.

    Raises
    ------
    BadInput
        If a pattern selects no region, or two select the same region as different things.

    Examples
    --------
    >>> regions = [Region("Met 1", "1", None), Region("Brainstem", "2", None)]
    >>> [(region.name, kind) for region, kind in choose_regions(regions, [Use("met*", "whole")])]
    [('Met 1', 'whole')]
    """
    problems = []
    kinds: dict[int, Kind] = {}
    for use in uses:
        chosen = [i for i, region in enumerate(regions) if _matches(region, use.pattern)]
        if not chosen:
            problems.append(f"no region matches {use.pattern!r}")
        for index in chosen:
            if kinds.setdefault(index, use.kind) != use.kind:
                name = regions[index].name
                problems.append(f"{name!r} is chosen as {kinds[index]} and as {use.kind}")
    if problems:
        raise BadInput(f"{'; '.join(problems)}; there is {list_regions(regions)}")
    return [(regions[index], kinds[index]) for index in sorted(kinds)]


def list_regions(regions: Sequence[Region]) -> str:
    """Return the names of regions, for messages."""
    return ", ".join(repr(region.name) for region in regions) or "no region"


def _matches(region: Region, pattern: str) -> bool:
    """Return whether a pattern selects a region."""
    names = (region.name, region.key)
    return not pattern or any(
        name.casefold() == pattern.casefold() or fullmatch(translate(pattern), name, IGNORECASE)
        for name in names
    )
