"""The latency table: read, interpolate, fit, import, keep. No framework."""
