"""Readers of published checkpoints, one module for each family; files in, settings and a state dict out."""
