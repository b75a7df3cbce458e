"""How fast and how good the models are, measured; `scripts/bench` runs it."""
