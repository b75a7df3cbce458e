"""Simulated participants: every lesion in every session, measured and compared with the truth."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.lesions.cells import REGISTRATION_ERROR, SEED, Cell
from benchmarks.lesions.images import SNR, Crop, draw_dce, draw_dwi
from benchmarks.lesions.values import (
    Drawn,
    Measure,
    dce_measure,
    dwi_measure,
    mean_values,
    own_values,
)
from bidsapp.imaging.transforms import translation
from bidsapp.phantom.acquisition import draw_pose, plan_grid
from bidsapp.phantom.anatomy import Anatomy, draw_anatomy
from bidsapp.phantom.cohort import (
    SimulatedParticipant,
    SimulatedSession,
    add_retest,
    draw_cohort,
    read_cohort,
)
from bidsapp.phantom.contents import session_tissues
from bidsapp.phantom.lesions import (
    SimulatedLesion,
    add_patches,
    add_veins,
    draw_shapes,
    grow_lesions,
)
from bidsapp.phantom.reader import Reader, draw_reader, redraw_lesions
from bidsapp.phantom.rois import label_lesions
from bidsapp.phantom.scene import build_scene
from bidsapp.phantom.series import FIELDS_OF_VIEW, PROTOCOLS, draw_bolus

__all__ = ["SNR", "lesion_table"]

REFERENCE_COHORT = Path(__file__).parents[2] / "tests/data/reference_cohort/lesions.tsv"
Rows = list[dict[str, Any]]


def lesion_table(cell: Cell, participants: int, jobs: int) -> pd.DataFrame:
    """Return a row for each lesion, session and parameter.

    Columns: participant, lesion, session, volume (ml), parameter, truth, mean, own, the parts of
    the standard error, and edge (mm).
    """
    if cell.study:
        people = read_cohort(REFERENCE_COHORT)[:participants]
    else:
        people = [add_retest(person, "benchmark") for person in draw_cohort(participants, SEED)]
    work = partial(_participant_rows, cell)
    if jobs == 1:
        found = [work(n, person) for n, person in enumerate(people)]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            found = list(pool.map(work, range(len(people)), people))
    return pd.DataFrame([row for rows in found for row in rows])


def _participant_rows(cell: Cell, number: int, person: SimulatedParticipant) -> Rows:
    rng = np.random.default_rng([SEED, number, 2])
    anatomy = draw_anatomy(rng)
    imaged = [s for s in person.sessions if s.has_dce]
    first = {n: s.volume for n, s in imaged[0].lesions.items()}
    largest = {n: max(s.lesions[n].volume for s in imaged) for n in first}
    shapes = draw_shapes(anatomy, first, largest, rng)
    t1 = {n: float(np.clip(rng.normal(1.6, 0.1), 1.3, 1.9)) for n in shapes}
    if cell.uneven:
        shapes = add_patches(shapes, np.random.default_rng([SEED, number, 4]))
    if cell.veins:
        shapes = add_veins(shapes, np.random.default_rng([SEED, number, 5]))
    rows: Rows = []
    for order, session in enumerate(imaged):
        stream = np.random.default_rng([SEED, number, 3, order])
        lesions = grow_lesions(anatomy, shapes, {n: s.volume for n, s in session.lesions.items()})
        found = _session_rows(cell, anatomy, lesions, session, t1, stream)
        rows += [{"participant": person.label, **row} for row in found]
    return rows


def _session_rows(
    cell: Cell,
    anatomy: Anatomy,
    lesions: dict[int, SimulatedLesion],
    session: SimulatedSession,
    t1: dict[int, float],
    rng: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    by_name, _ = session_tissues(session.lesions, t1, lesions)
    scene = build_scene(anatomy, lesions)
    tissues = [by_name[name] for name in scene.tissues]
    pose, bolus = draw_pose(rng, 5.0, 8.0), draw_bolus(rng)
    protocol = PROTOCOLS[cell.resolution]
    grid = plan_grid("axial", protocol.t1w, FIELDS_OF_VIEW["t1w"], pose, rng)
    drawn_lesions = _drawn(cell, anatomy, lesions, rng)
    labels = label_lesions(anatomy, drawn_lesions, grid, pose, (4, 4, 4))
    for n, lesion in lesions.items():
        drawn = Drawn(labels["enhancing"], labels["whole"], grid.affine, n)
        around = _places(anatomy, lesion)
        dce = draw_dce(scene, tissues, around, pose, bolus, cell, rng)
        dwi = draw_dwi(scene, tissues, around, pose, cell, rng)
        pairs = (dce, dce_measure(bolus, t1[n])), (dwi, dwi_measure(dwi.bvalues))
        common = {"lesion": n, "session": session.label, "volume": lesion.volume}
        for crop, measure in pairs:
            for row in _value_rows(crop, drawn, pose, measure, rng):
                truth = getattr(session.lesions[n], row["parameter"].split()[0])
                yield {**common, "truth": truth, **row}


def _drawn(
    cell: Cell,
    anatomy: Anatomy,
    lesions: dict[int, SimulatedLesion],
    rng: np.random.Generator,
) -> dict[int, SimulatedLesion]:
    """Return the lesions as they are drawn."""
    if cell.offset:
        reader = Reader(0.0, cell.offset * float(rng.choice([-1, 1])))
    elif cell.spread:
        reader = draw_reader(cell.spread, rng)
    else:
        return lesions
    return redraw_lesions(anatomy, lesions, reader, rng)


def _places(anatomy: Anatomy, lesion: SimulatedLesion) -> Any:
    """Return the voxels of a lesion in mm in the head (N, 3)."""
    index = np.concatenate([lesion.rim.index, lesion.core.index])
    voxels = np.array(np.unravel_index(index, anatomy.shape))
    return (anatomy.affine @ np.vstack([voxels, np.ones(len(index))]))[:3].T


def _value_rows(
    crop: Crop, drawn: Drawn, t1w_pose: Any, measure: Measure, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    # From points of the series to those of the T1w, with an error of the registration.
    error = REGISTRATION_ERROR / np.sqrt(3)
    displaced = translation(rng.normal(0, error, 3))
    mapping = displaced @ t1w_pose @ np.linalg.inv(crop.pose)
    means = mean_values(crop, drawn, mapping, measure)
    for name, (value, edge) in own_values(crop, drawn, mapping, error, measure).items():
        parts = value.row()
        own = parts.pop("value")
        yield {"parameter": name, "mean": means[name], "own": own, **parts, "edge_offset": edge}
