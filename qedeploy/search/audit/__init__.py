"""Proving a finished search a second way."""
