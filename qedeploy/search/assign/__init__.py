"""Which precision each layer of a given network gets: the least time within the error and size that are allowed."""
