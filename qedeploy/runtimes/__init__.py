"""What executes a graph: one folder for each runtime."""
