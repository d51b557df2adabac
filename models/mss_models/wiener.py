"""Multichannel Wiener filter under the local Gaussian model, refined by expectation-maximisation.

Each stem's spectrogram is seen as complex Gaussian with covariance ``v_j(bin, frame) * R_j(bin)``: a power
spectral density and a spatial covariance between the channels. One iteration

- re-estimates both from the current estimates ``y_j`` (M step):
  ``v_j = mean_c |y_j,c| ** 2`` and ``R_j = sum_t y_j y_j^H / (eps + sum_t v_j)``;
- filters the mixture with them (E step, posterior means):
  ``y_j = v_j R_j (sum_k v_k R_k + sqrt(eps) I)^-1 x``.

Bins do not depend on each other, so they are worked on in blocks: memory beyond input and output is bounded.
The arithmetic is double inside, because the 2x2 determinant of an almost mono mixture cancels in single
precision.
"""

import torch
from torch import Tensor

from mss_models.errors import ShapeError

# Working set of one block of bins. Larger blocks were not faster; smaller ones pay more calls.
_BLOCK_BYTES = 32 * 2**20

# Complex doubles alive per stem, channel, bin and frame at the widest point: estimates, products, results.
_LIVE_COPIES = 4


def wiener(
    mixture: Tensor,
    magnitudes: Tensor,
    *,
    iterations: int = 1,
    softmask: bool = True,
    eps: float | None = None,
    block_bins: int | None = None,
) -> Tensor:
    """Separate the mixture by estimated magnitudes and what the channels have in common.

    Starts from ``y_j = x * s_j / (eps + sum_k s_k)`` (``softmask=True``) or ``y_j = s_j * x / |x|``, then
    does ``iterations`` of the module's two steps. The mixture is first scaled down to a largest magnitude
    of 10 if it is above that, per item of the batch, and the estimates back up: ``eps`` is relative to it.

    Parameters
    ----------
    mixture : complex64 or complex128 Tensor of shape (batch, channel, bin, frame)
        1 or 2 channels. Not changed.
    magnitudes : float Tensor of shape (batch, stem, channel, bin, frame)
        Estimated linear magnitudes of the stems, on the mixture's scale, non-negative and finite (not checked).
    iterations : int, >= 0
        0 returns the starting estimates.
    softmask : bool
        Share out the mixture at the start. False trusts the magnitudes as they are.
    eps : float > 0 or None
        Regularisation; None takes the machine epsilon of the mixture's precision. Its root is the power
        of a white noise that is taken out while separating.
    block_bins : int > 0 or None
        Bins worked on at once; None keeps the working set at about 32 MiB. Does not change the result.

    Returns
    -------
    complex Tensor of shape (batch, stem, channel, bin, frame)
        Estimates in the mixture's precision, finite. The bins of a frame lie side by side in memory, as
        `mss_models.stft.istft` likes it.

    Raises
    ------
    ShapeError, ValueError
        If the axes do not fit or there are more than 2 channels; if a number is out of its range.

    References
    ----------
    Duong, Vincent and Gribonval, "Under-determined reverberant audio source separation using a full-rank
    spatial covariance model", IEEE TASLP 2010. Nugraha, Liutkus and Vincent, "Multichannel audio source
    separation with deep neural networks", IEEE TASLP 2016 (the update rules used here).
    """
    if mixture.ndim != 4 or mixture.shape[1] not in (1, 2):
        raise ShapeError("mixture", "(batch, channel, bin, frame) with 1 or 2 channels", mixture.shape)
    if magnitudes.ndim != 5 or (magnitudes.shape[0], *magnitudes.shape[2:]) != tuple(mixture.shape):
        raise ShapeError("magnitudes", "(batch, stem, channel, bin, frame) as the mixture's", magnitudes.shape)
    eps = torch.finfo(mixture.real.dtype).eps if eps is None else eps
    if iterations < 0 or not eps > 0 or (block_bins is not None and block_bins < 1):
        raise ValueError(f"iterations must be >= 0, eps and block_bins > 0, got {iterations}, {eps} and {block_bins}")
    batch, stems, channels, bins, frames = magnitudes.shape
    if block_bins is None:
        block_bins = max(1, _BLOCK_BYTES // (16 * _LIVE_COPIES * batch * stems * channels * max(frames, 1)))
    scale = (mixture.abs().double().amax(dim=(1, 2, 3)) / 10).clamp(min=1).view(-1, 1, 1, 1)
    estimates = torch.empty((batch, stems, channels, frames, bins), dtype=mixture.dtype, device=mixture.device)
    estimates = estimates.transpose(-1, -2)  # (batch, stem, channel, bin, frame)
    for start in range(0, bins, block_bins):
        block = slice(start, start + block_bins)
        observed = mixture[:, :, block].to(torch.complex128, memory_format=torch.contiguous_format)
        current = _start(observed, magnitudes[:, :, :, block].double(), softmask=softmask, eps=eps)
        if iterations:
            observed, current = observed / scale, current / scale.unsqueeze(1)
            for _ in range(iterations):
                current = _iterate(observed, current, eps)
            current *= scale.unsqueeze(1)
        estimates[:, :, :, block] = current
    return estimates


def _start(mixture: Tensor, magnitudes: Tensor, *, softmask: bool, eps: float) -> Tensor:
    """Mixture shared out by the magnitudes, or the magnitudes with its phase."""
    if softmask:
        shares = magnitudes / (magnitudes.sum(dim=1, keepdim=True) + eps)
        estimates: Tensor = shares * mixture.unsqueeze(1)
        return estimates  # (batch, stem, channel, bin, frame)
    size = mixture.abs()
    silent = size == 0
    phase = (mixture / size.masked_fill(silent, 1.0)).masked_fill(silent, 1.0)
    return magnitudes * phase.unsqueeze(1)


def _iterate(mixture: Tensor, estimates: Tensor, eps: float) -> Tensor:
    """One M step and one E step; axes as in `wiener`."""
    powers = estimates.real.square().addcmul_(estimates.imag, estimates.imag)
    density = powers.mean(dim=2)  # (batch, stem, bin, frame)
    weight = density.sum(dim=-1, keepdim=True) + eps  # (batch, stem, bin, 1)
    spatial = powers.sum(dim=-1, keepdim=True) / weight.unsqueeze(2)  # (batch, stem, channel, bin, 1): diagonal of R
    noise = eps**0.5
    if mixture.shape[1] == 1:
        # The second eps is the reference implementation's guard of the scalar inverse.
        total = (density.unsqueeze(2) * spatial).sum(dim=1) + (noise + eps)  # (batch, channel, bin, frame)
        scalar: Tensor = (density.unsqueeze(2) * spatial) * (mixture / total).unsqueeze(1)
        return scalar  # (batch, stem, channel, bin, frame)
    left, right = estimates.unbind(dim=2)  # (batch, stem, bin, frame) each
    cross = (left * right.conj()).sum(dim=-1, keepdim=True) / weight  # (batch, stem, bin, 1): R[0, 1]
    r00, r11 = spatial.unbind(dim=2)  # (batch, stem, bin, 1) each
    # Covariance of the mixture: real c00 and c11, complex c01, c10 its conjugate; (batch, bin, frame).
    c00 = (density * r00).sum(dim=1) + noise
    c11 = (density * r11).sum(dim=1) + noise
    c01 = (density * cross).sum(dim=1)
    determinant = c00 * c11 - c01.real.square() - c01.imag.square()
    # z = C^-1 x is common to all stems; y_j = v_j R_j z.
    x0, x1 = mixture.unbind(dim=1)  # (batch, bin, frame) each
    z0 = ((c11 * x0 - c01 * x1) / determinant).unsqueeze(1)  # (batch, 1, bin, frame)
    z1 = ((c00 * x1 - c01.conj() * x0) / determinant).unsqueeze(1)
    filtered = torch.stack([r00 * z0 + cross * z1, cross.conj() * z0 + r11 * z1], dim=2)
    return filtered.mul_(density.unsqueeze(2))  # (batch, stem, channel, bin, frame)
