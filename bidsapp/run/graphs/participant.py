"""The graph of a participant: its sessions, connected through the baseline T1w."""

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Session
from bidsapp.config import FOUND_ROIS, Config, version
from bidsapp.run.graphs.anat import init_anat_wf, init_rois_wf
from bidsapp.run.graphs.branch import begin_branch
from bidsapp.run.graphs.dce import init_dce_wf
from bidsapp.run.graphs.dose import init_dose_wf
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
    for label, source in plan.doses.items():
        # The baseline registers the T1w of the dose itself: that session waits for the baseline.
        if plan.baseline and plan.baseline.label not in (source, label) and source != label:
            workflow.connect(
                graphs[f"ses-{source}"],
                "outputnode.to_individual",
                graphs[f"ses-{label}"],
                "inputnode.source_to_individual",
            )
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
    has_dose = session.label in plan.doses
    shared = (one, config, plan.excluded_lesions, reference, has_dose)
    if "dwi" in one.branches and session.diffusion:
        branches.append(init_dwi_wf(begin_branch("dwi", session.diffusion, *shared)))
    if "dce" in one.branches and session.dynamic:
        branches.append(init_dce_wf(begin_branch("dce", session.dynamic, *shared)))
    if "rois" in one.branches:
        workflow.add_nodes([init_rois_wf(session, config, plan.lesions)])
    workflow.add_nodes(branches)
    if "anat" in one.branches:
        anat = _connect_anatomy(workflow, session, config, branches, plan.baseline)
        if has_dose:
            _connect_dose(workflow, anat, session, plan, config, branches)
    return workflow


def _connect_dose(
    workflow: pe.Workflow,
    anat: pe.Workflow,
    session: Session,
    plan: Plan,
    config: Config,
    branches: list[pe.Workflow],
) -> None:
    """Add the branch of the dose, and connect its regions to the other branches."""
    source = plan.participant.session(plan.doses[session.label])
    dose = init_dose_wf(session, source, plan.baseline, config, plan.lesions)
    workflow.connect(anat, "outputnode.mask", dose, "inputnode.brain")
    if session is not plan.baseline:
        workflow.connect(anat, "outputnode.from_individual", dose, "inputnode.from_individual")
        inputnode = workflow.get_node("inputnode")
        name = "source_to_individual"
        workflow.connect(inputnode, name, dose, f"inputnode.{name}")
    for branch in branches:
        workflow.connect(dose, "outputnode.regions", branch, "inputnode.dose_regions")


def _connect_anatomy(
    workflow: pe.Workflow,
    session: Session,
    config: Config,
    branches: list[pe.Workflow],
    baseline: Session | None,
) -> pe.Workflow:
    """Add the branch of the T1w, connect its results to the other branches, and return it."""
    inputs = ["reference_mask", "source_to_individual", "earlier"]
    inputnode = pe.Node(niu.IdentityInterface(inputs), name="inputnode")
    results = ["mask", "to_individual", "reference"]
    outputnode = pe.Node(niu.IdentityInterface(results), name="outputnode")
    is_reference = session is baseline
    anat = init_anat_wf(session, config, None if is_reference else baseline)
    workflow.connect(anat, "outputnode.mask", outputnode, "mask")
    workflow.connect(anat, "outputnode.reference", outputnode, "reference")
    for branch in branches:
        for name in FOUND_ROIS:
            workflow.connect(anat, f"outputnode.{name}", branch, f"inputnode.{name}")
        workflow.connect(anat, "outputnode.mask", branch, "inputnode.t1w_mask")
    if is_reference:
        return anat
    workflow.connect(anat, "outputnode.to_individual", outputnode, "to_individual")
    workflow.connect(inputnode, "reference_mask", anat, "inputnode.reference_mask")
    workflow.connect(inputnode, "earlier", anat, "inputnode.earlier")
    for branch in branches:
        workflow.connect(anat, "outputnode.to_individual", branch, "inputnode.to_individual")
        workflow.connect(inputnode, "reference_mask", branch, "inputnode.reference_mask")
    return anat
