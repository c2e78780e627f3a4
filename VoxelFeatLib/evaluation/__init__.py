"""How good segments are: few clicks of a simulated user, coarse masks made finer, on data sets."""
