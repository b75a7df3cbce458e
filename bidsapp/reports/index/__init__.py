"""The index of an output folder: all participants, with links to their pages."""
