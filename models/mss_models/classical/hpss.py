"""Harmonic-percussive separation by median filtering: tones are lines along time, hits lines along frequency."""

import torch
from torch import Tensor

from mss_models.classical.medians import running_median
from mss_models.errors import ShapeError
from mss_models.masks import ratio_masks


def harmonic_and_percussive(magnitudes: Tensor, *, frames: int = 31, bins: int = 31) -> tuple[Tensor, Tensor]:
    """Smooth a spectrogram along time and along frequency by running medians.

    Parameters
    ----------
    magnitudes : float Tensor of shape (..., bin, frame)
        Linear, non-negative.
    frames, bins : int, odd, >= 1
        Window of the median along time, which keeps tones, and along frequency, which keeps hits.

    Returns
    -------
    tuple of two Tensors of shape (..., bin, frame)
        Harmonic and percussive magnitudes. They do not add up to the input.

    Raises
    ------
    ShapeError, ValueError
        If there are fewer than two axes; if a window is not odd and positive.

    References
    ----------
    FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    """
    if magnitudes.ndim < 2:
        raise ShapeError("magnitudes", "(..., bin, frame)", magnitudes.shape)
    return running_median(magnitudes, frames, dim=-1), running_median(magnitudes, bins, dim=-2)


def hpss_masks(magnitudes: Tensor, *, frames: int = 31, bins: int = 31, power: float = 2.0) -> Tensor:
    """Share every cell between a harmonic and a percussive part.

    ``mask_h = H ** power / (H ** power + P ** power)`` with the medians of `harmonic_and_percussive`; half
    each where both are 0.

    Parameters
    ----------
    magnitudes : float Tensor of shape (batch, channel, bin, frame)
        Linear, non-negative.
    frames, bins : int, odd, >= 1
        Windows of the medians along time and along frequency.
    power : float, > 0
        2 gives the Wiener form.

    Returns
    -------
    Tensor of shape (batch, 2, channel, bin, frame)
        Harmonic mask, percussive mask; they sum to 1.

    Raises
    ------
    ShapeError, ValueError
        If there are not four axes; if a number is out of its range.

    References
    ----------
    FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    """
    if magnitudes.ndim != 4:
        raise ShapeError("magnitudes", "(batch, channel, bin, frame)", magnitudes.shape)
    parts = harmonic_and_percussive(magnitudes, frames=frames, bins=bins)
    return ratio_masks(torch.stack(parts, dim=1), power=power)
