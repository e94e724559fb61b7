"""Search: spaces, scores, costs, the exact solver, evolution, and checking their results."""
