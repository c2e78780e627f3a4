"""Volumes, their geometry, reading and writing them, intensity windows and oblique views."""
