"""What a model and a fit are, and the one solver that all models share."""
