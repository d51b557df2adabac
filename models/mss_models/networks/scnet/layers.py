"""Levels of an SCNet: down, each band compressed by another factor, and up again."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.scnet.settings import Bands, ScnetSettings


class _Compression(nn.Module):
    """Cuts a map into bands and shortens each by its own stride."""

    def __init__(self, inputs: int, outputs: int, bands: Bands) -> None:
        super().__init__()
        self.bands = bands
        self.convs = nn.ModuleList(  # the published name
            nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1))
            for kernel, stride in zip(bands.kernels, bands.strides, strict=True)
        )

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Map (batch, channel, bin, frame) to three such maps."""
        pieces = torch.split(maps, list(self.bands.lengths(maps.shape[2])), dim=2)
        outputs = []
        for conv, piece, stride, kernel in zip(self.convs, pieces, self.bands.strides, self.bands.kernels, strict=True):
            missing = kernel - 1 if stride == 1 else -piece.shape[2] % stride
            left = missing // 2
            outputs.append(conv(functional.pad(piece, (0, 0, left, missing - left))))
        return outputs


class _OverTime(nn.Module):
    """Residual layers over time; each bin by itself."""

    def __init__(self, channels: int, depth: int, settings: ScnetSettings) -> None:
        super().__init__()
        inner, kernel = channels // settings.compression, settings.kernel
        self.layers = nn.ModuleList(  # the published name
            nn.Sequential(
                nn.GroupNorm(1, channels),
                nn.Conv1d(channels, 2 * inner, kernel, padding=kernel // 2),
                nn.GLU(1),
                nn.Conv1d(inner, inner, kernel, padding=kernel // 2, groups=inner),
                nn.GroupNorm(1, inner),
                nn.SiLU(),
                nn.Conv1d(inner, channels, 1),
            )
            for _ in range(depth)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, channel, bin, frame) to the same sizes."""
        batch = maps.shape[0]
        lines = maps.transpose(1, 2).flatten(0, 1)  # (batch and bin, channel, frame)
        for layer in self.layers:
            lines = lines + layer(lines)
        return torch.unflatten(lines, 0, (batch, -1)).transpose(1, 2)  # (batch, channel, bin, frame)


class Down(nn.Module):
    """A level on the way down.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    settings : ScnetSettings
    """

    def __init__(self, inputs: int, outputs: int, settings: ScnetSettings) -> None:
        super().__init__()
        # The published names.
        self.SDlayer = _Compression(inputs, outputs, settings.bands)
        self.conv_modules = nn.ModuleList(_OverTime(outputs, depth, settings) for depth in settings.bands.depths)
        self.globalconv = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Compress a map.

        Parameters
        ----------
        maps : float Tensor of shape (batch, channel, bin, frame)

        Returns
        -------
        tuple of two float Tensors of shape (batch, channel, compressed bin, frame)
            What goes on, and what the way up takes.
        """
        bands = [
            functional.gelu(over_time(band))
            for over_time, band in zip(self.conv_modules, self.SDlayer(maps), strict=True)
        ]
        whole = torch.cat(bands, dim=2)
        output: Tensor = self.globalconv(whole)
        return output, whole


class Fusion(nn.Module):
    """Joins the way up with a level of the way down.

    The published convolution sees the same map twice. `fold` adds its two halves, which is half the work.

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)

    def fold(self) -> None:
        """Add the halves of the convolution, for inference only."""
        twice = self.conv
        channels = twice.in_channels // 2
        once = nn.Conv2d(channels, 2 * channels, 3, padding=1, device=twice.weight.device, dtype=twice.weight.dtype)
        once.weight.data = twice.weight.data[:, :channels] + twice.weight.data[:, channels:]
        once.bias, once.training = twice.bias, twice.training
        self.conv = once.requires_grad_(False)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """Join two maps of (batch, channel, bin, frame)."""
        joined = maps + skip
        if self.conv.in_channels != joined.shape[1]:
            joined = joined.repeat(1, 2, 1, 1)  # (batch, channel twice, bin, frame)
        return functional.glu(self.conv(joined), dim=1)


class _Expansion(nn.Module):
    """Lengthens each band by its own stride and puts them beside each other again."""

    def __init__(self, inputs: int, outputs: int, bands: Bands) -> None:
        super().__init__()
        self.bands = bands
        self.convtrs = nn.ModuleList(  # the published name
            nn.ConvTranspose2d(inputs, outputs, (kernel, 1), (stride, 1))
            for kernel, stride in zip(bands.kernels, bands.strides, strict=True)
        )

    def forward(self, maps: Tensor, bins: int) -> Tensor:
        """Map (batch, channel, compressed bin, frame) to (batch, channel, bin, frame)."""
        pieces = torch.split(maps, list(self.bands.compressed(bins)), dim=2)
        outputs = []
        for conv, piece, length in zip(self.convtrs, pieces, self.bands.lengths(bins), strict=True):
            long = conv(piece)
            outputs.append(long.narrow(2, (long.shape[2] - length) // 2, length))
        return torch.cat(outputs, dim=2)


class Up(nn.Sequential):
    """A level on the way up.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    settings : ScnetSettings
    """

    def __init__(self, inputs: int, outputs: int, settings: ScnetSettings) -> None:
        super().__init__(Fusion(inputs), _Expansion(inputs, outputs, settings.bands))

    def forward(self, maps: Tensor, skip: Tensor, bins: int) -> Tensor:  # type: ignore[override]
        """Join a map with that of the way down, and give it ``bins`` bins again.

        Parameters
        ----------
        maps, skip : float Tensor of shape (batch, channel, compressed bin, frame)
        bins : int

        Returns
        -------
        float Tensor of shape (batch, channel, bin, frame)
        """
        output: Tensor = self[1](self[0](maps, skip), bins)
        return output
