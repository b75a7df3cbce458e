"""What is told while participants are analysed: living lines on a terminal, else log lines."""

from bidsapp.run.engine.progress import Lines, progress

__all__ = ["Lines", "progress"]
