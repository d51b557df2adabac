"""Between bins and bands: what each band is for the transformers, and the mask that comes back."""

import torch
from torch import Tensor, nn

from mss_models.networks.roformer.attention import UnitNorm
from mss_models.networks.roformer.bands import Bands
from mss_models.networks.roformer.settings import RoformerSettings


def _numbers(bands: Bands, channels: int) -> list[int]:
    """Give how many real numbers each band has in a frame."""
    return [2 * channels * width for width in bands.widths]


class BandSplit(nn.Module):
    """Brings every band to the same level and width.

    Parameters
    ----------
    settings : RoformerSettings
    """

    def __init__(self, settings: RoformerSettings) -> None:
        super().__init__()
        self.ranges = settings.bands.ranges
        self.to_features = nn.ModuleList(
            nn.Sequential(UnitNorm(numbers), nn.Linear(numbers, settings.width))
            for numbers in _numbers(settings.bands, settings.channels)
        )

    def forward(self, parts: Tensor) -> Tensor:
        """Split, (batch, frame, bin, channel, part) to (batch, frame, band, width)."""
        features = [
            to_feature(parts[:, :, first:end].flatten(2))
            for (first, end), to_feature in zip(self.ranges, self.to_features, strict=True)
        ]
        return torch.stack(features, dim=2)


class MaskHead(nn.Module):
    """Makes a complex mask for one stem, band by band; where bands overlap, it is the mean of theirs.

    Parameters
    ----------
    settings : RoformerSettings
    """

    counts: Tensor

    def __init__(self, settings: RoformerSettings) -> None:
        super().__init__()
        bands = settings.bands
        self.bands = bands
        self.channels = settings.channels
        self.to_freqs = nn.ModuleList(
            nn.Sequential(_perceptron(settings, 2 * numbers), nn.GLU())
            for numbers in _numbers(bands, settings.channels)
        )
        counts = torch.tensor(bands.counts, dtype=torch.float32).reshape(-1, 1, 1)
        self.register_buffer("counts", counts, persistent=False)

    def forward(self, cells: Tensor) -> Tensor:
        """Make the mask, (batch, frame, band, width) to float32 (batch, frame, bin, channel, part)."""
        inner = (-1, self.channels, 2)
        parts = (head(cells[:, :, index]).float() for index, head in enumerate(self.to_freqs))
        if not self.bands.overlap:
            return torch.cat(list(parts), dim=2).reshape(*cells.shape[:2], *inner)
        mask = cells.new_zeros(*cells.shape[:2], self.bands.bins, *inner[1:], dtype=torch.float32)
        for (first, end), part in zip(self.bands.ranges, parts, strict=True):
            mask[:, :, first:end] += part.reshape(*part.shape[:2], *inner)
        mean: Tensor = mask / self.counts.float()
        return mean


def _perceptron(settings: RoformerSettings, outputs: int) -> nn.Sequential:
    widths = [settings.width, *[settings.mask_growth * settings.width] * settings.mask_layers, outputs]
    layers: list[nn.Module] = []
    for index in range(len(widths) - 1):
        layers += [nn.Linear(widths[index], widths[index + 1]), nn.Tanh()]
    return nn.Sequential(*layers[:-1])
