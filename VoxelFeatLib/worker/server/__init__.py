"""The side that answers: one loop around the volume, its field and the segments."""
