"""What SAM does with a volume: prompts by points in every slice, and slices as a video."""
