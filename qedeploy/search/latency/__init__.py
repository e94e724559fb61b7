"""Measured latency: the table of what layers take on a device, and the model that reads between its points."""
