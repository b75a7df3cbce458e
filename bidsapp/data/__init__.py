"""Templates, constants with their citation, and the pybids configuration."""
