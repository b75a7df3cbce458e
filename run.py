#!/usr/bin/env python3
"""BIDS App entry point: run.py bids_dir output_dir {participant,group}."""

import sys

from bidsapp.cli.main import main

sys.exit(main())
