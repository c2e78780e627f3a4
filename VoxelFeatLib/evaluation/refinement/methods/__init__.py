"""Ways to make a coarse mask finer."""
