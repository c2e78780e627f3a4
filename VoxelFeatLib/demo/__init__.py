"""The main job from end to end on a made-up CT, measured: `voxelfeat demo`."""
