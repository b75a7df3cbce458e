"""Execution of graphs: nipype plugins, locks, signals and the display of progress."""

from bidsapp.run.engine.progress import ParticipantProgress, Progress, show_progress

__all__ = ["ParticipantProgress", "Progress", "show_progress"]
