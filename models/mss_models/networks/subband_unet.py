"""TFC-TDF U-Net over stacked sub-bands: few bins, many channels, made to be cheap on a CPU.

The lowest bins are cut into equal sub-bands, which are stacked as channels, so that a map has an eighth of the bins
and every convolution sees eight places of the spectrum at once. Each scale has a block of 3x3 convolutions (TFC)
and two linear layers over its bins (TDF) added to them; between scales both axes are halved and doubled again. At
the coarsest scale something may look over the whole segment: a recurrent layer or dilated convolutions.

Every convolution and linear layer but the last is followed by batch norm and ReLU. The norm of a linear layer over
bins is per bin, which is its output feature, so that it can be folded into the layer's weights.

Inside, maps lie in memory as (batch, frame, bin, channel): that is channels last for the convolutions, and a
linear layer over bins is one matrix product per frame. Planes of a frame go in and come out through matrix products
that read or write them turned, so nothing is ever copied only to turn it.

- Choi et al., "Investigating U-Nets with various intermediate blocks for spectrogram-based singing voice
  separation", ISMIR 2020: TFC and TDF.
- Kong et al., "Decoupling magnitude and phase estimation with deep ResUNet for music source separation", ISMIR
  2021, and its authors' published code: sub-bands as channels.

The wiring is ours.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mss_models.errors import ShapeError
from mss_models.networks.unet import Layer, fold_batch_norm

Skips = Literal["add", "concatenate"]
Context = Literal["none", "gru", "dilated"]

# Channels per bin that the recurrent layer sees; its input has so many values for every bin of a frame.
_RECURRENT_CHANNELS = 8
_DILATIONS = (1, 2, 4, 8)
# First weights of the outlet are so much smaller than usual: masks begin near their middle.
_OUTLET_GAIN = 0.1


@dataclass(frozen=True, slots=True)
class SubbandUnetSettings:
    """Size and wiring of a `SubbandUnet`.

    Parameters
    ----------
    in_planes, out_planes : int, > 0
        Planes of a frame that go in and come out, each of ``bins`` values.
    bins : int, > 0
        Bins of a plane; a multiple of ``sub_bands * 2 ** (scales - 1)``.
    sub_bands : int, > 0
        Equal parts of the bins that are stacked as channels.
    channels : tuple of int, > 0
        Channels of each scale, from the finest on; at least one scale.
    convolutions : int, > 0
        3x3 convolutions of each block.
    bottleneck : int, >= 0
        Bins divided by this are the rows between the two linear layers of a block; 0 for no such layers.
    skips : {"add", "concatenate"}
        How encoder and decoder meet at equal scales.
    context : {"none", "gru", "dilated"}
        What looks over time at the coarsest scale: a bidirectional recurrent layer, or convolutions over 3 frames
        with dilations 1, 2, 4 and 8.
    context_size : int, > 0
        Units per direction, or channels of the dilated convolutions.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    in_planes: int
    out_planes: int
    bins: int
    sub_bands: int = 8
    channels: tuple[int, ...] = (48, 96, 144)
    convolutions: int = 2
    bottleneck: int = 8
    skips: Skips = "add"
    context: Context = "gru"
    context_size: int = 64

    def __post_init__(self) -> None:
        for name in ("in_planes", "out_planes", "bins", "sub_bands", "convolutions", "context_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels must be positive, at least one, got {list(self.channels)}")
        if self.bins % (self.sub_bands * self.multiple):
            raise ValueError(f"bins must be a multiple of {self.sub_bands * self.multiple}, got {self.bins}")
        if not 0 <= self.bottleneck <= self.scale_bins[-1]:
            raise ValueError(f"bottleneck must be in [0, {self.scale_bins[-1]}], got {self.bottleneck}")
        for name, choices in (("skips", get_args(Skips)), ("context", get_args(Context))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got `{getattr(self, name)}`")

    @property
    def multiple(self) -> int:
        """Frames are padded to multiples of this many."""
        return int(2 ** (len(self.channels) - 1))

    @property
    def scale_bins(self) -> tuple[int, ...]:
        """Bins of a map at each scale."""
        return tuple(self.bins // self.sub_bands // 2**scale for scale in range(len(self.channels)))


class FrameLinear(nn.Module):
    """A linear layer over the rows of each frame's matrix, batch norm per row, ReLU.

    Parameters
    ----------
    rows, out_rows : int, > 0
        Rows before and after.
    """

    def __init__(self, rows: int, out_rows: int) -> None:
        super().__init__()
        self.linear = nn.Linear(rows, out_rows, bias=False)
        self.norm: nn.BatchNorm1d | nn.Identity = nn.BatchNorm1d(out_rows)
        self.bias: nn.Parameter | None = None  # after folding

    def forward(self, frames: Tensor) -> Tensor:
        """Map (frame, row, column) to (frame, out row, column)."""
        weight = self.linear.weight
        if self.bias is not None:
            weights = weight.expand(frames.shape[0], -1, -1)
            return torch.baddbmm(self.bias, weights, frames).relu_()
        return nn.functional.relu(self.norm(torch.matmul(weight, frames)))

    def fold(self) -> None:
        """Multiply the norm into the weights."""
        if isinstance(self.norm, nn.BatchNorm1d):
            gain, shift = _affine(self.norm)
            weight = self.linear.weight
            self.linear.weight = nn.Parameter((weight.double() * gain[:, None]).to(weight.dtype))
            self.bias = nn.Parameter(shift[:, None].to(weight.dtype))
            self.norm = nn.Identity()


class Inlet(nn.Module):
    """A linear layer over the planes of each cell, batch norm and ReLU: planes in, a map out."""

    def __init__(self, planes: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(planes, channels, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(channels)

    def forward(self, planes: Tensor) -> Tensor:
        """Map (batch, frame, plane, bin) to (batch, channel, frame, bin)."""
        cells = nn.functional.linear(planes.transpose(-1, -2), self.linear.weight, self.linear.bias)
        maps = self.norm(cells.permute(0, 3, 1, 2))  # (batch, channel, frame, bin)
        return nn.functional.relu(maps)

    def fold(self) -> None:
        """Multiply the norm into the weights."""
        if isinstance(self.norm, nn.BatchNorm2d):
            gain, shift = _affine(self.norm)
            weight = self.linear.weight
            self.linear.weight = nn.Parameter((weight.double() * gain[:, None]).to(weight.dtype))
            self.linear.bias = nn.Parameter(shift.to(weight.dtype))
            self.norm = nn.Identity()


class Outlet(nn.Module):
    """A linear layer over the channels of each cell: a map in, planes out, neither norm nor activation."""

    def __init__(self, channels: int, planes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, planes)
        with torch.no_grad():
            self.linear.weight.mul_(_OUTLET_GAIN)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, channel, frame, bin) to (batch, frame, plane, bin)."""
        frames = _frames(maps)  # (batch * frame, bin, channel)
        if self.linear.weight.requires_grad and torch.is_grad_enabled():
            # The other way would make a gradient of the weights for every frame.
            planes: Tensor = self.linear(frames).transpose(1, 2)  # (batch * frame, plane, bin)
        else:
            weights = self.linear.weight.expand(frames.shape[0], -1, -1)  # (batch * frame, plane, channel)
            planes = torch.baddbmm(self.linear.bias[:, None], weights, frames.transpose(1, 2))
        return planes.reshape(maps.shape[0], maps.shape[2], *planes.shape[1:])  # (batch, frame, plane, bin)


class Block(nn.Module):
    """TFC-TDF: 3x3 convolutions, and two linear layers over their bins added to them."""

    def __init__(self, source: int, channels: int, bins: int, settings: SubbandUnetSettings) -> None:
        super().__init__()
        widths = [source] + [channels] * settings.convolutions
        self.convolutions = nn.Sequential(
            *(_layer(nn.Conv2d(*pair, 3, padding=1, bias=False)) for pair in pairwise(widths))
        )
        self.linears: nn.Sequential | None = None
        if settings.bottleneck:
            rows = bins // settings.bottleneck
            self.linears = nn.Sequential(FrameLinear(bins, rows), FrameLinear(rows, bins))

    def forward(self, maps: Tensor) -> Tensor:
        """Run the block on (batch, channel, frame, bin)."""
        found: Tensor = self.convolutions(maps)
        if self.linears is None:
            return found
        frames = _frames(found)  # (batch * frame, bin, channel)
        return found + _maps(self.linears(frames), found.shape[0])


class Recurrent(nn.Module):
    """A bidirectional recurrent layer over frames that sees all bins of a map, added to the map."""

    def __init__(self, channels: int, bins: int, size: int) -> None:
        super().__init__()
        values = _RECURRENT_CHANNELS * bins
        self.reduce = _layer(nn.Conv2d(channels, _RECURRENT_CHANNELS, 1, bias=False))
        self.recurrent = nn.GRU(values, size, batch_first=True, bidirectional=True)
        self.spread = nn.Linear(2 * size, values)
        self.expand = _layer(nn.Conv2d(_RECURRENT_CHANNELS, channels, 1, bias=False))

    def forward(self, maps: Tensor) -> Tensor:
        """Run on (batch, channel, frame, bin)."""
        reduced = self.reduce(maps).permute(0, 2, 3, 1)  # (batch, frame, bin, reduced channel)
        # Not all devices have a recurrent layer for autocast's inputs, and it is a small part of the work.
        with torch.autocast(maps.device.type, enabled=False):
            heard, _ = self.recurrent(reduced.flatten(2).to(self.recurrent.weight_ih_l0.dtype))
        told = self.spread(heard).view(reduced.shape)  # (batch, frame, bin, reduced channel)
        result: Tensor = maps + self.expand(told.permute(0, 3, 1, 2))  # (batch, channel, frame, bin)
        return result


class Dilated(nn.Module):
    """Convolutions over time with growing dilation, each added to what it sees."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(
                _layer(nn.Conv2d(channels, size, 1, bias=False)),
                _layer(nn.Conv2d(size, size, (3, 1), padding=(dilation, 0), dilation=(dilation, 1), bias=False)),
                _layer(nn.Conv2d(size, channels, 1, bias=False)),
            )
            for dilation in _DILATIONS
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Run on (batch, channel, frame, bin)."""
        for step in self.steps:
            maps = maps + step(maps)
        return maps


class SubbandUnet(nn.Module):
    """The network over planes of frames.

    Works for any number of frames: zeros are appended up to the next multiple of ``2 ** (scales - 1)`` and cut away
    again.

    Parameters
    ----------
    settings : SubbandUnetSettings
        Size and wiring.
    """

    def __init__(self, settings: SubbandUnetSettings) -> None:
        super().__init__()
        self.settings = settings
        widths, bins = settings.channels, settings.scale_bins
        self.inlet = Inlet(settings.in_planes * settings.sub_bands, widths[0])
        self.encoder = nn.ModuleList(Block(width, width, bins[i], settings) for i, width in enumerate(widths[:-1]))
        self.down = nn.ModuleList(_layer(nn.Conv2d(*pair, 2, stride=2, bias=False)) for pair in pairwise(widths))
        self.bottom = Block(widths[-1], widths[-1], bins[-1], settings)
        self.context: nn.Module = nn.Identity()
        if settings.context == "gru":
            self.context = Recurrent(widths[-1], bins[-1], settings.context_size)
        elif settings.context == "dilated":
            self.context = Dilated(widths[-1], settings.context_size)
        coarse_to_fine = list(pairwise(reversed(widths)))
        self.up = nn.ModuleList(_layer(nn.ConvTranspose2d(*pair, 2, stride=2, bias=False)) for pair in coarse_to_fine)
        sides = 2 if settings.skips == "concatenate" else 1
        self.decoder = nn.ModuleList(
            Block(sides * width, width, bins[-2 - i], settings) for i, (_, width) in enumerate(coarse_to_fine)
        )
        self.outlet = Outlet(widths[0], settings.out_planes * settings.sub_bands)

    def forward(self, planes: Tensor) -> Tensor:
        """Compute the output planes.

        Parameters
        ----------
        planes : float Tensor of shape (batch, frame, in_planes, bin)
            Fastest if contiguous and if the frames are a multiple of ``2 ** (scales - 1)``.

        Returns
        -------
        float Tensor of shape (batch, frame, out_planes, bin)
            Outputs without activation.

        Raises
        ------
        ShapeError
            If ``planes`` has other axes, planes or bins.
        """
        chosen = self.settings
        if planes.ndim != 4 or tuple(planes.shape[2:]) != (chosen.in_planes, chosen.bins):
            axes = f"(batch, frame, {chosen.in_planes} planes, {chosen.bins} bins)"
            raise ShapeError("planes", axes, planes.shape)
        frames = planes.shape[1]
        if frames % chosen.multiple:
            planes = nn.functional.pad(planes, (0, 0, 0, 0, 0, -frames % chosen.multiple))
        # Bins of a sub-band lie side by side: (batch, frame, plane * sub-band, bin of the sub-band) is a view.
        maps = self.inlet(planes.reshape(*planes.shape[:2], -1, chosen.scale_bins[0]))
        kept: list[Tensor] = []
        for block, down in zip(self.encoder, self.down, strict=True):
            kept.append(block(maps))  # (batch, channel, frame, bin)
            maps = down(kept[-1])  # (batch, more channels, frame / 2, bin / 2)
        maps = self.context(self.bottom(maps))
        for up, block in zip(self.up, self.decoder, strict=True):
            maps = up(maps)  # (batch, fewer channels, frame * 2, bin * 2)
            side = kept.pop()
            maps = block(torch.cat([maps, side], dim=1) if chosen.skips == "concatenate" else maps + side)
        outputs: Tensor = self.outlet(maps)  # (batch, frame, plane * sub-band, bin of the sub-band)
        return outputs.reshape(*outputs.shape[:2], chosen.out_planes, chosen.bins)[:, :frames]

    def fold_batch_norm(self) -> None:
        """Multiply every batch norm into its layer, for inference only; see `unet.fold_batch_norm`.

        Raises
        ------
        ValueError
            If the network is in training mode.
        """
        fold_batch_norm(self)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, FrameLinear | Inlet):
                    module.fold()


def frame_cost(settings: SubbandUnetSettings) -> float:
    """Count the multiplications of the network for one frame of its input.

    Parameters
    ----------
    settings : SubbandUnetSettings
        Size and wiring.

    Returns
    -------
    float
        Multiply-accumulates of convolutions, matrix products and the recurrent layer; norms, activations, additions
        and the padding to whole maps are not counted.
    """
    widths, bins = settings.channels, settings.scale_bins
    sides = 2 if settings.skips == "concatenate" else 1
    total = float(widths[0] * bins[0] * settings.sub_bands * (settings.in_planes + settings.out_planes))
    for i, width in enumerate(widths):
        share = 0.5**i  # frames at this scale for one frame of the input
        for source in (width,) if i == len(widths) - 1 else (width, sides * width):
            total += share * _block_cost(source, width, bins[i], settings)
        if i:  # one 2x2 convolution down and one up
            total += share * 2 * 4 * bins[i] * width * widths[i - 1]
    return total + 0.5 ** (len(widths) - 1) * _context_cost(settings)


def _block_cost(source: int, channels: int, bins: int, settings: SubbandUnetSettings) -> int:
    """Multiplications of a block per frame."""
    cost = 9 * bins * channels * (source + (settings.convolutions - 1) * channels)
    if settings.bottleneck:
        cost += 2 * channels * bins * (bins // settings.bottleneck)
    return cost


def _context_cost(settings: SubbandUnetSettings) -> int:
    """Multiplications of the context per frame of the coarsest scale."""
    channels, bins, size = settings.channels[-1], settings.scale_bins[-1], settings.context_size
    if settings.context == "dilated":
        return len(_DILATIONS) * bins * (2 * channels * size + 3 * size * size)
    if settings.context == "gru":
        values = _RECURRENT_CHANNELS * bins
        return 2 * values * channels + 2 * 3 * size * (values + size) + 2 * size * values
    return 0


def _layer(convolution: nn.Conv2d | nn.ConvTranspose2d) -> Layer:
    """A convolution with batch norm and ReLU."""
    return Layer(convolution, normalized=True, activation=nn.ReLU(inplace=True), dropout=0.0)


def _frames(maps: Tensor) -> Tensor:
    """Turn (batch, channel, frame, bin) into (batch * frame, bin, channel), a view if channels lie last."""
    return maps.permute(0, 2, 3, 1).flatten(0, 1)


def _maps(frames: Tensor, batch: int) -> Tensor:
    """Turn (batch * frame, bin, channel) into (batch, channel, frame, bin); the inverse of `_frames`."""
    return frames.view(batch, -1, *frames.shape[1:]).permute(0, 3, 1, 2)


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Gain and shift of a norm in evaluation mode, in float64."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be folded")
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return gain, norm.bias.double() - norm.running_mean.double() * gain
