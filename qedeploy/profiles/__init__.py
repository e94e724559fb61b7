"""Devices as data: what a device and its runtime execute, and how fast."""
