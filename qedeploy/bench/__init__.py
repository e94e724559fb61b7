"""Measured time, attributed to layers and set against the estimate."""
