"""Inputs and outputs on object stores: a small mirror of names to plan with, and one track at a time on disk."""
