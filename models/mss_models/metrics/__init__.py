"""Scores of separation and pitch: tensors in, numbers out."""
