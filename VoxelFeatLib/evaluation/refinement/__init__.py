"""The refinement experiment: coarse masks made finer, by the published methods and by ours."""
