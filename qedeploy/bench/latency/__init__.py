"""Measuring latency tables, and how well estimates order what networks really take."""
