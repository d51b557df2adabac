"""U-Net over spectrograms: one class for all published configurations.

Encoder: ``levels`` times conv 5x5 stride 2, batch norm, leaky ReLU 0.2; channels double from
``base_channels``. Decoder: as many transposed conv 5x5 stride 2, batch norm, ReLU, with 50 % dropout in the
first ``dropout_layers``; the last one has neither norm nor activation. Skips put the encoder's output of
the same level beside the decoder's. What the outputs mean (sigmoid mask, complex mask) is the head's matter,
see `mss_models.networks.mask_separator`.

- Jansson et al., "Singing voice separation with deep U-Net convolutional networks", ISMIR 2017, and
  Jansson's thesis (2019) chapter 4: the defaults; the baseline is ``skips=False``.
- Thesis chapter 6: ``normalize_first=False, dropout_layers=5``.

`Encoder` and `Decoder` stand alone for networks that share or join them (thesis chapter 5,
`mss_models.networks.vocal_pitch_unet`).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from mss_models.errors import ShapeError

_KERNEL, _STRIDE, _PADDING = 5, 2, 2
_LEAK = 0.2
_DROPOUT = 0.5


@dataclass(frozen=True, slots=True)
class UnetSettings:
    """Size and wiring of a `Unet`.

    Parameters
    ----------
    in_channels, out_channels : int, > 0
        Channels of input and output maps.
    levels : int, > 0
        Halvings of both axes.
    base_channels : int, > 0
        Channels after the first level; they double with each further one.
    skips : bool
        Connect encoder and decoder at equal levels.
    normalize_first : bool
        Batch norm after the first encoder layer.
    dropout_layers : int, in [0, levels - 1]
        Decoder layers, from the coarsest on, with dropout in training.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    in_channels: int = 1
    out_channels: int = 1
    levels: int = 6
    base_channels: int = 16
    skips: bool = True
    normalize_first: bool = True
    dropout_layers: int = 3

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels", "levels", "base_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout_layers < self.levels:
            raise ValueError(f"dropout_layers must be in [0, {self.levels - 1}], got {self.dropout_layers}")

    @property
    def multiple(self) -> int:
        """Maps are padded to multiples of this many bins and frames."""
        return int(_STRIDE**self.levels)


class Layer(nn.Module):
    """Convolution, normalisation if any, activation if any, dropout if any."""

    def __init__(
        self, convolution: nn.Conv2d | nn.ConvTranspose2d, *, normalized: bool, activation: nn.Module, dropout: float
    ) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm: nn.BatchNorm2d | nn.Identity = nn.Identity()
        if normalized:
            self.norm = nn.BatchNorm2d(convolution.out_channels)
        self.activation = activation
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Run the layer on (batch, channel, frame, bin)."""
        result: Tensor = self.dropout(self.activation(self.norm(self.convolution(maps))))
        return result

    def fold(self) -> None:
        """Multiply the norm into the convolution: ``W' = W g / s``, ``b' = (b - m) g / s + beta``."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d):
            return
        convolution = self.convolution
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError("a batch norm without running statistics cannot be folded")
        with torch.no_grad():
            gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # (out channel)
            shift = norm.bias.double() - norm.running_mean.double() * gain
            if convolution.bias is not None:
                shift += convolution.bias.double() * gain
            # Weights are (out, in, 5, 5) forward and (in, out, 5, 5) transposed.
            axes = (1, -1, 1, 1) if isinstance(convolution, nn.ConvTranspose2d) else (-1, 1, 1, 1)
            weight = convolution.weight
            convolution.weight = nn.Parameter((weight.double() * gain.view(axes)).to(weight.dtype))
            convolution.bias = nn.Parameter(shift.to(weight.dtype))
        self.norm = nn.Identity()


class Encoder(nn.ModuleList):
    """The layers that halve both axes and double the channels.

    Parameters
    ----------
    settings : UnetSettings
        Size and wiring of the U-Net it belongs to.
    """

    def __init__(self, settings: UnetSettings) -> None:
        super().__init__(
            self._layer(*pair, normalized=level > 0 or settings.normalize_first)
            for level, pair in enumerate(pairwise([settings.in_channels, *_widths(settings)]))
        )

    @staticmethod
    def _layer(source: int, target: int, *, normalized: bool) -> Layer:
        convolution = nn.Conv2d(source, target, _KERNEL, stride=_STRIDE, padding=_PADDING, bias=not normalized)
        return Layer(convolution, normalized=normalized, activation=nn.LeakyReLU(_LEAK, inplace=True), dropout=0.0)

    def forward(self, maps: Tensor) -> list[Tensor]:
        """Compute the outputs of all layers.

        Parameters
        ----------
        maps : float Tensor of shape (batch, in_channels, frame, bin)
            Frames and bins are multiples of ``2 ** levels``.

        Returns
        -------
        list of float Tensors of shape (batch, base_channels * 2 ** level, frame / 2 ** (level + 1), bin / ...)
            From the finest to the coarsest, which is the bottleneck.
        """
        outputs: list[Tensor] = []
        for layer in self:
            maps = layer(maps)  # (batch, channel * 2, frame / 2, bin / 2)
            outputs.append(maps)
        return outputs


class Decoder(nn.ModuleList):
    """The layers that double both axes and halve the channels, with the skips.

    Parameters
    ----------
    settings : UnetSettings
        Size and wiring of the U-Net it belongs to.
    bottlenecks : int, > 0
        Encoders whose bottlenecks are concatenated before the first layer.
    """

    def __init__(self, settings: UnetSettings, *, bottlenecks: int = 1) -> None:
        widths = _widths(settings)
        sources = [bottlenecks * widths[-1]]
        sources += [2 * width if settings.skips else width for width in widths[-2::-1]]
        targets = [*widths[-2::-1], settings.out_channels]
        super().__init__(
            self._layer(
                source,
                target,
                last=i == settings.levels - 1,
                dropout=_DROPOUT if i < settings.dropout_layers else 0.0,
            )
            for i, (source, target) in enumerate(zip(sources, targets, strict=True))
        )
        self._skips = settings.skips

    @staticmethod
    def _layer(source: int, target: int, *, last: bool, dropout: float) -> Layer:
        convolution = nn.ConvTranspose2d(
            source, target, _KERNEL, stride=_STRIDE, padding=_PADDING, output_padding=1, bias=last
        )
        activation = nn.Identity() if last else nn.ReLU(inplace=True)
        return Layer(convolution, normalized=not last, activation=activation, dropout=dropout)

    def forward(self, bottleneck: Tensor, skips: list[Tensor]) -> Tensor:
        """Compute the output maps.

        Parameters
        ----------
        bottleneck : float Tensor of shape (batch, channel, frame / 2 ** levels, bin / 2 ** levels)
            The encoder's last output, or those of several encoders side by side.
        skips : list of Tensors
            The encoder's other outputs, from the finest to the coarsest. The list is emptied, so that memory is
            free as soon as it can be.

        Returns
        -------
        float Tensor of shape (batch, out_channels, frame, bin)
            Outputs without activation.
        """
        maps = bottleneck
        for i, layer in enumerate(self):
            if i and self._skips:
                maps = torch.cat([maps, skips.pop()], dim=1)  # (batch, channel * 2, frame, bin)
            maps = layer(maps)  # (batch, channel / 2, frame * 2, bin * 2)
        return maps


class Unet(nn.Module):
    """Encoder and decoder over (batch, channel, bin, frame).

    Works for any number of bins and frames: zeros are appended up to the next multiple of ``2 ** levels``
    and cut away again. Inside, maps are (batch, channel, frame, bin), the order in which spectrograms lie in
    memory, so kernels are stored as (..., frame, bin).

    Parameters
    ----------
    settings : UnetSettings
        Size and wiring.
    """

    def __init__(self, settings: UnetSettings) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = Encoder(settings)
        self.decoder = Decoder(settings)

    def forward(self, features: Tensor) -> Tensor:
        """Compute the output maps.

        Parameters
        ----------
        features : float Tensor of shape (batch, in_channels, bin, frame)
            Fastest if bins and frames are multiples of ``2 ** levels``.

        Returns
        -------
        float Tensor of shape (batch, out_channels, bin, frame)
            Outputs without activation.

        Raises
        ------
        ShapeError
            If ``features`` has other axes or channels.
        """
        bins, frames = features.shape[-2:]
        kept = self.encoder(padded_maps(features, self.settings))
        bottleneck = kept.pop()
        maps: Tensor = self.decoder(bottleneck, kept)
        return maps[..., :frames, :bins].transpose(-1, -2)  # (batch, out channel, bin, frame)

    def fold_batch_norm(self) -> None:
        """Multiply every batch norm into its convolution; see `fold_batch_norm`."""
        fold_batch_norm(self)


def padded_maps(features: Tensor, settings: UnetSettings) -> Tensor:
    """Turn features into the maps that an `Encoder` takes.

    Parameters
    ----------
    features : float Tensor of shape (batch, in_channels, bin, frame)
        Any number of bins and frames.
    settings : UnetSettings
        Channels and levels.

    Returns
    -------
    float Tensor of shape (batch, in_channels, padded frame, padded bin)
        Zeros appended up to multiples of ``2 ** levels``.

    Raises
    ------
    ShapeError
        If ``features`` has other axes or channels.
    """
    if features.ndim != 4 or features.shape[1] != settings.in_channels:
        raise ShapeError("features", f"(batch, {settings.in_channels}, bin, frame)", features.shape)
    bins, frames = features.shape[-2:]
    maps = features.transpose(-1, -2)  # (batch, channel, frame, bin)
    missing_bins, missing_frames = -bins % settings.multiple, -frames % settings.multiple
    if missing_bins or missing_frames:
        maps = nn.functional.pad(maps, (0, missing_bins, 0, missing_frames))
    return maps


def fold_batch_norm(network: nn.Module) -> None:
    """Multiply every batch norm of a network into its convolution, for inference only.

    The outputs in evaluation mode stay the same within 1e-5 of their scale; training is no longer meaningful
    and the state dict has other names.

    Parameters
    ----------
    network : Module
        Of `Layer`, at any depth; other modules are left alone.

    Raises
    ------
    ValueError
        If the network is in training mode.
    """
    if network.training:
        raise ValueError("batch norm can be folded in evaluation mode only")
    for layer in network.modules():
        if isinstance(layer, Layer):
            layer.fold()


def _widths(settings: UnetSettings) -> list[int]:
    """Channels after each level."""
    return [settings.base_channels * 2**level for level in range(settings.levels)]
