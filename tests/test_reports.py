"""The participant page: from a small tree of derivatives, whole, broken and hostile."""

import gzip
import inspect
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import get_type_hints

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.errors import BadInput, NotWritable
from bidsapp.issues import DOUBTFUL_REGISTRATION, Issue
from bidsapp.lesions import COLUMNS
from bidsapp.models.parameters import DISPLAY
from bidsapp.reports import group
from bidsapp.reports.figures import images
from bidsapp.reports.figures.artery import ArterialCurves, arterial_input
from bidsapp.reports.figures.images import Panel
from bidsapp.reports.figures.lesion_curves import Curve, concentration_curves, diffusion_decay
from bidsapp.reports.figures.map_grid import MapBlock, MapRow, map_grid
from bidsapp.reports.figures.motion import MotionTrace, motion_traces
from bidsapp.reports.figures.timelines import LesionTimeline, TimeAxis, lesion_timeline
from bidsapp.reports.group.view import GroupView
from bidsapp.reports.page import render as page
from bidsapp.reports.page.blocks import Block
from bidsapp.reports.page.render import script_hash, section_rows
from bidsapp.reports.participant.findings import findings
from bidsapp.reports.participant.head import verdict
from bidsapp.reports.participant.page import build_participant_page
from bidsapp.reports.participant.records import load_volume, read_participant
from bidsapp.reports.participant.sections import SECTIONS
from bidsapp.reports.participant.slices import cut_panel

SHAPE = (24, 28, 20)
SESSIONS = {"ses-baseline": "-5", "ses-1week": "7", "ses-followup": "n/a"}
HOSTILE = '<script>alert(1)</script>"$\\frac$&'
DWI = ("f", "D", "ADC")
DCE = ("Ktrans", "ve", "vp")


def save(path: Path, data: np.ndarray, voxel: float = 3.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(data, np.diag([voxel, voxel, voxel, 1])).to_filename(path)


def table(path: Path, columns: dict | list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, sep="\t", index=False, na_rep="n/a")


def anatomy() -> tuple[np.ndarray, np.ndarray]:
    """A head with two lesions: the T1w and the labels."""
    x, y, z = np.indices(SHAPE)
    head = ((x - 12) / 10) ** 2 + ((y - 14) / 12) ** 2 + ((z - 10) / 8) ** 2 < 1
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:10, 10:14, 8:11] = 1
    labels[15:17, 16:18, 10:12] = 2
    return (head * 100 + (labels > 0) * 60).astype(np.float32), labels


def statistics(session: str, model: str, names: tuple[str, ...], failed: int = 0) -> list[dict]:
    found = dict.fromkeys(COLUMNS, np.nan) | {
        "participant_id": "sub-01",
        "session_id": session,
        "roi": "enhancing",
        "model": model,
        "unit": "1",
        "excluded": 0,
    }
    numbers = {"mean": 0.1, "std": 0.02, "median": 0.11, "p25": 0.08, "p75": 0.12}
    counts = {"n_voxels": 48, "n_valid": 48 - failed, "n_failed": failed}
    rows = [(lesion, name) for lesion in (1, 2) for name in names]
    return [found | numbers | counts | {"lesion": n, "parameter": name} for n, name in rows]


def write_series(folder: Path, session: str, datatype: str, name: str = "lesion-1") -> None:
    """Write what one series leaves: maps, their statistics, curves, motion, quality."""
    stem = f"{folder}/{session}/{datatype}/sub-01_{session}_"
    kind, model, names = ("dwi", "ivim", DWI) if datatype == "dwi" else ("dce", "etofts", DCE)
    head, labels = anatomy()
    for parameter in names:
        ending = f"model-{model}_param-{parameter}_{kind}map"
        ending = "desc-monoexp_ADC" if parameter == "ADC" else ending
        values = np.where(labels == 1, 0.1, 0.05) * (1e-2 if kind == "dwi" else 1)
        values[8, 12, 9] = np.nan
        save(Path(f"{stem}space-T1w_{ending}.nii.gz"), values.astype(np.float32))
    save(Path(f"{stem}space-T1w_desc-{'b0' if kind == 'dwi' else 'mean'}_{kind}ref.nii.gz"), head)
    table(
        Path(f"{stem}seg-enhancing_model-{model}_roistats.tsv"), statistics(session, model, names)
    )
    moved = {f"{k}_{a}": np.linspace(0, 0.2, 12) for k in ("trans", "rot") for a in "xyz"}
    moved["framewise_displacement"] = np.full(12, 0.1)
    table(Path(f"{stem}desc-motion_timeseries.tsv"), moved)
    x = {"bvalue": np.arange(12) * 100.0} if kind == "dwi" else {"time": np.arange(12) * 5.0}
    curve = {"lesion-1": np.linspace(2, 1, 12), "lesion-1_fit": np.linspace(2, 1, 12)}
    desc = "signal" if kind == "dwi" else "concentration"
    table(Path(f"{stem}seg-enhancing_desc-{desc}_timeseries.tsv"), x | curve)
    quality = {"cost": -0.4, "determinant": 1.0, "rotation_degrees": 2.0, "translation_mm": 3.0}
    quality |= {"overlap": 0.95, "engine": "some engine 1.0", "metric": "lpc"}
    Path(f"{stem}desc-coreg_quality.json").write_text(json.dumps(quality))


def write_anatomy(folder: Path, session: str, name: str = "lesion-1") -> None:
    stem = f"{folder}/{session}/anat/sub-01_{session}_ce-gadolinium_"
    head, labels = anatomy()
    save(Path(f"{stem}desc-preproc_T1w.nii.gz"), head)
    save(Path(f"{stem}desc-brain_mask.nii.gz"), (head > 0).astype(np.uint8))
    save(Path(f"{stem}seg-enhancing_desc-manual_dseg.nii.gz"), labels)
    names = {"index": [1, 2], "name": [name, "lesion-2"]}
    table(Path(f"{stem}seg-enhancing_desc-manual_dseg.tsv"), names)
    if session != "ses-baseline":
        save(Path(f"{stem}space-individual_desc-preproc_T1w.nii.gz"), head)
    volumes = [
        row | {"roi": "whole", "model": np.nan, "n_valid": np.nan, "n_failed": np.nan}
        for row in statistics(session, "n/a", ("volume",))
    ]
    whole = f"{folder}/{session}/anat/sub-01_{session}_seg-whole_roistats.tsv"
    table(Path(whole), volumes)


def write_regions(out: Path) -> None:
    """Add the reference region, rings and an atlas to complete derivatives."""
    for session in ("ses-baseline", "ses-1week"):
        stem = f"{out}/sub-01/{session}/anat/sub-01_{session}_ce-gadolinium_label-reference_mask"
        mask = np.zeros(SHAPE, np.uint8)
        mask[14:17, 8:14, 11:13] = 1
        save(Path(f"{stem}.nii.gz"), mask)
        place = {"Side": "right", "VolumeMl": 1.94, "OfBaseline": session == "ses-1week"}
        Path(f"{stem}.json").write_text(json.dumps(place))
        for roi, mean in (("reference", 0.2), ("ring", 0.07), ("atlas", 0.05)):
            stem = f"{out}/sub-01/{session}/perf/sub-01_{session}_seg-{roi}_model-etofts_roistats"
            rows = [r | {"roi": roi, "mean": mean} for r in statistics(session, "etofts", ("vp",))]
            table(Path(f"{stem}.tsv"), rows[:1] if roi == "reference" else rows)


def write_derivatives(out: Path, name: str = "lesion-1") -> Path:
    """Write two sessions with both series, and a third with a T1w alone."""
    folder = out / "sub-01"
    for session in SESSIONS:
        write_anatomy(folder, session, name)
    for session in ("ses-baseline", "ses-1week"):
        write_series(folder, session, "dwi")
        write_series(folder, session, "perf")
        time = np.arange(30) * 5.0
        blood = np.where(time > 40, 5 * np.exp(-(time - 45) / 60), 0)
        columns = {"time": time, "blood": blood, "plasma": blood / 0.6}
        path = f"{folder}/{session}/perf/sub-01_{session}_label-AIF_timeseries.tsv"
        table(Path(path), columns)
    days = {"session_id": list(SESSIONS), "days_since_treatment": list(SESSIONS.values())}
    table(folder / "sub-01_sessions.tsv", days)
    description = {"GeneratedBy": [{"Name": "metperf", "Version": "1", "CodeURL": "https://a.b/c"}]}
    (out / "dataset_description.json").write_text(json.dumps(description))
    (out / "logs").mkdir()
    (out / "logs" / "CITATION.md").write_text(f"Methods of {name}.")
    return out


@pytest.fixture
def derivatives(tmp_path: Path) -> Path:
    """Complete derivatives of a participant."""
    return write_derivatives(tmp_path)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Complete derivatives with their page; not to be changed."""
    out = write_derivatives(tmp_path_factory.mktemp("derivatives"))
    build_participant_page(out, "01")
    return out


@pytest.fixture(scope="module")
def html(complete: Path) -> str:
    """The page of complete derivatives."""
    return (complete / "sub-01.html").read_text(encoding="utf-8")


def texts_of(out: Path) -> list[str]:
    return [found.text for found in findings(read_participant(out, "sub-01"))]


def html_of(out: Path) -> str:
    return build_participant_page(out, "01").read_text(encoding="utf-8")


def top_of(html: str) -> str:
    """The summary: what is read first."""
    return html[html.index('id="summary"') : html.index('id="timeline"')]


class Checker(HTMLParser):
    """Collect what a browser would load, the ids, the in-page links, and what is left open."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag and what it names."""
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in found:
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.links.append(str(found["href"]))
        names = ("src", "srcset", "poster", "data", "xlink:href", *(["href"] * (tag != "a")))
        self.loaded += [str(found[name]) for name in names if name in found]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag without content."""
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the last tag."""
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    return checker


def test_a_complete_participant_has_every_section(html):
    """Nothing is reported as missing but the series of the session without them."""
    assert "could not be created" not in html
    rows = [row for row in section_rows("sections.toml") if row["absent"]]
    assert rows
    for row in rows:
        assert f'<section id="{row["id"]}"' in html
        assert row["absent"] not in html
    assert "followup: no DWI" in top_of(html)
    assert "followup: no DCE" in top_of(html)
    assert "0.100 ± 0.020" in html
    assert "10.0 ± 2.0" in html, "ve is shown in percent"


def test_the_page_is_whole_html_that_loads_nothing(html):
    """Tags are closed, ids unique, links resolve, images are inside, all have an alternative."""
    found = checked(html)
    pages = ["sub-01/figures/sub-01_viewer.html"]
    assert [link for link in found.links if not link.startswith("#")] == pages
    assert all(source.startswith(("data:", "#")) for source in found.loaded)
    assert not re.search(r"url\((?!#)|@import", html)
    assert len(found.ids) == len(set(found.ids))
    for link in found.links:
        assert link in pages or link[1:] in found.ids
    assert [tag for tag, _ in found.tags].count("script") == 1
    for tag, attributes in found.tags:
        assert tag not in ("iframe", "object", "embed")
        assert tag != "img" or attributes["alt"]
        assert tag != "svg" or attributes["aria-label"]
        assert tag != "th" or attributes["scope"]


def test_only_our_own_script_may_run(complete):
    """The page's policy names the hash of its script: one that data bring in is not run."""
    for path in (complete / "sub-01.html", *(complete / "sub-01/figures").glob("*_viewer.html")):
        text = path.read_text(encoding="utf-8")
        policy = re.search(r"script-src ([^;]*);", text)[1]
        assert "unsafe" not in policy
        scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert scripts
        assert all(f"'{script_hash(code)}'" in policy for code in scripts)


def test_same_derivatives_same_bytes(complete):
    """A second run writes the same page and the same figures."""
    paths = [complete / "sub-01.html", *sorted((complete / "sub-01" / "figures").iterdir())]
    assert len(paths) > 8
    first = [path.read_bytes() for path in paths]
    build_participant_page(complete, "sub-01")
    assert [path.read_bytes() for path in paths] == first


def test_hostile_text_is_only_text(tmp_path):
    """Names, errors and crash logs out of the data cannot become markup, or break a figure."""
    write_derivatives(tmp_path, name=HOSTILE)
    log = tmp_path / "sub-01" / "log" / "run<b>"
    log.mkdir(parents=True)
    (log / "crash-<img src=x>.txt").write_text(HOSTILE)
    status = {"sessions": {HOSTILE: {"failed": [HOSTILE], "missing": [HOSTILE]}}}
    (tmp_path / "sub-01" / "log" / "status.json").write_text(json.dumps(status))
    html = html_of(tmp_path)
    assert html.count("&lt;script&gt;alert(1)") >= 5
    found = checked(html)
    assert "b" not in {tag for tag, _ in found.tags}
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert all(source.startswith(("data:", "#")) for source in found.loaded)


def test_missing_dce_is_said_at_the_top(derivatives, empty_figures):
    """Without the series there are no curves, and the page states this."""
    for session in ("ses-baseline", "ses-1week"):
        shutil.rmtree(derivatives / "sub-01" / session / "perf")
        shutil.rmtree(derivatives / "sub-01" / session / "anat")
    html = html_of(derivatives)
    assert "baseline: no DCE" in top_of(html)
    assert "1week: no DCE" in top_of(html)
    assert "There is no arterial input function." in html
    assert "Complete for the data acquired" in top_of(html)


def test_missing_rois_are_said(derivatives, empty_figures):
    """Without ROIs there are no values, as the page states; the registration is still shown."""
    for pattern in ("*dseg*", "*roistats*"):
        for path in derivatives.rglob(pattern):
            path.unlink()
    participant = read_participant(derivatives, "01")
    assert "baseline: no ROI: no lesion values" in texts_of(derivatives)
    assert SECTIONS["lesions"](participant) == []
    folded = SECTIONS["registration"](participant)[2:]
    assert [fold.summary for fold in folded] == [
        "baseline: DWI and DCE on the T1w",
        "1week: DWI and DCE on the T1w",
        "1week, followup: T1w on the T1w of baseline",
    ]


def test_native_space_is_said_and_shown(derivatives):
    """A session without T1w shows each series with the ROIs drawn on it."""
    folder = derivatives / "sub-01" / "ses-baseline"
    roi = (
        folder / "anat" / "sub-01_ses-baseline_ce-gadolinium_seg-enhancing_desc-manual_dseg.nii.gz"
    )
    roi.rename(folder / "dwi" / "sub-01_ses-baseline_seg-enhancing_desc-manual_dseg.nii.gz")
    for path in (folder / "anat").glob("*gadolinium*"):
        path.unlink()
    for path in list((folder / "dwi").glob("*_space-T1w*")):
        path.rename(path.with_name(path.name.replace("_space-T1w", "")))
    assert "baseline: no T1w: maps in native space" in texts_of(derivatives)
    shown = SECTIONS["maps"](read_participant(derivatives, "01"))[0]
    assert shown.alt.startswith("Lesion 1 in baseline, 1week, followup: anatomy, ADC, f, D")


def test_failures_come_first(derivatives, empty_figures):
    """Crash, failed step and missing registration are listed above warnings and gaps."""
    log = derivatives / "sub-01" / "log" / "20260101"
    log.mkdir(parents=True)
    (log / "crash-fit.txt").write_text("Traceback\nMemoryError: no room")
    status = {"sessions": {"ses-1week": {"failed": ["dce: RegistrationError"], "done": []}}}
    (log.parent / "status.json").write_text(json.dumps(status))
    series = derivatives / "sub-01" / "ses-1week" / "perf"
    (series / "sub-01_ses-1week_desc-coreg_quality.json").unlink()
    levels = [found.level for found in findings(read_participant(derivatives, "01"))]
    assert levels == ["failed"] * 3 + ["missing"] * 2
    for folder in ("ses-baseline", "ses-1week/dwi", "ses-1week/anat"):
        shutil.rmtree(derivatives / "sub-01" / folder)
    write_anatomy(derivatives / "sub-01", "ses-1week")
    html = html_of(derivatives)
    assert "3 failures; check them before using any result" in top_of(html)
    assert "1week: dce: RegistrationError" in top_of(html)
    assert "1week, DCE: not registered to the T1w" in top_of(html)
    assert "MemoryError: no room" in html
    assert 'href="sub-01/log/20260101/crash-fit.txt"' in html


def test_nothing_is_said_twice(derivatives):
    """A gap or crash reported by the run is not repeated; crashes of old runs do not count."""
    for run in ("20250101", "20260101"):
        log = derivatives / "sub-01" / "log" / run
        log.mkdir(parents=True)
        (log / f"crash-{run}.txt").write_text("Traceback")
    missing = ["no DWI: no ADC and no IVIM", "no DCE: no Ktrans, ve and vp"]
    failed = ["dce fit: out of memory (see crash-20260101.txt)"]
    status = {"ses-followup": {"missing": missing}, "ses-1week": {"failed": failed}}
    (log.parent / "status.json").write_text(json.dumps({"sessions": status}))
    assert texts_of(derivatives) == [
        "1week: dce fit: out of memory (see crash-20260101.txt)",
        "followup: no DWI: no ADC and no IVIM",
        "followup: no DCE: no Ktrans, ve and vp",
    ]
    status = {"sessions": {"ses-1week": {"done": ["dwi"]}}}
    (log.parent / "status.json").write_text(json.dumps(status))
    assert texts_of(derivatives)[0] == "A step crashed: crash-20260101.txt"
    (log.parent / "20270101").mkdir()
    assert texts_of(derivatives) == ["followup: no DWI result", "followup: no DCE result"]
    outcome = SECTIONS["crashes"](read_participant(derivatives, "01"))
    assert [t.heading for t in outcome] == [
        "log/20250101/crash-20250101.txt",
        "log/20260101/crash-20260101.txt",
    ]


def test_a_doubtful_registration_is_said_once(derivatives):
    """As the run reported it; of a run that did not report it, from the quality file."""
    series = derivatives / "sub-01" / "ses-1week" / "perf"
    path = series / "sub-01_ses-1week_desc-coreg_quality.json"
    reason = "expected error of 0.9 mm (accepted: up to 0.6)"
    quality = json.loads(path.read_text()) | {"verdict": "doubtful", "reason": reason}
    path.write_text(json.dumps(quality))
    assert [text for text in texts_of(derivatives) if reason in text] == [
        f"1week, DCE on T1w: {reason}"
    ]
    text = f"sub-01_dce.nii.gz on the T1w: {DOUBTFUL_REGISTRATION}: {reason}"
    issues = [Issue("warning", text, "DoubtfulInput").as_dict()]
    log = derivatives / "sub-01" / "log"
    log.mkdir(exist_ok=True)
    (log / "status.json").write_text(json.dumps({"sessions": {"ses-1week": {"issues": issues}}}))
    assert [text for text in texts_of(derivatives) if reason in text] == [f"1week: {text}"]


def test_a_run_that_was_stopped_is_not_called_complete(derivatives):
    """Without maps, or without the status that every run ends with, the verdict is a failure."""
    (derivatives / "sub-01" / "log" / "20260101").mkdir(parents=True)
    assert texts_of(derivatives)[0] == "The last run did not finish: it wrote no status."
    for path in derivatives.rglob("*map.nii.gz"):
        path.unlink()
    assert texts_of(derivatives)[0] == "No session has maps: nothing was analysed."
    assert verdict(findings(read_participant(derivatives, "01")))[0] == "bad"


def test_warnings_say_what_and_how_much(derivatives):
    """Motion, poor registration and failed voxels are reported with their numbers."""
    series = derivatives / "sub-01" / "ses-1week" / "perf"
    path = series / "sub-01_ses-1week_desc-motion_timeseries.tsv"
    moved = pd.read_csv(path, sep="\t")
    moved.loc[3, "framewise_displacement"] = 2.5
    moved.loc[7, "framewise_displacement"] = 2.7  # within its uncertainty: no outlier
    moved["outlier"] = [0, 0, 1, 1, *[0] * 8]
    table(path, moved)
    quality = series / "sub-01_ses-1week_desc-coreg_quality.json"
    quality.write_text(json.dumps(json.loads(quality.read_text()) | {"overlap": 0.4}))
    table(
        series / "sub-01_ses-1week_seg-enhancing_model-etofts_roistats.tsv",
        statistics("ses-1week", "etofts", DCE, failed=24),
    )
    top = texts_of(derivatives)
    said = "1week, DCE: 2 of 12 volumes are outliers (displacement up to 2.5 mm),"
    assert f"{said} included in the fits (see --drop-outliers)" in top
    path.with_suffix(".json").write_text('{"OutliersLeftOut": true}')
    assert f"{said} excluded from the fits" in texts_of(derivatives)
    path.with_suffix(".json").unlink()
    other = derivatives / "sub-01" / "ses-baseline" / "dwi"
    once = moved.assign(outlier=[1, *[0] * 11])
    table(other / "sub-01_ses-baseline_desc-motion_timeseries.tsv", once)
    folded = [text for text in texts_of(derivatives) if "are outliers" in text]
    assert len(folded) == 1
    assert folded[0].startswith(said)
    assert folded[0].endswith("; 1 more series is affected")
    assert (
        "1week, DCE on T1w: the field of view covers only 40% of the brain that it could cover"
        in top
    )
    assert "1week, lesion 2: 50 % of the voxels have no valid Ktrans (etofts)" in top
    assert verdict(findings(read_participant(derivatives, "01"))) == (
        "warn",
        "Complete, with 4 warnings; check the details.",
    )


def test_a_signal_that_no_concentration_explains_is_reported(derivatives):
    """Voxels beyond the range of the SPGR equation draw a warning, from 10 % of them on."""
    path = derivatives / "sub-01/ses-1week/perf/sub-01_ses-1week_desc-concentration_quality.json"
    counts = {"Voxels": 200, "VoxelsBeyondRange": 30, "VoxelsUnusable": 90}
    path.write_text(json.dumps(counts))
    top = texts_of(derivatives)
    assert (
        "1week, DCE: 15 % of the voxels have frames with a signal that no concentration explains"
        in top
    )
    assert not any("no valid baseline" in text for text in top)


def test_a_corrected_distortion_is_reported(derivatives, empty_figures):
    """Its size in the brain and its source are stated; without a correction, nothing is."""
    assert "EPI distortion of the DWI" not in html_of(derivatives)
    path = derivatives / "sub-01/ses-1week/dwi/sub-01_ses-1week_desc-distortion_quality.json"
    outcome = {"mean_abs_shift_mm": 0.234, "max_abs_shift_mm": 5.67, "least_jacobian": 0.71}
    path.write_text(json.dumps(outcome | {"largest_jacobian": 1.24, "method": "T1w"}))
    html = html_of(derivatives)
    table_ = html[html.index("EPI distortion of the DWI") :]
    row = re.findall(r"<td[^>]*>(.*?)</td>", table_[: table_.index("</table>")])
    assert [re.sub("<.*?>", "", cell) for cell in row][-5:] == [
        "0.23",
        "5.7",
        "0.71",
        "1.24",
        "T1w",
    ]


BROKEN = {
    "*_roistats.tsv": "UTF-8",
    "*_desc-coreg_quality.json": "quality.json: cannot be read as JSON",
    "*_desc-preproc_T1w.nii.gz": "T1w.nii.gz: cannot be read as an image",
    "*_label-AIF_timeseries.tsv": "Arterial input: this section could not be created",
    "*_sessions.tsv": "sessions.tsv: the order of the sessions cannot be read",
    "dataset_description.json": "dataset_description.json: cannot be read as JSON",
}


def test_a_broken_file_breaks_its_section_only(derivatives):
    """The page still comes, names each file at the top, and shows the rest."""
    for pattern in BROKEN:
        for path in derivatives.rglob(pattern):
            path.write_bytes(gzip.compress(b"?")[:-4] if path.suffix == ".gz" else b"\xff\n?\t\n")
    html = html_of(derivatives)
    for said in BROKEN.values():
        assert said in top_of(html)
    assert "Methods of lesion-1." in html
    assert 'aria-label="Motion of DCE' in html
    checked(html)


def test_a_participant_without_results_still_has_a_page(tmp_path):
    """It states that there are no results."""
    html = html_of(tmp_path)
    assert "There are no results for this participant." in top_of(html)
    checked(html)


def test_regions_beside_lesions_are_shown_only_if_they_were_measured(derivatives):
    """The reference with its values and limits; each ring beside its lesion; an atlas."""
    assert SECTIONS["regions"](read_participant(derivatives, "01")) == []
    lesions = SECTIONS["lesions"](read_participant(derivatives, "01"))
    write_regions(derivatives)
    participant = read_participant(derivatives, "01")
    picture, reference, one, two, atlas = SECTIONS["regions"](participant)
    assert picture.alt.startswith("Reference region on the T1w in baseline, 1week")
    places = [row[1] for row in reference.rows]
    assert places == ["right, 1.9 ml", "right, 1.9 ml, that of the baseline", ""]
    assert reference.rows[-1] == ["normal white matter", "", "0.3 to 3.5"]
    assert reference.bold == {(0, 2), (1, 2)}  # 20 %
    assert [row[1] for row in one.rows] == ["enhancing part", "ring of 5 mm"] * 2
    assert {row[1] for row in atlas.rows} == {"label 1", "label 2"}
    assert two.caption == "Lesion 2"
    assert SECTIONS["lesions"](participant) == lesions


def test_every_section_has_a_function_and_every_function_a_section():
    """Adding a section is one function and one row, on both pages."""
    assert [row["id"] for row in section_rows("sections.toml")] == list(SECTIONS)
    rows = section_rows("groupsections.toml")
    assert len({row["id"] for row in rows}) == len(rows)
    modules = [import_module(f"{group.__name__}.{m.name}") for m in iter_modules(group.__path__)]
    functions = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
        if get_type_hints(function) == {"view": GroupView, "return": list[Block]}
    }
    assert {row["function"] for row in rows} == functions


def test_excluded_lesions_are_marked(derivatives):
    """A lesion that the group leaves out is marked in its table."""
    for path in derivatives.rglob("*_roistats.tsv"):
        rows = pd.read_csv(path, sep="\t")
        table(path, rows.assign(excluded=(rows["lesion"] == 2).astype(int)))
    tables = SECTIONS["lesions"](read_participant(derivatives, "01"))
    assert [(t.caption, t.badge) for t in tables] == [
        ("Lesion 1", ""),
        ("Lesion 2", "excluded from the group analysis"),
    ]


def test_the_artery_is_shown_where_its_voxels_were_taken(derivatives):
    """With the mask and courses of the source in the sidecar: images, thin courses, a count."""
    folder = derivatives / "sub-01/ses-baseline/perf"
    stem = f"{folder}/sub-01_ses-baseline_"
    mask = np.zeros(SHAPE, np.uint8)
    mask[10:12, 9, 7] = 1
    save(Path(f"{stem}space-dce_label-AIF_desc-auto_mask.nii.gz"), mask)
    save(Path(f"{stem}desc-mean_dceref.nii.gz"), anatomy()[0])
    courses = {"time": np.arange(30) * 5.0, "voxel-1": np.ones(30), "voxel-2": np.ones(30)}
    table(Path(f"{stem}space-dce_label-AIF_desc-auto_timeseries.tsv"), courses)
    sidecar = Path(f"{stem}label-AIF_timeseries.json")
    sidecar.write_text(json.dumps({"Source": "auto"}))
    (block,) = SECTIONS["arterial"](read_participant(derivatives, "01"))
    assert "mM in blood, 2 voxels" in block.caption
    assert "2 of 2 voxels" in {axes.get_title("left") for axes in block.figure.findobj(Axes)}
    sidecar.write_text(json.dumps({"Source": "parker2006"}))
    (block,) = SECTIONS["arterial"](read_participant(derivatives, "01"))
    assert "voxels" not in block.caption
    quality = Path(f"{stem}label-AIF_quality.json")
    numbers = {
        "VenousScale": 1.25,
        "VenousScaleStandardError": 0.02,
        "VenousVoxels": 90,
        "BloodShare": 0.8,
        "PeakBlood": 6.0,
        "MeasuredPeakBlood": 3.0,
    }
    quality.write_text(json.dumps(numbers))
    (block,) = SECTIONS["arterial"](read_participant(derivatives, "01"))
    assert "scaled to the vein (90 voxels), with 1.25 ± 0.02 times the measured" in block.caption
    assert "Ktrans and ve are about 20 % lower than unscaled, vp up to 50 %" in block.caption
    quality.write_text(json.dumps(numbers | {"VenousScale": 0.9, "BloodShare": 1.0}))
    (block,) = SECTIONS["arterial"](read_participant(derivatives, "01"))
    assert "as measured, since the vein (90 voxels), with 0.90 ± 0.02 times" in block.caption
    quality.unlink()
    origins = {"frame_times": "FrameTimesStart in a_dce.json", "t1_blood": "sessions.tsv"}
    sidecar.write_text(json.dumps({"ValuesFrom": origins}))
    _, listed = SECTIONS["arterial"](read_participant(derivatives, "01"))
    assert [row[1:] for row in listed.rows] == [
        ["times of the frames", "FrameTimesStart in a_dce.json"],
        ["T1 of blood", "sessions.tsv"],
    ]


CURVE = Curve(np.arange(5.0), np.linspace(2, 1, 5), np.linspace(2, 1, 5))
STILL = MotionTrace(np.zeros((5, 3)), np.zeros((5, 3)), np.zeros(5))
SPOILT = MotionTrace(np.zeros((5, 3)), np.zeros((5, 3)), np.zeros(5), np.arange(5) == 2)
ARTERY = ArterialCurves(np.arange(5.0), np.ones(5), np.ones(5), 2.0)
AXIS = TimeAxis(np.array([-5.0, 7.0]), ["x", "y"], dated=True)
VALUES = LesionTimeline(*(np.array([value, np.nan]) for value in (0.1, 0.0, 0.2, 0.02)))
SLICE = Panel(np.eye(9), (1, 1), (0, 1), np.eye(9) > 0, np.eye(9), (1, 1, 3, 3))


@pytest.mark.parametrize(
    ("draw", "labels"),
    [
        (lambda: concentration_curves([[CURVE, None]], ["1"], ["a", "b"]), {"(mM)", "(min)"}),
        (lambda: diffusion_decay([[CURVE, None]], ["1"], ["a", "b"]), {"S(b) / S(0)", "(s/mm²)"}),
        (lambda: arterial_input([ARTERY, None], ["a", "b"]), {"(mM)", "(min)"}),
        (lambda: motion_traces([SPOILT, None], ["a", "b"], 1.0), {"(mm)", "(°)", "volume"}),
        (
            lambda: lesion_timeline([[VALUES, None]], ["1"], ["f", "ADC"], AXIS),
            {"(%)", "(10⁻³ mm²/s)", "days"},
        ),
        (
            lambda: map_grid(
                [MapBlock("", [MapRow(n, [SLICE, None], DISPLAY[n]) for n in (*DWI, *DCE)])],
                ["a", "b"],
            ),
            {DISPLAY[name].title for name in (*DWI, *DCE)},
        ),
        (lambda: images.registration_overlay([[SLICE], [SLICE]], ["T1w", "DWI"]), {"T1w", "DWI"}),
    ],
    ids=["enhancement", "decay", "artery", "motion", "timeline", "maps", "registration"],
)
def test_every_figure_says_its_units(draw: Callable[[], Figure], labels: set[str]):
    """A reader never guesses a unit; what is not there is drawn as not there."""
    text = page.svg_bytes(draw()).decode()
    for label in labels:
        assert label in text


def test_the_asymptote_shows_the_perfusion_fraction():
    """The broken line of an asymptotic fit meets b = 0 at 1 - f."""
    b = np.array([0.0, 200, 600, 1000])
    fitted = np.where(b > 0, 0.9, 1.0) * np.exp(-b * 1e-3)
    figure = diffusion_decay([[Curve(b, fitted, fitted)]], ["1"], ["baseline"])
    line = figure.axes[0].lines[-1]
    np.testing.assert_allclose(line.get_xydata(), [[0, 0.9], [1000, 0.9 * np.exp(-1)]])


def test_slices_are_radiological(tmp_path):
    """The patient's right is on the left and anterior is up, however the file is stored."""
    data = np.zeros((4, 5, 3), np.float32)
    data[3, 4, 0] = 1
    path = tmp_path / "a.nii.gz"
    nib.Nifti1Image(data, np.diag([-1.0, 1, 1, 1])).to_filename(path)
    shown = cut_panel(load_volume(path), (2, 0), (0, 1)).background
    assert np.argwhere(shown).tolist() == [[0, 3]], "x = 3 lies left of the patient, y = 4 in front"


def test_a_series_is_not_taken_for_a_volume(tmp_path):
    """A 4-D image where a map should be is an error that states this."""
    save(tmp_path / "a.nii.gz", np.zeros((2, 2, 2, 3), np.float32))
    with pytest.raises(
        BadInput, match=r"a\.nii\.gz: expected a 3-D image, got shape \(2, 2, 2, 3\)"
    ):
        load_volume(tmp_path / "a.nii.gz")


def test_a_template_cannot_leave_a_name_out():
    """An undefined variable of a template is an error, not an empty text."""
    with pytest.raises(UndefinedError, match="'label' is undefined"):
        page.render("participant.html.j2")


def test_a_page_that_cannot_be_written_says_where(tmp_path):
    """The error names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match=r"page\.html: cannot be written"):
        page.write_page(tmp_path / "file" / "page.html", "")
