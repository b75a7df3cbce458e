"""Files of one session: raw images, ROIs as a reader would draw them, and the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bidsapp.bids.derivatives import to_tsv, write_bytes
from bidsapp.models.contrast.aif import plasma_from_blood
from bidsapp.phantom import sidecars
from bidsapp.phantom.anatomy import Anatomy
from bidsapp.phantom.cohort import SimulatedSession
from bidsapp.phantom.dose import plan_dose
from bidsapp.phantom.lesions import SimulatedLesion
from bidsapp.phantom.physics import HAEMATOCRIT, Tissue
from bidsapp.phantom.reader import Reader
from bidsapp.phantom.rois import Labels, artery_mask, label_lesions, tissue_labels, true_parameters
from bidsapp.phantom.scene import Scene
from bidsapp.phantom.series import FRAME_TIME, Bolus, Protocol, SimulatedSeries, frame_blood
from bidsapp.phantom.template import FloatVolume, Matrix
from bidsapp.phantom.write import write_image, write_sidecar, write_transform

MASKS, TRUTH = Path("derivatives", "manual_masks"), Path("derivatives", "truth")
ENTITIES = {
    "t1w": ("anat", "ce-gadolinium_T1w"),
    "dwi": ("dwi", "dwi"),
    "dce": ("perf", "dce"),
    "epi": ("fmap", "dir-AP_epi"),
    "vfa": ("anat", "flip-{}_VFA"),
}
"""Folder, and entities with suffix, of each series."""
TRUE_MAPS = {
    "f": ("dwi", "model-ivim_param-f_dwimap"),
    "D": ("dwi", "model-ivim_param-D_dwimap"),
    "Dstar": ("dwi", "model-ivim_param-Dstar_dwimap"),
    "ADC": ("dwi", "ADC"),
    "Ktrans": ("perf", "model-etofts_param-Ktrans_dcemap"),
    "ve": ("perf", "model-etofts_param-ve_dcemap"),
    "vp": ("perf", "model-etofts_param-vp_dcemap"),
    "T1": ("anat", "T1map"),
}


@dataclass(frozen=True)
class Place:
    """Location of the files of a session."""

    root: Path
    participant: str
    session: str

    def path(
        self, datatype: str, name: str, within: Path = Path(), extension: str = ".nii.gz"
    ) -> Path:
        """Return the path of a file of the session."""
        folder = self.root / within / self.participant / self.session / datatype
        return folder / f"{self.participant}_{self.session}_{name}{extension}"

    def uri(self, datatype: str, name: str) -> str:
        """Return the BIDS URI of a raw image."""
        path = self.path(datatype, name).relative_to(self.root)
        return f"bids:raw:{path.as_posix()}"


@dataclass(frozen=True)
class Drawing:
    """How a reader draws the lesions of a session: the reader, and the lesions with these edges."""

    reader: Reader
    lesions: Mapping[int, SimulatedLesion]


@dataclass(frozen=True)
class Visit:
    """A session with everything needed to simulate it.

    `coarse` is the scene for DWI and DCE; `drawing` is None if ROIs have no error; `reference` is
    the pose (head to scanner) in the first session of the participant. `has_dose`: with the dose.
    """

    place: Place
    session: SimulatedSession
    anatomy: Anatomy
    lesions: Mapping[int, SimulatedLesion]
    drawing: Drawing | None
    tissues: Mapping[str, Tissue]
    scene: Scene
    coarse: Scene
    protocol: Protocol
    bolus: Bolus
    reference: Matrix
    has_dose: bool = False


def write_visit(visit: Visit, series: Mapping[str, SimulatedSeries]) -> None:
    """Write the images of a session, with ROIs and truth.

    Parameters
    ----------
    visit : Visit
    series : mapping of str to Series
        ``t1w`` and, optionally, ``dwi``, ``dce``, ``vfa-1`` and so on.

    Raises
    ------
    NotWritable
        If a file cannot be written.
    """
    for name, image in series.items():
        _write_series(visit.place, name, image)
    t1w = series["t1w"]
    rois = _rois(visit, visit.lesions, t1w)
    if visit.session.lesions:
        drawn = _rois(visit, visit.drawing.lesions, t1w) if visit.drawing else rois
        _write_rois(visit, drawn, t1w)
    if visit.has_dose:
        _write_dose(visit, rois["whole"], t1w)
    if "dce" in series:
        _write_artery(visit, series["dce"])
        _write_blood(visit)
    _write_maps(visit, series, rois)
    _write_transforms(visit, series)


def _rois(
    visit: Visit, lesions: Mapping[int, SimulatedLesion], t1w: SimulatedSeries
) -> dict[str, Labels]:
    return label_lesions(visit.anatomy, lesions, t1w.grid, t1w.pose, visit.protocol.t1w_points)


def _write_series(place: Place, name: str, image: SimulatedSeries) -> None:
    kind, _, number = name.partition("-")
    datatype, entities = ENTITIES[kind]
    path = place.path(datatype, entities.format(number))
    sidecar = sidecars.series_sidecar(kind, image, number)
    if kind == "epi":
        series = place.path(*ENTITIES["dwi"]).relative_to(place.root)
        sidecar |= {"IntendedFor": f"bids::{series.as_posix()}"}
    step = {"dce": FRAME_TIME, "dwi": sidecars.DWI_TR}.get(kind)
    write_image(path, image.data, image.grid.affine, sidecar, time_step=step)
    if kind == "dwi":
        tables = {".bval": image.bvalues[None], ".bvec": image.directions.T}
        for extension, table in tables.items():
            text = "".join(" ".join(f"{v:g}" for v in row) + "\n" for row in table)
            write_bytes(place.path(datatype, entities, extension=extension), text.encode())


def _write_rois(visit: Visit, rois: Mapping[str, Labels], t1w: SimulatedSeries) -> None:
    """Write the ROIs of lesions; a lesion that has disappeared has a row, but no voxels."""
    source = visit.place.uri(*ENTITIES["t1w"])
    rows = [
        {"index": n, "name": f"lesion {n}", "excluded": int(state.excluded)}
        for n, state in visit.session.lesions.items()
    ]
    for name, labels in rois.items():
        entities = f"ce-gadolinium_seg-{name}_dseg"
        path = visit.place.path("anat", entities, MASKS)
        reader = visit.drawing.reader if visit.drawing else None
        sidecar = sidecars.lesion_sidecar(name, source, reader)
        write_image(path, labels, t1w.grid.affine, sidecar)
        table = visit.place.path("anat", entities, MASKS, ".tsv")
        write_bytes(table, to_tsv(["index", "name", "excluded"], rows))


def _write_dose(visit: Visit, whole: Labels, t1w: SimulatedSeries) -> None:
    path = visit.place.path("anat", "ce-gadolinium_label-dose_dosemap", MASKS)
    sidecar = sidecars.dose_sidecar(visit.place.uri(*ENTITIES["t1w"]))
    write_image(path, plan_dose(whole, t1w.grid.affine), t1w.grid.affine, sidecar)


def _write_artery(visit: Visit, dce: SimulatedSeries) -> None:
    mask = artery_mask(visit.coarse, dce.grid, dce.pose, visit.protocol.dce_points)
    path = visit.place.path("anat", "space-dce_label-AIF_mask", MASKS)
    source = visit.place.uri(*ENTITIES["dce"])
    write_image(path, mask, dce.grid.affine, sidecars.artery_sidecar(source))


def _write_blood(visit: Visit) -> None:
    """Write the true arterial concentration in each frame."""
    time, blood = frame_blood(visit.bolus)
    plasma = plasma_from_blood(blood, HAEMATOCRIT)
    names = ["time", "blood", "plasma"]
    rows = [dict(zip(names, row, strict=True)) for row in zip(time, blood, plasma, strict=True)]
    path = visit.place.path("perf", "label-AIF_timeseries", TRUTH, ".tsv")
    write_bytes(path, to_tsv(names, [{k: float(v) for k, v in row.items()} for row in rows]))
    write_sidecar(path, sidecars.BLOOD_SIDECAR)


def _write_maps(
    visit: Visit, series: Mapping[str, SimulatedSeries], rois: Mapping[str, Labels]
) -> None:
    t1w = series["t1w"]
    labels = tissue_labels(visit.scene, t1w.grid, t1w.pose, rois)
    truths = [true_parameters(visit.tissues[name]) for name in visit.scene.tissues]
    needed = {"anat": "t1w", "dwi": "dwi", "perf": "dce"}
    for name, (datatype, entities) in TRUE_MAPS.items():
        if needed[datatype] not in series:
            continue
        values: FloatVolume = np.array([np.nan, *(t[name] for t in truths)], np.float32)
        path = visit.place.path(datatype, f"space-T1w_{entities}", TRUTH)
        sidecar = sidecars.true_map_sidecar(name, visit.place.uri(*ENTITIES["t1w"]))
        write_image(path, values[labels], t1w.grid.affine, sidecar)


def _write_transforms(visit: Visit, series: Mapping[str, SimulatedSeries]) -> None:
    """Write the transforms from points of each fixed image (T1w, first T1w) to the moving one."""
    t1w = series["t1w"].pose
    moves = [("anat", "T1w", "individual", t1w, visit.reference)]
    for name, datatype in (("dwi", "dwi"), ("dce", "perf")):
        if name in series:
            moves.append((datatype, name, "T1w", series[name].pose, t1w))
    for datatype, start, end, moving, fixed in moves:
        entities = f"from-{start}_to-{end}_mode-image_xfm"
        path = visit.place.path(datatype, entities, TRUTH, ".txt")
        write_transform(path, moving @ np.linalg.inv(fixed))
        write_sidecar(path, sidecars.TRANSFORM_SIDECAR)
