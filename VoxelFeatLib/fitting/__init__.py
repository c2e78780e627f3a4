"""Distilling a backbone into a field: Eq. 1 of the method, its views, schedule and measures."""
