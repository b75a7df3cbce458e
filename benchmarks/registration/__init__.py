"""How accurate, robust and honest registration is, on heads whose truth is known."""
