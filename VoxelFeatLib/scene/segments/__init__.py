"""Voxels of segments, read and written in steps too short to feel."""
