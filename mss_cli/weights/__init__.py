"""Trained weights: what there is, where it lies, how it is loaded."""
