"""Finished runs beside each other: accuracy against time, from what the tool wrote of each."""
