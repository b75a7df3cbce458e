"""EPI distortion along the phase-encode axis: from a field map, a reversed image or the T1w."""
