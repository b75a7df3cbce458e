"""The head of the participant page: settings, verdict, quality, and a card for each lesion."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bidsapp.bids import outputs
from bidsapp.models import MODELS
from bidsapp.reports.page.numbers import count_of, format_number
from bidsapp.reports.participant.cards import LesionCard, lesion_cards
from bidsapp.reports.participant.kinds import UNREADABLE, Finding, FindingGroup, group_by_kind
from bidsapp.reports.participant.records import ParticipantOutputs, SessionOutputs, read_json
from bidsapp.reports.participant.response import response_tables
from bidsapp.reports.participant.tiles import Tile, quality_tiles

_ARTERIES = {
    "roi": "AIF measured in an ROI",
    "auto": "AIF measured in voxels found automatically",
    "table": "AIF from a table",
    "parker2006": "AIF of a population (Parker 2006)",
    "georgiou2019": "AIF of a population (Georgiou 2019)",
}
_NOISE = {"gaussian": "Gaussian noise", "rician": "Rician noise"}
_SPACES = {"native": "fitted on native grids", "T1w": "fitted on the grid of the T1w"}


@dataclass(frozen=True)
class Head:
    """The content of the head, for the template.

    Attributes
    ----------
    settings : sequence of str
    verdict : (str, str)
        Class of its colour, and text.
    patient : str
        Response of the patient by RANO-BM; empty if it is not known.
    tiles : sequence of Tile
    cards : sequence of LesionCard
    legend : sequence of str
        Meaning of the marks on the cards.
    groups : sequence of FindingGroup
    """

    settings: Sequence[str]
    verdict: tuple[str, str]
    patient: str
    tiles: Sequence[Tile]
    cards: Sequence[LesionCard]
    legend: Sequence[str]
    groups: Sequence[FindingGroup]


def build_head(participant: ParticipantOutputs, found: Sequence[Finding]) -> Head:
    """Return the head of a page; a part that cannot be created is another finding.

    Parameters
    ----------
    participant : ParticipantOutputs
    found : sequence of Finding

    Returns
    -------
    head : Head
    """
    known = list(found)

    def attempt(name: str, build: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return build()
        except Exception as error:  # one damaged file must not prevent the rest of the page
            text = f"{name}: could not be created ({type(error).__name__}: {error})"
            known.insert(0, Finding("failed", text, "provenance", kind=UNREADABLE))
            return otherwise

    settings = attempt("Settings", lambda: settings_line(participant), [])
    patient = attempt("Response", lambda: patient_response(participant), "")
    cards = attempt("Lesions", lambda: lesion_cards(participant), [])
    tiles = attempt("Quality", lambda: quality_tiles(participant, known), [])
    first = participant.sessions[0].name if participant.sessions else ""
    legend = list(card_legend(cards, first))
    return Head(settings, verdict(known), patient, tiles, cards, legend, group_by_kind(known))


def settings_line(participant: ParticipantOutputs) -> list[str]:
    """Return the models and settings of the last analysis, as its own records state them.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    words : list of str
    """
    used = {row.title: _parameters(participant.sessions, row.name) for row in MODELS.values()}
    used = {title: found for title, found in used.items() if found}
    # The ADC is fitted beside every other diffusion model.
    words = [title for title in used if title != MODELS["adc"].title or len(used) == 1]
    kinetic = [one for found in used.values() for one in found]
    sources = dict.fromkeys(one["arterial_input"] for one in kinetic if "arterial_input" in one)
    words += [_ARTERIES.get(name, f"AIF: {name}") for name in sources]
    words += _t1_words(one["t1_tissue"] for one in kinetic if "t1_tissue" in one)
    records = [record for record in participant.status.values() if "options" in record]
    if records:
        words += _option_words(records[-1]["options"], diffusion=_has_diffusion(participant))
    versions = dict.fromkeys(str(r["version"]) for r in records if r.get("version"))
    return [*words, *(f"metperf {version}" for version in versions)]


def _has_diffusion(participant: ParticipantOutputs) -> bool:
    return any(session.ran("dwi") for session in participant.sessions)


def _parameters(sessions: Iterable[SessionOutputs], model: str) -> list[Mapping[str, Any]]:
    """Return the settings of a model in each session, from the sidecar of its first map."""
    row = MODELS[model]
    labels = {"model": row.label, "param": row.parameters[0].name, "desc": ""}
    kinds = (outputs.ADC_MAP,) if model == "adc" else (outputs.DCE_MAP, outputs.DWI_MAP)
    entities = {} if model == "adc" else labels
    found = [s.files(kind, extension=".json", **entities) for s in sessions for kind in kinds]
    return [read_json(paths[0]).get("Model", {}).get("Parameters", {}) for paths in found if paths]


def _t1_words(values: Iterable[Any]) -> list[str]:
    """Return from where T1 of tissue was taken."""
    different = dict.fromkeys(values)
    texts = [f"T1 {v}" if isinstance(v, str) else f"T1 assumed, {v:.3g} s" for v in different]
    return [" or ".join(texts)] if texts else []


def _option_words(options: Mapping[str, Any], *, diffusion: bool) -> list[str]:
    """Return the options of a run that matter to a reader."""
    words = []
    if diffusion:
        words += [_NOISE.get(options.get("noise", ""), "")]
        words += ["denoised"] if options.get("denoise", "none") != "none" else []
        if options.get("distortion", "none") != "none":
            words.append("corrected for distortion")
    moved = options.get("motion_correction")
    words += [] if moved is None else ["motion corrected" if moved else "motion not corrected"]
    words += ["outliers excluded"] if options.get("drop_outliers") else []
    words.append(_SPACES.get(options.get("fit_space", ""), ""))
    return [word for word in words if word]


def patient_response(participant: ParticipantOutputs) -> str:
    """Return the last assessment of the patient by RANO-BM; empty if there is none.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    text : str
    """
    tables = response_tables(participant)
    rows = pd.DataFrame() if tables is None else tables.patients
    known = rows if rows.empty else rows[~rows["response"].isin(["n/a", "NE"])]
    if known.empty:
        return ""
    last = known.iloc[-1].to_dict()
    session = next(s for s in participant.sessions if s.label == last["session_id"])
    change = last["from_baseline_percent"]
    text = f"RANO-BM at {session.heading}: {last['response']}"
    if pd.isna(change):
        return text
    return f"{text}, sum of diameters {format_number(change, 0, sign=True)} %"


def card_legend(cards: Iterable[LesionCard], first: str) -> Iterable[str]:
    """Yield the meaning of the marks that the cards contain.

    Parameters
    ----------
    cards : iterable of LesionCard
    first : str
        Name of the first session.

    Yields
    ------
    sentence : str
    """
    shown = list(cards)
    cells = [cell for card in shown for row in card.rows for cell in row.cells]
    if not any(cell.change for cell in cells):
        if shown:
            yield "Means over the enhancing part; volume of the whole lesion."
        return
    yield f"Means over the enhancing part; volume of the whole lesion; below, change since {first}."
    meanings = {cell.mark.meaning for cell in cells if cell.change}
    if "beyond" in meanings:
        yield "▲▼ beyond the limit of this study; of a volume: progression or response."
    if "published" in meanings:
        yield "△▽ beyond a published limit, of other scanners and patients."
    if "within" in meanings:
        yield "→ within the limit."
    if "none" in meanings:
        yield "Italic: no limit is known."


def verdict(found: Iterable[Finding]) -> tuple[str, str]:
    """Summarise the findings in one line.

    Parameters
    ----------
    found : iterable of Finding

    Returns
    -------
    tone, text : str
        ``tone`` is good, warn or bad.

    Examples
    --------
    >>> verdict([])
    ('good', 'Complete, without warnings.')
    >>> verdict([Finding("missing", "1week: no DCE", "overview")])
    ('good', 'Complete for the data acquired; 1 item is missing.')
    """
    levels = [finding.level for finding in found]
    failed, warned, missing = (levels.count(level) for level in ("failed", "warning", "missing"))
    if failed:
        text = f"{count_of(failed, 'failure')}; check them before using any result."
        return "bad", text
    if warned:
        return "warn", f"Complete, with {count_of(warned, 'warning')}; check the details."
    if missing:
        verb = "is" if missing == 1 else "are"
        return (
            "good",
            f"Complete for the data acquired; {count_of(missing, 'item')} {verb} missing.",
        )
    return "good", "Complete, without warnings."
