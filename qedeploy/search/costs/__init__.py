"""What structures cost in every budget, for whole populations and layer by layer."""
