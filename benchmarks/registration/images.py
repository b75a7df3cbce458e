"""Comparison of images of the dynamic series, and of metrics, for registration."""

from benchmarks.registration.accuracy import strips
from benchmarks.registration.trials import Trial, run_all, summary
from benchmarks.report import Section
from benchmarks.settings import Settings

PAIRS = 16
IMAGES = ("mean", "peak", "precontrast")
METRICS = ("lpa", "lpp")

TEXT = """The same pairs with different images of the DCE: the mean of all 60 frames, of the three
frames around the arterial peak, and of the five frames before contrast, with the corresponding
noise. There is no motion within the series."""


def run(settings: Settings) -> Section:
    """Register every image with every metric."""
    trials = [
        Trial("dce", seed, image=image, metric=metric)
        for image in IMAGES
        for seed in range(settings.count(PAIRS, least=1))
        for metric in METRICS
    ]
    table = run_all(trials, settings)
    named = table.assign(image=table["image"] + ", " + table["metric"])
    return Section(
        "Registration: choice of the DCE image",
        TEXT,
        {"registration_images": summary(table, ["image", "metric"])},
        {"registration_images": strips(named, "image")},
        {"registration_images_all": table},
    )
