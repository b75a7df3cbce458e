"""Registration of a diffusion or dynamic series to the T1w."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Rois, Space
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.graphs.distortion import connect_shift, save_distortion
from bidsapp.run.graphs.registration import register_node
from bidsapp.run.graphs.sidecars import spatial_reference
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.registration import CheckConsistency

METRICS: Mapping[Space, Literal["lpc", "lpa"]] = {"dwi": "lpc", "dce": "lpa"}
"""Metric of the registration of each series to the T1w."""


@dataclass(frozen=True)
class FitGrid:
    """The grid of the fits: that of the series, or that of the T1w, cropped to the brain.

    Attributes
    ----------
    image
        An image on this grid.
    mask
        The brain on this grid; None without a T1w.
    to_t1w, to_series
        Transforms between the grids of the series and the T1w; None on the grid of the T1w, or
        without a T1w.
    to_scanner
        On the grid of the T1w: ITK transform from its points to the scanner coordinates of the
        series.
    """

    image: Port
    mask: Port | None = None
    to_t1w: Port | None = None
    to_series: Port | None = None
    to_scanner: Port | None = None

    @property
    def on_t1w(self) -> bool:
        """Whether this is the grid of the T1w."""
        return self.to_scanner is not None

    @property
    def entity(self) -> str:
        """The BIDS entity ``space`` of maps on this grid: ``T1w``, or none."""
        return "T1w" if self.on_t1w else ""


@dataclass(frozen=True)
class Alignment:
    """The registration of a series to the T1w; all None without a T1w.

    Attributes
    ----------
    average
        The average of the series, which is registered.
    to_t1w, to_series
        ITK transforms of the series to the grid of the T1w, and back; with EPI distortion, lists
        of a transform and a shift.
    mask
        The brain on the grid of the series.
    quality
        Quality of the registration, JSON.
    """

    average: pe.Node
    to_t1w: Port | None = None
    to_series: Port | None = None
    mask: Port | None = None
    quality: Port | None = None

    @property
    def grid(self) -> FitGrid:
        """The grid of the series."""
        return FitGrid((self.average, "out_file"), self.mask, self.to_t1w, self.to_series)


def connect_alignment(
    branch: Branch[Any], average: pe.Node, distortion: pe.Node | None = None
) -> Alignment:
    """Register the average of a series to the T1w with 12 parameters, and resample the brain mask.

    If the distortion is estimated, the corrected average is registered.
    """
    workflow, session = branch.workflow, branch.session
    if not session.t1w:
        return Alignment(average)
    given = session.user_transforms(branch.space)
    register = register_node(
        "register",
        session.t1w,
        given,
        branch.config,
        transform="affine",
        metric=METRICS[branch.space],
    )
    if not given:
        register.inputs.named = branch.series.image.name
    brain = pe.Node(ApplyTransform(labels=True), name="brain")
    straight = (distortion or average, "out_file")
    to_t1w, to_series = connect_shift(workflow, register, distortion)
    branch.connect(straight, register, "moving")
    branch.connect(to_series, brain, "transform")
    workflow.connect(
        [
            (branch.inputnode, register, [("t1w_mask", "fixed_mask")]),
            (branch.inputnode, brain, [("t1w_mask", "in_files")]),
            (average, brain, [("out_file", "reference")]),
        ]
    )
    mask, quality = (brain, "out_files"), (register, "quality")
    aligned = Alignment(average, to_t1w, to_series, mask, quality)
    _save_alignment(branch, aligned, register)
    if distortion:
        save_distortion(branch, distortion, (brain, "out_files"))
    _connect_consistency(branch, straight, (register, "to_fixed"))
    return aligned


def _connect_consistency(branch: Branch[Any], image: Port, matrix: Port) -> None:
    """Compare the registration via the session's T1w with a direct one to the baseline T1w."""
    reference, inputnode = branch.reference, branch.inputnode
    if branch.config.sloppy or reference in (None, branch.session.t1w):
        return
    check = pe.Node(
        CheckConsistency(fixed=str(reference), metric=METRICS[branch.space]), name="consistency"
    )
    path = branch.path(outputs.CONSISTENCY)
    branch.connect(image, check, "moving")
    branch.connect(matrix, check, "to_t1w")
    branch.connect((inputnode, "to_individual"), check, "to_fixed")
    branch.connect((inputnode, "reference_mask"), check, "fixed_mask")
    branch.save("save_consistency", (check, "quality"), [path])


def connect_labels(
    branch: Branch[Any], grid: FitGrid, labels: Rois, node: pe.Node, field: str
) -> None:
    """Connect a label image to a node, resampled to the grid if necessary."""
    transform = grid.to_scanner if labels.space == branch.space else grid.to_series
    if not transform and not grid.on_t1w:
        node.inputs.trait_set(**{field: str(labels.image)})
        return
    onto = pe.Node(ApplyTransform(labels=True), name=f"{field}_to_{branch.space}")
    onto.inputs.in_files = [str(labels.image)]
    branch.connect(grid.image, onto, "reference")
    if transform:
        branch.connect(transform, onto, "transform")
    branch.connect((onto, "out_files"), node, field)


def _save_alignment(branch: Branch[Any], aligned: Alignment, register: pe.Node) -> None:
    """Write the transforms with their quality, and the average on both grids."""
    mean = outputs.MEAN_IMAGE[branch.datatype]
    paths = [
        branch.path(outputs.TO_T1W, from_=branch.space, to="T1w"),
        branch.path(outputs.TO_T1W, from_="T1w", to=branch.space),
        branch.path(outputs.TO_T1W_QUALITY),
        branch.path(mean),
        branch.path(mean, space="T1w"),
    ]
    image = {"SkullStripped": False}
    onto = pe.Node(ApplyTransform(), name="average_to_t1w")
    onto.inputs.reference = str(branch.session.t1w)
    average = (aligned.average, "out_file")
    assert aligned.to_t1w is not None
    branch.connect(aligned.to_t1w, onto, "transform")
    branch.connect(average, onto, "in_files")
    transforms = [(register, "to_fixed"), (register, "to_moving"), (register, "quality")]
    files = branch.merge("alignment_files", [*transforms, average, (onto, "out_files")])
    branch.save(
        "save_alignment", files, paths, [{}, {}, {}, image, image | spatial_reference("T1w")]
    )
