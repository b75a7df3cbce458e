"""DICOM of an MR scanner to BIDS: headers, proposed use of each series, conversion, sidecars."""
