"""The middle of an SCNet: recurrent layers over frequency and over time, by turns before and behind a transform."""

import torch
from torch import Tensor, nn

# From (batch, channel, bin, frame) to (step, batch, item, channel), and back: steps are bins first, then frames.
_ORDERS = (((2, 0, 3, 1), (1, 3, 0, 2)), ((3, 0, 2, 1), (1, 3, 2, 0)))


class _TwoWays(nn.Module):
    """An LSTM over the bins of each frame, then one over the frames of each bin, each beside a shortcut."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * channels
        # The published names.
        self.lstm_layers = nn.ModuleList(nn.LSTM(channels, hidden, bidirectional=True) for _ in range(2))
        self.linear_layers = nn.ModuleList(nn.Linear(2 * hidden, channels) for _ in range(2))
        self.norm_layers = nn.ModuleList(nn.GroupNorm(1, channels) for _ in range(2))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, channel, bin, frame) to the same sizes."""
        ways = zip(_ORDERS, self.norm_layers, self.lstm_layers, self.linear_layers, strict=True)
        for (there, back), norm, lstm, linear in ways:
            steps = norm(maps).permute(there)  # (step, batch, item, channel)
            hidden, _ = lstm(steps.flatten(1, 2))  # (step, batch and item, both directions)
            maps = maps + linear(hidden).view(steps.shape).permute(back)  # (batch, channel, bin, frame)
        return maps


class DualPath(nn.Module):
    """The recurrent layers.

    Every other one sees the maps behind a Fourier transform along time, real and imaginary parts as channels.

    Parameters
    ----------
    channels : int
    layers : int, even
    expansion : int
        Hidden size over channels.
    """

    def __init__(self, channels: int, layers: int, expansion: int) -> None:
        super().__init__()
        self.dp_modules = nn.ModuleList(  # the published name
            _TwoWays(channels * (1 + index % 2), expansion) for index in range(layers)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, channel, bin, frame), an even number of frames, to the same sizes."""
        frames = maps.shape[-1]
        for index, layer in enumerate(self.dp_modules):
            maps = layer(maps)
            dtype = maps.dtype
            if index % 2 == 0:
                spectrum = torch.fft.rfft(maps.float(), norm="ortho")
                maps = torch.cat([spectrum.real, spectrum.imag], dim=1).to(dtype)
            else:
                real, imaginary = maps.float().chunk(2, dim=1)
                maps = torch.fft.irfft(torch.complex(real, imaginary), n=frames, norm="ortho").to(dtype)
        return maps
