"""A result as values, files, tables, plots and sentences."""
