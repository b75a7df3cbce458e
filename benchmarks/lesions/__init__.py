"""Lesion values of simulated participants, compared with the truth."""
