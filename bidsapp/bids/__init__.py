"""BIDS input and output."""
