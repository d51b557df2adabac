"""Frames of BSSEval: which samples a frame covers, and in which frames nothing can be scored."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Enough leading samples to prove most sounding frames so without reading all of them.
_GLANCE_SAMPLES = 64


def frame_count(samples: int, window_samples: int | None, hop_samples: int) -> int:
    """Number of frames of a track: whole windows only, but one frame if the track is not longer than a window.

    ``floor((samples - window + hop) / hop)`` (BSSEval v4, Stöter, Liutkus and Ito 2018). `None` as window means
    one frame over the whole track.
    """
    if window_samples is None or window_samples >= samples:
        return 1
    return (samples - window_samples + hop_samples) // hop_samples


def frame_bounds(samples: int, window_samples: int | None, hop_samples: int) -> Iterator[tuple[int, int]]:
    """First and one past the last sample of each frame."""
    for index in range(frame_count(samples, window_samples, hop_samples)):
        start = index * hop_samples
        yield start, samples if window_samples is None else min(start + window_samples, samples)


def check_frames(window_samples: int | None, hop_samples: int | None) -> int:
    """Hop in samples, by default the window; raises `ValueError` if either is not positive."""
    if window_samples is not None and window_samples < 1:
        raise ValueError(f"window_samples must be positive, got {window_samples}")
    hop = hop_samples if hop_samples is not None else window_samples if window_samples is not None else 1
    if hop < 1:
        raise ValueError(f"hop_samples must be positive, got {hop}")
    return hop


def sounding(block: Tensor) -> Tensor:
    """Tell which stems are not silent in a block of shape (stem, channel, sample).

    A stem is silent where the sum over its channels is exactly zero at every sample, so left = -right counts as
    silence and one sample of one LSB does not: the rule by which BSSEval v4 leaves out frames.

    Returns
    -------
    bool Tensor of shape (stem,)
    """
    glance = block[..., :_GLANCE_SAMPLES].sum(dim=-2).any(dim=-1)
    if block.shape[-1] <= _GLANCE_SAMPLES or bool(glance.all()):
        return glance
    for stem in torch.nonzero(~glance).flatten().tolist():
        glance[stem] = block[stem].sum(dim=0).any()
    return glance
