"""Trained networks of any maker for runtimes that compute in the types of the graph: float16, INT8 and INT4."""
