"""Transforms between the T1w of the visits of a participant, before the graph runs."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bidsapp.bids.derivatives import to_json, write_bytes
from bidsapp.bids.records import Session
from bidsapp.config import version
from bidsapp.errors import RegistrationError
from bidsapp.imaging.transforms import Matrix, invert, read_itk
from bidsapp.lesions.matching import TOLERANCE
from bidsapp.run.completion import digest
from bidsapp.run.nodes.rigid import register_rigidly


@dataclass(frozen=True, eq=False)
class Aligned:
    """The transform of a visit: points of its T1w to points of that of the baseline, RAS mm.

    `tolerance`: error that is allowed for, mm; `warnings`: why the registration is doubtful.
    """

    matrix: Matrix
    tolerance: float = TOLERANCE
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Alignment:
    """Transforms of the T1w of all visits to that of the baseline, stored for further runs.

    Attributes
    ----------
    baseline : Session
        With the reference T1w.
    folder : pathlib.Path
        Where results are kept.
    """

    baseline: Session
    folder: Path

    def of(self, session: Session) -> Aligned:
        """Return the transform of a visit with a T1w: the user's, or a rigid registration.

        Raises
        ------
        RegistrationError
            If the registration failed.
        """
        if session.label == self.baseline.label:
            return Aligned(np.eye(4))
        if given := session.user_transforms("T1w"):
            return Aligned(invert(read_itk(given[0])))
        stored = self.folder / f"{self._key(session)}.json"
        if not stored.is_file():
            self._register(session, stored)
        content = json.loads(stored.read_bytes())
        if content["failure"]:
            raise RegistrationError(content["failure"])
        tolerance = max(TOLERANCE, 2 * (content["error"] or 0.0))
        return Aligned(np.array(content["matrix"]), tolerance, tuple(content["warnings"]))

    def _images(self, session: Session) -> list[Path]:
        """Return the T1w, and the ROIs on it, which a registration excludes."""
        assert session.t1w is not None
        return [session.t1w, *lesion_images(session)]

    def _key(self, session: Session) -> str:
        """Return a name for the result that depends on all images and on the version."""
        files = [[digest(p) for p in self._images(one)] for one in (self.baseline, session)]
        return hashlib.sha256(json.dumps([version(), files]).encode()).hexdigest()[:32]

    def _register(self, session: Session, stored: Path) -> None:
        """Register the T1w of a visit, and store the result, or why there is none."""
        (moving, *own), (fixed, *others) = self._images(session), self._images(self.baseline)
        try:
            found = register_rigidly(moving, fixed, "lpp", (own, others))
        except RegistrationError as error:
            content: dict[str, Any] = {
                "failure": str(error),
                "matrix": [],
                "warnings": [],
                "error": None,
            }
        else:
            content = {
                "failure": "",
                "matrix": invert(found.matrix).tolist(),
                "warnings": list(found.warnings),
                "error": found.error,
            }
        write_bytes(stored, to_json(content))


def lesion_images(session: Session) -> list[Path]:
    """Return the label images of a session on its T1w."""
    return [rois.image for rois in (*session.whole, *session.enhancing) if rois.space == "T1w"]
