"""Report pages: plotting functions (arrays -> Figure), templates -> self-contained HTML."""
