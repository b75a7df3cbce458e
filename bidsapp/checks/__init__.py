"""Whether the signal of a series agrees with its description; arrays in, `Finding`s out."""

from bidsapp.checks.finding import Finding

__all__ = ["Finding"]
