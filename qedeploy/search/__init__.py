"""QE-Score, search spaces, budgets and the solvers that use them."""
