"""Elements shared by all pages: blocks, style, number formats, templates."""
