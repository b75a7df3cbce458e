"""From signal to concentration: SPGR, relaxation times and the arterial input."""
