"""Ways to segment by clicks: ours, and what users have today."""
