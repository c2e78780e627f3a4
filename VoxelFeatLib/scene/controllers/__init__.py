"""Controllers: what the panel drives, without any widget."""
