"""Measuring a latency table and the correlation study: what to measure next, journal, jobs."""
