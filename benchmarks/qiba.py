"""Errors of the Tofts fit on QIBA's digital reference object, version 6.

    python -m benchmarks.qiba qiba6.mat --every 4

The object is Duke University's: free for education and research, not for commerce, hence not part
of this project. It is ``test/q6/qiba6.mat`` of https://github.com/davidssmith/DCEMRI.jl, commit
cb37abc3b47748823b6e6966f04910cd7a1250f0 (Smith et al., PeerJ 2015, doi:10.7717/peerj.909).
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from bidsapp.models import Fit, fit
from bidsapp.models.contrast.spgr import signal_to_concentration

KTRANS = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.35])
"""Truth of the six rows, 1/min."""
VE = np.array([0.01, 0.05, 0.1, 0.2, 0.5])
"""Truth of the five columns."""
BOUNDS = {"kep": (0.0, 40.0)}  # the object has rates up to 35 /min, above those of tissue


def fit_object(path: Path, every: int) -> Fit:
    """Fit the (6, 5) patches, of which the file holds one noise-free curve each.

    The file gives the plasma (mM), time (s), TR (s), flip angle (degrees), R1 (1/s), relaxivity.
    """
    found = loadmat(path)
    time, plasma = (found[name].ravel() for name in ("t", "Cp"))
    signal = np.moveaxis(found["DCEdata"], 0, -1)
    before = plasma < 1e-6 * plasma.max()
    tissue = signal_to_concentration(
        signal,
        signal[..., : np.argmin(before)].mean(axis=-1),
        t1=1 / found["R10"],
        repetition_time=found["TR"].item(),
        flip_angle=np.deg2rad(found["DCEflip"].item()),
        relaxivity=found["relaxivity"].item(),
    )
    kept = slice(None, None, every)
    return fit("tofts", tissue[..., kept], time=time[kept] / 60, plasma=plasma[kept], bounds=BOUNDS)


def main() -> None:
    """Print the errors of every patch in percent, and their medians."""
    parser = argparse.ArgumentParser(description="Errors of the Tofts fit on QIBA's object v6")
    parser.add_argument("path", type=Path, help="qiba6.mat of DCEMRI.jl")
    parser.add_argument("--every", type=int, default=1, help="keep every n-th frame of 0.5 s")
    options = parser.parse_args()
    values = fit_object(options.path, options.every).values
    truth = {"Ktrans": KTRANS[:, None], "ve": VE[None, :]}
    for name, true in truth.items():
        error = 100 * (values[name] / true - 1)
        print(f"{name}: error in %; rows Ktrans {KTRANS} 1/min, columns ve {VE}")
        print(np.array2string(error, precision=3, suppress_small=True))
        size = np.abs(error)
        middle, largest = np.nanmedian(size), size[:, 1:].max()
        print(f"median {middle:.3f} %; largest at ve >= 0.05 {largest:.3f} %\n")


if __name__ == "__main__":
    main()
