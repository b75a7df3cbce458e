"""What is told while participants are analysed: living lines on a terminal, else log lines."""

from bidsapp.progress.lines import Lines, progress

__all__ = ["Lines", "progress"]
