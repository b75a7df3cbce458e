"""Registration of a T1w to an earlier one, with lesions that have shrunk or grown since."""

from dataclasses import replace

from benchmarks.registration.accuracy import strips
from benchmarks.registration.trials import Trial, run_all, summary
from benchmarks.report import Section
from benchmarks.settings import Settings

PAIRS, COMPARED, STRESSED = 40, 8, 6
METRICS = ("lpp", "lpa", "nmi")
STRESSES = ("far", "noisy", "resection", "unmasked")

TEXT = """A T1w (1 x 1.1 x 1.5 mm) is registered rigidly to that of an earlier session (1 mm):
rotations of up to 15 degrees about each axis, shifts of up to 30 mm. In the later session the
lesions have 10 % or 300 % of their volume. The error refers to the lesions of the earlier session.
"left out": the lesions, with a margin of 3 mm, are excluded from the mask of the fixed image."""


def run(settings: Settings) -> Section:
    """Register all pairs with the metrics and masks to be compared."""
    many = [Trial("followup", seed) for seed in range(settings.count(PAIRS))]
    few = many[: settings.count(COMPARED)]
    masks = (True, False)
    compared = [
        replace(trial, metric=metric, leave_out=left)
        for trial in few
        for metric in METRICS
        for left in masks
    ]
    stressed = [
        Trial("followup", seed, stress)
        for stress in STRESSES
        for seed in range(settings.count(STRESSED))
    ]
    table = run_all([*many, *compared, *stressed], settings)
    table["lesions"] = (table["seed"] % 2).map({0: "shrunk", 1: "grown"})
    table["mask"] = table["leave_out"].map({True: "left out", False: "brain"})
    first, then = len(many), len(many) + len(compared)
    metrics = table[first:then]
    return Section(
        "Registration: sessions",
        TEXT,
        {
            "registration_followups": summary(table[:first], ["lesions"]),
            "registration_followups_metric": summary(metrics, ["metric", "mask", "lesions"]),
            "registration_followups_stress": summary(table[then:], ["stress"]),
        },
        {"registration_followups": strips(table[:first].assign(kind="follow-up"), "lesions")},
        {"registration_followups_all": table},
    )
