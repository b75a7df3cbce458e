"""One run of the app: participants, then the group."""
