"""How good a segment or a field is: metrics, simulated clicks, figures."""
