"""Widths for the layers of a trained network of our own: what each costs by its pictures, and which are worth it."""
