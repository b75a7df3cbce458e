"""A sidecar that contradicts a spoiled gradient echo: refused with field and value."""

from pathlib import Path

import pytest
from hostile import dry, edit_json, raw, write_study

from bidsapp.bids.pulse_sequence import check_spoiled_gradient_echo, preparation_warning
from bidsapp.errors import BadInput

IMAGE = Path("sub-01_dce.nii.gz")

OTHERS = {
    "IR": {"ScanningSequence": ["GR", "IR"], "SequenceVariant": "SP\\MP"},
    "inversion time": {"ScanningSequence": "GR", "InversionTime": 0.3},
    "saturation recovery": {"PulseSequenceType": "saturation recovery turboFLASH"},
    "MPRAGE": {"SequenceName": "MP-RAGE", "ScanningSequence": "GR"},
    "SE": {"ScanningSequence": "SE"},
    "spin echo": {"PulseSequenceType": "Spin Echo"},
    "fast spin echo": {"SequenceName": "*tse2d1_11"},
    "EPI": {"ScanningSequence": "EP\\GR", "SequenceVariant": "SS"},
    "EPI in words": {"PulseSequenceType": "gradient echo EPI (DSC)"},
    "EPI of Siemens": {"SequenceName": "epfid2d1_64"},
    "balanced": {"PulseSequenceType": "bSSFP"},
}


@pytest.mark.parametrize("fields", OTHERS.values(), ids=OTHERS)
def test_another_sequence_is_refused(fields):
    """The message quotes the field and states what it means."""
    with pytest.raises(BadInput, match=r"sub-01_dce.json: \w+ is .*, that is .*spoiled gradient"):
        check_spoiled_gradient_echo(fields, IMAGE)


SPOILED = {
    "Siemens": {
        "ScanningSequence": "GR",
        "SequenceVariant": "SP\\OSP",
        "PulseSequenceType": "Spoiled Gradient Echo",
        "SequenceName": "*fl3d1",
    },
    "GE": {
        "ScanningSequence": "GR",
        "SequenceVariant": "SS\\SP",
        "SequenceName": "3D-DISCO",
        "InversionTime": 0.007,
        "ScanOptions": "FAST_GEMS\\MP_GEMS",
    },
    "Philips": {"ScanningSequence": "GR", "SequenceName": "T1FFE", "EchoTrainLength": 20},
    "research mode": {"ScanningSequence": ["RM", "GR"], "SequenceVariant": ["SP"]},
    "fat saturation": {"PulseSequenceType": "spoiled gradient echo with fat saturation"},
    "nothing": {},
}


@pytest.mark.parametrize("fields", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_gradient_echo_is_accepted(fields):
    """As converters describe it on three makes of scanner."""
    check_spoiled_gradient_echo(fields, IMAGE)
    assert preparation_warning(fields, IMAGE) == ""


def test_a_run_reports_field_and_value(tmp_path, capsys):
    """The DCE is refused in advance; an unknown preparation is a warning."""
    root = write_study(tmp_path / "bids", ("a",))
    edit_json(raw(root, "dce.json"), InversionTime=0.3)
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert "sub-01_ses-a_dce.json: InversionTime is 0.3" in outcome.out
    edit_json(raw(root, "dce.json"), InversionTime=None, SequenceVariant="MP")
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert "warning: sub-01_ses-a_dce.json: SequenceVariant is 'MP'" in outcome.out
