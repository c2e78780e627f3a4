"""Weights of backbones: which there are, where they lie, how they get here. Without torch."""
