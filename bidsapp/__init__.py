"""metperf: perfusion MRI (IVIM and DCE) of brain tumours under treatment, as a BIDS App."""
