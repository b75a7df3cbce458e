"""Measurements against data that cannot be part of the project, run by hand."""
