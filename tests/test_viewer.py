"""The viewer: values as stored and as shown, linked visits, curves, windows, and the picture."""

import base64
import gzip
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from browser import CHROMIUM, LACK, LAPTOP, chromium, opened
from test_reports import SESSIONS, SHAPE, save, table, write_derivatives

from bidsapp.imaging.transforms import translation, write_itk
from bidsapp.models import MODELS
from bidsapp.reports.participant.common_grid import placed_sessions
from bidsapp.reports.participant.records import Volume, read_participant
from bidsapp.reports.participant.viewer import build_viewer, viewer_pages
from bidsapp.reports.participant.viewer_curves import LEVELS as CURVE_LEVELS
from bidsapp.reports.participant.viewer_volumes import LEVELS, store_volume

FRAMES = 12
TIME = np.arange(FRAMES) * 5.0
PLASMA = np.where(TIME > 10, 5 * np.exp(-(TIME - 10) / 60), 0.0)
B = np.array([0.0, 200, 200, 400, 400, 800, 800])
MOVED = np.array([2, 1, 0])
"""From the voxels of the first visit to those of the second one."""


def kinetic_maps(rng) -> dict[str, np.ndarray]:
    """Return maps of the extended Tofts model that differ in all voxels."""
    maps = {"Ktrans": rng.uniform(0.02, 0.1, SHAPE), "ve": rng.uniform(0.1, 0.3, SHAPE)}
    return maps | {"vp": rng.uniform(0.01, 0.09, SHAPE), "kep": maps["Ktrans"] / maps["ve"]}


def write_native(folder: Path, session: str, seed: int) -> None:
    """Add both series on their grids, their maps, and the transforms to the T1w."""
    rng = np.random.default_rng(seed)
    stem = f"{folder}/{session}/perf/sub-01_{session}_"
    maps = kinetic_maps(rng)
    curves = MODELS["extended-tofts"].predict(maps, time=TIME / 60, plasma=PLASMA)
    noisy = curves + rng.normal(0, 0.005, curves.shape)
    save(Path(f"{stem}desc-concentration_dce.nii.gz"), noisy.astype(np.float32))
    for name, values in maps.items():
        ending = f"model-etofts_param-{name}"
        save(Path(f"{stem}{ending}_dcemap.nii.gz"), values.astype(np.float32))
        save(Path(f"{stem}space-T1w_{ending}_dcemap.nii.gz"), values.astype(np.float32))
        error = Path(f"{stem}space-T1w_{ending}_desc-stderr_dcemap.nii.gz")
        save(error, np.full(SHAPE, 0.004, np.float32))
    arterial = {"time": TIME, "blood": PLASMA * 0.6, "plasma": PLASMA}
    table(Path(f"{stem}label-AIF_timeseries.tsv"), arterial)
    write_itk(np.eye(4), Path(f"{stem}from-T1w_to-dce_mode-image_desc-coreg_xfm.txt"))
    write_itk(np.eye(4), Path(f"{stem}from-dce_to-T1w_mode-image_desc-coreg_xfm.txt"))
    stem = f"{folder}/{session}/dwi/sub-01_{session}_"
    signal = 800 * np.exp(-B * 1e-3) * rng.uniform(0.9, 1.1, (*SHAPE, len(B)))
    save(Path(f"{stem}desc-preproc_dwi.nii.gz"), signal.astype(np.float32))
    Path(f"{stem}desc-preproc_dwi.bval").write_text(" ".join(f"{b:g}" for b in B))
    for name, value in (("f", 0.05), ("D", 1e-3), ("S0", 800.0)):
        path = Path(f"{stem}model-ivim_param-{name}_dwimap.nii.gz")
        save(path, np.full(SHAPE, value, np.float32))
    write_itk(np.eye(4), Path(f"{stem}from-dwi_to-T1w_mode-image_desc-coreg_xfm.txt"))


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    """Derivatives of a participant with curves, whose head moved between two visits."""
    out = write_derivatives(tmp_path_factory.mktemp("viewer"))
    for seed, session in enumerate(("ses-baseline", "ses-1week")):
        write_native(out / "sub-01", session, seed)
    for session in list(SESSIONS)[1:]:
        name = f"sub-01_{session}_from-T1w_to-individual_mode-image_xfm.txt"
        write_itk(translation(3.0 * MOVED), out / "sub-01" / session / "anat" / name)
    return out


@pytest.fixture(scope="module")
def html(output) -> str:
    """The viewer of the participant."""
    (page,) = viewer_pages(read_participant(output, "01"))
    return page.html()


@pytest.fixture(scope="module")
def content(html) -> dict:
    """What the page holds."""
    return json.loads(re.search(r'id="content">(.*?)</script>', html, re.DOTALL)[1])


@pytest.fixture(scope="module")
def browser():
    """Chromium, once for all tests."""
    if CHROMIUM is None:
        pytest.skip(LACK)
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser, html, tmp_path):
    """The viewer, opened and loaded; nothing is written on the console."""
    (tmp_path / "v.html").write_text(html, encoding="utf-8")
    page, heard = opened(browser, tmp_path / "v.html", LAPTOP)
    page.locator("#value", has_text="mm").wait_for()
    yield page
    page.close()
    assert heard.said == []


def image(output: Path, pattern: str) -> np.ndarray:
    """Return the data of the only image of the derivatives with a name."""
    (path,) = output.rglob(pattern)
    return np.asarray(nib.load(path).dataobj, float)


def unpack(text: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8)


def values_of(stored: dict) -> np.ndarray:
    """Return the values of a stored volume, NaN where there is none."""
    low, high = unpack(stored["data"]).reshape(2, -1).astype(int)
    codes = (low + 256 * high).reshape(stored["shape"], order="F")
    return np.where(codes > 0, stored["low"] + (codes - 1) * stored["step"], np.nan)


def curves_of(box: dict, name: str, points: int) -> np.ndarray:
    """Return the stored curves of a box, NaN where there is none."""
    codes = unpack(box[name]).reshape((*box["shape"], points), order="F").astype(int)
    low, step = (
        unpack(box[k]).view("<f4").reshape((*box["shape"], 1), order="F") for k in ("low", "step")
    )
    return np.where(codes > 0, low + (codes - 1) * step, np.nan)


def voxel_of(stored: dict, point: np.ndarray) -> tuple[int, ...]:
    place = np.array(stored["inverse"]) @ [*point, 1]
    return tuple(np.rint(place[:3]).astype(int))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 2.0), (0.0, 40.0), (0.5, 0.5)])
def test_a_stored_value_differs_by_less_than_half_a_percent_of_the_range(low, high):
    """Half a step of 0.4 %: within the scale, beyond it, and below zero; missing stays missing."""
    data = np.random.default_rng(0).uniform(low, high, (7, 6, 5))
    data[1, 2, 3] = np.nan
    data[2, 2, 3] = np.inf
    stored = store_volume(Volume(data, np.eye(4)), np.s_[1:6:2, :, 1:], -4.0, 1.0 / LEVELS)
    shown = values_of(
        {"data": stored.data, "shape": stored.shape, "low": -4.0, "step": stored.step}
    )
    wanted = data[1:6:2, :, 1:]
    np.testing.assert_array_equal(np.isfinite(shown), np.isfinite(wanted))
    known = np.isfinite(wanted)
    assert np.abs(shown - wanted)[known].max() <= 0.002 * 1.001
    assert voxel_of({"inverse": stored.inverse}, np.array([3, 2, 2])) == (1, 2, 1)


def test_every_map_is_stored_in_the_unit_of_the_page(output, content):
    """In all voxels, in the brain and near the lesions, within 0.2 % of its common scale."""
    for session, label in zip(content["sessions"], ("ses-baseline", "ses-1week"), strict=False):
        layers = {layer["name"]: layer for layer in session["layers"]}
        assert list(layers) == ["T1w", "ADC", "f", "D", "vp", "Ktrans", "ve", "lesions"]
        ve = layers["ve"]
        assert (ve["title"], ve["unit"]) == ("ve", "%")
        source = 100 * image(output, f"sub-01_{label}_space-T1w_*param-ve_dcemap.nii.gz")
        assert len(ve["parts"]) == 3
        for part in ve["parts"]:
            values, turn = values_of(part), np.linalg.inv(np.array(part["inverse"]))
            for voxel in np.ndindex(*values.shape):
                there = np.rint((turn @ [*voxel, 1])[:3] / 3).astype(int)
                assert values[voxel] == pytest.approx(source[tuple(there)], abs=0.002 * 30)


def test_curves_and_fits_are_those_of_the_derivatives(output, content):
    """Near the lesions, within 0.2 % of the range of each curve; the fit is that of the maps."""
    perf, dwi = content["sessions"][0]["curves"]
    assert (perf["kind"], perf["model"]) == ("perf", "extended-tofts")
    np.testing.assert_allclose(perf["x"], TIME / 60)
    series = image(output, "sub-01_ses-baseline_desc-concentration_dce.nii.gz")
    maps = {
        name: image(output, f"sub-01_ses-baseline_model-etofts_param-{name}_dcemap.nii.gz")
        for name in ("Ktrans", "ve", "vp", "kep")
    }
    fits = MODELS["extended-tofts"].predict(maps, time=TIME / 60, plasma=PLASMA)
    shown = 0
    for box in perf["boxes"]:
        data, fit = (curves_of(box, name, FRAMES) for name in ("data", "fit"))
        turn = np.linalg.inv(np.array(box["inverse"]))
        for voxel in np.argwhere(np.isfinite(data).all(axis=-1)):
            there = tuple(np.rint((turn @ [*voxel, 1])[:3] / 3).astype(int))
            both = np.concatenate([series[there], fits[there]])
            tolerance = 0.51 * np.ptp(both) / CURVE_LEVELS + 1e-6
            np.testing.assert_allclose(data[tuple(voxel)], series[there], atol=tolerance)
            np.testing.assert_allclose(fit[tuple(voxel)], fits[there], atol=tolerance)
            shown += 1
    assert shown > 48 + 8
    assert dwi["x"] == [0, 200, 400, 800]
    assert curves_of(dwi["boxes"][0], "data", 4)[2, 2, 2, 0] == pytest.approx(1, abs=0.01)


def shown_values(page) -> dict[str, list[str]]:
    rows = page.locator("#values tbody tr").all()
    return {r.locator("th").inner_text(): r.locator("td").all_inner_texts() for r in rows}


def go(page, point) -> None:
    """Move the cross-hair to a point of the first visit, and wait until it is drawn."""
    page.evaluate("(p) => viewer.go(p)", [float(x) for x in point])
    page.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")


def test_both_visits_show_the_values_of_the_same_tissue(page, output):
    """The second visit at the place to which the head moved, with unit and standard error."""
    voxel = np.array([7, 11, 9])
    go(page, voxel * 3.0)
    shown = shown_values(page)["Ktrans (1/min)"]
    for text, session, there in zip(
        shown, ("ses-baseline", "ses-1week"), (voxel, voxel + MOVED), strict=True
    ):
        source = image(output, f"sub-01_{session}_space-T1w_*param-Ktrans_dcemap.nii.gz")
        value, error = map(float, text.split(" ± "))
        assert value == pytest.approx(source[tuple(there)], abs=0.0005 + 0.002 * 0.15)
        assert error == pytest.approx(0.004, abs=1e-4)


def test_the_curve_at_the_crosshair_is_that_of_its_voxel(page, output):
    """In both visits; away from the lesions a note states where curves are kept."""
    voxel = np.array([8, 12, 9])
    go(page, voxel * 3.0)
    found = page.evaluate("viewer.curvesOf('perf')")
    for curve, session, there in zip(
        found, ("ses-baseline", "ses-1week"), (voxel, voxel + MOVED), strict=True
    ):
        series = image(output, f"sub-01_{session}_desc-concentration_dce.nii.gz")[tuple(there)]
        np.testing.assert_allclose(curve["data"], series, atol=0.005 * np.ptp(series))
        assert len(curve["fit"]) == FRAMES
    assert "Fit: extended-tofts." in page.locator("#curvenote").inner_text()
    go(page, [36.0, 66.0, 30.0])
    assert page.evaluate("viewer.curvesOf('perf')") == [None, None]
    assert "Curves are kept within 3 mm of lesions." in page.locator("#curvenote").inner_text()


def test_go_to_moves_to_the_centre_of_the_lesion(page):
    """Both visits; the status names the lesion."""
    page.get_by_label("Go to").select_option(label="Lesion 2")
    assert page.evaluate("viewer.state.point") == pytest.approx([46.5, 49.5, 31.5])
    page.locator("#value", has_text="lesion 2 in baseline").wait_for()
    assert "46.5 mm right, 49.5 mm front, 31.5 mm up" in page.locator("#value").inner_text()


def test_keys_and_the_mouse_move_one_crosshair(page):
    """Arrows in the plane, pages through it, a click to its place; never two points."""
    go(page, [24.0, 36.0, 27.0])
    plane = page.get_by_label("Axial plane, right visit")
    for key, change in (
        ("ArrowLeft", [1, 0, 0]), ("ArrowUp", [0, 1, 0]), ("PageUp", [0, 0, 1.5]),
        ("ArrowRight", [-1, 0, 0]), ("ArrowDown", [0, -1, 0]), ("PageDown", [0, 0, -1.5]),
    ):  # fmt: skip
        before = np.array(page.evaluate("viewer.state.point"))
        plane.press(key)
        np.testing.assert_allclose(page.evaluate("viewer.state.point"), before + change)
    box = plane.bounding_box()
    plane.click(position={"x": box["width"] / 2 + 40, "y": box["height"] / 2})
    moved = page.evaluate("viewer.state.point")
    centre = page.evaluate("viewer.state.centre")
    assert moved[0] == pytest.approx(centre[0] - 40 * 210 / box["width"], abs=0.6)
    assert moved[1:] == pytest.approx([centre[1], 27.0], abs=0.6)
    for key, zoom in (("+", 1.4), ("-", 1.0), ("+", 1.4), ("0", 1.0)):
        plane.press(key)
        assert page.evaluate("viewer.state.zoom") == pytest.approx(zoom)


def pixels(page, label: str) -> bytes:
    """Return the pixels of a plane."""
    page.evaluate("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
    data = page.get_by_label(label).evaluate("(c) => c.toDataURL()")
    return base64.b64decode(data.partition(",")[2])


def test_a_visit_is_shown_once_it_is_chosen(page):
    """The heading of the values follows; the other pane stays."""
    page.locator(".visit").nth(1).select_option(label="baseline (day −5)")
    heads = page.locator("#values thead th")
    heads.nth(2).filter(has_text="baseline (day −5)").wait_for()
    assert heads.nth(1).inner_text() == "baseline (day −5)"
    assert len({*shown_values(page)["Ktrans (1/min)"]}) == 1


def test_map_window_opacity_and_outline_change_the_picture(page):
    """By numbers and by drag; each pane has its own map and window."""
    left, right = "Axial plane, left visit", "Axial plane, right visit"
    first, other = pixels(page, left), pixels(page, right)
    page.locator(".low").first.fill("0.05")
    page.locator(".low").first.press("Enter")
    narrow = pixels(page, left)
    assert narrow != first
    assert pixels(page, right) == other
    box = page.get_by_label(right).bounding_box()
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 130, box["y"] + 70)
    page.mouse.up()
    page.keyboard.up("Shift")
    assert pixels(page, right) != other
    assert pixels(page, left) == narrow
    low, high = (float(page.locator(f".{n}").nth(1).input_value()) for n in ("low", "high"))
    assert high - low == pytest.approx(0.15 * 2 ** (80 / 150), rel=0.01)
    for change in (
        lambda: page.locator(".map").first.select_option("vp"),
        lambda: page.get_by_label("Opacity").fill("0.2"),
        lambda: page.get_by_label("Outlines").uncheck(),
        lambda: page.locator(".map").first.select_option(""),
    ):
        before = pixels(page, left)
        change()
        assert pixels(page, left) != before


def test_the_saved_picture_shows_both_visits(page):
    """A PNG named after the participant."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save picture").click()
    download = waiting.value
    assert download.suggested_filename == "sub-01_viewer.png"
    data = Path(download.path()).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    assert width == 1240
    assert height >= 640
    assert len(data) > 20_000


def test_a_visit_without_a_transform_is_said_to_be_apart(tmp_path):
    """It keeps its own space; the reference is linked."""
    out = write_derivatives(tmp_path)
    for path in (out / "sub-01/ses-1week/anat").glob("*space-individual*"):
        path.unlink()
    placed = placed_sessions(read_participant(out, "01"))
    assert [visit.linked for visit in placed] == [True, False]
    assert "1week (day +7) (not registered)" in build_viewer(read_participant(out, "01"), placed)


def test_without_t1w_there_is_no_viewer(tmp_path):
    """Nor without a map."""
    out = write_derivatives(tmp_path)
    for path in out.rglob("*desc-preproc_T1w.nii.gz"):
        path.unlink()
    assert viewer_pages(read_participant(out, "01")) == []


def test_without_rois_the_viewer_shows_the_brain(browser, tmp_path):
    """No curve, no outline, and nothing to go to."""
    out = write_derivatives(tmp_path)
    for path in out.rglob("*dseg*"):
        path.unlink()
    (page,) = viewer_pages(read_participant(out, "01"))
    (tmp_path / "v.html").write_text(page.html(), encoding="utf-8")
    page, heard = opened(browser, tmp_path / "v.html", LAPTOP)
    page.locator("#value", has_text="mm").wait_for()
    assert page.get_by_label("Go to").inner_text() == "no ROI"
    assert "There are no curves of these visits." in page.locator("#curvenote").inner_text()
    assert heard.said == []
    page.close()
