"""The graph of a participant: its sessions, connected through the baseline T1w."""

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Session
from bidsapp.config import FOUND_ROIS, Config, version
from bidsapp.run.graphs.anat import init_anat_wf, init_rois_wf
from bidsapp.run.graphs.branch import begin_branch
from bidsapp.run.graphs.dce import init_dce_wf
from bidsapp.run.graphs.dwi import init_dwi_wf
from bidsapp.run.graphs.plan import Plan, SessionPlan


def init_participant_wf(plan: Plan, config: Config) -> pe.Workflow:
    """Return the graph of a participant.

    Parameters
    ----------
    plan
        Plan of the participant.
    config
        Configuration of the run.

    Returns
    -------
    pe.Workflow
        One subgraph per session, with the branches ``anat``, ``rois``, ``dwi`` and ``dce``.
    """
    workflow = pe.Workflow(name=plan.participant.slug)
    workflow.base_dir = str(config.work_dir / version())
    graphs = {one.session.id: _init_session_wf(one, plan, config) for one in plan.sessions}
    workflow.add_nodes([g for g in graphs.values() if g.list_node_names()])
    if plan.baseline:
        for session in plan.participant.sessions:
            if session is not plan.baseline and session.t1w:
                carried = [("outputnode.mask", "inputnode.reference_mask")]
                carried += [("outputnode.reference", "inputnode.earlier")]
                workflow.connect([(graphs[plan.baseline.id], graphs[session.id], carried)])
    return workflow


def _init_session_wf(one: SessionPlan, plan: Plan, config: Config) -> pe.Workflow:
    """Return the graph of one session with the branches of its plan."""
    session = one.session
    reference = plan.baseline.t1w if plan.baseline else None
    workflow = pe.Workflow(name=session.slug)
    branches = []
    shared = (one, config, plan.excluded_lesions, reference)
    if "dwi" in one.branches and session.diffusion:
        branches.append(init_dwi_wf(begin_branch("dwi", session.diffusion, *shared)))
    if "dce" in one.branches and session.dynamic:
        branches.append(init_dce_wf(begin_branch("dce", session.dynamic, *shared)))
    if "rois" in one.branches:
        workflow.add_nodes([init_rois_wf(session, config, plan.lesions)])
    workflow.add_nodes(branches)
    if "anat" in one.branches:
        _connect_anatomy(workflow, session, config, branches, plan.baseline)
    return workflow


def _connect_anatomy(
    workflow: pe.Workflow,
    session: Session,
    config: Config,
    branches: list[pe.Workflow],
    baseline: Session | None,
) -> None:
    """Add the branch of the T1w, and connect its results to the other branches."""
    inputnode = pe.Node(niu.IdentityInterface(["reference_mask", "earlier"]), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(["mask", "reference"]), name="outputnode")
    is_reference = session is baseline
    anat = init_anat_wf(session, config, None if is_reference else baseline)
    workflow.connect(anat, "outputnode.mask", outputnode, "mask")
    workflow.connect(anat, "outputnode.reference", outputnode, "reference")
    for branch in branches:
        for name in FOUND_ROIS:
            workflow.connect(anat, f"outputnode.{name}", branch, f"inputnode.{name}")
        workflow.connect(anat, "outputnode.mask", branch, "inputnode.t1w_mask")
    if is_reference:
        return
    workflow.connect(inputnode, "reference_mask", anat, "inputnode.reference_mask")
    workflow.connect(inputnode, "earlier", anat, "inputnode.earlier")
    for branch in branches:
        workflow.connect(anat, "outputnode.to_individual", branch, "inputnode.to_individual")
        workflow.connect(inputnode, "reference_mask", branch, "inputnode.reference_mask")
