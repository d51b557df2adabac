"""Checks that every score makes of its arguments."""

from torch import Tensor

from mss_models.errors import ShapeError

STEM_AXES = "(stem, channel, sample) or (batch, stem, channel, sample)"
BLOCK_AXES = "(stem, channel, sample)"


def check_pair(reference: Tensor, estimate: Tensor) -> None:
    """Raise `ShapeError` unless both have stem, channel and sample axes of equal sizes, all above zero."""
    if reference.ndim not in (3, 4) or 0 in reference.shape:
        raise ShapeError("reference", STEM_AXES, reference.shape)
    if estimate.shape != reference.shape:
        raise ShapeError("estimate", f"{tuple(reference.shape)} of the reference", estimate.shape)


def check_blocks(reference: Tensor, estimate: Tensor, *, stems: int, channels: int) -> None:
    """Raise `ShapeError` unless both are blocks (stem, channel, sample) of the sizes given and equally long."""
    if reference.ndim != 3 or reference.shape[:2] != (stems, channels):
        raise ShapeError("reference", f"({stems}, {channels}, sample)", reference.shape)
    if estimate.shape != reference.shape:
        raise ShapeError("estimate", f"{tuple(reference.shape)} of the reference", estimate.shape)
