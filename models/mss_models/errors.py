"""Errors of the numeric core.

ValueError
├── ShapeError       an array does not have the axes a function needs
└── StateMismatch    weights do not fit the network they are loaded into
"""

from collections.abc import Sequence


class ShapeError(ValueError):
    """Tell which argument has which axes, and which were expected."""

    def __init__(self, name: str, expected: str, received: Sequence[int]) -> None:
        super().__init__(f"{name}: expected axes {expected}, got shape {tuple(received)}")


class StateMismatch(ValueError):
    """Tell that a state dict does not fit a network."""
