"""Derivatives: whole files or none, valid JSON and TSV, and the sidecars of the maps."""

import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from datasets import write_image

from bidsapp.bids import documents, outputs
from bidsapp.bids.derivatives import (
    compress_image,
    describe_dataset,
    to_json,
    to_tsv,
    write_bytes,
)
from bidsapp.bids.records import Session
from bidsapp.config import Config
from bidsapp.errors import NotWritable
from bidsapp.models import MODELS
from bidsapp.run.graphs.sidecars import map_sidecar
from bidsapp.run.nodes.fitting import map_names


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """When writing fails the file is as before, and nothing half-written lies beside it."""
    path = tmp_path / "table.tsv"
    write_bytes(path, b"old")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NotWritable, match=r"table.tsv: cannot be written \(No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_compression_is_reproducible(tmp_path):
    """The same content compresses to the same bytes, whenever it is done."""
    source = write_image(tmp_path / "a.nii", np.arange(60, dtype=np.int16).reshape(5, 4, 3))
    one, two = tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"
    for target in (one, two):
        compress_image(source, target)
    assert one.read_bytes() == two.read_bytes()


def test_json_has_no_nan():
    """NaN and infinity, which JSON has not, become null, at any depth."""
    content = json.loads(to_json({"a": np.nan, "b": {"c": [1.0, np.inf]}}))
    assert content == {"a": None, "b": {"c": [1.0, None]}}


def test_tsv_says_na():
    """What is missing or not finite is ``n/a``; truth values are 0 and 1."""
    rows = [{"a": None, "b": np.nan, "c": True, "d": 1 / 3}]
    assert to_tsv(list("abcde"), rows).decode().splitlines()[1] == "n/a\tn/a\t1\t0.3333333\tn/a"


def test_unknown_entities_are_refused():
    """A misspelt entity cannot vanish from a name."""
    with pytest.raises(ValueError, match="dwimap has no entity sapce"):
        outputs.DWI_MAP.path(Session("01", ""), sapce="T1w")


@pytest.mark.parametrize("name", ["adc", "ivim-asymptotic", "ivim-biexponential", *MODELS])
def test_every_map_has_a_name_and_a_sidecar(name):
    """Each map of each model has a path of its own, a unit, a model and its source."""
    model, config = MODELS[name], Config(Path("/b"), Path("/o"), Path("/w"), "run")
    names = map_names(model)
    maps = [outputs.parameter_map("dwi", n, model.label) for n in names]
    paths = {each.path(Session("01", "a")) for each in maps}
    assert len(paths) == len(names)
    for n in names:
        sidecar = map_sidecar(model, n, [Path("/b/sub-01/x.nii.gz")], config, {"b_min": 200}, "T1w")
        assert sidecar["Units"]
        assert sidecar["Sources"] == ["bids:raw:sub-01/x.nii.gz"]
        assert sidecar["Model"]["Parameters"] == {"b_min": 200}
        assert sidecar["SpatialReference"]


def test_description_is_the_same_from_every_run(tmp_path):
    """Two runs write the root files with the same bytes, so that they cannot disturb each other."""
    roots = []
    for name in ("a", "b"):
        root = tmp_path / "raw" / "derivatives" / name
        describe_dataset(root, tmp_path / "raw", "1.0", "text")
        files = sorted(p for p in root.rglob("*") if p.is_file())
        roots.append([p.read_bytes() for p in files])
    assert roots[0] == roots[1]
    description = json.loads((root / "dataset_description.json").read_bytes())
    assert description["DatasetLinks"] == {"raw": "../.."}


@pytest.mark.parametrize("kind", outputs.OUTPUTS, ids=lambda kind: kind.suffix)
def test_every_output_is_found_under_its_own_name(tmp_path, kind):
    """A file written under the name of an output is found as that output, and as no other."""
    session = Session("01", "a")
    values = dict.fromkeys(kind.free, "x")
    for datatype in kind.datatypes:
        path = tmp_path / kind.path(session, datatype, **values)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        folder = tmp_path / "sub-01" / "ses-a"
        assert kind.find(folder, datatype) == [path]
        assert kind.find(folder, datatype, **values) == [path]
        assert kind.find(folder, datatype, **dict.fromkeys(kind.free, "y")) == [] or not kind.free
        assert kind.find(folder, datatype, kind.extensions[0] + "x") == []
        others = [outputs.DCE_MAP] if kind == outputs.BEST_MODEL_MAP else []
        found = [other for other in outputs.OUTPUTS if other.matches(path.name, kind.extensions[0])]
        assert [other for other in found if other != kind and other not in others] == []


README = Path(__file__).parent.parent / "README.md"


def promised_files():
    """Yield each file name in the table "What comes out" of the README, braces expanded."""
    section = README.read_text(encoding="utf-8").split("## What comes out")[1].split("\n\n")[1]
    for line in section.splitlines()[2:]:
        for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
            choices = [part.split(",") for part in re.split(r"[{}]", name)[1::2]]
            for chosen in product(*choices):
                fill = iter(chosen)
                yield re.sub(r"\{[^}]*\}", lambda _, fill=fill: next(fill), name)


def is_written(name):
    """Whether a file of the README's table is in the table of outputs or of documents."""
    wanted = name.replace("sub-01", "sub-*").replace("…", "sub-*").replace(".pdf", ".svg")
    if any(one.pattern() == wanted for one in documents.DOCUMENTS):
        return True
    last = name.split("/")[-1].lstrip("…*_")
    entities = dict(re.findall(r"(?:^|_)([a-z]+)-([^_.]+)", last))
    suffix, _, extension = last.split("_")[-1].partition(".")
    return any(
        (kind.suffix, f".{extension}" in kind.extensions) == (suffix, True)
        and all(kind.fixed.get(k, v if k in kind.free else "") == v for k, v in entities.items())
        for kind in outputs.OUTPUTS
    )


@pytest.mark.parametrize("name", list(promised_files()))
def test_the_readme_names_files_that_are_written(name):
    """Each file in the README's table is in the tables of outputs."""
    assert is_written(name) or name in ("README.md", "figures/group_*.tsv")


@pytest.mark.parametrize("name", ["…_model-ivim_param-f_dcemap.tsv", "…_desc-x_ADC.nii.gz"])
def test_a_name_that_is_not_written_is_noticed(name):
    """The test above fails for a wrong extension and a wrong label."""
    assert not is_written(name)


def test_the_output_folder_explains_itself(tmp_path):
    """Its README lists every kind of file with its content."""
    describe_dataset(tmp_path / "out", tmp_path, "1.0", "text")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for kind in (*outputs.OUTPUTS, *documents.DOCUMENTS):
        assert f"| `{kind.pattern()}` | {kind.description} |" in text
