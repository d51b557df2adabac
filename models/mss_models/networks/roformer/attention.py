"""Attention that knows how far apart places are, gated, and attention between numbers instead of places.

Names and shapes of the weights are those of the published files.

References
----------
Su et al., "RoFormer: enhanced transformer with rotary position embedding", 2021.
El-Nouby et al., "XCiT: cross-covariance image transformers", 2021.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

# Slowest turn of rotary positions, and the sharpness of attention between numbers, as in the published networks.
_ROTARY_BASE = 10_000.0
_SHARPNESS = 8.0


class UnitNorm(nn.Module):
    """Divides numbers by their root mean square; rows of zeros stay zero.

    The length is kept above 1e-12 rather than added to, so that the faintest bands are brought to the same level too.

    Parameters
    ----------
    width : int
        Numbers of a row.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.factor = width**0.5
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise over the last axis, (..., width)."""
        normed: Tensor = functional.normalize(rows, dim=-1) * (self.factor * self.gamma)
        return normed


class RotaryPositions(nn.Module):
    """Turns neighbouring numbers as one complex number, by an angle in proportion to the place.

    Parameters
    ----------
    head_width : int, even
        Numbers of a head.
    """

    freqs: Tensor

    def __init__(self, head_width: int) -> None:
        super().__init__()
        exponents = torch.arange(0, head_width, 2) / head_width
        self.register_buffer("freqs", _ROTARY_BASE**-exponents)  # radians from place to place

    def forward(self, numbers: Tensor) -> Tensor:
        """Turn, (row, place, ..., number); angles and products are in float32 whatever the precision."""
        places = torch.arange(numbers.shape[1], device=numbers.device, dtype=torch.float32)
        angles = torch.outer(places, self.freqs.float())  # (place, pair)
        turns = torch.polar(torch.ones_like(angles), angles)
        turns = turns.reshape(angles.shape[0], *(1,) * (numbers.ndim - 3), angles.shape[1])
        pairs = torch.view_as_complex(numbers.float().reshape(*numbers.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns).flatten(-2).to(numbers.dtype)


class Attention(nn.Module):
    """Attention among the places of each row, with rotary positions and a gate for each head.

    Parameters
    ----------
    width : int
        Numbers of a place.
    heads, head_width : int
    dropout : float
        In training.
    """

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.rotary_embed = RotaryPositions(head_width)
        self.norm = UnitNorm(width)
        self.to_qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.to_gates = nn.Linear(width, heads)
        self.to_out = nn.Sequential(nn.Linear(heads * head_width, width, bias=False), nn.Dropout(dropout))

    def forward(self, rows: Tensor) -> Tensor:
        """Attend, (row, place, width) to the same."""
        normed = self.norm(rows)
        joined = self.to_qkv(normed).unflatten(-1, (3, self.heads, -1))  # (row, place, 3, head, number)
        turned = self.rotary_embed(joined[:, :, :2])  # (row, place, 2, head, number)
        heard = functional.scaled_dot_product_attention(
            turned[:, :, 0].transpose(1, 2),
            turned[:, :, 1].transpose(1, 2),
            joined[:, :, 2].transpose(1, 2),
            dropout_p=self.dropout if self.training else 0.0,
        )  # (row, head, place, number)
        gates = self.to_gates(normed).sigmoid().unsqueeze(-1)  # (row, place, head, 1)
        output: Tensor = self.to_out((heard.transpose(1, 2) * gates).flatten(2))
        return output


class NumberAttention(nn.Module):
    """Attention of a head's numbers to each other, over all places: its cost grows with the places, not their square.

    Parameters
    ----------
    width : int
        Numbers of a place.
    heads, head_width : int
    dropout : float
        In training.
    """

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = nn.Dropout(dropout)
        self.norm = UnitNorm(width)
        self.to_qkv = nn.Sequential(nn.Linear(width, 3 * heads * head_width, bias=False))
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        # Under index 1, as published.
        self.to_out = nn.Sequential(nn.Identity(), nn.Linear(heads * head_width, width, bias=False))

    def forward(self, rows: Tensor) -> Tensor:
        """Attend, (row, place, width) to the same."""
        joined = self.to_qkv(self.norm(rows)).unflatten(-1, (3, self.heads, -1))  # (row, place, 3, head, number)
        queries, keys, values = joined.permute(2, 0, 3, 4, 1)  # each (row, head, number, place)
        queries = functional.normalize(queries, dim=-1) * (_SHARPNESS * self.temperature.exp())
        shares = (queries @ functional.normalize(keys, dim=-1).mT).softmax(dim=-1)  # (row, head, number, number)
        heard = self.dropout(shares) @ values
        output: Tensor = self.to_out(heard.permute(0, 3, 1, 2).flatten(2))
        return output
