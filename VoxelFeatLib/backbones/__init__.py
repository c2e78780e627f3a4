"""Frozen 2D networks that turn a slice into feature maps."""
