"""Alignment of the images from which T1 is mapped."""
