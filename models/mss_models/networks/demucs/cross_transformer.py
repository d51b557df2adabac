"""The transformer of Hybrid Transformer Demucs: each branch attends to itself and to the other in turn.

Rouard, Massa and Défossez 2023, section 2. Parameters are named as in the published weights.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.positions import line_positions, plane_positions
from mss_models.networks.demucs.residual_branch import Scale
from mss_models.networks.demucs.settings import TransformerSettings

_SCALE = 1e-4


class Attention(nn.Module):
    """Attention with several heads.

    Parameters
    ----------
    width : int
        Of queries, keys and result.
    heads : int
        Number of heads.
    dropout : float
        Of the weights, in training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)
        self.heads, self._dropout = heads, dropout

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """Give what each step of `asking`, (batch, step, width), finds in `asked`, (batch, other step, width)."""
        width = asking.shape[-1]
        if asking is asked:
            parts = functional.linear(asking, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            weight, bias = self.in_proj_weight, self.in_proj_bias
            query = functional.linear(asking, weight[:width], bias[:width])
            parts = (query, *functional.linear(asked, weight[width:], bias[width:]).chunk(2, dim=-1))
        query, key, value = (torch.unflatten(part, -1, (self.heads, -1)).transpose(1, 2) for part in parts)
        dropout = self._dropout if self.training else 0.0
        found = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        result: Tensor = self.out_proj(found.transpose(1, 2).flatten(2))
        return result


class StepNorm(nn.GroupNorm):
    """A group norm for (batch, step, channel), over steps and channels of an item."""

    def forward(self, steps: Tensor) -> Tensor:
        """Normalise; the shape stays."""
        return super().forward(steps.transpose(1, 2)).transpose(1, 2)


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each normed before, scaled, and added to what it was given; normed at the end.

    Parameters
    ----------
    width, heads, hidden : int
        Widths of the steps, number of heads, width of the feed-forward part.
    dropout : float
        In training.
    crosses : bool
        Attend to the other branch.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, *, crosses: bool) -> None:
        super().__init__()
        self.crosses = crosses
        attention = Attention(width, heads, dropout)
        if crosses:
            self.cross_attn = attention
            self.norm3 = nn.LayerNorm(width)
        else:
            self.self_attn = attention
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_out = StepNorm(1, width)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.gamma_1, self.gamma_2 = Scale(width, _SCALE, last=True), Scale(width, _SCALE, last=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, steps: Tensor, other: Tensor) -> Tensor:
        """Map (batch, step, width) to the same shape; `other`, (batch, other step, width), is of the other branch."""
        asking: Tensor = self.norm1(steps)
        if self.crosses:
            found, norm = self.cross_attn(asking, self.norm2(other)), self.norm3
        else:
            found, norm = self.self_attn(asking, asking), self.norm2
        steps = steps + self.gamma_1(self.dropout(found))
        hidden = self.dropout(functional.gelu(self.linear1(norm(steps))))
        steps = steps + self.gamma_2(self.dropout(self.linear2(hidden)))
        result: Tensor = self.norm_out(steps)
        return result


class CrossTransformer(nn.Module):
    """The transformer of both branches.

    Parameters
    ----------
    width : int, a multiple of 4
        Channels of both branches.
    settings : TransformerSettings
        Layers, heads, feed-forward part.
    """

    def __init__(self, width: int, settings: TransformerSettings) -> None:
        super().__init__()
        hidden = int(width * settings.hidden_scale)

        def stack() -> nn.ModuleList:
            return nn.ModuleList(
                TransformerLayer(width, settings.heads, hidden, settings.dropout, crosses=index % 2 == 1)
                for index in range(settings.layers)
            )

        self.norm_in, self.norm_in_t = nn.LayerNorm(width), nn.LayerNorm(width)
        self.layers, self.layers_t = stack(), stack()

    def forward(self, plane: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, width, bin, frame) and (batch, width, step) to the same shapes."""
        _, width, bins, frames = plane.shape
        cells = self.norm_in(plane.permute(0, 3, 2, 1).flatten(1, 2))  # (batch, frame * bin, width)
        steps = self.norm_in_t(line.transpose(1, 2))
        cells = cells + plane_positions(bins, frames, width, plane.device).flatten(0, 1).to(cells.dtype)
        steps = steps + line_positions(line.shape[-1], width, line.device).to(steps.dtype)
        pairs: list[tuple[Callable[..., Tensor], Callable[..., Tensor]]]
        pairs = list(zip(self.layers, self.layers_t, strict=True))
        for layer, layer_t in pairs:
            cells, steps = layer(cells, steps), layer_t(steps, cells)
        return cells.unflatten(1, (frames, bins)).permute(0, 3, 2, 1), steps.transpose(1, 2)
