"""Every option that decides a result reaches the nodes that it should, and no others.

The graphs are built from records alone and never run. ``data/wiring.toml`` states, for each field
of `Config` that decides a result, what differs from the graph of the default options: a line for
each input (with its value, or ``<-`` and the outputs that feed it), node and file.
"""

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from nipype.interfaces.base import Undefined
from nipype.pipeline import engine as pe

from bidsapp.bids.records import (
    Diffusion,
    Distortion,
    Dynamic,
    FieldSource,
    FlipAngleSeries,
    Lesion,
    Participant,
    Rois,
    Session,
    SpinEcho,
    TransmitField,
)
from bidsapp.config import Config
from bidsapp.run.graphs.participant import init_participant_wf
from bidsapp.run.graphs.plan import plan_participant

PLUMBING = ("IdentityInterface", "Merge", "Select")
BVALUES = (0.0, 10, 20, 50, 100, 200, 400, 600, 800, 1000)
TIMES = (0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return the folder of the study's images; the graphs only check that they exist."""
    return tmp_path_factory.mktemp("study")


def session(root: Path, label: str) -> Session:
    """Return a session that has everything."""

    def path(name: str) -> Path:
        target = root / f"sub-01_ses-{label}_{name}"
        target.touch()
        return target

    table = path("AIF_timeseries.tsv")
    table.write_text("time\tblood\n0\t0\n60\t5\n", encoding="utf-8")
    dated = json.dumps({"AcquisitionTime": "12:34:56"})
    path("dwi.json").write_text(dated, encoding="utf-8")
    lesions = (Lesion(1, "left"), Lesion(2, "right", excluded=label == "a"))
    flips = tuple(path(f"flip-{n}_VFA.nii.gz") for n in (1, 2))
    return Session(
        "01",
        label,
        t1w=path("T1w.nii.gz"),
        diffusion=Diffusion(
            path("dwi.nii.gz"), BVALUES, path("dwi.bvec"), 1, spin_echo=SpinEcho(0.08, 4.0, 3.0)
        ),
        distortion=Distortion(1, FieldSource("fieldmap", path("fieldmap.nii.gz"), 0.3)),
        dynamic=Dynamic(path("dce.nii.gz"), TIMES, 0.004, 0.26, 3.0, 4.5, "gadobutrol"),
        flip_angle_series=FlipAngleSeries(flips, (0.05, 0.2), 0.005),
        transmit_field=TransmitField(path("TB1map.nii.gz"), 0.01),
        enhancing=(Rois(path("enhancing.nii.gz"), "T1w", lesions),),
        whole=(Rois(path("whole.nii.gz"), "T1w", lesions),),
        artery=Rois(path("AIF_mask.nii.gz"), "dce", (Lesion(1, "AIF"),)),
        arterial_table=table,
        regions=(("atlas", Rois(path("atlas_dseg.nii.gz"), "T1w", (Lesion(7, "thalamus"),))),),
    )


def facts(workflow: pe.Workflow) -> dict[str, str]:
    """Return every input of a graph with its value, or with the outputs that feed it.

    Nodes that only pass on, join or pick files are looked through.
    """
    graph = workflow._create_flat_graph()
    edges = {
        (target, field): (source, output)
        for source, target, data in graph.edges(data=True)
        for output, field in data["connect"]
    }

    def origin(node: pe.Node, output: str) -> str:
        kind, inputs = type(node.interface).__name__, node.inputs
        if kind == "IdentityInterface":
            return value_of(node, output)
        if kind == "Merge":
            return " + ".join(
                value_of(node, f"in{i + 1}") for i in range(node.interface._numinputs)
            )
        if kind == "Select":
            return f"{value_of(node, 'inlist')}{inputs.index}"
        return f"{short(node)}.{output}"

    def value_of(node: pe.Node, field: str) -> str:
        if (node, field) in edges:
            return origin(*edges[node, field])
        return repr(getattr(node.inputs, field))

    found: dict[str, str] = {}
    for node in graph.nodes:
        kind = type(node.interface).__name__
        if kind in PLUMBING:
            continue
        name = short(node)
        found[name] = f"is a {kind}"
        for field, value in node.inputs.get().items():
            if (node, field) in edges:
                found[f"{name}.{field}"] = "<- " + origin(*edges[node, field])
            elif field == "names":
                found |= written(name, value)
            elif value is not Undefined:
                found |= leaves(f"{name}.{field}", value)
    return found


def rounded(lines: list[str]) -> list[str]:
    """Return lines with their numbers to 12 digits: exp() differs between processors by more."""
    return [re.sub(r"\d+\.\d{13,}", lambda found: f"{float(found[0]):.12g}", s) for s in lines]


def short(node: pe.Node) -> str:
    """Return the name of a node without the participant's."""
    return node.fullname.split(".", 1)[1]


def leaves(name: str, value: Any) -> dict[str, str]:
    """Return the values inside nested records and lists of them, by the path of their keys."""
    found: dict[str, str] = {}
    if isinstance(value, dict):
        for key, part in value.items():
            found |= leaves(f"{name}.{key}", part)
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for part in value:
            for key, leaf in leaves(name, part).items():
                found[key] = leaf if found.get(key, leaf) == leaf else f"{found[key]}, {leaf}"
    else:
        found[name] = repr(value)
    return found


def written(name: str, names: list[str]) -> dict[str, str]:
    """Return the files that a node writes, without the names of their participant and session."""
    stems = [re.sub(r".*/sub-01_ses-[ab]_", "", path) for path in names]
    return {f"{name}.writes {stem}": "" for stem in stems if stem}


def folders(root: Path) -> dict[str, Any]:
    """Return where a run reads and writes, and its name."""
    return {
        "bids_dir": root,
        "output_dir": root / "out",
        "work_dir": root / "work",
        "run_id": "run",
    }


def built(root: Path, **options: Any) -> dict[str, str]:
    """Return the facts of the graph of a participant with two sessions."""
    participant = Participant("01", (session(root, "a"), session(root, "b")))
    config = Config(**{**folders(root), **options})
    found = facts(init_participant_wf(plan_participant(participant, config), config))
    return {name: value.replace(str(root), "") for name, value in found.items()}


def of_session(found: dict[str, str], label: str) -> dict[str, str]:
    """Return the facts of one session, without its name there and in its files."""
    prefix, stem = f"ses_{label}.", f"sub-01_ses-{label}_"
    return {
        name.removeprefix(prefix): value.replace(prefix, "").replace(stem, "")
        for name, value in found.items()
        if name.startswith(prefix)
    }


def changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Return the differences of two graphs, a line each.

    Of a node that is gone there is only its name, of a new one no sidecars and no folder.
    """
    gone, come = (
        tuple(f"{name}." for name in nodes(one) - other.keys())
        for one, other in ((old, new), (new, old))
    )
    lines = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        is_detail = name.startswith(come) and re.search(r"\.(sidecars|output_dir)\b", name)
        if before == after or name.startswith(gone) or is_detail:
            continue
        if before is None or after is None:
            sign, value = ("+", after) if before is None else ("-", before)
            lines.append(f"{sign} {name} {shown(name, value or '')}".rstrip())
        else:
            lines.append(f"  {name} {shown(name, before)} => {shown(name, after)}")
    return lines


def nodes(found: dict[str, str]) -> set[str]:
    """Return the names of the nodes of a graph."""
    return {name for name, value in found.items() if value.startswith("is a ")}


def shown(name: str, value: str) -> str:
    """Return a value for the table; of sidecars only numbers, for their words may change."""
    is_text = ".sidecars." in name and not re.fullmatch(r"[-\d.]+|inf|True|False", value)
    return "(text)" if is_text else value


def as_option(value: Any) -> Any:
    """Return a value of the table as `Config` holds it: tuples for lists."""
    return tuple(map(as_option, value)) if isinstance(value, list) else value


ROWS = tomllib.loads((Path(__file__).parent / "data" / "wiring.toml").read_text())["row"]


@pytest.fixture(scope="module")
def default(root):
    """Return the facts of the graph with default options."""
    return built(root)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['field']}={row['value']}")
def test_an_option_changes_what_its_row_states_and_nothing_else(root, default, row):
    """Inputs, edges, nodes and files of a session that differ are those of the row, exactly.

    The baseline session differs in the same, but for what only later sessions have.
    """
    found = built(root, **{row["field"]: as_option(row["value"])})
    later, first = (
        changes(of_session(default, label), of_session(found, label)) for label in ("b", "a")
    )
    assert rounded(later) == rounded(row["changes"].splitlines())
    longitudinal = nodes(of_session(default, "b")) - nodes(of_session(default, "a"))

    def common(lines: list[str]) -> list[str]:
        words = longitudinal | {
            "dce.maps_to_individual.reference",
            "dwi.maps_to_individual.reference",
            "anat.reference.earlier",
            "anat.reference.to_earlier",
        }
        kept = [x for x in lines if not any(re.search(rf" {word}\b", x) for word in words)]
        return [x.replace("session_id 'ses-a'", "session_id 'ses-b'") for x in kept]

    assert common(first) == common(later)
    assert {k: v for k, v in found.items() if not k.startswith("ses_")} == {}


def test_the_baseline_session_takes_the_place_of_the_first(root, default):
    """With the other session named, the graph is the same with the two sessions exchanged."""
    swapped = {"a": "b", "b": "a"}

    def exchange(text: str) -> str:
        return re.sub(r"(ses[_-])([ab])(?![a-z])", lambda m: m[1] + swapped[m[2]], text)

    found = built(root, baseline_session="b")
    assert found != default
    assert found == {exchange(k): exchange(v) for k, v in default.items()}


def test_images_are_registered_by_the_contrast_that_they_have(default):
    """T1w: of one head twice, alike and rigid; b = 0: opposite; dynamic series: either."""
    wanted = {
        "b.anat.to_baseline": ("lpp", "rigid", True),
        "a.dwi.register": ("lpc", "affine", False),
        "a.dce.register": ("lpa", "affine", False),
    }
    for name, values in wanted.items():
        fields = ("metric", "transform", "symmetric")
        found = [default[f"ses_{name}.{field}"] for field in fields]
        assert found == [repr(value) for value in values]
    for series in ("dwi", "dce"):
        metrics = [default[f"ses_b.{series}.{node}.metric"] for node in ("register", "consistency")]
        assert metrics[0] == metrics[1]


def test_a_lesion_that_one_table_excludes_is_excluded_in_every_session(default):
    """The tables of session a exclude lesion 2, those of b do not."""
    nodes_with_lesions = ("rois.volumes", "dwi.lesions", "dwi.curves", "dce.lesions", "dce.curves")
    for name in nodes_with_lesions:
        for label in ("a", "b"):
            assert default[f"ses_{label}.{name}.lesions"] == "[(1, False), (2, True)]"


WHEN_READ = {"baseline_session", "frame_time", "repetition_time"}
"""Fields that decide what the records contain from which the graphs are built."""


def test_every_field_that_decides_a_result_has_a_row(root):
    """A new option of `Config` needs a row, or a reason in `ELSEWHERE` why it changes no node."""
    names = set(Config(**folders(root)).result_options())
    assert {row["field"] for row in ROWS} | WHEN_READ == names
    assert {field.name for field in dataclasses.fields(Config)} == names | set(ELSEWHERE)


ELSEWHERE: dict[str, tuple[Any, str]] = {
    "bids_dir": (Path("elsewhere"), "location: what is found there makes the records"),
    "output_dir": (Path("elsewhere"), "location"),
    "work_dir": (Path("elsewhere"), "location"),
    "run_id": ("another", "names the log folder"),
    "command": ("metperf other", "record of the command line"),
    "derivatives": ((Path("elsewhere"),), "location: what is found there makes the records"),
    "participants": (("02",), "selection: decides for which records there are graphs"),
    "sessions": (("b",), "selection: decides for which records there are graphs"),
    "filter_file": (Path("filter.json"), "selection: decides which images are in the records"),
    "nprocs": (4, "resources"),
    "omp_nthreads": (3, "resources: threads of a node, which do not change its result"),
    "memory_gb": (64.0, "resources"),
    "plugin_file": (Path("plugin.yml"), "resources: where nodes run"),
    "stop_on_first_crash": (True, "engine"),
    "write_graph": (True, "engine"),
    "resource_monitor": (True, "engine"),
}
"""Fields that decide no result: another value, and the reason."""


@pytest.mark.parametrize("field", ELSEWHERE)
def test_other_fields_change_no_node_that_computes(root, default, field):
    """Only writers see folders, and only numbers of threads (which are not hashed) may differ."""
    found = built(root, **{field: ELSEWHERE[field][0]})
    differ = {
        name for name in default.keys() | found.keys() if default.get(name) != found.get(name)
    }
    allowed = ("n_jobs", "num_threads") if field == "omp_nthreads" else ()
    computing = [name for name in differ if ".save_" not in name]
    assert [name for name in computing if name.split(".")[-1] not in allowed] == []
    assert bool(computing) == bool(allowed)


ALL_ROIS = ("enhancing", "whole", "ring", "mirror", "reference", "atlas")


def with_reference(root: Path, where: Config) -> dict[str, str]:
    """Return the facts of the graph of two sessions, of which the first has a drawn reference."""
    drawn = Rois(root / "sub-01_ses-a_T1w.nii.gz", "T1w", (Lesion(1, "reference"),))
    first, second = session(root, "a"), session(root, "b")
    first = dataclasses.replace(first, regions=(("reference", drawn),))
    plan = plan_participant(Participant("01", (first, second)), where)
    return facts(init_participant_wf(plan, where))


def test_a_reference_drawn_at_the_baseline_is_used_and_followed(root):
    """It is measured as drawn, without a search; the later session starts from it."""
    found = with_reference(root, Config(**folders(root), rois=ALL_ROIS))
    assert "ses_a.anat.reference" not in found
    assert found["ses_a.dce.roi_reference.rois"].endswith("ses-a_T1w.nii.gz'")
    assert found["ses_b.anat.reference.earlier"].endswith("ses-a_T1w.nii.gz'")
    assert found["ses_b.anat.reference.is_drawn"] == "True"
    assert found["ses_b.dce.roi_reference.rois"] == "<- ses_b.anat.reference.out_file"


def test_regions_are_weighted_by_fractions_as_lesions_are(root):
    """With --roi-space native each region is resampled to the series, found or drawn."""
    found = built(root, rois=ALL_ROIS, roi_space="native")
    for name, origin in (("ring", "<- ses_b.anat.ring.out_file"), ("atlas", "atlas_dseg")):
        node = f"ses_b.dwi.roi_{name}_fractions"
        assert origin in found[f"{node}.rois"]
        assert found[f"{node}.transform"] == found["ses_b.dwi.lesion_fractions.transform"]
        assert found[f"ses_b.dwi.roi_{name}.fractions"] == f"<- {node}.out_file"
        assert f"ses_b.dwi.roi_{name}.rois" not in found


def test_regions_that_there_cannot_be_are_reported(root):
    """Without T1w nothing is found, and without a label image there is no atlas."""
    bare = dataclasses.replace(session(root, "a"), t1w=None, regions=())
    config = Config(**folders(root), rois=ALL_ROIS)
    plan = plan_participant(Participant("01", (bare,)), config)
    texts = [issue.text for issue in plan.issues if issue.code == "NoRegion"]
    assert texts == [
        "--rois ring: no ROI of lesions on a T1w: no values of the DWI and DCE",
        "--rois mirror: no ROI of lesions on a T1w: no values of the DWI and DCE",
        "--rois reference: no T1w: no values of the DWI and DCE",
        "--rois atlas: no label image seg-atlas_dseg: no values of the DWI and DCE",
    ]
    assert not any(".roi_" in name for name in facts(init_participant_wf(plan, config)))


def test_a_reference_region_that_ignores_lesions_or_the_baseline_is_a_warning(root):
    """Lesions on the series alone, and a region that cannot be carried; otherwise there is none."""
    first, second = session(root, "a"), session(root, "b")
    assert not doubts(root, first, second)
    here = {
        kind: tuple(dataclasses.replace(r, space="dwi") for r in getattr(second, kind))
        for kind in ("enhancing", "whole")
    }
    (text,) = doubts(root, first, dataclasses.replace(second, **here))
    assert "lesions are drawn on the grid of a series alone" in text
    mask = Rois(root / "mask.nii.gz", "dce", (Lesion(1, "reference"),))
    (text,) = doubts(root, dataclasses.replace(first, regions=(("reference", mask),)), second)
    assert "mask.nii.gz of the baseline is on the grid of the DCE and is not carried" in text


def doubts(root, *sessions):
    """Return the doubts about reference regions, with labels of the user beside them."""
    config = Config(**folders(root), rois=ALL_ROIS)
    plan = plan_participant(Participant("01", sessions), config)
    return [issue.text for issue in plan.issues if issue.code == "DoubtfulReference"]


def test_a_region_on_the_grid_of_another_series_is_named(root):
    """The reason is not that there is no T1w."""
    mask = Rois(root / "mask.nii.gz", "dce", (Lesion(1, "reference"),))
    one = dataclasses.replace(session(root, "a"), regions=(("reference", mask),))
    config = Config(**folders(root), rois=["reference"])
    plan = plan_participant(Participant("01", (one,)), config)
    (text,) = [issue.text for issue in plan.issues if issue.code == "NoRegion"]
    assert text == (
        "--rois reference: mask.nii.gz is on the grid of the DCE: no values of the DWI and DCE"
    )
