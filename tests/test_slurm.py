"""``metperf slurm``: scripts that can be submitted, and pass the requested options to each run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from datasets import write_description

from bidsapp.cli import options
from bidsapp.cli.main import main
from bidsapp.cli.slurm_options import run_words, slurm_parser
from bidsapp.cli.slurm_scripts import required_resources


@pytest.fixture
def bids(tmp_path):
    """Three participants, of whom one has three sessions."""
    root = tmp_path / "bids"
    write_description(root)
    for folder in ("sub-01/ses-a", "sub-02/ses-a", "sub-02/ses-b", "sub-02/ses-c", "sub-10/ses-a"):
        (root / folder).mkdir(parents=True)
    return root


def write(bids, *words):
    """Write the scripts into a folder with a space in its name; return that folder."""
    folder = bids.parent / "the scripts"
    command = ["slurm", str(bids), str(bids.parent / "out"), "--scripts-dir", str(folder)]
    assert main([*command, "--skip-bids-validation", *words]) == 0
    return folder


def put(folder, **programs):
    """Write substitutes for the programs of a cluster, each with the shell text given."""
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)


def submit(folder, *words, **variables):
    path = f"{folder.parent / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [folder / "submit.sh", *words],
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
    )


def test_scripts_are_sound_shell(bids):
    """Every script is executable and free of syntax errors; paths with spaces stay whole."""
    folder = write(bids)
    for name in ("participant.sbatch", "group.sbatch", "submit.sh"):
        assert os.access(folder / name, os.X_OK)
        assert (folder / name).read_text().startswith("#!/bin/bash\n")
        subprocess.run(["bash", "-n", folder / name], check=True)
        if shutil.which("shellcheck"):
            subprocess.run(["shellcheck", folder / name], check=True)
    assert (folder / "participants.txt").read_text() == "01\n02\n10\n"


def test_each_run_gets_the_options(bids):
    """Options of the study reach the runs, with full paths; those of the task are not repeated."""
    rois = bids.parent / "rois"
    rois.mkdir()
    words = ["-d", str(rois), "--ivim-model", "segmented", "--timepoints", "a=3:9", "--nprocs", "3"]
    folder = write(bids, *words, "--participant-label", "sub-02")
    text = (folder / "participant.sbatch").read_text()
    assert f"--derivatives {rois} --ivim-model segmented --timepoints a=3:9\n" in text
    assert "nprocs=3\n" in text
    assert "#SBATCH --cpus-per-task=3\n" in text
    assert (folder / "participants.txt").read_text() == "02\n"


def test_an_image_sees_the_folders_it_needs(bids):
    """In Apptainer folders keep their names; what lies outside the data set is bound too."""
    image, rois = bids.parent / "m.sif", bids.parent / "rois"
    image.touch()
    rois.mkdir()
    folder = write(bids, "--image", str(image), "-d", str(rois))
    text = (folder / "participant.sbatch").read_text()
    assert f"--bind {bids}:{bids}:ro --bind {bids.parent / 'out'} --bind {rois}:{rois}:ro" in text
    assert "apptainer run --cleanenv --containall" in text
    assert f'{image} {bids} {bids.parent / "out"} "$@" --derivatives {rois}\n' in text


def test_tasks_ask_for_what_was_measured(bids):
    """Time grows with the sessions of the longest participant, memory with the processes."""
    text = (write(bids) / "participant.sbatch").read_text()
    needs, _ = required_resources(sessions=3, cpus=2)
    assert f"#SBATCH --mem={needs.memory_mb}M\n" in text
    assert f"#SBATCH --time={needs.minutes}\n" in text
    assert required_resources(3, 4)[0].memory_mb > needs.memory_mb
    own = (write(bids, "--mem", "3G", "--minutes", "7") / "participant.sbatch").read_text()
    assert "#SBATCH --mem=3072M\n" in own
    assert "#SBATCH --time=7\n" in own
    assert "memory_mb=3072\n" in own


CLUSTER = {
    "scontrol": 'echo "MaxArraySize = 3"',
    "squeue": 'printf "%s" "${QUEUE-}"',
    "sbatch": 'printf "%s\\n" "$*" >>"$LOG"; wc -l <"$LOG"',
}


def test_large_arrays_are_split_and_only_failed_ones_repeated(bids):
    """An array holds what the cluster takes; --failed sends those without a mark of success."""
    folder, log = write(bids, "--at-once", "2"), bids.parent / "log"
    put(bids.parent / "bin", **CLUSTER)
    done = submit(folder, LOG=str(log))
    assert done.returncode == 0, done.stderr
    first, second, group = log.read_text().splitlines()
    assert "--array=0-1%2" in first
    assert "--array=0-0%2" in second
    assert "--dependency=afterany:1:2 --kill-on-invalid-dep=yes" in group
    (folder / "done/sub-01").touch()
    (folder / "done/sub-02").touch()
    log.unlink()
    assert "1 of 3 participants" in submit(folder, "--failed", LOG=str(log)).stdout
    again = log.read_text().splitlines()[0]
    assert "--array=0-0%2" in again
    assert Path(again.split("participant.sbatch ")[1]).read_text() == "10\n"


def test_tasks_that_still_run_are_not_sent_twice(bids):
    """While jobs of an earlier call are in the queue nothing is sent, and they are named."""
    folder, log = write(bids), bids.parent / "log"
    put(bids.parent / "bin", **CLUSTER)
    submit(folder, LOG=str(log))
    refused = submit(folder, "--failed", LOG=str(log), QUEUE="1_0\n99_1\n")
    assert refused.returncode == 75
    assert "1 tasks of an earlier call are still in the queue" in refused.stderr


def test_a_relative_option_of_the_cluster_is_kept(bids):
    """Further options of sbatch are at the top of both scripts."""
    folder = write(bids, "--sbatch=--partition=long", "--sbatch=--account=a1")
    for name in ("participant.sbatch", "group.sbatch"):
        text = (folder / name).read_text()
        assert "#SBATCH --partition=long\n#SBATCH --account=a1\n" in text


def switches():
    """Every option of a study that takes no value."""
    actions = options.study_parser()._actions
    own = {"help", "version", "skip_bids_validation"}
    return [a.option_strings[0] for a in actions if a.nargs == 0 and a.dest not in own]


@pytest.mark.parametrize("switch", switches())
def test_no_switch_is_lost_on_the_way(switch):
    """An option that takes no value is reported to each run, also one that turns something off."""
    parser = slurm_parser()
    words = run_words(parser, parser.parse_args(["bids", "out", switch]))
    assert len(words) == 1
    study = ["bids", "out", "participant"]
    outcome = options.study_parser().parse_args([*study, *words])
    assert outcome == options.study_parser().parse_args([*study, switch])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--array=0-3", "--array is set by the scripts themselves"),
        ("partition=long", "must be a long option of sbatch such as --partition=long"),
        ('--comment="a', "must be a long option of sbatch"),
    ],
)
def test_an_option_that_sbatch_would_misread_is_refused(bids, capsys, option, message):
    """Exit 2, in one line."""
    with pytest.raises(SystemExit) as end:
        write(bids, f"--sbatch={option}")
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_an_option_with_a_space_is_quoted(bids):
    """As sbatch reads it."""
    text = (write(bids, "--sbatch=--comment=a b") / "participant.sbatch").read_text()
    assert '#SBATCH --comment="a b"\n' in text


def test_folders_that_slurm_or_apptainer_misread_are_refused(bids, tmp_path, caplog):
    """A quote in the path of the logs; a comma in a path to bind."""
    odd = tmp_path / 'a "b'
    assert (
        main(
            [
                "slurm",
                str(bids),
                str(tmp_path / "out"),
                "--scripts-dir",
                str(odd),
                "--skip-bids-validation",
            ]
        )
        == 2
    )
    (tmp_path / "image.sif").touch()
    words = ["--image", str(tmp_path / "image.sif"), "--skip-bids-validation"]
    assert main(["slurm", str(bids), str(tmp_path / "a,b"), *words]) == 2


def test_the_resources_of_a_task_are_described_in_words():
    """Before anything is started."""
    assert str(required_resources(sessions=1, cpus=1)[1]) == "1 core, 4096 MB, 60 minutes"
    assert str(required_resources(sessions=4, cpus=2)[0]).startswith("2 cores, ")
