"""metperf: perfusion MRI (IVIM and DCE) of brain tumours under treatment, as a BIDS App."""

import os

os.environ.setdefault("NO_ET", "1")  # nipype asks a server for its newest version without it
