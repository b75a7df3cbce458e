"""Every parameter of the models, one row each: unit, range, meaning, and how it is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Display:
    """How a parameter is shown in figures and on pages: shown value = value * scale, in ``unit``.

    Attributes
    ----------
    label, unit : str
    scale : float
    digits : int
        After the decimal point.
    limits : (float, float)
        Of colour scales, in ``unit``: the same everywhere, so that sessions, lesions and
        participants can be compared.
    colormap : str
        Its name in matplotlib.
    """

    label: str
    unit: str
    scale: float
    digits: int
    limits: tuple[float, float]
    colormap: str

    @property
    def title(self) -> str:
        """Label and unit, as on an axis."""
        return f"{self.label} ({self.unit})"

    @property
    def table_unit(self) -> str:
        """The unit as it is spelt in a table: in ASCII."""
        return self.unit.replace("10⁻³ mm²/s", "1e-3 mm2/s")

    def text(self, value: float) -> str:
        """Return a stored value as shown, without its unit."""
        return "n/a" if np.isnan(value) else f"{value * self.scale:.{self.digits}f}"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model.

    Attributes
    ----------
    name : str
        Its BIDS ``param-`` label.
    unit : str
        Of maps and lesion tables.
    lower, upper : float
        Its range.
    description : str
    display : Display or None
        None for what is neither shown on a page nor drawn.
    datatype : str
        ``dwi`` or ``perf``: the images that it is estimated from; ``anat`` for the rest.
    expected : bool
        Whether a voxel should have a value; D* and the delay are often not identifiable.
    mapped : bool
        Whether its map is on the page of a participant, if it has a display.
    followed : bool
        Whether the group level tabulates it and compares it between time points.
    lesion_range : (float, float)
        Lowest and highest plausible mean over a lesion of the brain, in ``unit``.
    white_range : (float, float) or None
        Lowest and highest plausible mean over normal white matter, in ``unit``, if known.
    """

    name: str
    unit: str
    lower: float
    upper: float
    description: str
    display: Display | None = None
    datatype: str = "anat"
    expected: bool = True
    mapped: bool = True
    followed: bool = False
    lesion_range: tuple[float, float] = (-np.inf, np.inf)
    white_range: tuple[float, float] | None = None

    @property
    def is_fraction(self) -> bool:
        """Whether it is a fraction of a volume, which cannot exceed 1."""
        return (self.unit, self.upper) == ("1", 1.0)


_DIFFUSIVITY = "10⁻³ mm²/s"
_RATE = "1/min"
_WATER = (0.2e-3, 3.5e-3)
"""Plausible diffusivity of a lesion: dense cells or pus to free water at 37 degrees, mm2/s."""
_LEAKAGE = (0.0, 5.0)
"""Plausible Ktrans, flow or permeability of a lesion; tumours reach about 2, 1/min."""

# Ranges of normal white matter. ADC: Sener, Comput Med Imaging Graph 2001,
# doi:10.1016/s0895-6111(00)00083-5. Ktrans: 0 to the mean plus one SD of Larsson et al., Magn Reson
# Med 2009, doi:10.1002/mrm.22136, 0.8 (0.3) ml/100 g/min; other authors find a tenth of it, and
# values vary widely with the method (Heye et al., NeuroImage Clin 2014,
# doi:10.1016/j.nicl.2014.09.002). vp: blood volume of Larsson et al., 4 (1) ml/100 g, times the
# fraction of plasma, extended downwards for other methods and because the T1 assumed without a T1
# map is that of grey matter, which halves the concentration of white matter.

VP = Parameter(
    "vp",
    "1",
    0.0,
    1.0,
    "plasma volume fraction",
    Display("vp", "%", 100, 1, (0, 10), "inferno"),
    "perf",
    followed=True,
    lesion_range=(0.0, 0.3),
    white_range=(0.003, 0.035),
)
KTRANS = Parameter(
    "Ktrans",
    _RATE,
    0.0,
    np.inf,
    "volume transfer constant",
    Display("Ktrans", _RATE, 1, 3, (0, 0.15), "inferno"),
    "perf",
    followed=True,
    lesion_range=_LEAKAGE,
    white_range=(0.0, 0.011),
)
FP = Parameter(
    "Fp",
    _RATE,
    0.0,
    np.inf,
    "plasma flow",
    Display("Fp", _RATE, 1, 2, (0, 1), "inferno"),
    "perf",
    followed=True,
    lesion_range=_LEAKAGE,
)
PS = Parameter(
    "PS",
    _RATE,
    0.0,
    np.inf,
    "permeability surface area product",
    Display("PS", _RATE, 1, 3, (0, 0.15), "inferno"),
    "perf",
    followed=True,
    lesion_range=_LEAKAGE,
)
VE = Parameter(
    "ve",
    "1",
    0.0,
    1.0,
    "extravascular extracellular volume fraction",
    Display("ve", "%", 100, 1, (0, 30), "viridis"),
    "perf",
    followed=True,
    lesion_range=(0.0, 1.0),
)
KEP = Parameter(
    "kep",
    _RATE,
    0.0,
    10.0,
    "rate constant from tissue to plasma, Ktrans / ve",
    Display("kep", _RATE, 1, 2, (0, 3), "viridis"),
    "perf",
    mapped=False,
)
DELAY = Parameter(
    "delay",
    "min",
    -0.1,
    0.3,
    "arrival of the bolus in tissue after the artery",
    Display("Delay", "s", 60, 1, (0, 10), "viridis"),
    "perf",
    expected=False,
)
_AREA, _SLOPE = "mM min", "mM/min"
IAUC60 = Parameter(
    "iAUC60",
    _AREA,
    0.0,
    np.inf,
    "initial area under the concentration curve, 60 s from the arrival of the bolus",
    Display("iAUC60", _AREA, 1, 3, (0, 0.5), "inferno"),
    "perf",
    followed=True,
    lesion_range=(0.0, 5.0),
)
IAUC90 = Parameter(
    "iAUC90",
    _AREA,
    0.0,
    np.inf,
    "initial area under the concentration curve, 90 s from the arrival of the bolus",
    Display("iAUC90", _AREA, 1, 3, (0, 0.8), "inferno"),
    "perf",
    expected=False,
    mapped=False,
    followed=True,
    lesion_range=(0.0, 8.0),
)
TTP = Parameter(
    "TTP",
    "min",
    0.0,
    np.inf,
    "time to peak: from the arrival of the bolus to the end of the wash-in, at least one frame",
    Display("TTP", "s", 60, 0, (0, 60), "viridis"),
    "perf",
    expected=False,
    followed=True,
)
WASHIN = Parameter(
    "washin",
    _SLOPE,
    0.0,
    np.inf,
    "wash-in slope: concentration at the peak divided by the time to peak",
    Display("Wash-in", _SLOPE, 1, 2, (0, 3), "inferno"),
    "perf",
    followed=True,
    lesion_range=(0.0, 50.0),
)
WASHOUT = Parameter(
    "washout",
    _SLOPE,
    -np.inf,
    np.inf,
    "wash-out slope: slope of the line after the peak, negative if the agent leaves",
    Display("Wash-out", _SLOPE, 1, 3, (-0.05, 0.05), "coolwarm"),
    "perf",
    expected=False,
    followed=True,
)
IAUC60BN = Parameter(
    "iAUC60BN",
    "1",
    0.0,
    np.inf,
    "iAUC60 of tissue relative to that of arterial plasma (blood-normalised)",
    Display("iAUC60BN", "%", 100, 1, (0, 30), "viridis"),
    "perf",
    expected=False,
    followed=True,
    lesion_range=(0.0, 2.0),
)
ADC = Parameter(
    "ADC",
    "mm2/s",
    0.0,
    1e-2,
    "apparent diffusion coefficient",
    Display("ADC", _DIFFUSIVITY, 1e3, 2, (0, 2.5), "viridis"),
    "dwi",
    followed=True,
    lesion_range=_WATER,
    white_range=(0.6e-3, 1.05e-3),
)
F = Parameter(
    "f",
    "1",
    0.0,
    1.0,
    "perfusion fraction",
    Display("f", "%", 100, 1, (0, 20), "inferno"),
    "dwi",
    followed=True,
    lesion_range=(0.0, 0.5),
)
FT2 = Parameter(
    "fT2",
    "1",
    0.0,
    1.0,
    "perfusion fraction corrected for the relaxation of blood and tissue",
    Display("f (T2)", "%", 100, 1, (0, 20), "inferno"),
    "dwi",
    lesion_range=(0.0, 1.0),
)
D = Parameter(
    "D",
    "mm2/s",
    1e-5,
    5e-3,
    "diffusion coefficient of tissue water",
    Display("D", _DIFFUSIVITY, 1e3, 2, (0, 2.5), "viridis"),
    "dwi",
    lesion_range=_WATER,
)
DSTAR = Parameter(
    "Dstar",
    "mm2/s",
    3e-3,
    0.2,
    "pseudo-diffusion coefficient of blood",
    Display("D*", _DIFFUSIVITY, 1e3, 1, (0, 50), "viridis"),
    "dwi",
    expected=False,
    mapped=False,
)
DESCRIPTIVE = (IAUC60, IAUC90, IAUC60BN, TTP, WASHIN, WASHOUT)
"""Parameters that describe the shape of a curve, from which no signal can be calculated."""
VOLUME = Parameter(
    "volume",
    "ml",
    0.0,
    np.inf,
    "volume of the whole lesion",
    Display("Volume", "ml", 1, 2, (0, 30), "viridis"),
)
LONGEST_DIAMETER = Parameter(
    "longest_diameter",
    "mm",
    0.0,
    np.inf,
    "longest diameter of the whole lesion in a slice",
    Display("Diameter", "mm", 1, 1, (0, 50), "viridis"),
)
PERPENDICULAR_DIAMETER = Parameter(
    "perpendicular_diameter",
    "mm",
    0.0,
    np.inf,
    "longest diameter perpendicular to the longest one, in the same slice",
)
SLICES = Parameter("slices", "1", 0.0, np.inf, "slices that contain the whole lesion")
S0 = Parameter("S0", "arbitrary", 0.0, np.inf, "signal without diffusion weighting")
T1 = Parameter("T1", "s", 0.05, 10.0, "longitudinal relaxation time")
M0 = Parameter("M0", "arbitrary", 0.0, np.inf, "signal of full magnetisation at 90 degrees")

_ROWS = (
    VP, KTRANS, FP, PS, VE, KEP, DELAY, *DESCRIPTIVE, ADC, F, FT2, D, DSTAR,
    VOLUME, LONGEST_DIAMETER, PERPENDICULAR_DIAMETER, SLICES, S0, T1, M0,
)  # fmt: skip
PARAMETERS: Mapping[str, Parameter] = {row.name: row for row in _ROWS}
"""Every parameter by its name, in the order of all tables and figures.

The group level follows those that describe perfusion and permeability, and the ADC. It does not
follow kep (Ktrans / ve), D (close to the ADC), D* and the delay (auxiliary): each further row
makes the correction for multiple tests stricter."""

_SHOWN = {name: row.display for name, row in PARAMETERS.items() if row.display}

DISPLAY: Mapping[str, Display] = _SHOWN | {
    f"{name}_stderr": replace(
        row, label=f"SE of {row.label}", limits=(0, row.limits[1] / 5), colormap="cividis"
    )
    for name, row in _SHOWN.items()
}
"""How each parameter, and its standard error, is shown."""

FOLLOWED = tuple(name for name, row in PARAMETERS.items() if row.followed)
"""The parameters that the group level follows where the lesion tables hold them."""

MAPPED: Mapping[str, str] = {
    row.name: row.datatype
    for datatype in ("dwi", "perf")
    for row in PARAMETERS.values()
    if row.datatype == datatype and row.display and row.mapped
}
"""The parameters with a map on the page of a participant, and the folder of the map."""

FRACTIONS = tuple(name for name, row in PARAMETERS.items() if row.is_fraction)
"""The parameters that are fractions of a volume."""


def expected_parameters(datatype: str) -> tuple[str, ...]:
    """Return the parameters of a BIDS data type for which every voxel should have a value.

    Examples
    --------
    >>> [name in expected_parameters("dwi") for name in ("ADC", "f", "Dstar", "vp")]
    [True, True, False, False]
    """
    rows = (PARAMETERS[name] for name in _SHOWN)
    return tuple(row.name for row in rows if row.expected and row.datatype == datatype)
