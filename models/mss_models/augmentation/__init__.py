"""Augmentation of training examples: named, seeded, batched steps, tensors in and tensors out."""
