"""TFC-TDF v3, known as MDX23C: a U-Net from the complex spectrogram of a mixture to those of all its stems.

    planes -> sub-bands as channels -> 1x1 convolution -> [block, shrink] x scales -> block
           -> [grow, join skip, block] x scales -> times what the first convolution gave, beside the planes
           -> 1x1, 1x1 convolution -> bands side by side again -> planes of the stems themselves: no mask

A block has two convolutions over time and frequency, two linear layers over all bins of a frame between them, and a
shortcut around all; norm and activation stand before each layer. Names and shapes of the weights are those of the
published files.

References
----------
Kim, Choi, Chung, Lee and Jung, "Sound demixing challenge 2023 music demixing track technical report: TFC-TDF-UNet v3",
arXiv:2306.09382.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.errors import ShapeError

Norm = Literal["batch", "instance", "group", "none"]
Activation = Literal["gelu", "relu", "elu"]


@dataclass(frozen=True, slots=True)
class TfcTdfV3Shape:
    """Sizes of the network.

    Parameters
    ----------
    planes : int, > 0
        Real and imaginary planes of the mixture: twice its channels.
    targets : int, > 0
        Stems.
    bins : int
        Lowest bins of the spectrogram that it sees; a multiple of ``sub_bands * scale_bins ** scales``.
    sub_bands : int, > 0
        Into how many bands of equal width the bins are cut; they stand beside each other as channels.
    scales : int, > 0
        How often maps shrink.
    scale_frames, scale_bins : int, > 0
        By how much, in both directions.
    blocks : int, > 0
        Of each scale, one behind the other.
    channels, growth : int, > 0 and >= 0
        Of the maps of the first scale, and how many each further one has more.
    bottleneck : int, > 0
        By how much the middle of the linear layers is narrower than the bins.
    norm : {"batch", "instance", "group", "none"}
    norm_groups : int, > 0
        For "group".
    activation : {"gelu", "relu", "elu"}
    elu_alpha : float, > 0
        For "elu".

    Raises
    ------
    ValueError
        If a value is out of its range, or they do not go together.
    """

    planes: int
    targets: int
    bins: int
    sub_bands: int
    scales: int
    blocks: int
    channels: int
    growth: int
    bottleneck: int
    scale_frames: int = 2
    scale_bins: int = 2
    norm: Norm = "instance"
    norm_groups: int = 1
    activation: Activation = "gelu"
    elu_alpha: float = 1.0

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}; got `{self.norm}`")
        if self.activation not in get_args(Activation):
            raise ValueError(f"activation must be one of {', '.join(get_args(Activation))}; got `{self.activation}`")
        counts = (self.planes, self.targets, self.bins, self.sub_bands, self.scales, self.blocks, self.channels,
                  self.bottleneck, self.scale_frames, self.scale_bins, self.norm_groups)  # fmt: skip
        if min(counts) < 1 or self.growth < 0 or not self.elu_alpha > 0:
            raise ValueError("sizes must be at least 1, growth at least 0 and elu_alpha above 0")
        multiple = self.sub_bands * self.scale_bins**self.scales
        if self.bins % multiple:
            raise ValueError(f"bins must be a multiple of {multiple}, got {self.bins}")
        if self.bins // multiple < self.bottleneck:
            raise ValueError(f"bottleneck must be at most {self.bins // multiple}, got {self.bottleneck}")
        if self.norm == "group" and (self.channels % self.norm_groups or self.growth % self.norm_groups):
            raise ValueError(f"norm_groups must divide channels and growth, got {self.norm_groups}")

    @property
    def frame_multiple(self) -> int:
        """The number of frames must be a multiple of this."""
        return int(self.scale_frames**self.scales)

    @property
    def band_planes(self) -> int:
        """Channels of what enters: the planes of every sub-band."""
        return self.planes * self.sub_bands


class _Act(nn.Module):
    """The activation; without gradients it overwrites what the norm before it has made."""

    def __init__(self, shape: TfcTdfV3Shape, *, after_norm: bool = True) -> None:
        super().__init__()
        self.kind, self.alpha = shape.activation, shape.elu_alpha
        # What stands before it has no copy of its own where there is no norm.
        self.owns_input = shape.norm != "none" or not after_norm

    def forward(self, maps: Tensor) -> Tensor:
        in_place = self.owns_input and not torch.is_grad_enabled()
        if self.kind == "relu":
            return functional.relu(maps, inplace=in_place)
        if self.kind == "elu":
            return functional.elu(maps, self.alpha, inplace=in_place)
        if in_place:
            changed: Tensor = torch.ops.aten.gelu_(maps)
            return changed
        return functional.gelu(maps)


def _norm(shape: TfcTdfV3Shape, channels: int) -> nn.Module:
    if shape.norm == "batch":
        return nn.BatchNorm2d(channels)
    if shape.norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if shape.norm == "group":
        return nn.GroupNorm(shape.norm_groups, channels)
    return nn.Identity()


def _before(shape: TfcTdfV3Shape, channels: int, layer: nn.Module) -> nn.Sequential:
    """Norm, activation, layer."""
    return nn.Sequential(_norm(shape, channels), _Act(shape), layer)


class _Block(nn.Module):
    """Two convolutions with linear layers over the bins between them, and a shortcut."""

    def __init__(self, shape: TfcTdfV3Shape, inputs: int, channels: int, bins: int) -> None:
        super().__init__()
        narrow = bins // shape.bottleneck
        # The published names.
        self.tfc1 = _before(shape, inputs, nn.Conv2d(inputs, channels, 3, padding=1, bias=False))
        self.tdf = nn.Sequential(
            *_before(shape, channels, nn.Linear(bins, narrow, bias=False)),
            *_before(shape, channels, nn.Linear(narrow, bins, bias=False)),
        )
        self.tfc2 = _before(shape, channels, nn.Conv2d(channels, channels, 3, padding=1, bias=False))
        self.shortcut = nn.Conv2d(inputs, channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        local: Tensor = self.tfc1(maps)
        local = _sum(local, self.tdf(local))
        local = self.tfc2(local)
        return _sum(local, self.shortcut(maps))


def _sum(own: Tensor, other: Tensor) -> Tensor:
    """Add; without gradients into the first, which nobody else has."""
    return own + other if torch.is_grad_enabled() else own.add_(other)


class _Blocks(nn.Module):
    """All blocks of a scale."""

    def __init__(self, shape: TfcTdfV3Shape, inputs: int, channels: int, bins: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _Block(shape, inputs if index == 0 else channels, channels, bins) for index in range(shape.blocks)
        )

    def forward(self, maps: Tensor) -> Tensor:
        for block in self.blocks:
            maps = block(maps)
        return maps


class _Rescaling(nn.Module):
    """Shrinks or grows the maps."""

    def __init__(self, shape: TfcTdfV3Shape, inputs: int, outputs: int, *, grows: bool) -> None:
        super().__init__()
        kind = nn.ConvTranspose2d if grows else nn.Conv2d
        scale = (shape.scale_frames, shape.scale_bins)
        self.conv = _before(shape, inputs, kind(inputs, outputs, scale, stride=scale, bias=False))

    def forward(self, maps: Tensor) -> Tensor:
        output: Tensor = self.conv(maps)
        return output


class _Down(nn.Module):
    """A scale on the way down."""

    def __init__(self, shape: TfcTdfV3Shape, channels: int, bins: int) -> None:
        super().__init__()
        self.tfc_tdf = _Blocks(shape, channels, channels, bins)
        self.downscale = _Rescaling(shape, channels, channels + shape.growth, grows=False)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Give what goes on, and what the way up takes."""
        skip = self.tfc_tdf(maps)
        return self.downscale(skip), skip


class _Up(nn.Module):
    """A scale on the way up."""

    def __init__(self, shape: TfcTdfV3Shape, channels: int, bins: int) -> None:
        super().__init__()
        self.upscale = _Rescaling(shape, channels + shape.growth, channels, grows=True)
        self.tfc_tdf = _Blocks(shape, 2 * channels, channels, bins)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        output: Tensor = self.tfc_tdf(torch.cat([self.upscale(maps), skip], dim=1))
        return output


class TfcTdfV3(nn.Module):
    """The network.

    Parameters
    ----------
    shape : TfcTdfV3Shape
        Its sizes.
    """

    def __init__(self, shape: TfcTdfV3Shape) -> None:
        super().__init__()
        self.shape = shape
        bins, scales = shape.bins // shape.sub_bands, range(shape.scales)
        widths = [shape.channels + scale * shape.growth for scale in range(shape.scales + 1)]
        heights = [bins // shape.scale_bins**scale for scale in range(shape.scales + 1)]
        first = shape.channels
        # The published names.
        self.first_conv = nn.Conv2d(shape.band_planes, first, 1, bias=False)
        self.encoder_blocks = nn.ModuleList(_Down(shape, widths[scale], heights[scale]) for scale in scales)
        self.bottleneck_block = _Blocks(shape, widths[-1], widths[-1], heights[-1])
        self.decoder_blocks = nn.ModuleList(_Up(shape, widths[scale], heights[scale]) for scale in scales[::-1])
        self.final_conv = nn.Sequential(
            nn.Conv2d(first + shape.band_planes, first, 1, bias=False),
            _Act(shape, after_norm=False),
            nn.Conv2d(first, shape.targets * shape.band_planes, 1, bias=False),
        )

    def forward(self, planes: Tensor) -> Tensor:
        """Map the planes of a mixture to those of its stems.

        Parameters
        ----------
        planes : float Tensor of shape (batch, plane, frame, bin)
            Frames: a multiple of ``shape.frame_multiple``.

        Returns
        -------
        float Tensor of shape (batch, target, plane, frame, bin)

        Raises
        ------
        ShapeError
            If the planes have other sizes.
        """
        shape = self.shape
        frames = planes.shape[2] if planes.ndim == 4 else 0
        if frames == 0 or frames % shape.frame_multiple or planes.shape[1::2] != (shape.planes, shape.bins):
            wanted = f"(batch, {shape.planes}, multiple of {shape.frame_multiple} frames, {shape.bins})"
            raise ShapeError("planes", wanted, planes.shape)
        bands = torch.unflatten(planes, 3, (shape.sub_bands, -1))  # (batch, plane, frame, sub-band, bin)
        bands = bands.transpose(2, 3).flatten(1, 2)  # (batch, plane and sub-band, frame, bin)
        first = self.first_conv(bands)  # (batch, channel, frame, bin)
        # The maps reach the output times the first convolution's: what was silent there stays silent.
        maps = self._through(first) * first
        del first
        maps = self.final_conv(torch.cat([bands, maps], dim=1))  # (batch, target, plane and sub-band, frame, bin)
        maps = torch.unflatten(maps, 1, (shape.targets, shape.planes, shape.sub_bands))
        return maps.transpose(3, 4).flatten(4)  # (batch, target, plane, frame, bin)

    def _through(self, maps: Tensor) -> Tensor:
        """Go down and up again; (batch, channel, frame, bin), the same sizes come out."""
        skips = []
        for down in self.encoder_blocks:
            maps, skip = down(maps)
            skips.append(skip)
            del skip
        maps = self.bottleneck_block(maps)
        for up in self.decoder_blocks:
            maps = up(maps, skips.pop())
        return maps
