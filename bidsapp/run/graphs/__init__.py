"""nipype graphs, and the engine that runs them; no computing happens here."""
