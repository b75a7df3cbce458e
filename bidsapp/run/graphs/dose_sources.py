"""Which session's dose each session of a participant uses."""

from collections.abc import Mapping, Sequence

from bidsapp.bids.records import Session


def find_dose_sources(sessions: Sequence[Session]) -> Mapping[str, str]:
    """Return the session whose dose each session uses.

    Parameters
    ----------
    sessions
        In chronological order.

    Returns
    -------
    dict
        Label of a session -> label of the session for which its dose was given. A session uses its
        own dose; otherwise that of the last earlier session with one, else that of the first one.
        Empty without any dose.

    Examples
    --------
    >>> from pathlib import Path
    >>> a, b, c = (Session("01", name, t1w=Path(), dose=dose)
    ...            for name, dose in (("a", None), ("b", Path()), ("c", None)))
    >>> find_dose_sources([a, b, c])
    {'a': 'b', 'b': 'b', 'c': 'b'}
    """
    given = [session for session in sessions if session.dose and session.t1w]
    found: dict[str, str] = {}
    last = given[0] if given else None
    for session in sessions:
        last = session if session in given else last
        if last and session.t1w:
            found[session.label] = last.label
    return found
