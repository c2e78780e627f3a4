"""Slicer as an application: processes, timers, packages."""
