"""The classes of models and fits, and the solver that all models share."""
