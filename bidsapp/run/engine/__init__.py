"""How a graph is run: nipype's plugins, locks, signals and the progress that is shown."""

from bidsapp.run.engine.progress import Progress, show_progress

__all__ = ["Progress", "show_progress"]
