"""`quantize` for runtimes that compute in the types of the graph and are not here to be timed."""
