"""Contours and masks of other programs: from files to regions on a given grid."""
