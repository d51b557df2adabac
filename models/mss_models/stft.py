"""The one short-time Fourier transform and its inverse.

Framing. Frame ``k`` holds the samples ``k * hop - lead`` to ``k * hop - lead + n_fft - 1``, where
``lead = (ceil(n_fft / hop) - 1) * hop``, and samples outside the signal are zeros. These are all the frames
that touch the signal when it stands between zeros without end: padding by whole windows would add only
frames of zeros. So every sample is covered by as many frames as one in the middle, the sum of the squared
windows has the period ``hop`` everywhere, and nothing is divided by a window sum near zero at the ends, not
even when the spectrogram was changed in between.

Scale. The window is not normalised (as in `torch.stft` and librosa): a full-scale tone has the magnitude
``window_sum / 2``. Losses and networks that want a fixed scale divide by `StftSettings.window_sum`, which is
the same as a window that sums to 1.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from mss_models.errors import ShapeError


@dataclass(frozen=True, slots=True)
class StftSettings:
    """Window length, hop and window of a transform.

    Parameters
    ----------
    n_fft : int, samples, even, >= 4
        Length of window and transform; there are ``n_fft // 2 + 1`` bins.
    hop_length : int, samples, from 1 to three quarters of n_fft
        Distance between frames. It need not divide ``n_fft``. At three quarters the sum of squared windows
        falls to 0.043 between frames; beyond that the inverse would amplify errors without end.
    window : {"hann"}
        Periodic Hann window, for analysis and synthesis.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    n_fft: int
    hop_length: int
    window: Literal["hann"] = "hann"

    def __post_init__(self) -> None:
        if self.n_fft < 4 or self.n_fft % 2:
            raise ValueError(f"n_fft must be even and at least 4, got {self.n_fft}")
        if not 1 <= self.hop_length <= self.n_fft * 3 // 4:
            raise ValueError(f"hop_length must be in [1, {self.n_fft * 3 // 4}], got {self.hop_length}")
        if self.window != "hann":
            raise ValueError(f"window must be `hann`, got `{self.window}`")

    @property
    def bins(self) -> int:
        """Number of bins, from 0 Hz to half the sample rate."""
        return self.n_fft // 2 + 1

    @property
    def overlap_frames(self) -> int:
        """Most frames that cover one sample: ``ceil(n_fft / hop_length)``."""
        return -(-self.n_fft // self.hop_length)

    @property
    def window_sum(self) -> float:
        """Sum of the window's values; dividing a spectrogram by it gives tones of amplitude 1 the magnitude 0.5."""
        return self.n_fft / 2

    @property
    def window_energy(self) -> float:
        """Sum of the window's squared values: a cell's power for white noise of power 1."""
        return self.n_fft * 3 / 8

    def frames(self, samples: int) -> int:
        """Frames of a signal of so many samples."""
        return -(-samples // self.hop_length) + self.overlap_frames - 1

    def samples(self, frames: int) -> int:
        """Longest signal that needs no more than so many frames; 0 or less if there is none."""
        return (frames - self.overlap_frames + 1) * self.hop_length


def stft(signal: Tensor, settings: StftSettings) -> Tensor:
    """Transform signals into complex spectrograms.

    ``X[bin, frame] = sum_n w[n] * x[frame * hop - lead + n] * exp(-2i pi bin n / n_fft)`` with the framing
    of this module. Equal to `torch.stft` (``center=False``) of the signal between ``n_fft`` zeros or more.

    Parameters
    ----------
    signal : float32 or float64 Tensor of shape (..., sample)
        At least 1 sample. Values are not checked; it is not changed.
    settings : StftSettings
        Window length and hop.

    Returns
    -------
    complex64 or complex128 Tensor of shape (..., bin, frame)
        ``settings.frames(sample)`` frames. In memory the bins of a frame lie side by side: the result is a
        transposed view, which `istft` takes back without a copy.

    Raises
    ------
    ShapeError
        If there is no sample.
    """
    if signal.ndim < 1 or signal.shape[-1] < 1:
        raise ShapeError("signal", "(..., sample) with at least 1 sample", signal.shape)
    samples = signal.shape[-1]
    hop, n_fft = settings.hop_length, settings.n_fft
    frames = settings.frames(samples)
    lead = (settings.overlap_frames - 1) * hop
    tail = (frames - 1) * hop + n_fft - lead - samples
    padded = torch.nn.functional.pad(signal, (lead, tail))
    window, _ = _windows(settings, signal.dtype, signal.device)
    framed = padded.unfold(-1, n_fft, hop) * window  # (..., frame, n_fft)
    spectrum: Tensor = torch.fft.rfft(framed, dim=-1)  # (..., frame, bin)
    return spectrum.transpose(-1, -2)  # (..., bin, frame)


def istft(spectrum: Tensor, settings: StftSettings, samples: int) -> Tensor:
    """Turn complex spectrograms into signals; the inverse of `stft`.

    Windowed overlap-add, divided by the sum of the squared windows: of all signals, the one whose
    transform is nearest to the spectrogram in the least-squares sense. The division is part of the
    synthesis window, because the sum has the period ``hop_length``.

    Parameters
    ----------
    spectrum : complex64 or complex128 Tensor of shape (..., bin, frame)
        Fastest in the memory order that `stft` returns. It is not changed.
    settings : StftSettings
        The settings it was made with.
    samples : int, > 0
        Length of the signal; it must belong to this number of frames.

    Returns
    -------
    float32 or float64 Tensor of shape (..., sample)
        The signal; after `stft` alone within 2e-6 of its peak (float32).

    Raises
    ------
    ShapeError
        If bins or frames do not fit ``settings`` and ``samples``.

    References
    ----------
    Griffin and Lim, "Signal estimation from modified short-time Fourier transform", IEEE Transactions on
    Acoustics, Speech, and Signal Processing 1984.
    """
    expected = (settings.bins, settings.frames(samples))
    if samples < 1 or spectrum.ndim < 2 or tuple(spectrum.shape[-2:]) != expected:
        raise ShapeError("spectrum", f"(..., {expected[0]} bins, {expected[1]} frames)", spectrum.shape)
    hop, overlap = settings.hop_length, settings.overlap_frames
    framed: Tensor = torch.fft.irfft(spectrum.transpose(-1, -2), n=settings.n_fft, dim=-1)  # (..., frame, n_fft)
    _, window = _windows(settings, framed.dtype, framed.device)
    rows = framed.shape[-2] - overlap + 1
    # Row r of the result, samples r * hop to (r + 1) * hop - 1, is covered by the i-th piece of frame
    # r + overlap - 1 - i, for all i. The last piece is shorter when hop does not divide n_fft.
    signal: Tensor = framed[..., overlap - 1 :, :hop] * window[:hop]  # (..., row, hop)
    for i in range(1, overlap):
        piece = slice(i * hop, min((i + 1) * hop, settings.n_fft))
        part = framed[..., overlap - 1 - i : overlap - 1 - i + rows, piece]
        signal[..., : part.shape[-1]].addcmul_(part, window[piece])
    return signal.flatten(-2)[..., :samples]  # (..., sample)


@lru_cache(maxsize=32)
def _windows(settings: StftSettings, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Analysis window, and synthesis window divided by the sum of squares."""
    # Kept between calls, so never an inference tensor: training could not save such a one for backward.
    with torch.inference_mode(False), torch.no_grad():
        n_fft, hop = settings.n_fft, settings.hop_length
        position = torch.arange(n_fft, dtype=torch.float64) * (2 * math.pi / n_fft)
        window = 0.5 - 0.5 * torch.cos(position)
        padded = torch.zeros(settings.overlap_frames * hop, dtype=torch.float64)
        padded[:n_fft] = window.square()
        total = padded.view(-1, hop).sum(dim=0).repeat(settings.overlap_frames)[:n_fft]
        return window.to(device, dtype), (window / total).to(device, dtype)
