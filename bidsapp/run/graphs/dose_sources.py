"""Which session's dose each session of a participant uses."""

from collections.abc import Mapping, Sequence

from bidsapp.bids.records import Session
from bidsapp.issues import Issue


def find_dose_sources(
    sessions: Sequence[Session], baseline: Session | None
) -> tuple[Mapping[str, str], list[Issue]]:
    """Return the session whose dose each session uses, and an issue for each that cannot use any.

    Parameters
    ----------
    sessions
        In chronological order.
    baseline
        The session with the reference T1w.

    Returns
    -------
    dict
        Label of a session -> label of the session for which its dose was given. A session uses its
        own dose; otherwise that of the last earlier session with one, else that of the first one.
        Empty without any dose.
    list of Issue
        The baseline session does not use the dose of another one: those are registered to it, and
        it cannot wait for them.

    Examples
    --------
    >>> from pathlib import Path
    >>> a, b, c = (Session("01", name, t1w=Path(), dose=dose)
    ...            for name, dose in (("a", Path()), ("b", None), ("c", Path())))
    >>> find_dose_sources([a, b, c], a)
    ({'a': 'a', 'b': 'a', 'c': 'c'}, [])
    """
    given = [session for session in sessions if session.dose and session.t1w]
    found: dict[str, str] = {}
    issues: list[Issue] = []
    last = given[0] if given else None
    for session in sessions:
        last = session if session in given else last
        if last is None or not session.t1w:
            continue
        if session is last or session is not baseline:
            found[session.label] = last.label
        else:
            issues.append(_not_carried(session, last))
    return found, issues


def _not_carried(session: Session, given: Session) -> Issue:
    """Return the issue of a baseline session without a dose of its own."""
    text = (
        f"no dose: it is given for {given.id}, and is not carried to the baseline session; write "
        f"it for the T1w of {session.id}, or name {given.label} with --baseline-session"
    )
    place = {"participant": f"sub-{session.participant}", "session": session.id}
    return Issue("missing", text, "NoDose", **place)
