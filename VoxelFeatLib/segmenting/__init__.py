"""From clicks to segments: probes, inference, sessions, refinement."""
