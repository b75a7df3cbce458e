"""Nodes that find regions on the T1w: rings and mirror images of lesions, and the reference."""

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from bidsapp.bids.derivatives import to_json
from bidsapp.errors import BadInput
from bidsapp.imaging.labels import resample_labels
from bidsapp.imaging.masks import template_path
from bidsapp.imaging.transforms import read_itk
from bidsapp.lesions.neighbourhood import (
    RING_MM,
    mirror_lesions,
    partial_images,
    surrounding_rings,
)
from bidsapp.lesions.reference import find_reference, follow_region
from bidsapp.run.nodes.files import load, load_labels, save_array


class _NeighbourhoodInput(BaseInterfaceInputSpec):
    kind = traits.Enum("ring", "mirror", mandatory=True)
    lesions = InputMultiObject(
        File(exists=True),
        mandatory=True,
        desc="label images on one grid: the region is that of the lesions of the first, and "
        "contains no lesion of any",
    )
    brain = File(exists=True, mandatory=True, desc="mask on the same grid")
    from_template = File(exists=True, mandatory=True, desc="ITK, points of the template to these")
    width = traits.Float(RING_MM, usedefault=True, desc="of the ring, mm")


class _NeighbourhoodOutput(TraitedSpec):
    out_file = File(exists=True, desc="label image")
    record = File(exists=True, desc="JSON: mirror images of parts of lesions, as warnings")


class FindNeighbourhood(SimpleInterface):
    """Find the ring of brain around each lesion, or the mirror image of each lesion."""

    input_spec = _NeighbourhoodInput
    output_spec = _NeighbourhoodOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        labels, image = load_labels(inputs.lesions[0])
        free = load(inputs.brain)[0] > 0
        for path in inputs.lesions[1:]:
            free &= load_labels(path, inputs.lesions[0])[0] == 0
        if inputs.kind == "ring":
            found = surrounding_rings(labels, image.affine, free, inputs.width)
        else:
            found = mirror_lesions(labels, image.affine, free, read_itk(inputs.from_template))
        partial = partial_images(labels, found) if inputs.kind == "mirror" else []
        record = Path(runtime.cwd) / "record.json"
        record.write_bytes(to_json({"Warnings": partial} if partial else {}))
        self._results["record"] = str(record)
        target = Path(runtime.cwd) / f"{inputs.kind}.nii"
        self._results["out_file"] = save_array(found, image, target)
        return runtime


class _FindReferenceInput(BaseInterfaceInputSpec):
    t1w = File(exists=True, mandatory=True)
    from_template = File(exists=True, mandatory=True, desc="ITK, points of the template to the T1w")
    lesions = InputMultiObject(File(exists=True), desc="label images on the T1w, to stay away from")
    earlier = File(exists=True, desc="the region on the baseline T1w")
    is_drawn = traits.Bool(
        False, usedefault=True, desc="earlier was drawn: it may be anywhere, and is not replaced"
    )
    to_earlier = File(exists=True, desc="ITK, points of the T1w to points of the baseline T1w")


class _FindReferenceOutput(TraitedSpec):
    out_file = File(exists=True, desc="mask; empty if there is no such region")
    record = File(exists=True, desc="JSON: side and volume, or why there is none")


class FindReference(SimpleInterface):
    """Find a reference region in normal-appearing white matter, that of the baseline if possible.

    If there is none, the mask is empty, and the record contains the reason as a warning.
    """

    input_spec = _FindReferenceInput
    output_spec = _FindReferenceOutput

    def _run_interface(self, runtime: Any) -> Any:
        t1w, image = load(self.inputs.t1w)
        lesions = np.zeros(t1w.shape, bool)
        for path in self.inputs.lesions or ():
            lesions |= load_labels(path, self.inputs.t1w)[0] > 0
        white, template = load(str(template_path("wm")))
        matrix = read_itk(self.inputs.from_template)
        where = (white / white.max(), template.affine, matrix)
        earlier = self._earlier(image)
        record: dict[str, Any]
        try:
            if self.inputs.is_drawn:
                found = follow_region(earlier, t1w, image.affine, lesions, matrix)
            else:
                found = find_reference(t1w, image.affine, lesions, *where, earlier)
        except BadInput as error:
            mask, record = lesions & False, {"Warnings": [str(error)]}
        else:
            mask, record = found.mask, found.record()
        if self.inputs.is_drawn:
            record |= {"Description": "Drawn at the baseline; without lesions of this session"}
        folder = Path(runtime.cwd)
        self._results["out_file"] = save_array(mask.astype(np.uint8), image, folder / "mask.nii")
        (folder / "record.json").write_bytes(to_json(record))
        self._results["record"] = str(folder / "record.json")
        return runtime

    def _earlier(self, image: Any) -> Any:
        """Return the region of the baseline on the grid of the T1w, or None."""
        if not isdefined(self.inputs.earlier):
            return None
        labels, there = load_labels(self.inputs.earlier)
        mapping = read_itk(self.inputs.to_earlier)
        return resample_labels(labels, there.affine, mapping, image.shape[:3], image.affine)
