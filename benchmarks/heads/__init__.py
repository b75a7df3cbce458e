"""Pairs of images of the phantom's heads, with a known transform between them."""

from benchmarks.heads.cases import KINDS, SEED, STRESSES, Case, draw_case, error

__all__ = ["KINDS", "SEED", "STRESSES", "Case", "draw_case", "error"]
