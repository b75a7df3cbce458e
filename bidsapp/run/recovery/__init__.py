"""Known changes in the series of finished runs: what is on disk, the tables, and the pages."""
