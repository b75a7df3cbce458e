"""Digital reference object: a BIDS data set of real anatomy whose truth is known."""

from bidsapp.phantom.dataset import write_phantom

__all__ = ["write_phantom"]
