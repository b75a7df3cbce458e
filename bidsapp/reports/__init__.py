"""Pages for people: plotting functions (arrays -> Figure), templates -> self-contained HTML."""
