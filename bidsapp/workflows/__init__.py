"""nipype graphs; no computing happens here."""
