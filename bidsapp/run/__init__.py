"""A run: the participant level, then the group level."""
