"""Multichannel Wiener filter of masks, in few passes over memory: `mss_models.wiener` for networks that give masks.

The model and its two steps are those of `mss_models.wiener`. Here every stem starts as ``y_j = M_j X`` with one real
mask per channel, and the work is done on what the stems have in common. With the cells' products ``q = X X^H`` (later
``q = z z^H``) and the powers ``v_j``,

- the first spatial covariances are sums over frames of masks times ``q``; no estimate is formed for them;
- one iteration gives ``y_j = v_j R_j z`` with ``z = (sum_k v_k R_k + sqrt(eps) I)^-1 X``, where only ``v_j`` and
  ``z`` change from frame to frame; so the next iteration's sums are ``R_j (sum_t v_j^2 q) R_j^H``.

Estimates are formed once, after the last iteration. Arithmetic is double: for a mixture that is nearly mono the
determinant of the 2x2 covariance is a small difference of large products.
"""

import torch
from torch import Tensor

from mss_models.errors import ShapeError

# Cells of one block: the planes of a block stay in the second-level cache from one step to the next.
_BLOCK_CELLS = 8192


def spatial_filter(
    mixture: Tensor, masks: Tensor, *, iterations: int = 1, eps: float = 1e-10, largest: float = 10.0
) -> Tensor:
    """Refine masked mixtures by what the channels have in common.

    Parameters
    ----------
    mixture : complex64 Tensor of shape (channel, frame, bin)
        1 or 2 channels; the frames over which a stem's place is taken as constant. Not changed.
    masks : float Tensor of shape (stem, channel, frame, bin)
        Of the estimates to start from. Any sign, finite (not checked).
    iterations : int, >= 0
        0 applies the masks.
    eps : float, > 0
        Regularisation, relative to ``largest``; its root is the power of a white noise that is taken out.
    largest : float, > 0
        A mixture with a larger magnitude is scaled down to it first, and the estimates back up.

    Returns
    -------
    complex64 Tensor of shape (stem, channel, frame, bin)
        Estimates; zero where the mixture is silent.

    Raises
    ------
    ShapeError, ValueError
        If the axes do not fit or there are more than 2 channels; if a number is out of its range.

    References
    ----------
    Nugraha, Liutkus and Vincent, "Multichannel audio source separation with deep neural networks", IEEE TASLP 2016.
    """
    if mixture.ndim != 3 or mixture.shape[0] not in (1, 2):
        raise ShapeError("mixture", "(channel, frame, bin) with 1 or 2 channels", mixture.shape)
    if masks.ndim != 4 or masks.shape[1:] != mixture.shape:
        raise ShapeError("masks", "(stem, channel, frame, bin) as the mixture's", masks.shape)
    if iterations < 0 or not eps > 0 or not largest > 0:
        raise ValueError(f"iterations must be >= 0, eps and largest > 0, got {iterations}, {eps} and {largest}")
    estimates = torch.empty(masks.shape, dtype=mixture.dtype, device=mixture.device)
    if iterations == 0:
        return torch.mul(masks, mixture, out=estimates)
    frames, bins = mixture.shape[1:]
    scale = float(torch.view_as_real(mixture).square().sum(dim=-1).amax().sqrt()) / largest
    scale = max(1.0, scale)
    step = max(1, min(bins, _BLOCK_CELLS // max(1, frames)) if mixture.device.type == "cpu" else bins)
    work = _mono if mixture.shape[0] == 1 else _stereo
    for first in range(0, bins, step):
        block = slice(first, first + step)
        parts = torch.view_as_real(mixture[..., block]).double() / scale  # (channel, frame, bin, part)
        planes = [part.contiguous() for part in parts.movedim(-1, 1).flatten(0, 1)]  # real, imaginary by channel
        work(estimates[..., block], planes, masks[..., block].double(), iterations, eps, scale)
    return estimates


def _mono(estimates: Tensor, mixture: list[Tensor], masks: Tensor, iterations: int, eps: float, scale: float) -> None:
    """Write the estimates of one channel."""
    real, imaginary = mixture  # (frame, bin) each
    noise = eps**0.5
    power = torch.addcmul(real * real, imaginary, imaginary)
    density = masks[:, 0].square() * power  # (stem, frame, bin): v
    gains = density
    for _ in range(iterations):
        weight = density.sum(dim=1, keepdim=True)
        modelled = density * (weight / (weight + eps))  # v R
        gains = modelled / (modelled.sum(dim=0) + noise)
        density = gains.square() * power
    gains *= scale
    parts = torch.view_as_real(estimates)[:, 0]
    parts[..., 0] = gains * real
    parts[..., 1] = gains * imaginary


def _stereo(estimates: Tensor, mixture: list[Tensor], masks: Tensor, iterations: int, eps: float, scale: float) -> None:
    """Write the estimates of two channels."""
    left, left_i, right, right_i = mixture  # (frame, bin) each
    noise = eps**0.5
    q00, q11, q01, q01_i = _products(left, left_i, right, right_i)
    first, second = masks[:, 0], masks[:, 1]  # (stem, frame, bin)
    p00, p11, both = first.square() * q00, second.square() * q11, first * second
    sums = [plane.sum(dim=1) for plane in (p00, p11, both * q01, both * q01_i)]  # (stem, bin) each
    density = p00.add_(p11).mul_(0.5)  # v
    for turn in range(iterations):
        weight = density.sum(dim=1) + eps
        spatial = [plane / weight for plane in sums]  # R: its diagonal, real and imaginary part of R[0, 1]
        z = _solve(mixture, density, spatial, noise)
        if turn + 1 < iterations:
            density, sums = _remodel(density, spatial, _products(*z))
    density *= scale
    r00, r11, r01, r01_i = spatial
    z0, z0_i, z1, z1_i = z
    parts = torch.view_as_real(estimates)  # (stem, channel, frame, bin, part)
    for stem in range(masks.shape[0]):
        a, d, b, b_i = r00[stem], r11[stem], r01[stem], r01_i[stem]
        v = density[stem]
        parts[stem, 0, ..., 0] = (a * z0).addcmul_(b, z1).addcmul_(b_i, z1_i, value=-1).mul_(v)
        parts[stem, 0, ..., 1] = (a * z0_i).addcmul_(b, z1_i).addcmul_(b_i, z1).mul_(v)
        parts[stem, 1, ..., 0] = (d * z1).addcmul_(b, z0).addcmul_(b_i, z0_i).mul_(v)
        parts[stem, 1, ..., 1] = (d * z1_i).addcmul_(b, z0_i).addcmul_(b_i, z0, value=-1).mul_(v)


def _products(left: Tensor, left_i: Tensor, right: Tensor, right_i: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """|l|^2, |r|^2, real and imaginary part of l conj(r)."""
    return (
        torch.addcmul(left * left, left_i, left_i),
        torch.addcmul(right * right, right_i, right_i),
        torch.addcmul(left * right, left_i, right_i),
        torch.addcmul(left_i * right, left, right_i, value=-1),
    )


def _solve(mixture: list[Tensor], density: Tensor, spatial: list[Tensor], noise: float) -> tuple[Tensor, ...]:
    """Give z = C^-1 X, real and imaginary part by channel."""
    left, left_i, right, right_i = mixture
    # Powers are real and the covariances constant over frames: four sums over stems.
    c00, c11, c01, c01_i = ((density * plane.unsqueeze(1)).sum(dim=0) for plane in spatial)
    c00 += noise
    c11 += noise
    determinant = (c00 * c11).addcmul_(c01, c01, value=-1).addcmul_(c01_i, c01_i, value=-1)
    inverse = determinant.reciprocal_()
    z0 = (c11 * left).addcmul_(c01, right, value=-1).addcmul_(c01_i, right_i).mul_(inverse)
    z0_i = (c11 * left_i).addcmul_(c01, right_i, value=-1).addcmul_(c01_i, right, value=-1).mul_(inverse)
    z1 = (c00 * right).addcmul_(c01, left, value=-1).addcmul_(c01_i, left_i, value=-1).mul_(inverse)
    z1_i = (c00 * right_i).addcmul_(c01, left_i, value=-1).addcmul_(c01_i, left).mul_(inverse)
    return z0, z0_i, z1, z1_i


def _remodel(
    density: Tensor, spatial: list[Tensor], products: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Give powers and sums of y y^H for y = v R z, without forming y; products are those of z."""
    r00, r11, r01, r01_i = spatial  # (stem, bin) each
    q00, q11, q01, q01_i = products  # (frame, bin) each
    squares = density * density
    s00, s11, s01, s01_i = ((squares * plane).sum(dim=1) for plane in products)  # (stem, bin)
    size = r01.square() + r01_i.square()
    # R S R^H with Hermitian R and S; its diagonal.
    along = 2 * (r01 * s01 + r01_i * s01_i)
    t00 = r00.square() * s00 + size * s11 + r00 * along
    t11 = r11.square() * s11 + size * s00 + r11 * along
    # Its corner: R00 S00 R01 + R00 S01 R11 + R01 S10 R01 + R01 S11 R11.
    r, s = torch.complex(r01, r01_i), torch.complex(s01, s01_i)
    corner = r00 * s00 * r + r00 * r11 * s + r * r * s.conj() + r * (s11 * r11)
    # Trace of R^H R q.
    a00, a11 = (r00.square() + size).unsqueeze(1), (r11.square() + size).unsqueeze(1)
    slope = 2 * (r00 + r11)
    power = (a00 * q00).addcmul_(a11, q11)
    power.addcmul_((slope * r01).unsqueeze(1), q01).addcmul_((slope * r01_i).unsqueeze(1), q01_i)
    return squares.mul_(power).mul_(0.5), [t00, t11, corner.real, corner.imag]
