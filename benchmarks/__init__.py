"""Benchmarks of models and registration, for `scripts/bench`; `qiba` is run separately."""
