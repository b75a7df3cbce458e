"""Benchmarks run on a handful of voxels, and measure what they claim to; no timing is judged."""

import json

import numpy as np
import pytest

from benchmarks import __main__ as bench
from benchmarks import environments, loops, optimum, precision, report, scaling, speed, workload
from benchmarks.peers.harness import median_errors
from benchmarks.settings import Settings
from bidsapp.models import fit
from bidsapp.models.kinetics.convolution import convolve_exponential

pytestmark = pytest.mark.benchmark

TINY = Settings(scale=0.0001)


@pytest.mark.parametrize("topic", bench.TOPICS)
def test_every_topic_writes_its_page(topic, tmp_path):
    """A change of the models' interface cannot break a benchmark unseen."""
    section = bench.TOPICS[topic](TINY)
    page = report.write(topic, section, tmp_path, TINY.scale)
    assert report.assemble(bench.TOPICS, tmp_path).read_text().endswith(page.read_text())
    for name in section.figures:
        assert f"![{name}]({name}.png)" in page.read_text()
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    for name in section.tables | section.files_only:
        assert (tmp_path / f"{name}.tsv").exists()


def test_command_line(tmp_path, capsys):
    """``scripts/bench models TOPIC`` leaves one README.md; an unknown topic is refused."""
    arguments = ["models", "bias", "--scale", "0.01", "--models", "adc"]
    bench.main([*arguments, "--out", str(tmp_path)])
    assert "| adc | gaussian |" in (tmp_path / "README.md").read_text()
    assert "README.md" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        bench.main(["models", "sped"])
    with pytest.raises(SystemExit):
        bench.main(["registration", "speed"])


def test_without_an_option_the_scale_is_one():
    """A full run, a quick one and one at another scale all have a number of measurements."""
    scales = {(): 1.0, ("--quick",): 0.2, ("--scale", "0.5"): 0.5}
    for options, scale in scales.items():
        assert bench.parser().parse_args(["models", *options]).scale == scale


SUMS = {"ivim6": 11138.96025674, "ivim16": 31924.19144585, "dce": 41.16116727, "vfa": 491.12641789}


def test_workloads_are_the_same_every_time():
    """Figures of two runs, and of other tools that read these data, can be compared."""
    sums = {name: workload.by_name(name, 3).signal.sum() for name in workload.TITLES}
    assert sums == pytest.approx(SUMS, rel=1e-9)


def test_workloads_agree_with_the_models():
    """Data made without our models are what our models predict for the truth."""
    for name, model in {"ivim16": "ivim-biexponential", "vfa": "vfa-t1"}.items():
        data = workload.by_name(name, 5)
        found = fit(model, data.clean, **data.design)
        assert max(median_errors(found.values, data.truth).values()) < 1e-3


def test_the_loop_convolves_exactly():
    """The reference's convolution is the project's, also for slow rates and an early plasma."""
    time, plasma = np.arange(9) / 12, np.linspace(1, 3, 9)
    for rate in (0.0, 0.01, 2.0):
        expected = convolve_exponential(time, plasma, rate)
        assert loops.convolution(rate, time, plasma) == pytest.approx(expected, rel=1e-8)


def test_the_bound_is_the_covariance_of_a_linear_fit():
    """For Patlak, which is linear, the Cramer-Rao bound has a closed form."""
    design = precision.design_of("patlak")
    integral = convolve_exponential(design["time"], design["plasma"], 0.0)
    columns = np.stack([integral, design["plasma"]], axis=1)
    expected = 0.1 * np.sqrt(np.diag(np.linalg.inv(columns.T @ columns)))
    best = precision.cramer_rao_bound("patlak", {"Ktrans": 0.02, "vp": 0.03}, design, 0.1)
    assert list(best.values()) == pytest.approx(expected, rel=1e-6)


def test_a_worse_cost_is_a_miss():
    """The ratio is that of the model's own residuals: off the minimum it is above one."""
    data = workload.ivim(workload.B16, 4, 0, 20.0)
    found = fit("ivim-biexponential", data.signal, **data.design).values
    worse = found | {"D": found["D"] * 1.1}
    name = "ivim-biexponential"
    assert (optimum.cost(name, worse, data) > optimum.cost(name, found, data)).all()


def test_a_peer_that_cannot_run_is_reported(tmp_path):
    """A peer that is left out is recorded with the reason."""
    nowhere = environments.Peer("none", ("none==0",), pythons=("0.0",))
    (record,) = environments.measure(nowhere, tmp_path, tmp_path, 1.0)
    assert "Python 0.0" in record["error"]
    table = speed.add_rates([record])
    assert table["error"].tolist() == [record["error"]]


def test_every_peer_has_a_runner():
    """The list of peers and the runner scripts belong together."""
    scripts = {path.stem.removeprefix("run_") for path in environments.RUNNERS.glob("run_*.py")}
    peers = environments.PEERS + environments.ENGINES
    assert scripts == {peer.name.replace("-", "_").lower() for peer in peers}


def test_missing_values_are_infinitely_wrong():
    """A fit cannot look better by leaving the difficult voxels out."""
    errors = median_errors({"f": [np.nan, np.nan, 0.1]}, {"f": np.full(3, 0.1)})
    assert json.dumps(errors) == '{"f": Infinity}'


def test_memory_does_not_grow_with_the_image():
    """Besides the maps that it returns, a fit holds what one chunk needs, however many voxels."""
    data = workload.by_name("ivim6")
    few, many = (
        scaling.working_memory("adc", scaling.tile(data.signal, count), data.design)
        for count in (50_000, 400_000)
    )
    assert many - few < 350_000  # a byte for each voxel more would be that
