"""Fits of the same data by other packages; each runner is a script for their own Python."""
