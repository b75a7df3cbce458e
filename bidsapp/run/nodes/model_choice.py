"""The node that compares several models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    traits,
)

from bidsapp.models.kinetics.model_choice import AS_GOOD, best_model, compare_models
from bidsapp.run.nodes.files import TableOutput, load, load_labels, save_array, save_table

COLUMNS: Mapping[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session",
    "lesion": "Number of the lesion, the same in every session: its index in the ROI table",
    "roi": "ROI: enhancing (the enhancing part of the lesion)",
    "model": "BIDS model- label of the fit",
    "n_voxels": "Voxels in the ROI, on the grid of the series",
    "n_compared": "Voxels that every model could fit; only these are compared",
    "aicc_sum": "Akaike's criterion for small samples, summed over these voxels; low is good",
    "aicc_delta": "This sum minus the lowest one",
    "akaike_weight": "Akaike weight of the mean over these voxels, that is, of a typical voxel",
    "n_preferred": "Voxels in which the model has the lowest criterion",
    "verdict": "best: the lowest sum; as good: the criterion is at most "
    f"{AS_GOOD:g} higher on average; worse: otherwise",
    "excluded": "1 if the ROI table marks the lesion as excluded",
}
"""The columns of the table, with descriptions."""


class _CompareModelsInput(BaseInterfaceInputSpec):
    maps = InputMultiObject(File(exists=True), mandatory=True, desc="AICc map of each model")
    models = traits.List(traits.Str, mandatory=True, desc="BIDS label of each model")
    rois = File(
        exists=True, desc="label image on the grid of the maps; without it, there is no table"
    )
    lesions = traits.List(traits.Tuple(traits.Int, traits.Bool), desc="(index, excluded)")
    identity = traits.Dict(desc="participant_id, session_id and roi of each row")
    reported = traits.Str(desc="label of the model in the lesion table")


class _CompareModelsOutput(TableOutput):
    best = File(exists=True, desc="position of the best model in the list, from 1; NaN elsewhere")


class CompareModels(SimpleInterface):
    """Compare models voxel by voxel and lesion by lesion by Akaike's criterion."""

    input_spec = _CompareModelsInput
    output_spec = _CompareModelsOutput

    def _run_interface(self, runtime: Any) -> Any:
        loaded = [load(path) for path in self.inputs.maps]
        aicc = np.stack([data for data, _ in loaded])
        folder = Path(runtime.cwd)
        best = best_model(aicc).astype(np.float32)
        self._results["best"] = save_array(best, loaded[0][1], folder / "best.nii")
        if self.inputs.rois:
            labels, _ = load_labels(self.inputs.rois, self.inputs.maps[0])
            rows = self._rows(aicc, labels)
            self._results |= save_table(self._columns(), rows, folder / "modelchoice.tsv")
        return runtime

    def _columns(self) -> Mapping[str, str]:
        """Return the columns and their descriptions, with the model of the main lesion table."""
        note = (
            "; regardless of the verdict, the lesion values used at the group level are those of "
            f"{self.inputs.reported}"
        )
        return {**COLUMNS, "model": COLUMNS["model"] + note}

    def _rows(self, aicc: Any, labels: Any) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        for lesion, excluded in self.inputs.lesions:
            inside = labels == lesion
            found = compare_models(aicc[:, inside])
            for i, model in enumerate(self.inputs.models):
                rows.append(
                    {
                        **self.inputs.identity,
                        "lesion": lesion,
                        "model": model,
                        "n_voxels": int(inside.sum()),
                        "n_compared": found.compared,
                        "aicc_sum": float(found.total[i]),
                        "aicc_delta": float(found.delta[i]),
                        "akaike_weight": float(found.weight[i]),
                        "n_preferred": int(found.preferred[i]),
                        "verdict": found.verdicts[i],
                        "excluded": excluded,
                    }
                )
        return rows
