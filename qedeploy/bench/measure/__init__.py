"""The machine, and measuring several models in alternation on it."""
