"""Readers of what others wrote, and the command line, fed with anything: words, never a crash.

``METPERF_FUZZ=100000 pytest tests/test_fuzz.py`` takes so many examples of each.
"""

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bidsapp.bids.fieldmaps import phase_encoding, readout_time
from bidsapp.bids.inheritance import read_sidecar
from bidsapp.bids.query import read_filters
from bidsapp.bids.records import TR_RANGE
from bidsapp.bids.sidecar import (
    b_values,
    check_directions,
    read_field,
    transmit_scale,
)
from bidsapp.bids.tables import read_table
from bidsapp.bids.timing import read_frame_times, read_repetition_time
from bidsapp.cli.options import study_parser
from bidsapp.cli.phantom_options import phantom_parser
from bidsapp.cli.statistics_options import stats_parser
from bidsapp.errors import MetperfError

EXAMPLES = int(os.environ.get("METPERF_FUZZ", "60"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="METPERF_FUZZ" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
IMAGE = Path("sub-01_dce.nii.gz")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "FlipAngle",
        "VolumeTiming",
        "FrameTimesStart",
        "RepetitionTime",
        "TriggerDelayTime",
        "AcquisitionDuration",
        "PhaseEncodingAxis",
        "EstimatedTotalReadoutTime",
        "RepetitionTimeExcitation",
        "EchoTime",
        "Units",
        "PhaseEncodingDirection",
        "TotalReadoutTime",
        "EffectiveEchoSpacing",
        "ReconMatrixPE",
    ]
)
SIDECARS = st.dictionaries(FIELDS | st.text(max_size=9), VALUES, max_size=8)
NUMBERS = st.lists(
    st.floats(allow_nan=True) | st.integers(-10, 10**6) | st.sampled_from(["0", "x", "1_0", "nan"]),
    max_size=8,
).map(lambda words: " ".join(map(str, words)).encode())
TABLES = st.lists(
    st.lists(st.sampled_from(["session_id", "ses-a", "1", '"', "", "n/a", "é\x00"]), max_size=4),
    max_size=5,
).map(lambda rows: "\n".join("\t".join(row) for row in rows).encode())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "file"


def outcome(reader, *arguments):
    """Return what a reader returns, or None with words in one line about what is wrong."""
    try:
        return reader(*arguments)
    except MetperfError as error:
        words = str(error)
    assert 0 < len(words.strip()) < 2000
    return None


@fuzzed
@given(SIDECARS)
@example({"FlipAngle": 10**400, "VolumeTiming": [0, 10**400]})
def test_any_sidecar_gives_numbers_or_words(metadata):
    """A number is finite and in range, times ascend; all else is reported."""
    angle = outcome(read_field, metadata, "FlipAngle", IMAGE, "degrees", 0.5, 90)
    assert angle is None or 0.5 < angle <= 90
    found = outcome(read_frame_times, metadata, IMAGE, 2)
    times = found.seconds if found else ()
    assert all(map(math.isfinite, times))
    assert list(times) == sorted(set(times))
    repetition = outcome(read_repetition_time, metadata, IMAGE)
    assert repetition is None or TR_RANGE[0] < repetition.value <= TR_RANGE[1]
    scale = outcome(transmit_scale, metadata, IMAGE)
    assert scale in (None, 1.0, 0.01)
    axis = outcome(phase_encoding, metadata, IMAGE)
    assert axis is None or axis[0] in (0, 1, 2)
    seconds = outcome(readout_time, metadata, IMAGE, 64)
    assert seconds is None or seconds >= 0


@fuzzed
@given(st.binary(max_size=200) | SIDECARS.map(lambda content: json.dumps(content).encode()))
@example(b"[" * 100_000)
@example(b'{"FlipAngle": ' + b"9" * 5000 + b"}")
def test_any_bytes_are_a_sidecar_or_an_error(file, content):
    """Bytes are a JSON object, or refused."""
    file.write_bytes(content)
    found = outcome(read_sidecar, file)
    assert found is None or isinstance(found, dict)


@fuzzed
@given(st.binary(max_size=200) | NUMBERS)
def test_any_bytes_are_b_values_or_an_error(file, content):
    """b-values are finite, not negative and within range, or refused."""
    file.write_bytes(content)
    values = outcome(b_values, file) or ()
    assert all(0 <= v <= 20000 for v in values)
    outcome(check_directions, file, 4)


@fuzzed
@given(st.binary(max_size=200) | TABLES)
def test_any_bytes_are_a_table_or_an_error(file, content):
    """Every row has every column, or the table is refused."""
    file.write_bytes(content)
    rows = outcome(read_table, file, ("session_id",)) or []
    assert all(isinstance(row["session_id"], str) for row in rows)


@fuzzed
@given(st.binary(max_size=200) | VALUES.map(lambda content: json.dumps(content).encode()))
def test_any_bytes_are_a_filter_or_an_error(file, content):
    """A filter file is refused, or gives entities for each query."""
    file.write_bytes(content)
    filters = outcome(read_filters, file) or {}
    assert all(isinstance(name, str) for name in filters)
    assert all(isinstance(entities, dict) for entities in filters.values())


WORDS = st.lists(
    st.text(max_size=12)
    | st.sampled_from(
        [
            "participant",
            "group",
            "--nprocs",
            "--mem",
            "--b-min",
            "nan",
            "inf",
            "-1",
            "0",
            "1e9",
            "٣",
            "--timepoints",
            "a=b",
            "--aif",
            "--output-spaces",
            "--participant-label",
            "-w",
            "-v",
        ]
    ),
    max_size=8,
)


@fuzzed
@given(WORDS)
def test_any_command_line_is_understood_or_refused(words):
    """Words are taken, or end with 2 (0 for help): no other way."""
    for made in (study_parser, stats_parser, phantom_parser):
        code = 0
        try:
            made().parse_args(words)
        except SystemExit as ended:
            code = ended.code
        assert code in (0, 2)
