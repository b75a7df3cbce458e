"""Regions beside the enhancing part of lesions: found on the T1w, or images of the user."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Rois, Session, Space
from bidsapp.config import FOUND_ROIS, ROIS, Config
from bidsapp.issues import Issue
from bidsapp.run.graphs.sidecars import analysis_space, lesion_list, save_node, source_uris
from bidsapp.run.nodes.regions import FindNeighbourhood, FindReference

DESCRIPTIONS = {
    "ring": "Brain within 5 mm of each lesion, without lesions, with the number of the lesion",
    "mirror": "Each lesion reflected at the mid-sagittal plane of the registered template, "
    "without lesions",
    "reference": "Normal-appearing white matter of the centrum semiovale, if possible "
    "contralateral, and the same at all sessions",
}


@dataclass(frozen=True)
class Region:
    """An ROI image in which maps are measured.

    `lesions` are the index of each part and whether it is excluded. Without `image`, the branch of
    the T1w finds the region.
    """

    name: str
    space: Space
    lesions: list[tuple[int, bool]]
    image: Path | None = None


def measured_regions(
    session: Session, series: Space, config: Config, excluded: frozenset[int] = frozenset()
) -> list[Region]:
    """Return the regions that the run names, beside those of lesions, and that there can be.

    Parameters
    ----------
    session
        The session.
    series
        The series that is measured.
    config
        Configuration of the run.
    excluded
        Lesions marked as excluded in any table.
    """
    there = ("T1w", analysis_space(session, series, config))
    found = []
    for name in further_names(config):
        given = session.region(name)
        if given and given.space in there and (session.t1w or given.space != "T1w"):
            parts = lesion_list(given, frozenset())
            found.append(Region(name, given.space, parts, given.image))
        elif name in FOUND_ROIS and session.t1w and not given:
            base = base_lesions(session)
            if name == "reference":
                found.append(Region(name, "T1w", [(1, False)]))
            elif base:
                found.append(Region(name, "T1w", lesion_list(base, excluded)))
    return found


def further_names(config: Config) -> list[str]:
    """Return the names of the regions beside those of lesions."""
    return [name for name in config.rois if name not in ROIS]


def base_lesions(session: Session) -> Rois | None:
    """Return the lesions on the T1w to which rings and mirror images refer: whole, if drawn."""
    return session.rois("whole", "T1w") or session.rois("enhancing", "T1w")


def drawn_lesions(session: Session) -> list[str]:
    """Return the label images on the T1w, which mark anatomy that changes between sessions."""
    return [str(r.image) for r in (*session.whole, *session.enhancing) if r.space == "T1w"]


def missing_regions(session: Session, config: Config) -> Iterator[Issue]:
    """Yield an issue for each region that the run names and that there cannot be."""
    series: list[Space] = ["dwi"] if session.diffusion else []
    series += ["dce"] if session.dynamic else []
    for name in further_names(config) if series else ():
        lacking = [
            space.upper()
            for space in series
            if name not in {region.name for region in measured_regions(session, space, config)}
        ]
        if lacking:
            given = session.region(name)
            reason = f"no {_WANTED.get(name, f'label image seg-{name}_dseg')}"
            if given:
                reason = f"{given.image.name} is on the grid of the {_NAMES[given.space]}"
            text = f"--rois {name}: {reason}: no values of the {' and '.join(lacking)}"
            yield Issue("missing", text, "NoRegion")


def reference_issues(session: Session, baseline: Session | None, config: Config) -> Iterator[Issue]:
    """Yield a warning if the reference region is found in ignorance of what is drawn elsewhere."""
    if "reference" not in config.rois or not session.t1w or session.region("reference"):
        return
    place = {"participant": f"sub-{session.participant}", "session": session.id}
    if (session.enhancing or session.whole) and not drawn_lesions(session):
        text = (
            "--rois reference: lesions are drawn on the grid of a series alone, so the region may "
            "be in or beside one: draw them on the T1w, or draw a label-reference_mask"
        )
        yield Issue("warning", text, "DoubtfulReference", **place)
    given = baseline.region("reference") if baseline else None
    if given and given.space != "T1w":
        text = (
            f"--rois reference: {given.image.name} of the baseline is on the grid of the "
            f"{_NAMES[given.space]} and is not carried to this session, where another region is "
            "found: draw it on the T1w"
        )
        yield Issue("warning", text, "DoubtfulReference", **place)


_NAMES: dict[Space, str] = {"T1w": "T1w", "dwi": "DWI", "dce": "DCE"}
_WANTED = {
    "ring": "ROI of lesions on a T1w",
    "mirror": "ROI of lesions on a T1w",
    "reference": "T1w",
}
"""What a region needs."""


def connect_found_regions(
    workflow: pe.Workflow, session: Session, config: Config, reference: Session | None
) -> None:
    """Find the regions of a session on its T1w, and write them.

    Parameters
    ----------
    workflow
        The branch of the T1w, with ``inputnode``, ``outputnode`` and ``brain``.
    session
        The session.
    config
        Configuration of the run.
    reference
        The baseline session, or None for the baseline session itself.
    """
    wanted = measured_regions(session, "T1w", config)
    for name in [region.name for region in wanted if region.image is None]:
        if name == "reference":
            node = _connect_reference(workflow, session, config, reference)
            path = outputs.REFERENCE.path(session)
        else:
            node = pe.Node(FindNeighbourhood(kind=name), name=name, mem_gb=1)
            base = base_lesions(session)
            assert base is not None
            first = str(base.image)
            node.inputs.lesions = [first, *(x for x in drawn_lesions(session) if x != first)]
            workflow.connect(workflow.get_node("brain"), "mask", node, "brain")
            path = outputs.REGIONS.path(session, seg=name)
        workflow.connect(workflow.get_node("brain"), "from_template", node, "from_template")
        workflow.connect(node, "out_file", workflow.get_node("outputnode"), name)
        assert session.t1w is not None
        sources = [session.t1w, *(Path(x) for x in drawn_lesions(session))]
        sidecar = {"Description": DESCRIPTIONS[name], "Sources": source_uris(sources, config)}
        writer = save_node(f"save_{name}", config, [path], [sidecar])
        workflow.connect(node, "out_file", writer, "in_files")
        workflow.connect(node, "record", writer, "notes")


def _connect_reference(
    workflow: pe.Workflow, session: Session, config: Config, reference: Session | None
) -> pe.Node:
    """Return the node that finds the reference region, that of the baseline if there is one."""
    node = pe.Node(FindReference(t1w=str(session.t1w)), name="reference", mem_gb=1)
    if lesions := drawn_lesions(session):
        node.inputs.lesions = lesions
    if reference is None:
        return node
    workflow.connect(workflow.get_node("to_baseline"), "to_moving", node, "to_earlier")
    given = reference.region("reference")
    if given is None:
        workflow.connect(workflow.get_node("inputnode"), "earlier", node, "earlier")
    elif given.space == "T1w":
        node.inputs.earlier, node.inputs.is_drawn = str(given.image), True
    return node
