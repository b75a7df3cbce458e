"""The contrast agent that a sidecar names, by generic name or brand, and its relaxivity."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from bidsapp.config import constants
from bidsapp.errors import UsageError

_FIRST = ("ContrastBolusAgent", "ContrastAgent", "ContrastBolusIngredient")
"""Fields that are asked first; any other field of the contrast agent may name it, too."""
_NEGATION = re.compile(r"\b(no|not|none|without|w/o|kein\w*|nicht|ohne|sans|senza|sin)\b")
_HIGHEST_FIELD = 3.5
"""Field strength above which the relaxivity at 3 T does not apply, T."""


def stated_agent(metadata: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the field of a sidecar that names the contrast agent, and its text.

    Of several fields, those that name an agent ("Gadovist", unlike "YES" or "IV") precede. If they
    name different agents, the text states all of them with their fields, and `find_agent` finds
    none.

    Examples
    --------
    >>> stated_agent({"ContrastBolusAgent": "YES", "ContrastBolusIngredient": "gadobutrol"})
    ('ContrastBolusIngredient', 'gadobutrol')
    >>> stated_agent({"ContrastBolusAgent": "Gadovist", "ContrastAgent": "Dotarem"})[1]
    "'Gadovist' in ContrastBolusAgent, 'Dotarem' in ContrastAgent"
    """
    texts = dict(_agent_texts(metadata))
    named = {field: text for field, text in texts.items() if _find_agents(text)}
    if len({agent for text in named.values() for agent in _find_agents(text)}) > 1 < len(named):
        each = ", ".join(f"{text!r} in {field}" for field, text in named.items())
        return " and ".join(named), each
    return next(iter((named or texts).items()), ("", None))


def agent_relaxivity(agent: str | None, field_strength: float) -> float:
    """Return the relaxivity of a contrast agent.

    Parameters
    ----------
    agent
        Text that names the agent, as in ``ContrastBolusAgent``; see `find_agent`.
    field_strength : float, T
        Up to 3.5 T; as for T1, no value is assumed beyond those that a publication gives.

    Returns
    -------
    float, 1/s/mM

    Raises
    ------
    UsageError
        If the text names no agent of known relaxivity, or several, or the field is stronger.

    Examples
    --------
    >>> agent_relaxivity("7.5 ML GADAVIST", 3.0)
    5.0
    """
    name = find_agent(agent or "")
    known = constants()["relaxivity"]["agents"].get(name, {})
    if "r1" in known and not field_strength > _HIGHEST_FIELD:
        return float(known["r1"][0 if field_strength < 2.2 else 1])
    if "r1" in known:
        raise UsageError(
            f"no default relaxivity at {field_strength:g} T, only at 1.5 and 3 T; give that of "
            f"{name} at this field strength with --relaxivity, or add ContrastAgentRelaxivity "
            "(1/s/mM) to the _dce sidecar",
            "--relaxivity <1/s/mM>",
        )
    several = sorted(_find_agents(agent or ""))
    unknown = f"the relaxivity of the contrast agent {agent or '(not named)'} is not known"
    state = "add ContrastAgentRelaxivity (1/s/mM) to the _dce sidecar, or give --relaxivity"
    if len(several) > 1:
        names = " and ".join(several)
        raise UsageError(
            f"{unknown}, because it names {names}; correct the wrong name, or {state}",
            "--relaxivity <1/s/mM>",
        )
    raise UsageError(
        f"{unknown}{_suggestion(agent or '')}; name the agent in ContrastBolusAgent, or {state}",
        "--relaxivity <1/s/mM>" if known else '"ContrastBolusAgent": "<name or brand>"',
    )


def find_agent(text: str) -> str:
    """Return the generic name of the contrast agent that a text names; empty if none or several.

    Generic names and brands are found in any case and among other words, such as those of a dose.
    A text with a negation names none.

    Examples
    --------
    >>> find_agent("DOTAREM 0.5 mmol/ml"), find_agent("Gd-DTPA-BMA"), find_agent("GADOLINIUM")
    ('gadoterate', 'gadodiamide', '')
    """
    named = _find_agents(text)
    return next(iter(named)) if len(named) == 1 else ""


def _find_agents(text: str) -> frozenset[str]:
    """Return the generic names of all contrast agents in a text."""
    plain = _plain(text)
    if _NEGATION.search(plain):
        return frozenset()
    pattern, names = _known_names()
    return frozenset(names[found.replace(" ", "")] for found in pattern.findall(plain))


def _plain(text: str) -> str:
    """Return a text in lower case without accents and hyphens; other separators are spaces."""
    letters = unicodedata.normalize("NFKD", text.lower())
    kept = "".join(c for c in letters if not unicodedata.combining(c))
    return re.sub(r"[\s()[\]\\/,;+]+", " ", re.sub(r"[-_\u2010-\u2015\u00ad]", "", kept))


@cache
def _known_names() -> tuple[re.Pattern[str], dict[str, str]]:
    """Return the pattern of all names of agents, and the agent of each without hyphens.

    Parts of a name may be separated. An abbreviation of a chelate is not found within that of a
    derivative.
    """
    agents = constants()["relaxivity"]["agents"]
    spelt = {name: agent for agent, row in agents.items() for name in (agent, *row["names"])}
    longest_first = sorted(spelt, key=len, reverse=True)
    parts = (" ?".join(map(re.escape, name.split("-"))) for name in longest_first)
    ends = (part + (r"(?![a-z])" if part.startswith("gd ?") else "") for part in parts)
    return re.compile("|".join(ends)), {n.replace("-", ""): a for n, a in spelt.items()}


def _suggestion(text: str) -> str:
    """Return a question with the name of an agent that a word of a text resembles."""
    _, names = _known_names()
    for word in _plain(text).split():
        if like := get_close_matches(word, names, 1, 0.75):
            return f"; did you mean {like[0]}?" if not _find_agents(text) else ""
    return ""


def _agent_texts(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields of the contrast agent that hold a text or texts, the usual ones first."""
    others = (key for key in metadata if re.match("contrast.*(agent|ingredient)", key, re.I))
    for field in dict.fromkeys((*_FIRST, *others)):
        value = metadata.get(field)
        texts = value if isinstance(value, list) else [value]
        text = ", ".join(t.strip() for t in texts if isinstance(t, str) and t.strip())
        if text:
            yield field, text
