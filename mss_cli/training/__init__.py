"""Training: recipes, examples, the loop, and what a run leaves behind."""
