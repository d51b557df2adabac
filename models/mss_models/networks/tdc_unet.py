"""U-Nets that map the complex spectrogram of a mixture to that of one stem, real and imaginary parts as channels.

    planes -> convolution over 2 bins -> [block, halve] x levels -> block -> [double, join skip, block] x levels
           -> convolution over 2 bins -> planes of the stem itself: no mask

A block is densely connected: each layer sees the block's input and every layer before it. TDC blocks convolve over
frequency alone, so each frame is treated by itself; TFC-TDF blocks convolve over time and frequency, and add two linear
layers over all bins. Names and shapes of the weights are those of the published files.

References
----------
Choi, Kim, Chung, Lee and Jung, "Investigating U-Nets with various intermediate blocks for spectrogram-based singing
voice separation", ISMIR 2020.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.errors import ShapeError

Block = Literal["tdc", "tfc-tdf"]

# Width of the linear layers over all bins: a share of them, but not less.
_NARROWING = 16
_LEAST_WIDTH = 16


@dataclass(frozen=True, slots=True)
class TdcUnetShape:
    """Sizes of the network.

    Parameters
    ----------
    planes : int, > 0
        Real and imaginary planes: twice the channels of the mixture.
    bins : int
        Of the spectrogram: a multiple of ``2 ** levels``, and one.
    block : {"tdc", "tfc-tdf"}
    levels : int, > 0
        Each halves the bins.
    internal_channels : int, > 0
        Of every layer inside.
    dense_layers : int, > 0
        Of a block.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    planes: int
    bins: int
    block: Block
    levels: int
    internal_channels: int = 24
    dense_layers: int = 5

    def __post_init__(self) -> None:
        if self.block not in get_args(Block):
            raise ValueError(f"block must be one of {', '.join(get_args(Block))}; got `{self.block}`")
        if min(self.planes, self.levels, self.internal_channels, self.dense_layers) < 1:
            raise ValueError("planes, levels, internal_channels and dense_layers must be at least 1")
        if (self.bins - 1) % 2**self.levels or self.bins < 2**self.levels:
            raise ValueError(f"{self.bins - 1} bins cannot be halved {self.levels} times")

    def time_stride(self, level: int) -> int:
        """Give by how much a level shortens time; TDC blocks never do."""
        if self.block == "tdc":
            return 1
        # The published ones: at every other of 8 levels, at each of 4, so that 16 frames become one.
        return 2 if self.levels <= 4 or level % 2 == 0 else 1

    @property
    def frame_multiple(self) -> int:
        """The number of frames must be a multiple of this."""
        product = 1
        for level in range(self.levels):
            product *= self.time_stride(level)
        return product


class _FrequencyConv(nn.Conv1d):
    """A convolution over frequency, of maps (batch, channel, frame, bin)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve each frame by itself."""
        stride, padding = (1, self.stride[0]), (0, int(self.padding[0]))
        return functional.conv2d(maps, self.weight.unsqueeze(2), self.bias, stride, padding)


class _FrequencyConvTranspose(nn.ConvTranspose1d):
    """Its transpose."""

    def forward(self, maps: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Double the bins of each frame by itself."""
        return functional.conv_transpose2d(maps, self.weight.unsqueeze(2), self.bias, (1, self.stride[0]))


class _Resampling(nn.Module):
    """Halves or doubles the bins, under the names of the TDC networks."""

    def __init__(self, conv: nn.Module, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        output: Tensor = self.bn(self.conv(maps))
        return output


class _Dense(nn.Module):
    """Layers that each see all before them, newest first, the block's input last."""

    def __init__(self, inputs: int, channels: int, layers: int, *, time: bool) -> None:
        super().__init__()
        self.H = nn.ModuleList()  # the published name
        for index in range(layers):
            seen = inputs + index * channels
            conv = nn.Conv2d(seen, channels, 3, padding=1) if time else _FrequencyConv(seen, channels, 3, padding=1)
            self.H.append(nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU()))

    def forward(self, maps: Tensor) -> Tensor:
        seen, newest = maps, maps
        for index, layer in enumerate(self.H):
            newest = layer(seen)
            if index + 1 < len(self.H):
                seen = torch.cat([newest, seen], dim=1)
        return newest


class _AcrossBins(nn.Module):
    """Two linear layers over all bins of a frame, with a narrow middle."""

    def __init__(self, bins: int, channels: int) -> None:
        super().__init__()
        width = max(bins // _NARROWING, _LEAST_WIDTH)
        self.tif = nn.Sequential(  # the published name
            nn.Linear(bins, width), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Linear(width, bins), nn.BatchNorm2d(channels), nn.ReLU(),
        )  # fmt: skip

    def forward(self, maps: Tensor) -> Tensor:
        output: Tensor = self.tif(maps)
        return output


class _TfcTdf(nn.Module):
    """A dense block over time and frequency, and what the linear layers add to it."""

    def __init__(self, inputs: int, channels: int, layers: int, bins: int) -> None:
        super().__init__()
        self.tfc = _Dense(inputs, channels, layers, time=True)
        self.tif = _AcrossBins(bins, channels)

    def forward(self, maps: Tensor) -> Tensor:
        local = self.tfc(maps)
        output: Tensor = local + self.tif(local)
        return output


class TdcUnet(nn.Module):
    """The network.

    Parameters
    ----------
    shape : TdcUnetShape
        Its sizes.
    """

    def __init__(self, shape: TdcUnetShape) -> None:
        super().__init__()
        self.shape = shape
        channels, bins = shape.internal_channels, shape.bins - 1
        self.first_conv = nn.Sequential(nn.Conv2d(shape.planes, channels, (2, 1)), nn.BatchNorm2d(channels), nn.ReLU())
        levels = range(shape.levels)
        self.encoders = nn.ModuleList(_block(shape, channels, bins >> level) for level in levels)
        self.downsampling = nn.ModuleList(_halving(shape, level) for level in levels)
        self.mid_block = _block(shape, channels, bins >> shape.levels)
        upwards = levels[::-1]
        self.upsampling = nn.ModuleList(_doubling(shape, level) for level in upwards)
        self.decoders = nn.ModuleList(_block(shape, 2 * channels, bins >> level) for level in upwards)
        self.final_conv = nn.Sequential(nn.Conv2d(channels, shape.planes, (2, 1), padding=(1, 0)))

    def forward(self, planes: Tensor) -> Tensor:
        """Map the planes of a mixture to those of the stem.

        Parameters
        ----------
        planes : float Tensor of shape (batch, plane, bin, frame)
            Frames: a multiple of ``shape.frame_multiple``.

        Returns
        -------
        float Tensor of shape (batch, plane, bin, frame)

        Raises
        ------
        ShapeError
            If the planes have other sizes.
        """
        shape = self.shape
        if (
            planes.ndim != 4
            or planes.shape[1:3] != (shape.planes, shape.bins)
            or planes.shape[3] % shape.frame_multiple
        ):
            wanted = f"(batch, {shape.planes}, {shape.bins}, multiple of {shape.frame_multiple} frames)"
            raise ShapeError("planes", wanted, planes.shape)
        maps = self.first_conv(planes).transpose(2, 3)  # (batch, channel, frame, bin)
        skips = []
        for block, halve in zip(self.encoders, self.downsampling, strict=True):
            maps = block(maps)
            skips.append(maps)
            maps = halve(maps)
        maps = self.mid_block(maps)
        for double, block in zip(self.upsampling, self.decoders, strict=True):
            maps = block(torch.cat([double(maps), skips.pop()], dim=1))
        output: Tensor = self.final_conv(maps.transpose(2, 3))
        return output


def _block(shape: TdcUnetShape, inputs: int, bins: int) -> nn.Module:
    channels, layers = shape.internal_channels, shape.dense_layers
    if shape.block == "tdc":
        return _Dense(inputs, channels, layers, time=False)
    return _TfcTdf(inputs, channels, layers, bins)


def _halving(shape: TdcUnetShape, level: int) -> nn.Module:
    channels = shape.internal_channels
    if shape.block == "tdc":
        return _Resampling(_FrequencyConv(channels, channels, 2, stride=2), channels)
    stride = (shape.time_stride(level), 2)
    return nn.Sequential(nn.Conv2d(channels, channels, stride, stride=stride), nn.BatchNorm2d(channels))


def _doubling(shape: TdcUnetShape, level: int) -> nn.Module:
    channels = shape.internal_channels
    if shape.block == "tdc":
        return _Resampling(_FrequencyConvTranspose(channels, channels, 2, stride=2), channels)
    stride = (shape.time_stride(level), 2)
    return nn.Sequential(nn.ConvTranspose2d(channels, channels, stride, stride=stride), nn.BatchNorm2d(channels))
