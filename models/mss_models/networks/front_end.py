"""What stands between a waveform and a network that sees spectrograms.

Scales. The network sees the spectrogram divided by a constant of the window (`FrontEnd.feature_scale`); masks
are applied to the undivided one, so estimates are on the scale of the mixture whatever the network sees. The
thesis's vocal network wants magnitudes in [0, 1], there by the maximum of the track. Ours is the peak of the
waveform: a separator with ``normalization="peak"`` is given a waveform of peak 1, whose magnitudes divided by
the window sum cannot pass 1. That needs no spectrogram of the whole track.

Bins. The network sees the lowest ``bins`` bins (the thesis: 512 of 513). The bins above have the mask 0:
their energy is in no estimate, and in the residual if there is one.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mss_models.errors import ShapeError
from mss_models.networks.network_separator import Signature
from mss_models.separator import Normalization
from mss_models.stft import StftSettings

FeatureScale = Literal["window-sum", "window-energy"]


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What stands between waveform and network.

    Parameters
    ----------
    sample_rate : int, Hz, > 0
        Rate of the mixture.
    channels : {1, 2}
        Channels of the mixture; the network sees them side by side.
    stft : StftSettings
        The transform.
    bins : int, in [1, stft.bins]
        Lowest bins the network sees.
    normalization : {"none", "deviation", "peak"}
        See `mss_models.separator.Separator`.
    feature_scale : {"window-sum", "window-energy"}
        Divisor of what the network sees: the window's sum (a waveform of peak 1 stays within [0, 1]) or the
        root of its energy (white noise of power 1 gets cells of power 1).

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    sample_rate: int
    channels: int
    stft: StftSettings
    bins: int
    normalization: Normalization = "none"
    feature_scale: FeatureScale = "window-energy"

    def __post_init__(self) -> None:
        if self.sample_rate < 1:
            raise ValueError(f"sample_rate must be positive, got {self.sample_rate}")
        if self.channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {self.channels}")
        if not 1 <= self.bins <= self.stft.bins:
            raise ValueError(f"bins must be in [1, {self.stft.bins}], got {self.bins}")

    @property
    def gain(self) -> float:
        """Factor between spectrogram and features."""
        if self.feature_scale == "window-sum":
            return 1 / self.stft.window_sum
        return 1 / math.sqrt(self.stft.window_energy)

    def signature(self, stems: tuple[str, ...], *, segment_frames: int) -> Signature:
        """Tell what a separator behind this front end takes and gives.

        Parameters
        ----------
        stems : tuple of str
            Names of the estimates.
        segment_frames : int
            Frames of the segment it works best with, which is the longest with so many.

        Returns
        -------
        Signature

        Raises
        ------
        ValueError
            If the stems are missing or alike; if not one sample has so few frames.
        """
        if self.stft.samples(segment_frames) < 1:
            raise ValueError(f"segment_frames must be at least {self.stft.overlap_frames}")
        return Signature(
            stems=stems,
            sample_rate=self.sample_rate,
            channels=self.channels,
            segment_samples=self.stft.samples(segment_frames),
            transform=self.stft,
            normalization=self.normalization,
        )


def network_features(
    spectrum: Tensor, front_end: FrontEnd, *, complex_parts: bool, multiple: int, dtype: torch.dtype
) -> Tensor:
    """Turn a spectrogram into what the network sees.

    Magnitudes, or real and imaginary parts, channel by channel, times the front end's gain, with zeros
    appended to bins and frames.

    Parameters
    ----------
    spectrum : complex64 Tensor of shape (batch, channel, bin, frame)
        Of the mixture.
    front_end : FrontEnd
        Bins and gain.
    complex_parts : bool
        Real and imaginary part instead of the magnitude.
    multiple : int, > 0
        Bins and frames are padded to multiples of it.
    dtype : torch.dtype
        Of the features.

    Returns
    -------
    Tensor of shape (batch, channel * part, padded bin, padded frame)
        In memory (batch, frame, bin, channel * part), which is channels last for the network.
    """
    heard = spectrum.transpose(-1, -2)[..., : front_end.bins]  # (batch, channel, frame, bin)
    batch, channels, frames, bins = heard.shape
    padded = (batch, frames + -frames % multiple, bins + -bins % multiple, channels)
    features = heard.new_zeros(padded, dtype=heard.dtype if complex_parts else torch.float32)
    for channel in range(channels):
        source = heard[:, channel] if complex_parts else heard[:, channel].abs()
        features[:, :frames, :bins, channel] = source * front_end.gain
    if complex_parts:
        features = torch.view_as_real(features).flatten(-2)  # (batch, frame, bin, channel * 2)
    return features.to(dtype).permute(0, 3, 2, 1)  # (batch, channel * part, bin, frame)


def check_mixture(mixture: Tensor, channels: int) -> None:
    """Refuse a mixture that is not (batch, channel, sample) with these channels and at least 1 sample.

    Raises
    ------
    ShapeError
        If it is not.
    """
    if mixture.ndim != 3 or mixture.shape[1] != channels or mixture.shape[2] < 1:
        raise ShapeError("mixture", f"(batch, {channels} channels, sample)", mixture.shape)
