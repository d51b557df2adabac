"""What decides the shape of a hybrid Demucs.

The defaults are those of the published Hybrid Demucs (Défossez, "Hybrid spectrogram and waveform source separation",
ISMIR 2021 workshop on music source separation); with `TransformerSettings` it is a Hybrid Transformer Demucs (Rouard,
Massa and Défossez, "Hybrid transformers for music source separation", ICASSP 2023).
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, get_args

from mss_models.networks.network_separator import check_stems

Planes = Literal["complex", "magnitude"]

# The grid of the spectrogram fits that of the time branch with this many only.
_HOPS_PER_WINDOW = 4
_COUNTS = ("sample_rate", "segment_samples", "width", "growth", "depth", "stride", "time_stride", "norm_groups")


@dataclass(frozen=True, slots=True)
class ResidualSettings:
    """Residual branches inside the layers.

    Parameters
    ----------
    in_encoder, in_decoder : bool
        Where they stand.
    layers : int, >= 1
        Convolutions of a branch, the i-th dilated by ``2 ** i``.
    compression : int, >= 1
        Channels inside are the layer's divided by it.
    lstm_from, attention_from : int or None
        First level whose branches have a recurrent layer, and local attention; None for no level.
    scale : float, > 0
        What the output of each is scaled by before training.
    """

    in_encoder: bool = True
    in_decoder: bool = False
    layers: int = 2
    compression: int = 4
    lstm_from: int | None = 4
    attention_from: int | None = 4
    scale: float = 1e-4

    def __post_init__(self) -> None:
        if self.layers < 1 or self.compression < 1 or self.scale <= 0:
            raise ValueError("layers and compression of a residual branch must be at least 1 and its scale positive")


@dataclass(frozen=True, slots=True)
class TransformerSettings:
    """The transformer between encoder and decoder, which also couples the two branches.

    Parameters
    ----------
    bottom_channels : int, >= 0
        Width of the transformer; 0 is the width of the last level.
    layers : int, >= 1
        Those with even index attend to their own branch, those with odd index to the other one.
    heads : int, >= 1
        Must divide the width.
    hidden_scale : float, > 0
        Width of the feed-forward part over the width of the transformer.
    dropout : float, in [0, 1)
        In training.
    """

    bottom_channels: int = 512
    layers: int = 5
    heads: int = 8
    hidden_scale: float = 4.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.bottom_channels < 0 or self.layers < 1 or self.heads < 1 or self.hidden_scale <= 0:
            raise ValueError(f"sizes of a transformer must be positive, got {self}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the network, encoder and decoder.

    Parameters
    ----------
    index : int
        0 is the outermost.
    planes_in, planes : int
        Channels of the frequency branch outside and inside.
    channels_in, channels : int
        The same of the time branch.
    bins : int
        Bins outside; 1 when the branches have merged.
    kernel, stride : int
        Over frequency, or over time when the branches have merged.
    merges : bool
        This level takes all bins together and adds the time branch.
    """

    index: int
    planes_in: int
    planes: int
    channels_in: int
    channels: int
    bins: int
    kernel: int
    stride: int
    merges: bool

    @property
    def hybrid(self) -> bool:
        """There are two branches."""
        return self.bins > 1


@dataclass(frozen=True, slots=True)
class HybridSettings:
    """A hybrid Demucs.

    Parameters
    ----------
    stems : tuple of str
        Names of the estimates, at least one, no two alike.
    sample_rate : int, Hz
        Of mixture and estimates.
    channels : int
        Of mixture and estimates, 1 or 2.
    segment_samples : int, >= 1
        Segment of the training. With a transformer shorter ones are filled up with zeros.
    width : int
        Channels of the outermost level.
    growth : int
        Factor from level to level.
    depth : int
        Levels.
    n_fft : int, samples
        Window of the spectrogram; the hop is a quarter.
    kernel_size, stride : int
        Of all levels, but that which merges the branches and those below.
    time_stride : int
        Stride below it; the kernel is twice that.
    context : int
        The decoders' gated convolutions see so many neighbours on each side, in time and in frequency.
    norm_from : int
        First level with group norms.
    norm_groups : int
        Groups of those.
    planes : {"complex", "magnitude"}
        What the frequency branch sees and gives of a spectrum: real and imaginary parts, or magnitudes.
    wiener_iterations : int, >= -1
        With magnitudes: steps of the filter that makes stems of them (`mss_models.wiener`); -1 takes the mixture's
        phase as it is.
    band_ends : tuple of float, in (0, 1), rising
        Cut the outermost levels of the frequency branch into bands that end there, as shares of the bins; none for
        no bands. They need kernels of twice the stride.
    banded_levels : int, >= 1
        So many levels are cut.
    mirrored_ends : bool
        The spectrogram sees the signal mirrored at its ends. False is an early version: zeros beyond the ends, and
        spectra that come back one and a half hops late, as its weights were trained.
    frequency_embedding : float
        Share of the embedding of frequencies after the first level, 0 for none.
    residual : ResidualSettings
        Branches inside the levels.
    transformer : TransformerSettings or None
        None makes a Hybrid Demucs.

    Raises
    ------
    ValueError
        If a value is out of its range or they do not go together.
    """

    stems: tuple[str, ...]
    sample_rate: int = 44_100
    channels: int = 2
    segment_samples: int = 44 * 44_100
    width: int = 48
    growth: int = 2
    depth: int = 6
    n_fft: int = 4096
    kernel_size: int = 8
    stride: int = 4
    time_stride: int = 2
    context: int = 1
    norm_from: int = 4
    norm_groups: int = 4
    planes: Planes = "complex"
    wiener_iterations: int = -1
    band_ends: tuple[float, ...] = ()
    banded_levels: int = 2
    mirrored_ends: bool = True
    frequency_embedding: float = 0.2
    residual: ResidualSettings = field(default_factory=ResidualSettings)
    transformer: TransformerSettings | None = None

    def __post_init__(self) -> None:
        check_stems(self.stems)
        if self.channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {self.channels}")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.n_fft < 64 or self.n_fft % 64:
            raise ValueError(f"n_fft must be a multiple of 64, got {self.n_fft}")
        if self.kernel_size < self.stride or (self.kernel_size - self.stride) % 2:
            raise ValueError("kernel_size must be stride, or more by an even number")
        if self.context < 0 or self.frequency_embedding < 0:
            raise ValueError("context and frequency_embedding must not be negative")
        if self.planes not in get_args(Planes) or self.wiener_iterations < -1:
            raise ValueError(f"planes {self.planes!r} or wiener_iterations {self.wiener_iterations} out of range")
        self._check_bands()
        self._check_levels()

    def _check_bands(self) -> None:
        ends = self.band_ends
        if not ends:
            return
        if not all(0 < low < high for low, high in pairwise((*ends, 1.0))) or self.banded_levels < 1:
            raise ValueError(f"band_ends must rise between 0 and 1, and banded_levels be at least 1; got {ends}")
        if self.kernel_size != 2 * self.stride or self.banded_levels > self.norm_from:
            raise ValueError("levels in bands need kernels of twice the stride, and have no norms")
        if any(level.merges or not level.hybrid for level in self.levels()[: self.banded_levels]):
            raise ValueError("levels in bands come before the branches merge")

    def _check_levels(self) -> None:
        levels = self.levels()
        if any(level.hybrid and not level.merges and level.bins % level.stride for level in levels):
            raise ValueError(f"the strides of {self.depth} levels do not divide {self.n_fft // 2} bins")
        if self.transformer is None:
            return
        if not self.is_usual:
            raise ValueError("with a transformer: complex planes, no bands, mirrored ends")
        if levels[-1].merges or not levels[-1].hybrid:
            raise ValueError("a transformer needs two branches: fewer levels")
        width = self.transformer.bottom_channels or levels[-1].channels
        if width % 4 or width % self.transformer.heads:
            raise ValueError(f"the width {width} of the transformer must be a multiple of 4 and of the number of heads")

    @property
    def hop_length(self) -> int:
        """Distance between frames, samples."""
        return self.n_fft // _HOPS_PER_WINDOW

    @property
    def is_usual(self) -> bool:
        """Whether the spectrogram is handled as in all later models, for which there is a fast way."""
        return self.planes == "complex" and not self.band_ends and self.mirrored_ends

    def levels(self) -> list[Level]:
        """Give the levels from the outermost to the innermost."""
        levels: list[Level] = []
        bins, channels_in, width = self.n_fft // 2, self.channels, self.width
        planes_in = 2 * self.channels if self.planes == "complex" else self.channels
        for index in range(self.depth):
            merges = 1 < bins <= self.kernel_size
            kernel, stride = self.kernel_size, self.stride
            if merges:
                kernel = bins
            elif bins == 1:
                kernel, stride = 2 * self.time_stride, self.time_stride
            levels.append(Level(index, planes_in, width, channels_in, width, bins, kernel, stride, merges))
            bins = 1 if merges or bins == 1 else bins // self.stride
            channels_in = planes_in = width
            width *= self.growth
        return levels
