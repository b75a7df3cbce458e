"""Digital reference object: a simulated BIDS data set with known perfusion."""

from bidsapp.phantom.dataset import write_phantom

__all__ = ["write_phantom"]
