"""nipype graphs of the participant level; no computation takes place here."""
