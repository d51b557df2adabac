"""The spectrogram of a hybrid Demucs: its frames lie on the same grid as the steps of the time branch.

Frame ``k`` holds the samples ``k * hop - 3 * hop / 2`` to ``k * hop + 5 * hop / 2 - 1``, so that its middle is the
middle of the ``k``-th hop. There are ``ceil(samples / hop)`` frames. The signal is mirrored at its ends, and the
highest bin, half the sample rate, is left out. Scale: divided by the root of the window's length.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from mss_models.stft import StftSettings, istft, stft

# Frames of the plain transform that lie before the first one, and behind the last one.
OUTSIDE = 3


def demucs_spectrum(signal: Tensor, settings: StftSettings, *, mirrored: bool = True) -> Tensor:
    """Transform signals.

    Parameters
    ----------
    signal : float32 Tensor of shape (batch, channel, sample)
        At least 1 sample.
    settings : StftSettings
        The hop is a quarter of the window.
    mirrored : bool
        False puts zeros beyond the ends.

    Returns
    -------
    complex64 Tensor of shape (batch, channel, bin, frame)
        ``n_fft / 2`` bins.
    """
    samples, hop = signal.shape[-1], settings.hop_length
    lead = hop // 2 * 3
    tail = lead + -samples % hop
    longer = _mirror(signal, lead, tail) if mirrored else functional.pad(signal, (lead, tail))
    spectrum = stft(longer, settings)[..., :-1, OUTSIDE : OUTSIDE + -(-samples // hop)]
    return spectrum * (1 / math.sqrt(settings.n_fft))


def demucs_signal(spectrum: Tensor, settings: StftSettings, samples: int) -> Tensor:
    """Turn spectra into signals; the inverse of `demucs_spectrum`.

    Parameters
    ----------
    spectrum : complex64 Tensor of shape (..., bin, frame)
        ``n_fft / 2`` bins.
    settings : StftSettings
        As for `demucs_spectrum`.
    samples : int
        Length of the signal; it belongs to this number of frames.

    Returns
    -------
    float32 Tensor of shape (..., sample)
        Each cell goes back with the gain that undoes the transform.
    """
    hop = settings.hop_length
    lead = hop // 2 * 3
    # With frames of zeros around, and a highest bin of zeros.
    whole = functional.pad(torch.view_as_real(spectrum), (0, 0, OUTSIDE, OUTSIDE, 0, 1))
    length = spectrum.shape[-1] * hop + OUTSIDE * hop
    signal = istft(torch.view_as_complex(whole), settings, length)
    return signal[..., lead : lead + samples] * math.sqrt(settings.n_fft)


def late_signal(spectrum: Tensor, settings: StftSettings, samples: int) -> Tensor:
    """Turn spectra into signals as an early version of Hybrid Demucs does: one and a half hops late.

    Parameters
    ----------
    spectrum, settings, samples
        As for `demucs_signal`.

    Returns
    -------
    float32 Tensor of shape (..., sample)
        What `demucs_signal` gives, late; the end is lost. In the first hop, where a frame is missing, as torch's
        inverse gives it.
    """
    early = functional.pad(torch.view_as_real(spectrum), (0, 0, 2, 2, 0, 1))
    planes = torch.view_as_complex(early).flatten(0, -3)  # (..., bin, frame)
    window = torch.hann_window(settings.n_fft, device=spectrum.device)
    length = -(-samples // settings.hop_length) * settings.hop_length
    signal = torch.istft(
        planes, settings.n_fft, settings.hop_length, window=window, normalized=True, length=length, center=True
    )
    return signal.view(*spectrum.shape[:-2], length)[..., :samples]


def _mirror(signal: Tensor, lead: int, tail: int) -> Tensor:
    """Mirror the ends; a signal too short for that is filled up with zeros first."""
    missing = max(lead, tail) - signal.shape[-1] + 1
    if missing > 0:
        right = min(tail, missing)
        left = missing - right
        signal = functional.pad(signal, (left, right))
        lead, tail = lead - left, tail - right
    return functional.pad(signal, (lead, tail), mode="reflect")
