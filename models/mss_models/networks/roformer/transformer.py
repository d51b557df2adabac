"""Transformers along one axis of frames and bands, and the order in which they take turns."""

import torch
from torch import Tensor, nn

from mss_models.networks.roformer.attention import Attention, NumberAttention, UnitNorm
from mss_models.networks.roformer.settings import RoformerSettings

# Hidden numbers of a layer behind attention, for each number of a place.
_GROWTH = 4
# Places that go through a transformer at once where no gradients are kept: rows do not know of each other, so that
# what is in between need not be there for all of them. Fewer stay in the processor's caches.
_PLACES_AT_ONCE = 1 << 13
_PLACES_AT_ONCE_ON_DEVICE = 1 << 17


class FeedForward(nn.Module):
    """A hidden layer on each place by itself.

    Parameters
    ----------
    width : int
        Numbers of a place.
    dropout : float
        In training.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        hidden = _GROWTH * width
        self.net = nn.Sequential(
            UnitNorm(width),
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Give what is added, (row, place, width)."""
        output: Tensor = self.net(rows)
        return output


class _Layer(nn.ModuleList):
    """Attention and what follows it, each added to its input."""

    def forward(self, rows: Tensor) -> Tensor:
        """Transform, (row, place, width) to the same."""
        attention, feed_forward = self
        rows = rows + attention(rows)
        output: Tensor = rows + feed_forward(rows)
        return output


class Transformer(nn.Module):
    """Layers of attention and feed-forward along the places of rows.

    Parameters
    ----------
    settings : RoformerSettings
    layers : int
    whole : bool
        Whether numbers attend to each other instead of places.
    """

    def __init__(self, settings: RoformerSettings, layers: int, *, whole: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _Layer([_attention(settings, whole), FeedForward(settings.width, settings.feed_forward_dropout)])
            for _ in range(layers)
        )
        self.norm = UnitNorm(settings.width) if settings.kind == "mel-band" else nn.Identity()

    def forward(self, rows: Tensor) -> Tensor:
        """Transform, (row, place, width) to the same."""
        for layer in self.layers:
            rows = layer(rows)
        output: Tensor = self.norm(rows)
        return output


def _attention(settings: RoformerSettings, whole: bool) -> nn.Module:
    kind = NumberAttention if whole else Attention
    return kind(settings.width, settings.heads, settings.head_width, settings.attention_dropout)


class AxialTransformers(nn.ModuleList):
    """Transformers that take turns: over all frames and bands at once if there is one, along time, along bands.

    Parameters
    ----------
    settings : RoformerSettings
    """

    def __init__(self, settings: RoformerSettings) -> None:
        whole = [Transformer(settings, settings.whole_layers, whole=True)] if settings.whole_layers else []
        along = [Transformer(settings, settings.time_layers), Transformer(settings, settings.band_layers)]
        super().__init__([*whole, *along])

    def forward(self, cells: Tensor, earlier: Tensor | None) -> Tensor:
        """Transform, (batch, frame, band, width) to the same.

        Where no gradients are kept, cells are written over.

        Parameters
        ----------
        cells : Tensor
        earlier : Tensor or None
            Added to what the transformer along time hears.
        """
        *whole, along_time, along_bands = self
        for transformer in whole:
            cells = transformer(cells.flatten(1, 2)).view_as(cells)
        if earlier is not None:
            cells = cells + earlier
        cells = _each_row(along_time, cells.transpose(1, 2)).transpose(1, 2)
        return _each_row(along_bands, cells)


def _each_row(transformer: nn.Module, cells: Tensor) -> Tensor:
    """Transform the rows of (batch, row, place, width)."""
    batch, rows, places = cells.shape[:3]
    if torch.is_grad_enabled():
        output: Tensor = transformer(cells.flatten(0, 1)).unflatten(0, (batch, rows))
        return output
    at_once = _PLACES_AT_ONCE if cells.device.type == "cpu" else _PLACES_AT_ONCE_ON_DEVICE
    for some in torch.split(cells, max(1, at_once // (batch * places)), dim=1):
        some.copy_(transformer(some.flatten(0, 1)).unflatten(0, some.shape[:2]))
    return cells
