"""The edge where BIDS comes in and goes out."""
