"""The side that asks: a worker process, spoken to without blocking; no torch."""
