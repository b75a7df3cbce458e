"""Writing of fitted maps, resampling to other grids, and measurement in lesions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Rois
from bidsapp.config import constants
from bidsapp.models import Model, combine_directions
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.graphs.regions import Region, measured_regions
from bidsapp.run.graphs.series import FitGrid
from bidsapp.run.graphs.sidecars import identity, lesion_list, map_sidecar, source_uri
from bidsapp.run.graphs.t1w_grid import embed_maps
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.dstar_sensitivity import HELD, DstarSensitivity
from bidsapp.run.nodes.fitting import map_names
from bidsapp.run.nodes.lesion_fractions import LesionFractions
from bidsapp.run.nodes.lesions import LesionCurves, RoiStatistics


@dataclass(frozen=True)
class Fitted:
    """A node that fits a model, with its options and design.

    Its maps are on the whole grid. Only one of several kinetic models is tabulated for lesions.
    """

    node: pe.Node
    maps: Port
    model: Model
    options: Mapping[str, Any]
    design: Mapping[str, Any]
    tabulated: bool = True

    @property
    def files(self) -> list[str]:
        """Names of the maps of the node, in its order."""
        return map_names(self.model, aicc=bool(self.node.inputs.aicc))

    @property
    def measured_parameters(self) -> list[str]:
        """Names of the parameters in the lesion tables."""
        names = [p.name for p in self.model.parameters]
        return ["ADC"] if self.model.name == "adc" else names


def connect_fit(
    branch: Branch[Any], node: pe.Node, model: Model, data: Port, grid: FitGrid
) -> Port:
    """Complete a node that fits a model, and return its maps on the whole grid."""
    node.inputs.model = model.name
    node.inputs.n_jobs = branch.config.omp_nthreads
    branch.connect(data, node, "in_file")
    if grid.mask:
        branch.connect(grid.mask, node, "mask")
    return embed_maps(branch, node, grid)


def connect_maps(
    branch: Branch[Any], grid: FitGrid, fits: Sequence[Fitted], data: Port
) -> list[pe.Node]:
    """Write the maps of all fits in all spaces, and measure the lesions.

    Returns the nodes that fit the mean curves of the lesions; none without an ROI.
    """
    for fitted in fits:
        _save_maps(branch, fitted, grid)
    _connect_spaces(branch, grid, fits)
    return _connect_lesions(branch, grid, fits, data)


def _map_files(
    branch: Branch[Any], maps: Sequence[tuple[Fitted, str]], space: str
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Return the paths and the sidecars of maps in a space."""
    kinds = [outputs.parameter_map(branch.datatype, n, f.model.label) for f, n in maps]
    paths = [branch.path(kind, space=space) for kind in kinds]
    sources, config = branch.series.sources, branch.config
    return paths, [map_sidecar(f.model, n, sources, config, f.options, space) for f, n in maps]


def _save_maps(branch: Branch[Any], fitted: Fitted, grid: FitGrid) -> None:
    """Write the maps of a fit in the space in which they were fitted."""
    paths, sidecars = _map_files(branch, [(fitted, n) for n in fitted.files], grid.entity)
    wanted = (grid.entity or "native") in branch.config.output_spaces or not branch.session.t1w
    writer = branch.save(
        f"save_{fitted.model.label}", fitted.maps, [p if wanted else None for p in paths], sidecars
    )
    branch.connect((fitted.node, "learnt"), writer, "learnt")


def _connect_spaces(branch: Branch[Any], grid: FitGrid, fits: Sequence[Fitted]) -> None:
    """Resample the parameter maps to the T1w, unless fitted there, and to the baseline T1w."""
    config = branch.config
    if not branch.session.t1w:
        return
    if not grid.on_t1w and "T1w" in (config.roi_space, *config.output_spaces):
        _connect_space(branch, grid, fits, "T1w")
    if branch.reference and "individual" in config.output_spaces:
        _connect_space(branch, grid, fits, "individual")


def _connect_space(branch: Branch[Any], grid: FitGrid, fits: Sequence[Fitted], space: str) -> None:
    """Resample the parameter maps in one step through all transforms, and write them."""
    session, reference = branch.session, branch.reference
    maps = _select_maps(branch, fits, f"maps_for_{space}")
    if space == "T1w":
        errors = _select_maps(branch, fits, "errors_for_T1w", errors=True)
        maps = branch.merge("all_for_T1w", [maps, errors])
    onto = pe.Node(ApplyTransform(), name=f"maps_to_{space}", mem_gb=1)
    branch.connect(maps, onto, "in_files")
    onto.inputs.reference = str(session.t1w if space == "T1w" else reference)
    if grid.to_t1w:
        branch.connect(grid.to_t1w, onto, "transform")
    if space == "individual" and session.t1w != reference:
        to_individual = (branch.inputnode, "to_individual")
        branch.connect(to_individual, onto, "then" if grid.to_t1w else "transform")
    if space in branch.config.output_spaces:
        named = [(f, n) for f in fits for n in f.measured_parameters]
        named += [(f, f"{n}_stderr") for f, n in named] if space == "T1w" else []
        writer = branch.save(
            f"save_{space}", (onto, "out_files"), *_map_files(branch, named, space)
        )
        learnt = branch.merge(f"learnt_for_{space}", [(f.node, "learnt") for f in fits])
        branch.connect(learnt, writer, "learnt")


def _select_maps(
    branch: Branch[Any], fits: Sequence[Fitted], name: str, *, errors: bool = False
) -> Port:
    """Return the list of the parameter maps of several fits, or of their errors."""
    kind = "_stderr" if errors else ""
    return branch.merge(
        name,
        [
            select_files(
                branch,
                fitted.maps,
                f"{name}_{fitted.model.label}",
                [fitted.files.index(f"{n}{kind}") for n in fitted.measured_parameters],
            )
            for fitted in fits
        ],
    )


def select_files(branch: Branch[Any], files: Port, name: str, index: list[int]) -> Port:
    """Return some files of a list, by their positions."""
    node = pe.Node(niu.Select(), name=name)
    node.inputs.index = index
    branch.connect(files, node, "inlist")
    return node, "out"


def _connect_lesions(
    branch: Branch[Any], grid: FitGrid, fits: Sequence[Fitted], data: Port
) -> list[pe.Node]:
    """Measure the maps in each region; of lesions, also fit the mean curves."""
    rois, excluded = branch.rois, branch.excluded
    for region in measured_regions(branch.session, branch.space, branch.config, excluded):
        node = _connect_statistics(branch, grid, fits, region)
        _connect_region(branch, grid, region, [node])
    if not rois:
        return []
    region = Region("enhancing", rois.space, lesion_list(rois, excluded), rois.image)
    main = [fitted for fitted in fits if fitted.tabulated][-1]
    curves = [_connect_curves(branch, grid, main, data)]
    curves += _connect_sensitivity(branch, grid, main, data)
    for node in curves:
        node.inputs.lesions = region.lesions
    statistics = _connect_statistics(branch, grid, fits, region)
    if fractions := _connect_region(branch, grid, region, [statistics, *curves]):
        _save_fractions(branch, rois, fractions)
    return curves


def _connect_statistics(
    branch: Branch[Any], grid: FitGrid, fits: Sequence[Fitted], region: Region
) -> pe.Node:
    """Return the node that measures the maps of the tabulated fits in a region, for its table."""
    of_lesions, space = region.name == "enhancing", branch.analysis_space
    name = "lesions" if of_lesions else f"roi_{region.name}"
    tabulated = [fitted for fitted in fits if fitted.tabulated]
    node = pe.Node(RoiStatistics(), name=name)
    node.inputs.lesions = region.lesions
    node.inputs.identity = identity(branch.session, region.name, space)
    node.inputs.parameters = [
        (n, f.model.parameter(n).unit, f.model.label)
        for f in tabulated
        for n in f.measured_parameters
    ]
    resampled = space == "T1w" and not grid.on_t1w
    for kind in ("maps", "errors"):
        branch.connect(_tabulated_files(branch, fits, kind, resampled), node, kind)
    branch.connect(grid.image, node, "series")
    table = outputs.LESION_VALUES if of_lesions else outputs.REGION_VALUES
    entities = {"model": tabulated[-1].model.label} | ({} if of_lesions else {"seg": region.name})
    paths = [branch.path(table, extension, **entities) for extension in table.extensions]
    files = branch.merge(
        f"{name.removesuffix('s')}_files", [(node, "out_file"), (node, "dictionary")]
    )
    branch.save(f"save_{name}", files, paths)
    return node


def _tabulated_files(
    branch: Branch[Any], fits: Sequence[Fitted], kind: str, resampled: bool
) -> Port:
    """Return the maps of the tabulated fits, or their standard errors, once for all regions."""
    name, errors = f"{kind}_tabulated", kind == "errors"
    if node := branch.workflow.get_node(name):
        return node, "out"
    if not resampled:
        tabulated = [fitted for fitted in fits if fitted.tabulated]
        return _select_maps(branch, tabulated, name, errors=errors)
    tabular = [f.tabulated for f in fits for _ in f.measured_parameters]
    first = len(tabular) if errors else 0
    chosen = [first + i for i, wanted in enumerate(tabular) if wanted]
    files = (branch.workflow.get_node("maps_to_T1w"), "out_files")
    return select_files(branch, files, name, chosen)


def _connect_region(
    branch: Branch[Any], grid: FitGrid, region: Region, nodes: Sequence[pe.Node]
) -> pe.Node | None:
    """Connect a region to nodes: as drawn, or as fractions of the voxels of the series.

    Returns the node that calculates the fractions, if there is one.
    """
    fractions = None
    if region.space != branch.analysis_space:
        assert grid.to_series is not None
        name = "lesion" if region.name == "enhancing" else f"roi_{region.name}"
        fractions = pe.Node(LesionFractions(), name=f"{name}_fractions")
        fractions.inputs.lesions = [index for index, _ in region.lesions]
        branch.connect(grid.image, fractions, "reference")
        branch.connect(grid.to_series, fractions, "transform")
        for node in nodes:
            branch.connect((fractions, "out_file"), node, "fractions")
    for node in [fractions] if fractions else nodes:
        if region.image:
            node.inputs.rois = str(region.image)
        else:
            branch.connect((branch.inputnode, region.name), node, "rois")
    return fractions


def _save_fractions(branch: Branch[Any], rois: Rois, fractions: pe.Node) -> None:
    """Write the fractions of the voxels of the series inside each lesion."""
    sidecar = {
        "Description": "Fraction of each voxel inside each lesion: its weight in the lesion table",
        "LabelMap": [lesion.name for lesion in rois.lesions],
        "Sources": [source_uri(path, branch.config) for path in rois.sources],
    }
    path = branch.path(outputs.LESION_FRACTIONS)
    branch.save("save_fractions", (fractions, "out_file"), [path], [sidecar])


def _connect_curves(branch: Branch[Any], grid: FitGrid, fitted: Fitted, data: Port) -> pe.Node:
    """Average the series over each lesion, fit the model to the mean, and write both."""
    curves = pe.Node(LesionCurves(), name="curves")
    _connect_courses(branch, grid, fitted, data, curves)
    path = branch.path(outputs.LESION_CURVES[branch.datatype])
    branch.save("save_curves", (curves, "out_file"), [path])
    return curves


def _connect_sensitivity(
    branch: Branch[Any], grid: FitGrid, fitted: Fitted, data: Port
) -> list[pe.Node]:
    """Tabulate f of each lesion for several D*, if the model has an f and the b-values allow it."""
    if "f" not in fitted.measured_parameters:
        return []
    bvalues, options = fitted.design["bvalues"], fitted.design["options"]
    shells = combine_directions(np.ones(len(bvalues)), bvalues)[0]
    limits = {name: options[name] for name in ("b_max", "noise") if name in options}
    if not all(need.met for need in HELD.needs(bvalues=shells, **limits)):
        return []
    node = pe.Node(DstarSensitivity(), name="dstar")
    _connect_courses(branch, grid, fitted, data, node)
    node.inputs.dstars = list(constants()["dstar"]["range"])
    node.inputs.identity = {
        k: v for k, v in identity(branch.session, "", "T1w").items() if k.endswith("_id")
    }
    files = branch.merge("dstar_files", [(node, "out_file"), (node, "dictionary")])
    paths = [branch.path(outputs.DSTAR_TABLE, end) for end in outputs.DSTAR_TABLE.extensions]
    branch.save("save_dstar", files, paths)
    return [node]


def _connect_courses(
    branch: Branch[Any], grid: FitGrid, fitted: Fitted, data: Port, curves: pe.Node
) -> None:
    """Connect to a node what the mean curves of the lesions and their fits depend on."""
    curves.inputs.model = fitted.model.name
    curves.inputs.options = fitted.design["options"]
    if arterial := fitted.design.get("arterial"):
        branch.connect(arterial, curves, "arterial")
    if not arterial or fitted.model.is_descriptive:
        branch.connect((fitted.node, "learnt"), curves, "learnt")
    for name in ("times", "bvalues"):
        if name in fitted.design:
            setattr(curves.inputs, name, fitted.design[name])
    branch.connect(data, curves, "series")
    if grid.to_t1w and branch.analysis_space == "T1w":
        branch.connect(grid.to_t1w, curves, "to_series")
