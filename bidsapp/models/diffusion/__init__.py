"""Diffusion models: ADC and IVIM, their priors and their noise."""
