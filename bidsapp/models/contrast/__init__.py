"""From signal to concentration: SPGR, relaxation times, the arterial input."""
