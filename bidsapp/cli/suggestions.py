"""What was probably meant: commands, options and levels with a typo, arguments in another order."""

import re
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

_CHOICE = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question with the most similar known word; empty if none is similar.

    Examples
    --------
    >>> did_you_mean("particpant", ["participant", "group"])
    '; did you mean participant?'
    """
    like = get_close_matches(word, list(known), 1, 0.7)
    return f"; did you mean {like[0]}?" if like else ""


def suggest_option(parser: ArgumentParser, message: str) -> str:
    """Return what was meant by an unknown option, choice or word in the message of a parser."""
    if choice := _CHOICE.search(message):
        return did_you_mean(choice[1], re.findall(r"[\w.-]+", choice[2]))
    if not message.startswith("unrecognized arguments:"):
        return ""
    words = message.partition(":")[2].split()
    unknown = [word for word in words if word.startswith("-")]
    if not unknown:
        known = [str(a.metavar or a.dest) for a in parser._actions if not a.option_strings]
        return f"; leave out {' '.join(words)}: {parser.prog} takes only {' and '.join(known)}"
    return "".join(
        did_you_mean(u.partition("=")[0], parser._option_string_actions) for u in unknown
    )


def mistaken_command(
    words: Sequence[str], commands: Iterable[str], levels: Iterable[str] = ()
) -> str:
    """Return a message if the first word is a command with a typo, or the folder of a command.

    Examples
    --------
    >>> mistaken_command(["/", "check"], ["check"], ["participant", "group"])
    'the command is the first argument: metperf check /'
    """
    first = words[0] if words else ""
    if not first or first.startswith("-"):
        return ""
    if Path(first).exists():
        later = words[1] if len(words) > 1 and not set(levels) & set(words) else ""
        wanted = f"the command is the first argument: metperf {later} {first}"
        return wanted if later in set(commands) else ""
    meant = did_you_mean(first, commands)
    return f"there is no command {first!r} and no folder of that name{meant}" if meant else ""


def mistaken_order(
    bids_dir: Path, output_dir: Path, levels: Sequence[str], known: Sequence[str]
) -> str:
    """Return a message if the arguments of a study are in another order; else nothing."""
    usage = "the order is: metperf bids_dir output_dir participant"
    for place in (bids_dir, output_dir):
        if str(place) in known and not place.exists():
            return f"the level {place} is not the last argument; {usage}"
    if not set(levels) & set(known) and is_data_set(Path(levels[0])):
        return f"{levels[0]} is a BIDS data set, but stands in the place of the level; {usage}"
    if not any(bids_dir.glob("sub-*")) and is_data_set(output_dir):
        return f"output_dir, {output_dir}, is a BIDS data set, and bids_dir is not; {usage}"
    return ""


def is_data_set(folder: Path) -> bool:
    """Return whether a folder is a BIDS data set with participants and no results of metperf."""
    return (
        (folder / "dataset_description.json").is_file()
        and any(folder.glob("sub-*/ses-*"))
        and not any(folder.glob("sub-*/log"))
    )
