"""How much of a known change in a lesion a scan and its analysis recover; arrays to numbers."""
