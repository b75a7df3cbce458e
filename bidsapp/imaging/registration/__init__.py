"""Registration of one image to another, with its expected error."""
