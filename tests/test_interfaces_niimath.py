"""niimath as nipype interfaces: command lines, outputs, and failures that are seen."""

import numpy as np
import pytest
from heads import grid, pose, scan, write
from nipype.pipeline import engine as pe
from nipype.pipeline.engine.nodes import NodeExecutionError

from bidsapp.errors import RegistrationError
from bidsapp.run.nodes.niimath import Allineate, MotionCorrect

WHERE = grid((4, 4, 4))


@pytest.fixture
def pair(tmp_path):
    fixed = write(tmp_path / "fixed.nii", scan("t1w", WHERE), WHERE[0])
    moved = scan("t1w", WHERE, pose((2, 0, 0), (4, 0, 0)))
    return write(tmp_path / "moving image.nii.gz", moved, WHERE[0]), fixed


def test_the_command_line_of_the_study(pair):
    """Lpc with 12 parameters: every option where niimath expects it; paths with blanks quoted."""
    moving, fixed = pair
    node = Allineate(in_file=moving, base=fixed, cost="lpc", warp="aff", num_threads=2)
    node.inputs.source_automask = True
    words = node.cmdline.split(" ", 1)[1]
    assert words == (
        f"'{moving}' -gz 0 -p 2 -allineate {fixed} -cost lpc -source_automask -warp aff "
        "-savemat matrix.json aligned.nii"
    )


def test_the_command_line_of_motion(pair):
    """-moco onto a volume by its number, parameters beside."""
    node = MotionCorrect(in_file=pair[1], reference=3)
    words = node.cmdline.split(" ", 1)[1]
    assert words == f"{pair[1]} -gz 0 -p 1 -moco -ref 3 -1Dfile motion.1D corrected.nii"


def test_the_engine_runs_and_tells_its_cost(pair, tmp_path):
    """It writes image and matrix where it runs, and prints the metric that it ended with."""
    node = Allineate(in_file=pair[0], base=pair[1], cost="ls", warp="sho")
    found = node.run(cwd=tmp_path).outputs
    assert found.matrix == str(tmp_path / "matrix.json")
    assert found.out_file == str(tmp_path / "aligned.nii")
    assert np.isfinite(found.final_cost)


@pytest.fixture
def broken(pair, tmp_path):
    """Inputs of which one only has the name of an image."""
    (tmp_path / "text.nii").write_text("no image")
    return {"in_file": pair[0], "base": str(tmp_path / "text.nii"), "cost": "ls"}


def test_failure_is_an_error_outside_a_node(broken, tmp_path):
    """Niimath refuses a file that is not an image; its exit code and message are in the error."""
    with pytest.raises(RegistrationError, match=r"(?s)exit code \d+ .*text\.nii"):
        Allineate(**broken).run(cwd=tmp_path)


def test_failure_is_an_error_in_a_node(broken, tmp_path):
    """The same inside a workflow's node."""
    node = pe.Node(Allineate(**broken), name="broken")
    node.base_dir = str(tmp_path)
    with pytest.raises(NodeExecutionError, match=r"exit code \d+"):
        node.run()


def test_threads_do_not_outdate_a_result(pair):
    """The number of threads does not identify a finished step; it only reserves resources."""
    one, two = (
        pe.Node(Allineate(in_file=pair[0], base=pair[1], num_threads=n), name="same")
        for n in (1, 2)
    )
    assert one.inputs.get_hashval()[1] == two.inputs.get_hashval()[1]
    assert (one.n_procs, two.n_procs) == (1, 2)
