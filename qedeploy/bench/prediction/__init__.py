"""What a latency table predicts of a run, and what the run teaches the table."""
