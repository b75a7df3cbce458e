"""How fast and how good the models are, measured: `scripts/bench`; `qiba` is run by hand."""
