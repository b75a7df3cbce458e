#!/usr/bin/env python3
"""BIDS App entry point: run.py bids_dir output_dir {participant,group}."""

import sys

from bidsapp.cli.main import main

if __name__ == "__main__":  # processes of the phantom import this file again
    sys.exit(main())
