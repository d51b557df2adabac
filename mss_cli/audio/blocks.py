"""Checks on the way from the engine to a file: shape, count, finiteness, gain and limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.errors import OutputError

Block = NDArray[np.float32]


def counted(blocks: Iterable[Block], channels: int, samples: int) -> Iterator[Block]:
    """Pass blocks on and refuse, at the end, a count other than promised."""
    seen = 0
    for block in blocks:
        if block.ndim != 2 or block.shape[0] != channels:
            raise ValueError(f"expected blocks of shape ({channels}, sample), got {block.shape}")
        seen += block.shape[1]
        yield block
    if seen != samples:
        raise ValueError(f"{samples} samples were promised, {seen} came")


def scaled(blocks: Iterable[Block], target: Path, *, gain: float, clamp: bool) -> Iterator[Block]:
    """Refuse samples that are not finite; apply the gain and the limit."""
    factor = np.float32(gain)
    for block in blocks:
        with np.errstate(all="ignore"):
            total = block.sum()
        # The sum is the cheap test; it can also overflow, so only a second look refuses.
        if not np.isfinite(total) and not np.isfinite(block).all():
            raise OutputError("samples that are not finite", path=str(target), hint="report this as a bug")
        result = block if gain == 1.0 else block * factor
        yield np.clip(result, -1.0, 1.0) if clamp else result
