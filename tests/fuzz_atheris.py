"""Coverage-guided fuzzing of the readers; not run by pytest.

    pip install atheris
    python tests/fuzz_atheris.py -max_total_time=600

A reader may raise nothing but an error that metperf raises on purpose.
"""

import shlex
import sys
import tempfile
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bidsapp"]):
    from bidsapp.bids.inheritance import read_sidecar
    from bidsapp.bids.query import read_filters
    from bidsapp.bids.sidecar import (
        b_values,
        check_directions,
        phase_axis,
        read_field,
        transmit_scale,
    )
    from bidsapp.bids.tables import read_table
    from bidsapp.bids.timing import read_frame_times, read_repetition_time
    from bidsapp.cli.options import study_parser
    from bidsapp.errors import MetperfError

FILE = Path(tempfile.mkdtemp()) / "file"
IMAGE = Path("sub-01_dce.nii.gz")


def sidecar() -> None:
    """Read the file as a sidecar, and its fields."""
    outcome = read_sidecar(FILE)
    for read in (read_repetition_time, phase_axis, transmit_scale):
        with suppress(MetperfError):
            read(outcome, IMAGE)
    with suppress(MetperfError):
        read_frame_times(outcome, IMAGE, 5)
    read_field(outcome, "FlipAngle", IMAGE, "degrees", 0.5, 90)


def command_line() -> None:
    """Parse the file's text as a command line."""
    with suppress(SystemExit, ValueError, UnicodeDecodeError):
        words = shlex.split(FILE.read_text(encoding="utf-8"))
        with redirect_stderr(StringIO()):
            study_parser().parse_args([w for w in words if w not in ("-h", "--help", "--version")])


READERS = (
    sidecar,
    command_line,
    lambda: b_values(FILE),
    lambda: check_directions(FILE, 5),
    lambda: read_table(FILE, ("session_id",)),
    lambda: read_filters(FILE),
)


def one(content: bytes) -> None:
    """Give the bytes to the reader that the first one names."""
    FILE.write_bytes(content[1:])
    with suppress(MetperfError):
        READERS[(content[0] if content else 0) % len(READERS)]()


SEEDS = (
    b'{"FlipAngle": 12, "FrameTimesStart": [0, 6, 12], "PhaseEncodingDirection": "j-"}',
    b'{"Units": "percent", "FrameTimesStart": [0.0], "PhaseEncodingDirection": "i"}',
    b"bids out participant group --participant-label 01 02 --b-max 800 --t1-blood 1.6",
    b"0 50 200 1e3\n",
    b"1 0 0 1 0\n0 1 0 0 1\n0 0 1 0 0\n",
    b"session_id\tdays_since_treatment\nses-a\t0\nses-b\tn/a\n",
    b'{"dwi": {"run": 1, "acquisition": ["a", null]}, "t1w": {"reconstruction": "x"}}',
)
"""Sound content, of which more is made: each is given to each reader."""


def seeded() -> str:
    """Return a folder of inputs to begin with."""
    folder = Path(tempfile.mkdtemp())
    for number in range(len(READERS)):
        for seed, content in enumerate(SEEDS):
            (folder / f"{number}-{seed}").write_bytes(bytes([number]) + content)
    return str(folder)


if __name__ == "__main__":
    atheris.Setup([*sys.argv, seeded()], one)
    atheris.Fuzz()
