"""Conversion of what other programs write into BIDS data sets and their derivatives."""
