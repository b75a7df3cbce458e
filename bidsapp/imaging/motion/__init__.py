"""Motion within a series: estimated volume by volume, corrected in one interpolation."""
