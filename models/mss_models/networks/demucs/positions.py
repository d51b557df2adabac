"""Fixed embeddings of positions by sines and cosines, in one and in two dimensions, and of frequencies by learning.

Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.5; the orders are those of the published Demucs.
"""

import math

import torch
from torch import Tensor, nn

_MAX_PERIOD = 10_000.0


def line_positions(steps: int, width: int, device: torch.device) -> Tensor:
    """Embed the places of a line.

    The first half of the width holds cosines, the second sines; periods grow from 1 to 10000 radians.

    Parameters
    ----------
    steps : int
        Number of places.
    width : int, even, >= 4
        Of the embedding.
    device : torch.device
        Of the result.

    Returns
    -------
    float32 Tensor of shape (step, width)
        In [-1, 1].
    """
    places = torch.arange(steps, device=device, dtype=torch.float32)[:, None]
    half = width // 2
    powers = torch.arange(half, device=device, dtype=torch.float32) / (half - 1)
    phase = places / _MAX_PERIOD**powers
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def plane_positions(bins: int, frames: int, width: int, device: torch.device) -> Tensor:
    """Embed the places of a plane.

    The first half of the width tells the frame, the second the bin, each by sines and cosines in turn.

    Parameters
    ----------
    bins, frames : int
        Size of the plane.
    width : int, a multiple of 4
        Of the embedding.
    device : torch.device
        Of the result.

    Returns
    -------
    float32 Tensor of shape (frame, bin, width)
        In [-1, 1].
    """
    half = width // 2
    rates = torch.exp(torch.arange(0, half, 2, device=device) * -(math.log(_MAX_PERIOD) / half))

    def waves(count: int) -> Tensor:
        phase = torch.arange(count, device=device, dtype=torch.float32)[:, None] * rates
        return torch.stack([phase.sin(), phase.cos()], dim=-1).flatten(1)  # (place, half)

    table = torch.empty(frames, bins, width, device=device)
    table[..., :half] = waves(frames)[:, None]
    table[..., half:] = waves(bins)
    return table


class FrequencyEmbedding(nn.Module):
    """A learned vector for each bin, smooth over bins before training.

    Parameters
    ----------
    bins, channels : int
        Size of the table.
    gain : float
        The table is stored divided by it, so that it learns as much faster.
    """

    def __init__(self, bins: int, channels: int, *, gain: float = 10.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(bins, channels)
        counts = torch.arange(1, bins + 1)[:, None]
        walk = self.embedding.weight.data.cumsum(dim=0) / counts.sqrt()
        self.embedding.weight.data = walk / gain
        self._gain = gain

    def forward(self) -> Tensor:
        """Give the table, (channel, bin, 1)."""
        table: Tensor = self.embedding.weight * self._gain
        return table.t().unsqueeze(-1)
