"""Other packages' fits of the same data: each runner is a script for that package's own Python."""
