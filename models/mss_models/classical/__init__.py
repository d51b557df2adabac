"""Separators that need no trained weights."""
