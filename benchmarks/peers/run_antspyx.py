"""ANTs by antspyx: Mattes mutual information, with default and with tuned settings."""

from pathlib import Path

from registering import from_points, run  # first: it sets the threads

import ants  # isort: skip

STAGES = {"affine": ("Rigid", "Affine"), "rigid": ("Rigid",)}
FINER = {
    "aff_iterations": (1000, 500, 250, 20),
    "aff_shrink_factors": (6, 4, 2, 1),
    "aff_smoothing_sigmas": (3, 2, 1, 0),
    "grad_step": 0.1,
}


def registration(pair, stages, **options):
    fixed, moving = ants.image_read(pair["fixed"]), ants.image_read(pair["moving"])
    found = None
    for stage in stages:
        found = ants.registration(
            fixed, moving, type_of_transform=stage, initial_transform=found,
            aff_metric="mattes", random_seed=1,
            outprefix=str(Path(pair["scratch"], stage)), **options,
        )["fwdtransforms"][0]  # fmt: skip
    transform = ants.read_transform(found)
    return from_points(lambda point: ants.apply_ants_transform_to_point(transform, point))


def default(pair):
    return registration(pair, STAGES[pair["transform"]][-1:])


def register_tuned(pair):
    return registration(pair, STAGES[pair["transform"]], **FINER)


run("antspyx", {"Mattes, defaults": default, "Mattes, tuned": register_tuned})
