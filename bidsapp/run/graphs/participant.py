"""The whole graph of a participant: its sessions, joined at the baseline T1w."""

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Participant, Session
from bidsapp.config import Config, version
from bidsapp.errors import UsageError
from bidsapp.run.graphs.anat import init_anat_wf, init_rois_wf
from bidsapp.run.graphs.dce import acquisition, init_dce_wf, relaxation
from bidsapp.run.graphs.dwi import init_dwi_wf, series_obstacle


def known_lesions(participant: Participant) -> dict[int, bool]:
    """Return every lesion in the participant's ROI tables, and whether any table excludes it."""
    lesions: dict[int, bool] = {}
    for session in participant.sessions:
        for rois in (*session.enhancing, *session.whole):
            for lesion in rois.lesions:
                lesions[lesion.index] = lesions.get(lesion.index, False) or lesion.excluded
    return lesions


def kinetics_obstacle(session: Session, config: Config) -> str | None:
    """Return why a session's dynamic series cannot be analysed, or None."""
    if config.aif == "roi" and session.artery is None:
        return (
            f"{session.id}: no AIF mask (label-AIF_mask) for the DCE series; draw one, "
            "or choose --aif auto or --aif parker2006"
        )
    if config.aif == "table" and session.arterial_table is None:
        return f"{session.id}: no label-AIF_timeseries.tsv for --aif table"
    if config.aif == "roi" and session.artery and not session.t1w and session.artery.space != "dce":
        return f"{session.id}: the AIF mask lies on the T1w's grid, but there is no T1w"
    try:
        if session.dynamic:
            acquisition(session.dynamic, config)
            relaxation(session.dynamic, config)
    except UsageError as error:
        return f"{session.id}: {error}"
    return None


def init_participant_wf(participant: Participant, config: Config) -> pe.Workflow:
    """Return the graph of a participant.

    Parameters
    ----------
    participant
        What the data set has.
    config
        How to run.

    Returns
    -------
    pe.Workflow
        One sub-graph a session, with its branches ``anat``, ``rois``, ``dwi`` and ``dce``.
    """
    workflow = pe.Workflow(name=f"sub_{participant.label}")
    workflow.base_dir = str(config.work_dir / version())
    lesions = known_lesions(participant)
    baseline = participant.baseline(config.baseline_session)
    graphs = {s: _init_session_wf(s, config, lesions, baseline) for s in participant.sessions}
    workflow.add_nodes([g for g in graphs.values() if g.list_node_names()])
    if baseline:
        for session, graph in graphs.items():
            if session is not baseline and session.t1w:
                mask = ("outputnode.mask", "inputnode.reference_mask")
                workflow.connect(graphs[baseline], mask[0], graph, mask[1])
    return workflow


def _init_session_wf(
    session: Session, config: Config, lesions: dict[int, bool], baseline: Session | None
) -> pe.Workflow:
    """Return the graph of one session: what it has, and no more."""
    reference = baseline.t1w if baseline else None
    workflow = pe.Workflow(name=session.slug)
    excluded = frozenset(n for n, is_excluded in lesions.items() if is_excluded)
    branches = []
    if session.diffusion and not series_obstacle(session, session.diffusion, config):
        branches.append(init_dwi_wf(session, session.diffusion, config, excluded, reference))
    if session.dynamic and not kinetics_obstacle(session, config):
        branches.append(init_dce_wf(session, session.dynamic, config, excluded, reference))
    if session.enhancing or session.whole:
        workflow.add_nodes([init_rois_wf(session, config, lesions)])
    workflow.add_nodes(branches)
    if session.t1w:
        _connect_anatomy(workflow, session, config, branches, baseline)
    return workflow


def _connect_anatomy(
    workflow: pe.Workflow,
    session: Session,
    config: Config,
    branches: list[pe.Workflow],
    baseline: Session | None,
) -> None:
    """Add the T1w's branch, and give its results to the others."""
    inputnode = pe.Node(niu.IdentityInterface(["reference_mask"]), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(["mask"]), name="outputnode")
    is_reference = session is baseline
    anat = init_anat_wf(session, config, None if is_reference else baseline)
    workflow.connect(anat, "outputnode.mask", outputnode, "mask")
    for branch in branches:
        workflow.connect(anat, "outputnode.mask", branch, "inputnode.t1w_mask")
    if is_reference:
        return
    workflow.connect(inputnode, "reference_mask", anat, "inputnode.reference_mask")
    for branch in branches:
        workflow.connect(anat, "outputnode.to_individual", branch, "inputnode.to_individual")
        workflow.connect(inputnode, "reference_mask", branch, "inputnode.reference_mask")
