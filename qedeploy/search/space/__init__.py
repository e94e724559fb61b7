"""The space a search looks through: recipes, budgets, and what they make together."""
