"""Accuracy, robustness and self-assessment of registration, on heads with known truth."""
