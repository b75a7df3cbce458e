"""Which image of the dynamic series serves registration best, and by which metric."""

from benchmarks.registration.accuracy import strips
from benchmarks.registration.trials import Trial, run_all, summary
from benchmarks.report import Section
from benchmarks.settings import Settings

PAIRS = 16
IMAGES = ("mean", "peak", "precontrast")
METRICS = ("lpa", "lpp")

TEXT = """The same pairs with another image of the DCE: the mean of all 60 frames, of the three
around the peak of the arterial blood, of the five before contrast; each has the noise of as many
frames. No motion within the series."""


def run(settings: Settings) -> Section:
    """Register every image by every metric."""
    trials = [
        Trial("dce", seed, image=image, metric=metric)
        for image in IMAGES
        for seed in range(settings.count(PAIRS, least=1))
        for metric in METRICS
    ]
    table = run_all(trials, settings)
    named = table.assign(image=table["image"] + ", " + table["metric"])
    return Section(
        "Registration: which DCE image",
        TEXT,
        {"registration_images": summary(table, ["image", "metric"])},
        {"registration_images": strips(named, "image")},
        {"registration_images_all": table},
    )
