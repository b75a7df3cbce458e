"""Execution of graphs: nipype plugins, locks, signals and the display of progress."""

from bidsapp.run.engine.progress import Progress, show_progress

__all__ = ["Progress", "show_progress"]
