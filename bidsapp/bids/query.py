"""Query of a BIDS data set: from files to frozen records. Only this module queries pybids."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bids.layout
from bids.utils import natural_sort

from bidsapp.bids.checks import drop_rois_off_grid, input_warnings, participant_warnings
from bidsapp.bids.dose_maps import read_dose_map
from bidsapp.bids.dynamic import add_table_values, read_dynamic, states_blood
from bidsapp.bids.fieldmaps import read_distortion
from bidsapp.bids.flip_angles import read_flip_angles
from bidsapp.bids.frames import how_to_time, is_stored_by_frame
from bidsapp.bids.images import has_fifth_axis, series_shape
from bidsapp.bids.index import (
    IndexedFile,
    check_entities,
    files_by_participant,
    has_entities,
    how_to_choose,
    how_to_join,
    image_path,
    index,
)
from bidsapp.bids.inheritance import applicable_files
from bidsapp.bids.problems import Problems
from bidsapp.bids.records import (
    Diffusion,
    Dynamic,
    FlipAngleSeries,
    Lesion,
    Participant,
    Rois,
    Session,
    Space,
    T1Map,
    TransmitField,
    UserTransform,
)
from bidsapp.bids.roi_tables import read_labels
from bidsapp.bids.rois import find_rois, number_masks, read_region, space_of
from bidsapp.bids.sessions import find_chronology
from bidsapp.bids.sidecar import (
    b_values,
    check_directions,
    phase_axis,
    transmit_scale,
)
from bidsapp.bids.spin_echo import read_spin_echo
from bidsapp.bids.t1_maps import read_t1_map
from bidsapp.bids.timing import GivenTiming
from bidsapp.bids.unused import DOSE_NAME, unused_rois
from bidsapp.bids.visit_columns import read_visit_columns, session_table
from bidsapp.errors import BadInput, NothingSelected, UsageError

QUERIES: Mapping[str, Mapping[str, Any]] = {
    "t1w": {"suffix": "T1w"},
    "dwi": {"suffix": "dwi"},
    "fmap": {"datatype": "fmap", "suffix": ["fieldmap", "epi", "phasediff", "phase1", "phase2"]},
    "dce": {"suffix": ["dce", "DCE"]},
    "vfa": {"suffix": "VFA"},
    "b1": {"suffix": "TB1map"},
    "t1map": {"suffix": "T1map"},
    "roi": {"suffix": ["dseg", "mask"]},
    "aif": {"suffix": ["mask", "timeseries"], "label": "AIF"},
    "dose": {"suffix": "dosemap", "label": "dose"},
    "xfm": {"suffix": "xfm"},
}
_IMAGE = [".nii", ".nii.gz"]
_GOALS: Mapping[Space, str] = {"dwi": "T1w", "dce": "T1w", "T1w": "individual"}
"""Target space of a user's transform for each image."""
_COMPLEX = ("phase", "real", "imag")
"""Parts of a complex image other than the magnitude; used only if a filter selects them."""


class Query:
    """Query of a data set and its ROI derivatives.

    Parameters
    ----------
    bids_dir
        The raw data set.
    derivatives
        Folders with ROIs, each a BIDS derivative data set.
    filters
        Entities by query name, as in ``--bids-filter-file``.
    participants
        Labels to index, without ``sub-``; all if empty.
    given
        Timing of the dynamic series that the user states.
    regions
        Names of the user's regions beside those of lesions.
    """

    def __init__(
        self,
        bids_dir: Path,
        derivatives: Sequence[Path] = (),
        filters: Mapping[str, Mapping[str, Any]] | None = None,
        participants: Sequence[str] = (),
        given: GivenTiming = GivenTiming(),  # noqa: B008 - frozen
        regions: Sequence[str] = (),
    ) -> None:
        self.filters = filters or {}
        self.given = given
        self.regions = regions
        self.raw = index(bids_dir, "bids", participants)
        self.rois = [index(d, "derivatives", participants) for d in derivatives]
        self._known: dict[int, dict[str, list[IndexedFile]]] = {}
        for entities in self.filters.values():
            check_entities(entities, [self.raw, *self.rois])

    def labels(self) -> list[str]:
        """Return the labels of all indexed participants."""
        return sorted(self.raw.get_subjects())

    def participant(self, label: str, sessions: Sequence[str] = ()) -> Participant:
        """Return the record of one participant, with all or selected sessions.

        Parameters
        ----------
        label
            Without ``sub-``.
        sessions
            Labels without ``ses-``; all if empty.

        Raises
        ------
        NothingSelected
            If the participant has none of the selected sessions.
        BadInput
            If the participant has no sessions.
        """
        known = self._sessions(label)
        if not known:
            raise BadInput(
                f"sub-{label} has no sessions, and metperf needs at least one; move the "
                f"images to folders such as sub-{label}/ses-baseline"
            )
        chronology = find_chronology(Path(self.raw.root) / f"sub-{label}", known)
        found = list(chronology.order)
        if sessions:
            found = [s for s in found if s in sessions]
            if not found:
                raise NothingSelected(
                    f"sub-{label} has none of the sessions {', '.join(sessions)}; "
                    f"it has {', '.join(known)}"
                )
        records = [self._session(label, s, chronology.days.get(s)) for s in found]
        first = records[0]
        unused = unused_rois(
            f"sub-{label}",
            records,
            chronology.order,
            Path(self.raw.root),
            [Path(layout.root) for layout in self.rois],
        )
        # Beside ROIs that are used, other images are a remark; otherwise they may be the ROIs.
        missing = not all(record.enhancing for record in records)
        doubtful = [text for text in unused if missing or DOSE_NAME in text]
        doubts = (*chronology.warnings, *participant_warnings(records), *first.warnings)
        records[0] = replace(
            first,
            warnings=(*doubts, *doubtful),
            notes=(
                *chronology.notes,
                *read_visit_columns(session_table(self.raw.root, label)).notes,
                *first.notes,
                *(text for text in unused if text not in doubtful),
            ),
        )
        return Participant(label, tuple(records), chronology.order)

    def _sessions(self, label: str) -> list[str]:
        """Return the labels of all sessions of a participant, sorted."""
        files = self._get(self.raw, {"subject": label})
        found = {f.entities["session"] for f in files if "session" in f.entities}
        return [str(session) for session in natural_sort(list(found))]

    def _session(self, label: str, session: str, days: float | None) -> Session:
        """Return the record of one session; unusable files are listed in ``problems``."""
        key = {"subject": label, "session": session}
        problems = Problems()
        attempt = problems.attempt
        dynamic, complete = attempt(self._dynamic, key, problems) or (None, False)
        record = Session(
            participant=label,
            label=session,
            days=days,
            t1w=attempt(self._t1w, key),
            diffusion=attempt(self._diffusion, key),
            distortion=read_distortion(self._files("dwi", key), self._files("fmap", key)),
            dynamic=dynamic if complete else None,
            incomplete=None if complete else dynamic,
            flip_angle_series=attempt(self._flip_angle_series, key, problems),
            transmit_field=attempt(self._transmit_field, key),
            t1_map=attempt(self._t1_map, key),
            enhancing=attempt(self._rois, key, "enhancing") or (),
            whole=attempt(self._rois, key, "whole") or (),
            artery=attempt(self._artery, key),
            arterial_table=attempt(self._arterial_table, key),
            dose=attempt(self._dose, key),
            regions=attempt(self._regions, key) or (),
            transforms=attempt(self._transforms, key) or (),
        )
        table = session_table(self.raw.root, label)
        record = attempt(add_table_values, record, table) or record
        if states_blood(people := Path(self.raw.root) / "participants.tsv"):
            record = attempt(add_table_values, record, people, label) or record
        record, apart = drop_rois_off_grid(record)
        return replace(record, problems=(*problems, *apart), warnings=tuple(input_warnings(record)))

    def _files(self, query: str, key: Mapping[str, Any], **entities: Any) -> list[IndexedFile]:
        """Return the files of one query, with the user's filters applied."""
        wanted = {**QUERIES[query], "extension": _IMAGE, **key, **entities}
        chosen = self.filters.get(query, {})
        found = self._get(self.raw, {**wanted, **chosen})
        if "part" in chosen:
            return found
        return [f for f in found if f.entities.get("part") not in _COMPLEX]

    def _only(self, query: str, key: Mapping[str, Any], **entities: Any) -> IndexedFile | None:
        """Return the only file of a query, or None; several files are an error."""
        found = self._files(query, key, **entities)
        if len(found) > 1:
            instead = how_to_time(found) if query == "dce" else ""
            joined = how_to_join([Path(f.path) for f in found], instead)
            if query in ("dwi", "dce") and joined:
                raise BadInput(joined)
            names = ", ".join(sorted(f.filename for f in found))
            raise BadInput(f"several {query} images: {names}; {how_to_choose(query, found)}")
        return found[0] if found else None

    def _t1w(self, key: Mapping[str, Any]) -> Path | None:
        contrast = self._files("t1w", key, ceagent=bids.layout.Query.ANY)
        entities = {"ceagent": bids.layout.Query.ANY} if contrast else {}
        found = self._only("t1w", key, **entities)
        return image_path(found, 3) if found else None

    def _diffusion(self, key: Mapping[str, Any]) -> Diffusion | None:
        found = self._only("dwi", key)
        if not found:
            return None
        image = image_path(found, 4)
        beside = applicable_files(image, found.root, ".bval")
        if not beside:
            raise BadInput(f"{image.name}: has no .bval file")
        bval = beside[-1]
        bvalues = b_values(bval)
        volumes = series_shape(image)[3]
        if len(bvalues) != volumes:
            raise BadInput(
                f"{bval}: has {len(bvalues)} b-values, but the image has {volumes} volumes"
            )
        bvec = applicable_files(image, found.root, ".bvec")[-1:]
        for path in bvec:
            check_directions(path, volumes)
        axis = phase_axis(found.get_metadata(), image)
        directions = bvec[0] if bvec else None
        series = Diffusion(image, bvalues, directions, axis, fifth_axis=has_fifth_axis(image))
        echo, unknown = read_spin_echo(found.get_metadata(), image)
        return replace(series, spin_echo=echo, unknown_timing=unknown)

    def _dynamic(self, key: Mapping[str, Any], problems: Problems) -> tuple[Dynamic | None, bool]:
        """Return the dynamic series, and whether it can be analysed."""
        found = self._files("dce", key)
        if not is_stored_by_frame(found, self.given.frame_time):
            found = [only] if (only := self._only("dce", key)) else []
        return read_dynamic(found, self.given, problems) if found else (None, False)

    def _t1_map(self, key: Mapping[str, Any]) -> T1Map | None:
        drawn = self._user_files("t1map", key, extension=_IMAGE)
        return read_t1_map([*self._files("t1map", key), *drawn])

    def _flip_angle_series(
        self, key: Mapping[str, Any], problems: Problems
    ) -> FlipAngleSeries | None:
        return read_flip_angles(self._files("vfa", key), problems)

    def _transmit_field(self, key: Mapping[str, Any]) -> TransmitField | None:
        found = self._only("b1", key)
        if not found:
            return None
        image = image_path(found, 3)
        return TransmitField(image, transmit_scale(found.get_metadata(), image))

    def _user_files(self, query: str, key: Mapping[str, Any], **entities: Any) -> list[IndexedFile]:
        """Return the files of one query in all ROI derivatives."""
        wanted = {**QUERIES[query], **key, **entities, **self.filters.get(query, {})}
        return [file for layout in self.rois for file in self._get(layout, wanted)]

    def _get(self, layout: bids.layout.BIDSLayout, wanted: dict[str, Any]) -> list[IndexedFile]:
        """Return the files with these entities."""
        if id(layout) not in self._known:
            self._known[id(layout)] = files_by_participant(layout)
        own = self._known[id(layout)].get(wanted["subject"], [])
        return [file for file in own if has_entities(file, wanted)]

    def _rois(self, key: Mapping[str, Any], kind: str) -> tuple[Rois, ...]:
        kinds = {"segmentation": kind, "suffix": "dseg", "extension": _IMAGE}
        segmentations = self._user_files("roi", key, **kinds)
        masks = self._user_files("roi", key, desc=kind, suffix="mask", extension=_IMAGE)
        own, parts = {"subject": key["subject"]}, ["enhancing", "whole"]
        everywhere = self._user_files("roi", own, desc=parts, suffix="mask", extension=_IMAGE)
        labels = [f.entities["label"] for f in everywhere if "label" in f.entities]
        return find_rois(kind, segmentations, masks, number_masks(labels))

    def _artery(self, key: Mapping[str, Any]) -> Rois | None:
        found = self._user_files("aif", key, suffix="mask", extension=_IMAGE)
        if len(found) > 1:
            names = ", ".join(sorted(f.filename for f in found))
            raise BadInput(f"several AIF masks: {names}; {how_to_choose('aif', found)}")
        if not found:
            return None
        image = image_path(found[0], 3)
        if not read_labels(image).any():
            raise BadInput(f"{image}: the AIF mask is empty; draw the artery")
        return Rois(image, space_of(found[0]), (Lesion(1, "AIF"),))

    def _regions(self, key: Mapping[str, Any]) -> tuple[tuple[str, Rois], ...]:
        """Return the user's regions by name: a mask of the reference, otherwise label images."""
        found = []
        for name in self.regions:
            entity = "label" if name == "reference" else "segmentation"
            files = self._user_files("roi", key, extension=_IMAGE, **{entity: name})
            found += [(name, rois) for rois in read_region(name, files)]
        return tuple(found)

    def _transforms(self, key: Mapping[str, Any]) -> tuple[UserTransform, ...]:
        """Return the user's transforms that replace registrations; other transforms are ignored."""
        found = self._user_files("xfm", key, mode="image", extension=".txt")
        ends = [(f.entities.get("from"), f.entities.get("to")) for f in found]
        for file, (moving, goal) in zip(found, ends, strict=True):
            if goal == "individual" and moving != "T1w":
                raise BadInput(
                    f"{file.path}: bypasses the T1w and cannot be used; provide one transform to "
                    "the T1w (to-T1w) and one of the T1w to the baseline (from-T1w_to-individual)"
                )
        return tuple(
            UserTransform(wanted, Path(file.path))
            for wanted, goal in _GOALS.items()
            for file, end in zip(found, ends, strict=True)
            if end == (wanted, goal)
        )

    def _dose(self, key: Mapping[str, Any]) -> Path | None:
        return read_dose_map(self._user_files("dose", key, extension=_IMAGE))

    def _arterial_table(self, key: Mapping[str, Any]) -> Path | None:
        found = self._user_files("aif", key, suffix="timeseries", extension=".tsv")
        return Path(found[0].path) if found else None


def read_filters(path: Path) -> dict[str, dict[str, Any]]:
    """Read a ``--bids-filter-file``: JSON with ``null`` for no value and ``"*"`` for any value.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    UsageError
        If it is not JSON of that form, or names an unknown query.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error})") from error
    special = {None: bids.layout.Query.NONE, "*": bids.layout.Query.ANY}
    if not isinstance(raw, dict) or not all(isinstance(v, dict) for v in raw.values()):
        raise UsageError(f'{path}: must look like {{"dwi": {{"run": 1}}}}')
    for name in raw:
        if name not in QUERIES:
            raise UsageError(f"{path}: no query is named {name!r}; use {', '.join(QUERIES)}")
    return {
        name: {
            k: special.get(v, v) if v is None or isinstance(v, str) else v
            for k, v in entities.items()
        }
        for name, entities in raw.items()
    }
