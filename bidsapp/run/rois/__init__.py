"""ROIs of a study from contours of other programs: read, placed on the T1w, numbered, written."""
