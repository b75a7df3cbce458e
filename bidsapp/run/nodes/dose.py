"""Nodes that measure the dose in lesions, and divide lesions by dose."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bidsapp.lesions import voxel_ml
from bidsapp.lesions.dose import DOSE_COLUMNS, dose_regions, label_regions, summarise_dose
from bidsapp.run.nodes.files import TableOutput, load, load_labels, save_array, save_table
from bidsapp.run.nodes.lesions import RoiStatistics, RoiStatisticsInput


class _DoseInput(BaseInterfaceInputSpec):
    dose = File(exists=True, mandatory=True, desc="dose on the T1w, Gy")
    enhancing = File(exists=True, desc="labels of the enhancing parts, on the same grid")
    whole = File(exists=True, desc="labels of the whole lesions, on the same grid")
    brain = File(exists=True, mandatory=True, desc="brain mask, on the same grid")


class _DoseRegionsInput(_DoseInput):
    lesions = traits.List(traits.Int, desc="numbers of the lesions")


class _DoseRegionsOutput(TraitedSpec):
    out_file = File(exists=True, desc="label image, see `bidsapp.lesions.dose.region_labels`")


def _regions(inputs: Any) -> tuple[Any, Any, dict[str, Any], Any]:
    """Return dose, its image, labels by ROI, and the lesion of each region (X, Y, Z, R)."""
    dose, image = load(inputs.dose)
    parts = {name: getattr(inputs, name) for name in ("enhancing", "whole")}
    labels = {
        name: load_labels(path, inputs.dose)[0] for name, path in parts.items() if isdefined(path)
    }
    enhancing = labels.get("enhancing", np.zeros(dose.shape, int))
    whole = labels.get("whole", enhancing)
    brain = load(inputs.brain)[0] > 0
    return dose, image, labels, dose_regions(dose, enhancing, whole, brain, image.affine)


class DoseRegions(SimpleInterface):
    """Divide the enhancing parts and the brain around the lesions by dose."""

    input_spec = _DoseRegionsInput
    output_spec = _DoseRegionsOutput

    def _run_interface(self, runtime: Any) -> Any:
        _, image, _, regions = _regions(self.inputs)
        labels = label_regions(regions, self.inputs.lesions)
        self._results["out_file"] = save_array(labels, image, Path(runtime.cwd) / "regions.nii")
        return runtime


class _DoseStatisticsInput(_DoseInput):
    lesions = traits.List(traits.Tuple(traits.Int, traits.Bool), desc="(index, excluded)")
    identity = traits.Dict(desc="participant_id, session_id and dose_session of each row")


class DoseStatistics(SimpleInterface):
    """Tabulate the dose in each lesion, and the volume of the ring around it."""

    input_spec = _DoseStatisticsInput
    output_spec = TableOutput

    def _run_interface(self, runtime: Any) -> Any:
        dose, image, labels, regions = _regions(self.inputs)
        ml, ring = voxel_ml(image.affine), regions[..., -1]
        # The ring surrounds whole lesions; without them, it surrounds the enhancing parts.
        outermost = "whole" if "whole" in labels else "enhancing"
        rows: list[Mapping[str, Any]] = [
            {
                **self.inputs.identity,
                "lesion": lesion,
                "roi": name,
                "excluded": excluded,
                **asdict(summarise_dose(dose, parts == lesion, ml)),
                "ring_ml": int((ring == lesion).sum()) * ml if name == outermost else np.nan,
            }
            for name, parts in labels.items()
            for lesion, excluded in self.inputs.lesions
            if (parts == lesion).any()
        ]
        self._results |= save_table(DOSE_COLUMNS, rows, Path(runtime.cwd) / "dose.tsv")
        return runtime


class _RegionStatisticsInput(RoiStatisticsInput):
    regions = traits.List(
        traits.Tuple(traits.Int, traits.Int, traits.Str), desc="(label, lesion, region)"
    )


class RegionStatistics(RoiStatistics):
    """Summarise maps in regions of lesions, which have labels of their own."""

    input_spec = _RegionStatisticsInput

    def _values(self) -> list[Mapping[str, Any]]:
        named = {label: {"lesion": n, "roi": name} for label, n, name in self.inputs.regions}
        return [{**row, **named[row["lesion"]]} for row in super()._values()]
