"""niimath: AFNI's 3dAllineate, by the local Pearson correlation."""

import json
import subprocess
from pathlib import Path

from registering import THREADS, run  # first: it sets the threads

import niimath  # isort: skip

COST = {"b0": "lpc", "dce": "lpa", "followup": "lpa"}
WARP = {"affine": "aff", "rigid": "shr"}


def allineate(pair):
    matrix, image = Path(pair["scratch"], "matrix.json"), Path(pair["scratch"], "aligned.nii")
    command = [
        niimath.bin, pair["moving"], "-gz", "0", "-p", THREADS, "-allineate", pair["brain"],
        "-cost", COST[pair["kind"]], "-warp", WARP[pair["transform"]], "-source_automask",
        "-savemat", matrix, image,
    ]  # fmt: skip
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return json.loads(matrix.read_text())["fixed_to_moving"]


run("niimath", {"-allineate lpc/lpa": allineate})
