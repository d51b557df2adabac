"""Scores of tracks and sets: aggregation, comparison, files."""
