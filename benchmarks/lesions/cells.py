"""The cells of the benchmark: what the lesions, the ROIs and the images are like."""

from dataclasses import dataclass

SEED = 52_000
"""Of everything here; nothing was developed on it."""
REGISTRATION_ERROR = 0.26
"""Expected distance between the ROI and its true place, mm: that of a DWI of the phantom."""


@dataclass(frozen=True)
class Cell:
    """What is simulated.

    Attributes
    ----------
    resolution : str
        A key of `bidsapp.phantom.series.PROTOCOLS`.
    uneven, veins : bool
        Whether lesions vary within, and whether veins pass them.
    offset : float, mm
        Displacement of all drawn edges of a session, outwards or inwards at random.
    spread : float, mm
        Standard deviation of drawn edges along each lesion, with a random offset of each session.
    fourier : bool
        Whether voxels have the point spread function of a Fourier image, also across the slices of
        the DCE, which is a 3D acquisition; otherwise they are means over boxes, as in the phantom.
    study : bool
        Whether the lesions are those of the reference cohort, whose summary statistics are those of
        the published study, without repeat scans.
    """

    resolution: str = "fast"
    uneven: bool = False
    veins: bool = False
    offset: float = 0.0
    spread: float = 0.0
    fourier: bool = False
    study: bool = False


CELLS = {
    "exact": Cell(),
    "exact-paper": Cell("paper"),
    "edges": Cell(offset=0.5),
    "edges-paper": Cell("paper", offset=0.5),
    "uneven": Cell(uneven=True),
    "uneven-paper": Cell("paper", uneven=True),
    "veins": Cell(veins=True),
    "fourier": Cell(fourier=True),
    "all": Cell(uneven=True, veins=True, spread=0.5),
    "all-paper": Cell("paper", uneven=True, veins=True, spread=0.5),
    "study": Cell("paper", uneven=True, veins=True, spread=0.5, study=True),
    "all-fourier": Cell("paper", uneven=True, veins=True, spread=0.5, fourier=True),
}
