"""The node that finds the arrival of the bolus in a dynamic series without an arterial input."""

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.bids.derivatives import to_json
from bidsapp.models.contrast.arrival import Arrival, find_arrival
from bidsapp.models.contrast.enhancement import count_baseline_frames, enhancing_curve
from bidsapp.models.kinetics.semiquantitative import INTERVALS
from bidsapp.run.nodes.files import load


class _FindBolusInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="dynamic series, 4D")
    times = traits.List(traits.Float, mandatory=True, desc="of each frame, min")
    baseline_frames = traits.Int(
        0, usedefault=True, desc="frames before the bolus; 0 to detect them"
    )


class _FindBolusOutput(TraitedSpec):
    baseline_frames = traits.Int()
    arrival = traits.Float(desc="min")
    quality = File(exists=True, desc="JSON: the arrival, its interval, and warnings")


class FindBolus(SimpleInterface):
    """Find when the bolus arrives, in the curve of the voxels that enhance most."""

    input_spec = _FindBolusInput
    output_spec = _FindBolusOutput

    def _run_interface(self, runtime: Any) -> Any:
        curve = enhancing_curve(load(self.inputs.in_file)[0])
        times, given = np.array(self.inputs.times), self.inputs.baseline_frames
        frames = count_baseline_frames(curve, given)
        if given:
            # The user's number replaces the arrival that is found in the curve.
            found = Arrival(times[given - 1], times[given - 1], times[given])
        else:
            found = find_arrival(curve, times)
        path = Path(runtime.cwd) / "bolus.json"
        path.write_bytes(to_json(_describe(found, frames, times[-1])))
        results = {"baseline_frames": frames, "arrival": found.time, "quality": str(path)}
        self._results |= results
        return runtime


def _describe(found: Arrival, frames: int, end: float) -> dict[str, Any]:
    """Return the arrival in s, and what a series that ends too early lacks."""
    lost = [name for name, minutes in INTERVALS.items() if found.time + minutes > end]
    text = (
        f"the series ends {60 * (end - found.time):.0f} s after the arrival of the bolus: "
        f"no {' and '.join(lost)}, which are not extrapolated"
    )
    return {
        "Description": "Arrival of the bolus in the voxels that enhance most, s",
        "Arrival": 60 * found.time,
        "ArrivalInterval": [60 * found.earliest, 60 * found.latest],
        "BaselineFrames": frames,
        "Warnings": [text] if lost else [],
    }
