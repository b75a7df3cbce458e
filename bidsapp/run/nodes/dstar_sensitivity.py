"""How the perfusion fraction of each lesion depends on the D* that is assumed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import traits

from bidsapp.models import MODELS, Fit, fit
from bidsapp.run.nodes.files import TableOutput, load, save_table
from bidsapp.run.nodes.fitting import read_learnt
from bidsapp.run.nodes.lesions import LesionCurves, _LesionCurvesInput

HELD = MODELS["ivim-fixed-dstar"]
COLUMNS: Mapping[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session",
    "lesion": "Number of the lesion, the same in every session",
    "model": "BIDS model- label of the fit to the mean curve of the lesion: first that of the "
    f"run, then {HELD.label}, with D* held at several values",
    "dstar": "D* at which the fit holds the blood, mm2/s; n/a for the fit of the run, unless it "
    "estimates D*",
    "f": "Perfusion fraction of the mean curve",
    "f_standard_error": "Its standard error, for that D*",
    "D": "Diffusion coefficient of tissue water, mm2/s",
}
"""The columns of ``*_desc-dstar_roistats.tsv`` and what they mean."""


class _DstarSensitivityInput(_LesionCurvesInput):
    dstars = traits.List(traits.Float, mandatory=True, desc="values of D*, mm2/s")
    identity = traits.Dict(desc="participant_id and session_id of each row")


class DstarSensitivity(LesionCurves):
    """Fit the mean curve of each lesion with D* held at several values, beside the run's model."""

    input_spec = _DstarSensitivityInput
    output_spec = TableOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.series)
        _, _, data, design = self._design(data)
        rows = [
            {**self.inputs.identity, "lesion": lesion, **row}
            for lesion, course in self._courses(data, image.affine).items()
            for row in self._rows(lesion, course, design)
        ]
        self._results |= save_table(COLUMNS, rows, Path(runtime.cwd) / "dstar.tsv")
        return runtime

    def _rows(self, lesion: int, course: Any, design: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the fit of the run, then one for each value of D*."""
        known = read_learnt(self.inputs.learnt, self.inputs.model, lesion)
        own = fit(self.inputs.model, course, **design, **known)
        own_dstar = float(own.values.get("Dstar", design.get("dstar", np.nan)))
        yield {"model": own.model.label, "dstar": own_dstar, **_fraction(own)}
        taken = (*HELD.design, *HELD.options)
        shared = {k: v for k, v in (design | known).items() if k in taken}
        for dstar in self.inputs.dstars:
            found = fit(HELD, course, **shared | {"dstar": dstar})
            yield {"model": HELD.label, "dstar": dstar, **_fraction(found)}


def _fraction(found: Fit) -> dict[str, float]:
    """Return f with its standard error, and D, of the fit of one curve."""
    return {
        "f": float(found.values["f"]),
        "f_standard_error": float(found.stderr["f"]),
        "D": float(found.values["D"]),
    }
