"""What a structure is worth: QE-Score, DeepMAD's factor, and their tables."""
