"""What is kept in the scene: volumes, clicks, boxes, segmentations, and how they are read."""
