"""``metperf check``: everything that a data set lacks at once; what was meant by mistaken words."""

import json
import re
import sys

import numpy as np
import pytest
from datasets import write_dce, write_description, write_image, write_json
from hostile import edit_json, raw, write_study

from bidsapp.bids.validate import find_errors
from bidsapp.cli.main import main

CHECK = ("--skip-bids-validation", "--aif", "parker2006")


def check(root, capsys, *words):
    """Return the exit code and the rows of the check."""
    capsys.readouterr()
    code = main(["check", str(root), *CHECK, "--json", *words])
    return code, json.loads(capsys.readouterr().out)["issues"]


def spoil(root):
    """Spoil each of eight participants in another way, the last one in three."""
    for number in range(1, 9):
        write_study(root, ("a",), f"{number:02d}")
    for number, fields in enumerate(
        (
            {"VolumeTiming": None},
            {"RepetitionTimeExcitation": None},
            {"FlipAngle": None},
            {"MagneticFieldStrength": None},
            {"ContrastAgentRelaxivity": None},
            {"EchoTime": 2.0},
            {"RepetitionTime": 60.0},
            {"VolumeTiming": None, "FlipAngle": 0.26, "ContrastAgentRelaxivity": None},
        ),
        1,
    ):
        path = root / f"sub-{number:02d}/ses-a/perf/sub-{number:02d}_ses-a_dce.json"
        edit_json(path, **fields)
    return root


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    return spoil(tmp_path_factory.mktemp("study") / "bids")


def test_everything_is_reported_in_one_run(spoilt, capsys):
    """Ten problems of eight participants, each with its file and what to add or type."""
    code, rows = check(spoilt, capsys)
    assert code == 1
    failed = [row for row in rows if row["level"] == "failed"]
    found = {}
    for row in failed:
        assert row["file"] == f"{row['participant']}_ses-a_dce.json"
        assert row["session"] == "ses-a"
        found.setdefault(row["participant"], []).append(row["remedy"])
    assert found == {
        "sub-01": ["--frame-time <seconds>"],
        "sub-02": ['"RepetitionTimeExcitation": <seconds> or --repetition-time <seconds>'],
        "sub-03": ['"FlipAngle": <degrees>'],
        "sub-04": ['"MagneticFieldStrength": <tesla>'],
        "sub-05": ['"ContrastBolusAgent": "<name or brand>"'],
        "sub-06": ['"EchoTime": <seconds>'],
        "sub-07": ["--frame-time <seconds>"],
        "sub-08": [
            "--frame-time <seconds>",
            '"FlipAngle": <degrees>',
            '"ContrastBolusAgent": "<name or brand>"',
        ],
    }


def test_the_check_depends_on_the_options_of_the_run(spoilt, capsys):
    """What options supply does not lack; a complete participant ends with 0."""
    chosen = ("--participant-label", "01", "02", "05")
    options = ("--frame-time", "6", "--repetition-time", "0.004", "--relaxivity", "4.5")
    code, rows = check(spoilt, capsys, *chosen, *options)
    assert code == 0
    assert not [row for row in rows if row["level"] == "failed"]
    assert not (spoilt / "derivatives/metperf").exists()


def test_a_remedy_is_what_to_type_and_the_text_is_whole(spoilt, capsys):
    """A line of a sidecar or an option, or nothing; a refused series is not missing, too."""
    _, rows = check(spoilt, capsys)
    assert all(re.match(r'$|"\w+": |--\w', row["remedy"]) for row in rows)
    (echo,) = (row["text"] for row in rows if row["participant"] == "sub-06" and row["remedy"])
    assert echo.endswith("are both in seconds?")
    assert not [row for row in rows if row["text"].startswith("no DCE")]


@pytest.mark.parametrize("refused", [{"ScanningSequence": "EP"}, {"VolumeTiming": None}])
def test_a_series_that_is_refused_is_not_missing(tmp_path, capsys, refused):
    """Neither one that lacks a field nor one of another sequence; one that is not there is."""
    study = write_study(tmp_path / "bids", ("a",))
    edit_json(raw(study, "dce.nii.gz").with_name("sub-01_ses-a_dce.json"), **refused)
    code, rows = check(study, capsys)
    assert code == 1
    assert not [row for row in rows if row["text"].startswith("no DCE")]
    words = [str(study), str(tmp_path / "out"), "participant", "--dry-run", *CHECK]
    main(words)
    captured = capsys.readouterr()
    assert "no DCE that can be used: no Ktrans, ve and vp" in captured.out + captured.err
    for path in raw(study, "dce.nii.gz").parent.glob("*_dce.*"):
        path.unlink()
    assert [row for row in check(study, capsys)[1] if row["text"].startswith("no DCE")]


def test_the_report_is_for_readers(spoilt, capsys):
    """A block for each problem, one line for what repeats, and the numbers at the end."""
    main(["check", str(spoilt), *CHECK])
    said = capsys.readouterr().out
    assert "failed: sub-06 ses-a\n  file        sub-06_ses-a_dce.json\n  problem     Echo" in said
    assert "EchoTime (2) is not below RepetitionTimeExcitation (0.004)" in said
    assert '  what to do  "EchoTime": <seconds>\n' in said
    assert "failed: 2 sessions\n  file        sub-01_ses-a_dce.json\n              sub-08" in said
    assert '2 x "FlipAngle": <degrees>: the same in all sessions?' in said
    assert "Add it once, in dce.json of bids_dir" in said
    assert said.count("no ROI of the whole lesion") == 1
    assert "8 sessions" in said
    assert "8 participants: 10 failed" in said


def test_nothing_is_cut_in_a_narrow_terminal(spoilt, capsys, monkeypatch):
    """80 columns: every word of every problem, file and remedy is there in one piece."""
    _, rows = check(spoilt, capsys)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    main(["check", str(spoilt), *CHECK, "--participant-label", "08"])
    said = capsys.readouterr().out
    shown = " ".join(said.split())
    for row in rows:
        if row["participant"] == "sub-08" and row["level"] == "failed":
            assert " ".join(row["text"].split()) in shown
            assert row["remedy"] in said
            assert row["file"] in said
    assert "\n1 participant: " in said


def test_values_that_would_be_used_are_listed_with_their_fields(spoilt, capsys):
    """Times, TR, angle, field and relaxivity, so that a wrong unit is seen; sessions are joined."""
    main(["check", str(spoilt), *CHECK, "--frame-time", "6", "--relaxivity", "4.5"])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    start = lines.index("values of sub-01 ses-a, sub-05 ses-a, sub-06 ses-a, sub-07 ses-a")
    assert lines[start + 1] == "quantity value from"
    assert lines[start + 3].startswith("frame times ")
    assert lines[start + 3].endswith(" frames every 6 s --frame-time")
    assert "TR 4 ms RepetitionTimeExcitation" in lines
    assert "flip angle 15 degrees FlipAngle" in lines
    assert "field strength 3 T MagneticFieldStrength" in lines
    assert "relaxivity 4.5 1/s/mM --relaxivity" in lines


def test_the_help_shows_options_that_matter(capsys):
    """Those of statistics and resources are accepted, but not listed."""
    said = refused(capsys, "check", "--help", stream="out")[1]
    for option, shown in (("--frame-time", 1), ("--aif", 1), ("--nprocs", 0), ("--timepoints", 0)):
        assert (option in said) == bool(shown)


def test_what_no_analysis_reads_is_a_warning(tmp_path, capsys):
    """An empty README, an inherited dce.json and other names of DCE and VFA refuse no run."""
    write_description(tmp_path)
    (tmp_path / "README").write_text("")
    data, flat = np.ones((4, 4, 2, 5), np.float32), np.ones((4, 4, 2), np.float32)
    write_dce(tmp_path, "sub-01/ses-a/perf/sub-01_ses-a", data, [0, 6, 12, 18, 24], FlipAngle=None)
    write_json(tmp_path / "dce.json", {"FlipAngle": 15})
    write_image(tmp_path / "sub-01/ses-b/dce/sub-01_ses-b_DCE.nii.gz", data)
    for number in (1, 2):
        stem = f"sub-01/ses-a/fmap/sub-01_ses-a_flip-{number}_VFA"
        write_image(tmp_path / f"{stem}.nii.gz", flat)
        write_json(
            tmp_path / f"{stem}.json", {"FlipAngle": 5 * number, "RepetitionTimeExcitation": 0.005}
        )
    errors, others = find_errors(tmp_path)
    assert errors == []
    assert "/README: EMPTY_FILE" in map(str, others)
    (tmp_path / "sub-01/ses-a/dwi").mkdir()
    write_image(tmp_path / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.nii.gz", data)
    assert find_errors(tmp_path)[0] != []


def refused(capsys, *words, stream="err"):
    """Return the exit code and the message of a command that ends at once."""
    capsys.readouterr()
    try:
        code = main([str(word) for word in words])
    except SystemExit as ended:
        code = ended.code
    return code, getattr(capsys.readouterr(), stream)


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path / "bids", ("a",))


def test_other_folders_than_the_data_set_are_recognised(study, tmp_path, capsys):
    """A participant, a session, the folder above, DICOM: each with what to give instead."""
    scans = tmp_path / "scans/1"
    scans.mkdir(parents=True)
    (scans / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(100))
    for folder, message in (
        (study / "sub-01", f"one participant; give the data set, {study}, and --participant-l"),
        (study / "sub-01/ses-a", f"one session; give the data set, {study}, with"),
        (tmp_path, f"has no participants (sub-*); did you mean {study}?"),
        (scans.parent, "contains DICOM (1/IM0001); convert it to BIDS first"),
        (tmp_path / "nowhere", "bids_dir is not a folder; is it mounted?"),
    ):
        for words in (["check", folder], [folder, tmp_path / "out", "participant"]):
            code, said = refused(capsys, *words)
            assert code == 66
            assert message in said


def test_mistaken_words_are_explained(study, tmp_path, capsys):
    """Typos of commands, levels, options and choices; arguments in another order."""
    out = tmp_path / "out"
    for words, code, message in (
        (["chek", study], 2, "no command 'chek' and no folder of that name; did you mean check?"),
        ([study, "check"], 2, f"the command is the first argument: metperf check {study}"),
        ([study, out, "particpant"], 17, "participant or group; did you mean participant?"),
        (["participant", study, out], 2, "the level participant is not the last argument"),
        ([study, "participant", out], 2, "the level participant is not the last argument"),
        ([out, "x", study], 2, "is a BIDS data set, but stands in the place of the level"),
        ([out, study, "participant"], 2, "is a BIDS data set, and bids_dir is not; the order is"),
        ([study, out, "participant", "--relaxvity", "4"], 2, "did you mean --relaxivity?"),
        ([study, out, "participant", "--aif", "autoo"], 2, "did you mean auto?"),
        (["check", study, "--participant-lable", "01"], 2, "did you mean --participant-label?"),
        (["check", study, "--frame-time", "5200"], 2, "(0.2 to 120 s), got 5200 s"),
    ):
        assert refused(capsys, *words)[0] == code
        assert message in refused(capsys, *words)[1]
    assert not out.exists()


def test_an_unknown_entity_of_a_filter_is_explained(study, tmp_path, capsys):
    """A filter by something else than an entity of BIDS is refused."""
    path = tmp_path / "filter.json"
    write_json(path, {"dce": {"runn": 1}})
    code, said = refused(capsys, "check", study, *CHECK, "--bids-filter-file", path)
    assert code == 2
    assert "runn is not an entity of BIDS; did you mean run?" in said
    write_json(path, {"dce": {"run": None}, "roi": {"desc": None, "label": None}})
    assert check(study, capsys, "--bids-filter-file", str(path))[0] == 0


def test_axis_and_estimated_readout_time_are_enough_where_no_sign_is_needed(study, capsys):
    """Philips: --distortion t1w needs the axis alone; auto asks for the direction."""
    edit_json_of_dwi = {"PhaseEncodingAxis": "j", "EstimatedTotalReadoutTime": 0.018}
    write_json(raw(study, "dwi.nii.gz").with_name("sub-01_ses-a_dwi.json"), edit_json_of_dwi)
    write_image(study / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", np.ones((6, 6, 4)))
    assert check(study, capsys, "--distortion", "t1w")[0] == 0
    code, rows = check(study, capsys, "--distortion", "auto")
    assert code == 1
    assert rows[0]["remedy"] == '"PhaseEncodingDirection": "j"'
    assert "(PhaseEncodingAxis is 'j', without a sign)" in rows[0]["text"]
