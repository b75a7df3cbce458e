"""ivim-mri: its only interface is NIfTI files, so its time includes reading and writing."""

import tempfile
from pathlib import Path

import nibabel
import numpy as np
from harness import Method, run
from ivim.fit import bayes, nlls, seg


def files(function, **options):
    def fit(data):
        with tempfile.TemporaryDirectory() as folder:
            image, bvalues, out = (str(Path(folder, x)) for x in ("i.nii.gz", "i.bval", "out"))
            volume = data["signal"][:, None, None, :].astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), image)
            np.savetxt(bvalues, data["bvalues"][None], fmt="%g")
            function(image, bvalues, outbase=out, **options)
            paths = {name: Path(f"{out}_{name}.nii.gz") for name in ("f", "D", "Dstar")}
            return {
                name: nibabel.load(path).get_fdata().ravel()
                for name, path in paths.items()
                if path.exists()
            }

    return fit


BOTH = ("ivim6", "ivim16")
simplified = files(seg, regime="no", bthr=200)
segmented = files(seg, regime="diffusive", bthr=200)
run(
    "ivim-mri",
    [
        Method("seg, no D*", "ivim-asymptotic", BOTH, 20000, simplified),
        Method("seg", "ivim-segmented", BOTH, 20000, segmented),
        Method("nlls", "ivim-biexponential", BOTH, 1000, files(nlls, regime="diffusive")),
        Method("bayes", "ivim-bayesian", BOTH, 100, files(bayes, regime="diffusive"), repeats=1),
    ],
)
