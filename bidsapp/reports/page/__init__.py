"""What every page shares: blocks, style, numbers, templates."""
