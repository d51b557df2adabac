"""Sizes of an SCNet."""

import math
from dataclasses import dataclass

from mss_models.separator import Normalization

# Low, middle and high.
BANDS = 3


@dataclass(frozen=True, slots=True)
class Bands:
    """How the bins of a map are cut into three bands, and by how much each is compressed.

    Parameters
    ----------
    shares : tuple of 3 float, > 0
        Of the bins; the third takes what the others leave, so only their sum is looked at.
    strides : tuple of 3 int, > 0
        Bins that become one.
    kernels : tuple of 3 int
        Bins that each sees; as many as the stride, or more where the stride is 1.
    depths : tuple of 3 int, > 0
        Residual layers over time behind each compression.

    Raises
    ------
    ValueError
        If there are other than three of each, or a value is out of its range.
    """

    shares: tuple[float, ...] = (0.175, 0.392, 0.433)
    strides: tuple[int, ...] = (1, 4, 16)
    kernels: tuple[int, ...] = (3, 4, 16)
    depths: tuple[int, ...] = (3, 2, 1)

    def __post_init__(self) -> None:
        if any(len(of) != BANDS for of in (self.shares, self.strides, self.kernels, self.depths)):
            raise ValueError(f"shares, strides, kernels and depths must have {BANDS} values")
        if min(*self.strides, *self.depths) < 1 or min(self.shares) <= 0 or self.shares[0] + self.shares[1] >= 1:
            raise ValueError("strides and depths must be at least 1; shares above 0, the first two together below 1")
        for stride, kernel in zip(self.strides, self.kernels, strict=True):
            if kernel != stride and (stride != 1 or kernel < 1 or kernel % 2 == 0):
                raise ValueError(f"a kernel must be as long as its stride {stride}, or odd if that is 1; got {kernel}")

    def lengths(self, bins: int) -> tuple[int, ...]:
        """Give the bins of each band."""
        first, second = math.ceil(bins * self.shares[0]), math.ceil(bins * (self.shares[0] + self.shares[1]))
        return first, second - first, bins - second

    def compressed(self, bins: int) -> tuple[int, ...]:
        """Give the bins of each band behind its compression."""
        return tuple(-(-length // stride) for length, stride in zip(self.lengths(bins), self.strides, strict=True))


@dataclass(frozen=True, slots=True)
class ScnetSettings:
    """A network for its stems, and its transform.

    Parameters
    ----------
    stems : tuple of str
        In the order of the network's output.
    sample_rate : int, Hz
    channels : {1, 2}
    n_fft, hop_length : int, samples
        Of the transform, whose frames are centred; the signal goes on mirrored at its ends.
    unitary : bool
        Whether the transform is divided by the root of ``n_fft``.
    segment_samples : int, > 0
        Length it was trained with.
    normalization : {"none", "deviation"}
        Whether mean and deviation of the whole mixture are taken out first.
    masked : bool
        Whether it estimates masks, behind a Hann window; else it estimates spectra, behind a rectangular one.
    widths : tuple of int
        Channels before the first level, which are the planes of the mixture, and of each level.
    bands : Bands
    compression : int, > 0
        By how much the layers over time are narrower inside.
    kernel : int, odd
        Frames that these see.
    dual_paths : int, even
        Recurrent layers in the middle.
    expansion : int, > 0
        Their hidden size over their channels.

    Raises
    ------
    ValueError
        If they do not go together.
    """

    stems: tuple[str, ...]
    sample_rate: int
    channels: int
    segment_samples: int
    n_fft: int = 4096
    hop_length: int = 1024
    unitary: bool = True
    normalization: Normalization = "none"
    masked: bool = False
    widths: tuple[int, ...] = (4, 32, 64, 128)
    bands: Bands = Bands()
    compression: int = 4
    kernel: int = 3
    dual_paths: int = 6
    expansion: int = 1

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1 or self.widths[0] != 2 * self.channels:
            raise ValueError(f"widths must begin with {2 * self.channels} and have a level, got {list(self.widths)}")
        if self.compression < 1 or min(self.widths[1:]) < self.compression or self.expansion < 1:
            raise ValueError("compression must be at least 1 and at most the least width, expansion at least 1")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, got {self.kernel}")
        if self.dual_paths < 2 or self.dual_paths % 2:
            raise ValueError(f"dual_paths must be even and at least 2, got {self.dual_paths}")
        if self.normalization not in ("none", "deviation"):
            raise ValueError(f"normalization must be none or deviation, got `{self.normalization}`")
        if self.segment_samples < 1:
            raise ValueError(f"segment_samples must be at least 1, got {self.segment_samples}")
        if self.n_fft < 4 or self.n_fft % 2 or not 1 <= self.hop_length <= self.n_fft // 2:
            raise ValueError(f"n_fft must be even, hop_length in [1, {self.n_fft // 2}]; got {self.hop_length}")
        bins = self.bins
        for _ in self.widths[1:]:
            if min(self.bands.lengths(bins)) < 1:
                raise ValueError(f"{self.bins} bins are too few for {len(self.widths) - 1} levels")
            bins = sum(self.bands.compressed(bins))

    @property
    def bins(self) -> int:
        """Bins of the transform."""
        return self.n_fft // 2 + 1

    def padded_samples(self, samples: int) -> int:
        """Give the length a signal is filled up to: an even number of frames, and enough to be mirrored.

        Always longer than the signal by one sample or more, as upstream.
        """
        hops = max(samples // self.hop_length, self.n_fft // 2 // self.hop_length) + 1
        return (hops + 1 - hops % 2) * self.hop_length
