"""Pairs of simulated images of heads, with a known transform between them."""

from benchmarks.heads.case import KINDS, Case, Error, best_affine, error
from benchmarks.heads.draw import draw_case
from benchmarks.heads.patients import SEED
from benchmarks.heads.spoilers import SPOILT, STRESSES, UNANSWERABLE

__all__ = [
    "KINDS",
    "SEED",
    "SPOILT",
    "STRESSES",
    "UNANSWERABLE",
    "Case",
    "Error",
    "best_affine",
    "draw_case",
    "error",
]
