"""What decides the shape of a Demucs in the time domain.

The defaults are those of the third version (Défossez, "Hybrid spectrogram and waveform source separation", 2021, the
time branch alone); the first and second (Défossez, Usunier, Bottou and Bach, "Music source separation in the waveform
domain", 2019) differ by `activation`, `lstm_layers`, `context_padding`, `normalize` and no residual branches.
"""

from dataclasses import dataclass, field
from typing import Literal

from mss_models.networks.demucs.settings import ResidualSettings
from mss_models.networks.network_separator import check_stems

Activation = Literal["gelu", "relu"]
Decoders = Literal["shared", "per-stem"]

_COUNTS = ("sample_rate", "segment_samples", "width", "growth", "depth", "stride", "norm_groups")


@dataclass(frozen=True, slots=True)
class TimeSettings:
    """A Demucs in the time domain.

    Parameters
    ----------
    stems : tuple of str
        Names of the estimates, at least one, no two alike.
    sample_rate : int, Hz
        Of mixture and estimates.
    channels : int
        Of mixture and estimates, 1 or 2.
    segment_samples : int, >= 1
        Segment it works best with; any length is taken.
    width : int
        Channels of the outermost level.
    growth : int
        Factor from level to level.
    depth : int
        Levels.
    kernel_size, stride : int
        Of all levels; the kernel is not shorter than the stride.
    context : int, >= 0
        The decoders' gated convolutions see so many neighbours on each side.
    context_padding : bool
        They see zeros beyond the ends; if False what lies there is left out, and the mixture is padded more.
    activation : {"gelu", "relu"}
        After the strided convolutions.
    lstm_layers : int, >= 0
        Recurrent layers between encoder and decoder, as wide as the last level.
    lstm_bidirectional : bool
        They look at what comes, too.
    norm_from : int
        First level with group norms.
    norm_groups : int
        Groups of those.
    residual : ResidualSettings or None
        Branches inside the levels.
    normalize : bool
        The network brings the mixture to mean 0 and deviation 1 and its estimates back.
    resample : bool
        It works at twice the sample rate.
    decoders : {"shared", "per-stem"}
        One for all stems, or one for each; each of these takes all skips.

    Raises
    ------
    ValueError
        If a value is out of its range or they do not go together.
    """

    stems: tuple[str, ...]
    sample_rate: int = 44_100
    channels: int = 2
    segment_samples: int = 40 * 44_100
    width: int = 64
    growth: int = 2
    depth: int = 6
    kernel_size: int = 8
    stride: int = 4
    context: int = 1
    context_padding: bool = True
    activation: Activation = "gelu"
    lstm_layers: int = 0
    lstm_bidirectional: bool = True
    norm_from: int = 4
    norm_groups: int = 4
    residual: ResidualSettings | None = field(default_factory=ResidualSettings)
    normalize: bool = True
    resample: bool = True
    decoders: Decoders = "shared"

    def __post_init__(self) -> None:
        check_stems(self.stems)
        if self.channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {self.channels}")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.kernel_size < self.stride:
            raise ValueError(f"kernel_size must be at least the stride {self.stride}, got {self.kernel_size}")
        if self.context < 0 or self.lstm_layers < 0 or self.norm_from < 0:
            raise ValueError("context, lstm_layers and norm_from must not be negative")

    def width_of(self, level: int) -> int:
        """Give the channels inside a level, 0 the outermost."""
        return int(self.width * self.growth**level)

    def padded_samples(self, samples: int) -> int:
        """Give the length that a mixture is padded to, so that the decoders give at least its own."""
        length = 2 * samples if self.resample else samples
        for _ in range(self.depth):
            length = max(1, -((self.kernel_size - length) // self.stride) + 1)
            if not self.context_padding:
                length += 2 * self.context
        for _ in range(self.depth):
            length = (length - 1) * self.stride + self.kernel_size
        return -(-length // 2) if self.resample else length
