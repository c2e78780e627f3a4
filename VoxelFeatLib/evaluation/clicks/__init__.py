"""Few-click segmentation, measured: a simulated user, methods, runs, and their reports."""
