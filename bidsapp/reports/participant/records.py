"""The derivatives of a participant, as read for the report."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from bidsapp.bids import documents, outputs
from bidsapp.bids.output import Output
from bidsapp.bids.tables import read_table
from bidsapp.errors import BadInput
from bidsapp.issues import Issue, read_issues
from bidsapp.models import MODELS

DATATYPES = {"dwi": "DWI", "perf": "DCE"}
"""The analysed series: BIDS data type -> common name."""

_PLAIN_NAMES = ("", "lesion", "lesion ", "lesion-", "tumor", "tumour")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """A 3-D image, reordered to the closest right-anterior-superior orientation."""

    data: Array
    affine: Array

    @property
    def zooms(self) -> tuple[float, ...]:
        """Voxel size in mm along each axis."""
        return tuple(float(size) for size in voxel_sizes(self.affine))

    @property
    def slice_axis(self) -> int:
        """The slice axis: that of thick slices, otherwise the one from foot to head."""
        sizes = self.zooms
        return int(np.argmax(sizes)) if max(sizes) > 2 * min(sizes) else 2

    def same_grid(self, other: "Volume") -> bool:
        """Whether both have the same voxels in the same positions."""
        return self.data.shape == other.data.shape and np.allclose(
            self.affine, other.affine, atol=1e-3
        )


def load_volume(path: Path) -> Volume:
    """Read a 3-D image.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    volume : Volume

    Raises
    ------
    BadInput
        If the file cannot be read or is not 3-D.
    """
    try:
        image = nib.as_closest_canonical(nib.load(path))
        data = np.asarray(image.dataobj, dtype=np.float64)
    except (OSError, ValueError, EOFError, ImageFileError) as error:
        raise BadInput(f"{path.name}: cannot be read as an image ({error}).") from error
    if data.ndim != 3:
        raise BadInput(f"{path.name}: expected a 3-D image, got shape {data.shape}.")
    return Volume(data, np.asarray(image.affine, dtype=np.float64))


def read_frame(path: Path) -> pd.DataFrame:
    """Read a table; ``n/a`` becomes missing, columns of numbers become numbers.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    BadInput
        If the file cannot be read as a table.
    """
    try:
        table = pd.DataFrame(read_table(path)).replace("n/a", np.nan)
    except BadInput as error:  # pages may be passed on, so they must not contain local paths
        raise BadInput(str(error).replace(f"{path.parent}/", "")) from error
    for name in table:
        numbers = pd.to_numeric(table[name], errors="coerce")
        if numbers.notna().eq(table[name].notna()).all():
            table[name] = numbers
    return table


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    path : pathlib.Path

    Returns
    -------
    content : dict

    Raises
    ------
    BadInput
        If the file does not hold a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path.name}: cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path.name}: expected a JSON object, got {type(content).__name__}.")
    return content


@dataclass(frozen=True)
class SessionOutputs:
    """One session of a participant; ``label`` is such as ``ses-1week``, or empty."""

    folder: Path
    stem: str
    label: str
    days: float = float("nan")

    @property
    def name(self) -> str:
        """Label without ``ses-``, for display."""
        return self.label.removeprefix("ses-") or "single session"

    @property
    def heading(self) -> str:
        """Name and day."""
        return self.name if np.isnan(self.days) else f"{self.name} (day {self.day})"

    @property
    def day(self) -> str:
        """Days since treatment, with their sign."""
        return "n/a" if np.isnan(self.days) else f"{self.days:+g}".replace("-", "−")

    def files(
        self, output: Output, datatype: str = "", extension: str = "", **entities: str
    ) -> list[Path]:
        """Return the files of a kind, sorted by name; see `Output.find`."""
        return output.find(self.folder, datatype, extension, **entities)

    def find(
        self, output: Output, datatype: str = "", extension: str = "", *, space: str = ""
    ) -> Path | None:
        """Return the first file of a kind, without ``space-`` or in that space."""
        entities = {"space": space} if "space" in output.free else {}
        return next(iter(self.files(output, datatype, extension, **entities)), None)

    def map(self, datatype: str, name: str, space: str | None = None) -> Path | None:
        """Return the map of a parameter on the grid of the T1w, or its native grid without a T1w.

        The space may be given: ``T1w``, or empty for the native grid.

        If several models were fitted, the map of the model in the lesion table is returned.
        """
        if space is None:
            space = "T1w" if self.t1w else ""
        labels = [model_label(table) for table in self.files(outputs.LESION_VALUES, datatype)]
        if name.startswith("ADC"):
            labels = [MODELS["adc"].label]
        kinds = [outputs.parameter_map(datatype, name, label) for label in labels or [""]]
        return next(filter(None, (self.find(kind, space=space) for kind in kinds)), None)

    @cached_property
    def t1w(self) -> Path | None:
        """The preprocessed T1w."""
        return self.find(outputs.T1W)

    def ran(self, datatype: str, space: str | None = None) -> bool:
        """Return whether there is any map of a series, optionally in a given space."""
        maps = outputs.DWI_MAP if datatype == "dwi" else outputs.DCE_MAP
        return bool(self.files(maps, **({} if space is None else {"space": space})))

    def roi_files(self, folder: str, kind: str) -> list[Path]:
        """Return the label images of a kind in a folder, drawn or carried there."""
        carried = self.files(outputs.PROPAGATED_ROIS, folder, seg=kind) if folder == "anat" else []
        return [*self.files(outputs.ROIS, folder, seg=kind), *carried]

    def lesions(self, grid: Volume, datatype: str) -> NDArray[np.int64] | None:
        """Return the lesion labels on a grid, preferably of the enhancing parts, or None."""
        for kind in ("enhancing", "whole"):
            for folder in dict.fromkeys(("anat", datatype)):
                for path in self.roi_files(folder, kind):
                    labels = load_volume(path)
                    if labels.same_grid(grid):
                        return np.nan_to_num(labels.data).astype(np.int64)
        return None


@dataclass(frozen=True)
class ParticipantOutputs:
    """The contents of the output folder for one participant."""

    output_dir: Path
    label: str
    sessions: tuple[SessionOutputs, ...]
    problem: str = ""

    @property
    def folder(self) -> Path:
        """The folder with the derivatives of this participant."""
        return self.output_dir / self.label

    @property
    def last_run(self) -> Path | None:
        """The log folder of the last run; folder names begin with the time."""
        return max((p for p in self.folder.glob("log/*") if p.is_dir()), default=None)

    @cached_property
    def crashes(self) -> list[Path]:
        """Crash files of all runs, those of the last run at the end."""
        return documents.CRASH.find(self.output_dir, participant=self.label)

    @cached_property
    def status(self) -> dict[str, dict[str, Any]]:
        """The stored status of each session: completed branches, issues and options."""
        path = documents.STATUS.path(self.output_dir, participant=self.label)
        return read_json(path).get("sessions", {}) if path.exists() else {}

    @cached_property
    def issues(self) -> list[Issue]:
        """The stored issues of all sessions."""
        return read_issues(self.label, self.status)

    @cached_property
    def statistics(self) -> pd.DataFrame:
        """All tables of lesion statistics, concatenated."""
        return self._tables(outputs.VOLUMES, outputs.LESION_VALUES)

    @cached_property
    def not_comparable(self) -> set[tuple[int, str]]:
        """Lesions and sessions whose values are not surely those of the lesion's number."""
        path = documents.LESIONS.path(self.output_dir, participant=self.label)
        table = read_frame(path) if path.exists() else pd.DataFrame({"comparable": []})
        wrong = table[table["comparable"] == 0]
        return {(int(row["lesion"]), str(row["session_id"])) for row in wrong.to_dict("records")}

    @cached_property
    def regions(self) -> pd.DataFrame:
        """All tables of the other regions, concatenated."""
        return self._tables(outputs.REGION_VALUES)

    @cached_property
    def choices(self) -> pd.DataFrame:
        """All tables that compare models in lesions, concatenated."""
        return self._tables(outputs.BEST_MODEL_TABLE)

    def values_of(
        self, session: SessionOutputs, lesion: int, parameter: str
    ) -> Mapping[str, float] | None:
        """Return the statistics of a parameter of a lesion in a session, or None."""
        if self.statistics.empty:
            return None
        table = rows_of(self.statistics, session)
        table = table[(table["lesion"] == lesion) & (table["parameter"] == parameter)]
        return None if table.empty else {str(k): v for k, v in table.iloc[0].items()}

    def _tables(self, *kinds: Output) -> pd.DataFrame:
        paths = [p for s in self.sessions for kind in kinds for p in s.files(kind)]
        tables = [read_frame(path) for path in paths]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @cached_property
    def lesion_names(self) -> dict[int, str]:
        """The name of each lesion in the ROI tables, by its number."""
        names: dict[int, str] = {}
        kinds = (outputs.ROIS, outputs.PROPAGATED_ROIS)
        paths = [p for s in self.sessions for k in kinds for p in s.files(k, extension=".tsv")]
        for path in paths:
            for row in read_frame(path).to_dict("records"):
                names.setdefault(int(row["index"]), str(row.get("name", row["index"])))
        if not self.statistics.empty:
            for lesion in self.statistics["lesion"]:
                names.setdefault(int(lesion), str(lesion))
        return dict(sorted(names.items()))

    def title(self, lesion: int) -> str:
        """Return the title of a lesion: its number, and its name if that is informative."""
        name = self.lesion_names.get(lesion, "")
        plain = name.strip().lower() in {"", "nan", *(f"{a}{lesion}" for a in _PLAIN_NAMES)}
        return f"Lesion {lesion}" if plain else f"Lesion {lesion}: {name}"


def rows_of(table: pd.DataFrame, session: SessionOutputs) -> pd.DataFrame:
    """Return the rows of a table that are of a session; of a single session, all have no label."""
    return table[table["session_id"].fillna("").astype(str) == session.label]


def model_label(path: Path) -> str:
    """Return the ``model-`` label in a file name; empty if there is none."""
    labels = [part for part in path.name.split("_") if part.startswith("model-")]
    return labels[0].removeprefix("model-") if labels else ""


def read_participant(output_dir: Path, label: str) -> ParticipantOutputs:
    """Find the sessions of a participant, in chronological order.

    Parameters
    ----------
    output_dir : pathlib.Path
        The derivatives of metperf.
    label : str
        With or without ``sub-``.

    Returns
    -------
    participant : ParticipantOutputs
        Without sessions if there are no derivatives of this participant.
    """
    label = f"sub-{label.removeprefix('sub-')}"
    folder = output_dir / label
    days, problem = _read_days(documents.SESSIONS.path(output_dir, participant=label))
    found = [path.name for path in sorted(folder.glob("ses-*")) if path.is_dir()]
    names = [*days, *(name for name in found if name not in days)]
    sessions = [
        SessionOutputs(folder / name, f"{label}_{name}", name, days.get(name, np.nan))
        for name in names
    ]
    if not sessions and any((folder / datatype).is_dir() for datatype in ("anat", *DATATYPES)):
        sessions = [SessionOutputs(folder, label, "")]
    return ParticipantOutputs(output_dir, label, tuple(sessions), problem)


def _read_days(path: Path) -> tuple[dict[str, float], str]:
    """Return the day of each session in chronological order, and any problem with the table."""
    if not path.exists():
        return {}, f"{path.name} is missing: the sessions are sorted by name."
    try:
        rows = read_frame(path)
        when = rows.get("days_since_treatment", pd.Series(np.nan, rows.index))
        days = pd.to_numeric(when, errors="coerce")
        return dict(zip(rows["session_id"].astype(str), days.astype(float), strict=True)), ""
    except (BadInput, KeyError) as error:
        return {}, f"{path.name}: the order of the sessions cannot be read ({error})."
