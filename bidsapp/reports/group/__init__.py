"""The page of the group level."""
