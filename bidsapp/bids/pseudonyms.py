"""Pseudonyms of UIDs: salted, slow hashes that recognise a UID without containing it."""

from hashlib import scrypt

FRAME_PSEUDONYM = "FrameOfReferencePseudonym"
"""Field of a sidecar with the salted pseudonym of FrameOfReferenceUID."""
_COST = 2**14
"""Cost of a hash: 0.05 s, so that UIDs cannot be tried in large numbers."""


def pseudonym(uid: str, salt: str) -> str:
    """Return the pseudonym of a UID.

    No name, identifier or date enters it. Who can compute it has the UID, and with it the DICOM
    files, whose images already tell whose they are.

    Examples
    --------
    >>> pseudonym("1.2.3", "salt")
    '3ee34060a762'
    """
    return scrypt(uid.encode(), salt=salt.encode(), n=_COST, r=8, p=1, dklen=6).hex()


def salted_pseudonym(uid: str, salt: str) -> str:
    """Return the salt and the pseudonym of a UID, as sidecars state them.

    Examples
    --------
    >>> salted_pseudonym("1.2.3", "salt")
    'salt:3ee34060a762'
    """
    return f"{salt}:{pseudonym(uid, salt)}"


def is_pseudonym_of(stated: str, uid: str) -> bool:
    """Return whether a salted pseudonym is that of a UID.

    Examples
    --------
    >>> is_pseudonym_of("salt:3ee34060a762", "1.2.3"), is_pseudonym_of("salt:3ee34060a762", "1.2")
    (True, False)
    """
    salt, _, _ = stated.partition(":")
    return stated == salted_pseudonym(uid, salt)
