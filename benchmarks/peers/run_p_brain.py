"""p-brain: extended Tofts by variable projection on a grid (its default), and voxel by voxel."""

from harness import Method, run
from pbrain.models.base import CurveInputs
from pbrain.models.extended_tofts import PLUGIN


def tofts(method):
    def fit(data):
        curves = CurveInputs(
            c_tissue=data["signal"].T, c_input=data["plasma"], t_s=data["time"] * 60
        )
        maps = PLUGIN.fit(curves, method=method).maps
        return {"Ktrans": maps["ktrans"] / 100, "ve": maps["ve"], "vp": maps["vp"]}  # per 100 g

    return fit


run(
    "p-brain",
    [
        Method("extended Tofts, VarPro", "extended-tofts", ("dce",), 20000, tofts("varpro")),
        Method("extended Tofts, TRF", "extended-tofts", ("dce",), 500, tofts("trf")),
    ],
)
