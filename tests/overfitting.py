"""Learning that is seen to happen: one song learned by heart, and what masks can reach at best."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mss_models.stft import StftSettings, istft, stft


def sdr_db(reference: Tensor, estimate: Tensor) -> float:
    """Energy of the reference over that of the error."""
    return float(10 * torch.log10(reference.square().sum() / (reference - estimate).square().sum()))


def overfit(network: nn.Module, loss: Callable[[], Tensor], *, steps: int, learning_rate: float) -> None:
    """Descend on one batch; the rate falls to 0 along a cosine, so that the norms' statistics settle.

    The thesis's 2e-4 with beta 0.9 -> 0.5 is made for days: within a hundred steps it moves too little to see.
    """
    torch.manual_seed(1)
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload] # a third less time
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    network.eval()


def capped_magnitude_bound(mixture: Tensor, vocals: Tensor, grid: StftSettings) -> float:
    """SDR of the true magnitude, capped at the mixture's, with the mixture's phase: what (4.2) strives for."""
    spectrum = stft(mixture, grid)
    mask = (stft(vocals, grid).abs() / spectrum.abs().clamp(min=1e-12)).clamp(max=1)
    return sdr_db(vocals, istft(mask * spectrum, grid, vocals.shape[-1]))


def real_mask_bound(mixture: Tensor, vocals: Tensor, grid: StftSettings, *, steps: int = 150) -> float:
    """An SDR that no mask in [0, 1] can pass: least squares over all of them, with a certificate.

    The squared error is a convex function f of the mask, so ``f(best) >= f(m) - max_v grad f(m) . (m - v)`` for
    any mask m, with v over all masks: what is returned stands on that right-hand side, however far the descent
    (FISTA, Beck and Teboulle 2009, with steps scaled by the mixture's power) came.
    """
    spectrum = stft(mixture, grid)
    power = spectrum.abs().square().clamp(min=1e-18)
    # Parseval for a window whose squares sum to energy / hop: |istft(Z)|^2 <= 2 |Z|^2 / (n_fft * energy / hop), and
    # the second derivative of a square is twice its factor.
    steepness = 4 * grid.hop_length / (grid.n_fft * grid.window_energy)

    def slope(mask: Tensor) -> tuple[float, Tensor]:
        mask = mask.detach().requires_grad_(True)
        error = (istft(mask * spectrum, grid, vocals.shape[-1]) - vocals).square().sum()
        return float(error.detach()), torch.autograd.grad(error, mask)[0]

    mask = ahead = torch.full_like(power, 0.5)
    momentum = 1.0
    for _ in range(steps):
        following = (ahead - slope(ahead)[1] / (steepness * power)).clamp(0, 1)
        growth = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = following + (momentum - 1) / growth * (following - mask)
        mask, momentum = following, growth
    error, gradient = slope(mask)
    gap = float((gradient * mask - gradient.clamp(max=0)).sum())
    return 10 * math.log10(float(vocals.square().sum()) / (error - gap))
