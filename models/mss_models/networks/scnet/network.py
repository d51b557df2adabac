"""SCNet: from the complex spectrogram of a mixture to those of all its stems.

    planes -> [cut into three bands, each compressed by another factor, layers over time, 3x3 convolution] x levels
           -> [LSTM over bins, LSTM over frames, transform along time or back] x layers
           -> [join skip, 3x3 convolution, expand the bands] x levels -> planes of the stems, or of masks

The low band, where most of music is, is not compressed at all. Names and shapes of the weights are those of the
published files.

References
----------
Tong, Zhu, Chen, Kang, Jiang, Li, Wu and Meng, "SCNet: sparse compression network for music source separation",
ICASSP 2024.
"""

import torch
from torch import Tensor, nn

from mss_models.errors import ShapeError
from mss_models.networks.scnet.dual_path import DualPath
from mss_models.networks.scnet.layers import Down, Fusion, Up
from mss_models.networks.scnet.settings import ScnetSettings

# Channels inside the layers that turn planes into masks, as published.
_MASK_CHANNELS = 64


class Scnet(nn.Module):
    """The network.

    Parameters
    ----------
    settings : ScnetSettings
        Its sizes.
    """

    def __init__(self, settings: ScnetSettings) -> None:
        super().__init__()
        self.settings = settings
        widths, planes = settings.widths, settings.widths[0] * len(settings.stems)
        levels = range(len(widths) - 1)
        # The published names.
        self.encoder = nn.ModuleList(Down(widths[level], widths[level + 1], settings) for level in levels)
        self.decoder = nn.ModuleList(
            Up(widths[level + 1], widths[level] if level else planes, settings) for level in levels[::-1]
        )
        self.separation_net = DualPath(widths[-1], settings.dual_paths, settings.expansion)
        if settings.masked:
            self.pos_embed_f = nn.Parameter(torch.empty(1, widths[0], settings.bins, 1))
            nn.init.trunc_normal_(self.pos_embed_f, std=0.02)
            self.mask_layer = nn.Sequential(
                nn.Conv2d(planes, _MASK_CHANNELS, 3, padding=1),
                nn.GELU(),
                nn.Conv2d(_MASK_CHANNELS, planes, 1),
                nn.Tanh(),
            )

    def fold(self) -> None:
        """Halve the work of the convolutions on the way up, for inference only; see `Fusion`."""
        for module in self.modules():
            if isinstance(module, Fusion):
                module.fold()

    def forward(self, planes: Tensor) -> Tensor:
        """Map the planes of a mixture to those of its stems, or of their masks.

        Parameters
        ----------
        planes : float Tensor of shape (batch, plane, bin, frame)
            An even number of frames.

        Returns
        -------
        float Tensor of shape (batch, stem, plane, bin, frame)

        Raises
        ------
        ShapeError
            If the planes have other sizes.
        """
        settings = self.settings
        if planes.ndim != 4 or planes.shape[1:3] != (settings.widths[0], settings.bins) or planes.shape[3] % 2:
            wanted = f"(batch, {settings.widths[0]}, {settings.bins}, even number of frames)"
            raise ShapeError("planes", wanted, planes.shape)
        maps = planes + self.pos_embed_f if settings.masked else planes
        skips = []
        for down in self.encoder:
            bins = maps.shape[2]
            maps, skip = down(maps)
            skips.append((skip, bins))
        maps = self.separation_net(maps)
        for up in self.decoder:
            maps = up(maps, *skips.pop())
        if settings.masked:
            maps = self.mask_layer(maps)
        return torch.unflatten(maps, 1, (len(settings.stems), -1))  # (batch, stem, plane, bin, frame)
