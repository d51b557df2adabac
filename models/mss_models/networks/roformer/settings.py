"""Sizes of a RoFormer and of its transform."""

from dataclasses import dataclass
from typing import Literal, get_args

from mss_models.networks.roformer.bands import Bands, mel_bands, side_by_side
from mss_models.stft import StftSettings

Kind = Literal["band-split", "mel-band"]

# BS-RoFormer, section 4.1, for 1025 bins at 44.1 kHz, as the published weights have them.
PUBLISHED_WIDTHS = (2,) * 24 + (4,) * 12 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (128, 129)
PUBLISHED_MEL_BANDS = 60


@dataclass(frozen=True, slots=True)
class RoformerSettings:
    """A network for one stem or several, and its transform.

    Parameters
    ----------
    stems : tuple of str
        One mask each.
    kind : {"band-split", "mel-band"}
        Bands side by side and one norm behind all layers, or mel bands that overlap and a norm behind each
        transformer.
    sample_rate : int, Hz
    channels : {1, 2}
    segment_samples : int
        Length of training examples, and of the segments it is given.
    n_fft, hop_length : int, samples
    window_length : int, samples, <= n_fft
        Of the periodic Hann window, in the middle of a frame.
    scaled_transform : bool
        Whether spectrograms are divided by the square root of n_fft.
    band_widths : tuple of int
        Bins of each band; of "band-split" alone.
    mel_bands : int
        Of "mel-band" alone.
    width : int
        Numbers for each frame and band.
    depth : int
        Pairs of transformers.
    time_layers, band_layers, whole_layers : int
        Layers of a transformer along time, along bands, and of one that hears all frames and bands at once; there is
        none of a kind with 0 layers, but those along time and bands must have some.
    heads, head_width : int
        Of attention; head_width is even.
    mask_layers : int, >= 0
        Hidden layers of the networks that make the mask of a band.
    mask_growth : int
        How much wider they are than ``width``.
    skips : bool
        Whether the input of each pair is the sum of the outputs of all before it.
    silent_zero : bool
        Whether estimates have nothing at 0 Hz.
    attention_dropout, feed_forward_dropout : float, in [0, 1)
        In training.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    stems: tuple[str, ...]
    kind: Kind = "band-split"
    sample_rate: int = 44_100
    channels: int = 2
    segment_samples: int = 352_800
    n_fft: int = 2048
    hop_length: int = 441
    window_length: int = 2048
    scaled_transform: bool = False
    band_widths: tuple[int, ...] = ()
    mel_bands: int = 0
    width: int = 384
    depth: int = 6
    time_layers: int = 1
    band_layers: int = 1
    whole_layers: int = 0
    heads: int = 8
    head_width: int = 64
    mask_layers: int = 1
    mask_growth: int = 4
    skips: bool = False
    silent_zero: bool = True
    attention_dropout: float = 0.0
    feed_forward_dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}; got `{self.kind}`")
        sizes = ("segment_samples", "sample_rate", "width", "depth", "time_layers", "band_layers", "heads",
                 "head_width", "mask_growth")  # fmt: skip
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if min(self.whole_layers, self.mask_layers) < 0:
            raise ValueError("whole_layers and mask_layers must be at least 0")
        if self.channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {self.channels}")
        if self.head_width % 2:
            raise ValueError(f"head_width must be even, got {self.head_width}")
        if not self.hop_length < self.window_length <= self.n_fft:
            raise ValueError(f"window_length must be above the hop and at most n_fft, got {self.window_length}")
        if not (0 <= self.attention_dropout < 1 and 0 <= self.feed_forward_dropout < 1):
            raise ValueError("dropout must be at least 0 and below 1")
        if bool(self.band_widths) == bool(self.mel_bands) or bool(self.mel_bands) != (self.kind == "mel-band"):
            raise ValueError("give band_widths for kind `band-split`, mel_bands for kind `mel-band`")
        _ = self.bands, self.transform

    @property
    def transform(self) -> StftSettings:
        """Frame length and hop."""
        return StftSettings(n_fft=self.n_fft, hop_length=self.hop_length)

    @property
    def bands(self) -> Bands:
        """Ranges of bins."""
        if self.kind == "mel-band":
            return mel_bands(self.mel_bands, self.sample_rate, self.n_fft)
        return side_by_side(self.band_widths, self.n_fft // 2 + 1)
