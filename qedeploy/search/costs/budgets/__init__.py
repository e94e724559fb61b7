"""The budgets there are: what stands in this folder is found by itself."""
