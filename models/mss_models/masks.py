"""Masks over the cells of a spectrogram, and what makes estimates add up to the mixture.

Axes are (batch, stem, channel, bin, frame) for magnitudes and masks and (batch, channel, bin, frame) for the
mixture. Nothing here checks values, because a check would stall a GPU; shapes are checked.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from mss_models.errors import ShapeError

_STEM_AXES = "(batch, stem, channel, bin, frame)"
_MIXTURE_AXES = "(batch, channel, bin, frame) as the stems'"

# Below this magnitude (-600 dB) a quotient by the mixture can overflow float32; such cells count as silent.
_SMALLEST_DIVISOR = 2.0**-100

# Added to |O| ** 2 so that root and quotient have a derivative at O = 0; far below the rounding of tanh(r) / r.
_ORIGIN_GUARD = 1e-20


def ratio_masks(magnitudes: Tensor, *, power: float = 2.0) -> Tensor:
    """Share every cell among the stems in proportion to their magnitudes.

    ``mask_j = magnitude_j ** power / sum_k magnitude_k ** power``; where all stems are silent, one equal
    share each. The masks sum to 1 in every cell. With the true magnitudes these are SiSEC's ideal ratio
    masks: IRM1 with ``power=1``, IRM2 with ``power=2``.

    Parameters
    ----------
    magnitudes : float Tensor of shape (batch, stem, channel, bin, frame)
        Linear, finite, non-negative.
    power : float, > 0
        1 for ratios of amplitudes, 2 for ratios of powers (Wiener).

    Returns
    -------
    float Tensor of shape (batch, stem, channel, bin, frame)
        Masks in [0, 1].

    Raises
    ------
    ShapeError, ValueError
        If ``magnitudes`` has not five axes; if ``power`` is not positive and finite.

    References
    ----------
    Liutkus and Badeau, "Generalized Wiener filtering with fractional power spectrograms", ICASSP 2015.
    """
    _check_stems("magnitudes", magnitudes)
    _check_power(power)
    loudest = magnitudes.amax(dim=1, keepdim=True)  # (batch, 1, channel, bin, frame)
    silent = loudest == 0
    # Relative to the loudest stem, because powers of small magnitudes would all become 0.
    shares = magnitudes / loudest.masked_fill(silent, 1.0)
    shares = _power(shares, power).masked_fill(silent, 1.0)
    return shares / shares.sum(dim=1, keepdim=True)


def binary_masks(magnitudes: Tensor) -> Tensor:
    """Give every cell whole to its loudest stem (T 2.9, 2.10).

    The masks sum to 1 in every cell; of equally loud stems the first one has it, in silence too.

    Parameters
    ----------
    magnitudes : float Tensor of shape (batch, stem, channel, bin, frame)
        Linear or any growing function of it.

    Returns
    -------
    float Tensor of shape (batch, stem, channel, bin, frame)
        0 or 1.

    Raises
    ------
    ShapeError
        If ``magnitudes`` has not five axes.
    """
    _check_stems("magnitudes", magnitudes)
    winner = magnitudes.argmax(dim=1, keepdim=True)  # (batch, 1, channel, bin, frame)
    return torch.zeros_like(magnitudes).scatter_(1, winner, 1.0)


def threshold_masks(magnitudes: Tensor, mixture: Tensor, *, power: float = 1.0, threshold: float = 0.5) -> Tensor:
    """Give a cell to each stem that holds at least a given part of the mixture.

    ``mask_j = 1 if magnitude_j ** power >= threshold * mixture ** power else 0``, and 0 where the stem is
    silent. With the true magnitudes these are SiSEC's ideal binary masks: IBM1 with ``power=1``, IBM2
    with ``power=2``. Several stems may have a cell, or none.

    Parameters
    ----------
    magnitudes : float Tensor of shape (batch, stem, channel, bin, frame)
        Linear, finite, non-negative.
    mixture : float Tensor of shape (batch, channel, bin, frame)
        Magnitudes of the mixture.
    power : float, > 0
        1 compares amplitudes, 2 powers.
    threshold : float, in (0, 1]
        Part of the mixture from which on a stem has the cell.

    Returns
    -------
    float Tensor of shape (batch, stem, channel, bin, frame)
        0 or 1.

    Raises
    ------
    ShapeError, ValueError
        If the axes do not fit; if ``power`` or ``threshold`` is out of range.

    References
    ----------
    Stöter, Liutkus and Ito, "The 2018 signal separation evaluation campaign", LVA/ICA 2018.
    """
    _check_stems("magnitudes", magnitudes)
    _check_mixture(mixture, magnitudes)
    _check_power(power)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    least = mixture.unsqueeze(1) * float(threshold ** (1 / power))  # (batch, 1, channel, bin, frame)
    return ((magnitudes >= least) & (magnitudes > 0)).to(magnitudes.dtype)


def ideal_ratio_masks(magnitudes: Tensor, mixture: Tensor, *, limit: float | None = None) -> Tensor:
    """Divide the magnitudes of true stems by those of the mixture (T 2.14).

    ``mask_j = magnitude_j / mixture``, 0 where the mixture is silent. Where stems cancel each other masks
    pass 1; ``limit`` caps them. SiSEC's ideal ratio masks are `ratio_masks` of the true magnitudes.

    Parameters
    ----------
    magnitudes : float Tensor of shape (batch, stem, channel, bin, frame)
        Linear magnitudes of the references.
    mixture : float Tensor of shape (batch, channel, bin, frame)
        Linear magnitudes of the mixture.
    limit : float > 0 or None
        Largest mask; None for no limit.

    Returns
    -------
    float Tensor of shape (batch, stem, channel, bin, frame)
        Non-negative and finite.

    Raises
    ------
    ShapeError, ValueError
        If the axes do not fit; if ``limit`` is not positive.
    """
    _check_stems("magnitudes", magnitudes)
    _check_mixture(mixture, magnitudes)
    if limit is not None and not limit > 0:
        raise ValueError(f"limit must be positive, got {limit}")
    silent = (mixture < _SMALLEST_DIVISOR).unsqueeze(1)
    masks = (magnitudes / mixture.unsqueeze(1).masked_fill(silent, 1.0)).masked_fill(silent, 0.0)
    return masks if limit is None else masks.clamp(max=limit)


def complex_ideal_ratio_masks(references: Tensor, mixture: Tensor) -> Tensor:
    """Divide the spectrograms of true stems by that of the mixture (T 6.1 to 6.3).

    ``mask_j = Y_j / X``, so that ``mask_j * X = Y_j`` wherever the mixture sounds; 0 where it is silent.

    Parameters
    ----------
    references : complex Tensor of shape (batch, stem, channel, bin, frame)
        True stems.
    mixture : complex Tensor of shape (batch, channel, bin, frame)
        Mixture.

    Returns
    -------
    complex Tensor of shape (batch, stem, channel, bin, frame)
        Finite; not bounded.

    Raises
    ------
    ShapeError
        If the axes do not fit.
    """
    _check_stems("references", references)
    _check_mixture(mixture, references)
    silent = (mixture.abs() < _SMALLEST_DIVISOR).unsqueeze(1)
    return (references / mixture.unsqueeze(1).masked_fill(silent, 1.0)).masked_fill(silent, 0.0)


def bounded_complex_mask(first: Tensor, second: Tensor, *, head: Literal["polar", "cartesian"]) -> Tensor:
    """Make complex masks of magnitude below 1 from two network outputs (T 6.4, 6.7, 6.8).

    ``|M| = tanh(|O|)`` and ``M / |M| = O / |O|``. "polar" reads the outputs as ``O = first * exp(i second)``
    (6.4; the radius may be negative), "cartesian" as ``O = first + i second`` (6.4's text). Both are smooth:
    at ``O = 0`` the mask is 0 and its derivative finite.

    Parameters
    ----------
    first, second : float Tensor of any one shape
        Radius and angle in radians, or real and imaginary part. Half precisions are computed in float32.
    head : {"polar", "cartesian"}
        How to read them.

    Returns
    -------
    complex Tensor of the same shape
        complex128 for float64, else complex64.

    Raises
    ------
    ValueError
        If ``head`` is neither of the two.
    """
    if first.dtype != torch.float64:
        first, second = first.float(), second.float()
    if head == "polar":
        # tanh is odd: tanh(|r|) * sign(r) = tanh(r), which needs no absolute value and so has no kink.
        radius = _tanh(first)
        return torch.complex(radius * second.cos(), radius * second.sin())
    if head == "cartesian":
        radius = torch.addcmul(torch.addcmul(first.new_tensor(_ORIGIN_GUARD), first, first), second, second).sqrt()
        gain = _tanh(radius) / radius  # 1 at the origin
        return torch.complex(first * gain, second * gain)
    raise ValueError(f"head must be `polar` or `cartesian`, got `{head}`")


def generalized_wiener(mixture: Tensor, magnitudes: Tensor, *, power: float = 2.0) -> Tensor:
    """Filter the mixture by the shares of the stems' fractional power spectrograms.

    ``Y_j = X * S_j ** power / sum_k S_k ** power``: `ratio_masks` applied to the complex mixture. The
    estimates add up to the mixture.

    Parameters
    ----------
    mixture : complex Tensor of shape (batch, channel, bin, frame)
        Mixture.
    magnitudes : float Tensor of shape (batch, stem, channel, bin, frame)
        Linear magnitudes of the stems; any common scale.
    power : float, > 0
        Exponent of the spectrograms: 2 is the classical Wiener filter.

    Returns
    -------
    complex Tensor of shape (batch, stem, channel, bin, frame)
        Estimates.

    Raises
    ------
    ShapeError, ValueError
        If the axes do not fit; if ``power`` is not positive and finite.

    References
    ----------
    Liutkus and Badeau, "Generalized Wiener filtering with fractional power spectrograms", ICASSP 2015.
    """
    _check_stems("magnitudes", magnitudes)
    _check_mixture(mixture, magnitudes)
    return ratio_masks(magnitudes, power=power) * mixture.unsqueeze(1)


def residual(mixture: Tensor, estimates: Tensor) -> Tensor:
    """Take all estimates from the mixture: what is left.

    Parameters
    ----------
    mixture : Tensor of shape (batch, ...)
        Signals or spectrograms.
    estimates : Tensor of shape (batch, stem, ...)
        Estimates of the stems.

    Returns
    -------
    Tensor of shape (batch, ...)
        ``mixture - sum_j estimate_j``.

    Raises
    ------
    ShapeError
        If the axes do not fit.
    """
    _check_estimates(mixture, estimates)
    return mixture - estimates.sum(dim=1)


def mixture_consistency(mixture: Tensor, estimates: Tensor, *, shares: Literal["equal", "energy"] = "equal") -> Tensor:
    """Spread what is missing over the estimates, so that they add up to the mixture.

    ``estimate_j + share_j * (mixture - sum_k estimate_k)``. Equal shares move the estimates least (the
    projection onto all sets that add up); shares by energy leave silent stems silent.

    Parameters
    ----------
    mixture : Tensor of shape (batch, ...)
        Signals or spectrograms.
    estimates : Tensor of shape (batch, stem, ...)
        Estimates of the stems.
    shares : {"equal", "energy"}
        "energy": in proportion to each estimate's energy in the whole segment; equal if all are silent.

    Returns
    -------
    Tensor of shape (batch, stem, ...)
        Estimates whose sum is the mixture.

    Raises
    ------
    ShapeError, ValueError
        If the axes do not fit; if ``shares`` is neither of the two.

    References
    ----------
    Wisdom et al., "Differentiable consistency constraints for improved deep speech enhancement", ICASSP 2019.
    """
    missing = residual(mixture, estimates).unsqueeze(1)  # (batch, 1, ...)
    stems = estimates.shape[1]
    if shares == "equal":
        return estimates + missing / stems
    if shares != "energy":
        raise ValueError(f"shares must be `equal` or `energy`, got `{shares}`")
    # Relative to the peak, because squares of quiet estimates would become 0.
    flat = estimates.abs().flatten(2)  # (batch, stem, value)
    peak = flat.amax(dim=(1, 2), keepdim=True)
    energy = (flat / peak.masked_fill(peak == 0, 1.0)).square().sum(dim=2)  # (batch, stem)
    total = energy.sum(dim=1, keepdim=True)
    parts = torch.where(total > 0, energy / total.masked_fill(total == 0, 1.0), 1.0 / stems)
    return estimates + missing * parts.reshape(parts.shape + (1,) * (estimates.ndim - 2))


def _tanh(values: Tensor) -> Tensor:
    """Hyperbolic tangent; without derivatives as ``2 sigmoid(2 x) - 1``, five times faster on a CPU.

    That form is off by at most 2e-7, but its relative error and its derivative are of no use near 0.
    """
    if values.requires_grad and torch.is_grad_enabled():
        return values.tanh()
    return (values * 2).sigmoid_().mul_(2).sub_(1)


def _power(values: Tensor, power: float) -> Tensor:
    """Power of non-negative values; the usual exponents without `pow`, which is slow."""
    if power == 1:
        return values
    return values.square() if power == 2 else values.pow(power)


def _check_power(power: float) -> None:
    if not 0 < power < math.inf:
        raise ValueError(f"power must be positive and finite, got {power}")


def _check_stems(name: str, tensor: Tensor) -> None:
    if tensor.ndim != 5:
        raise ShapeError(name, _STEM_AXES, tensor.shape)


def _check_mixture(mixture: Tensor, stems: Tensor) -> None:
    if mixture.ndim != 4 or (mixture.shape[0], *mixture.shape[1:]) != (stems.shape[0], *stems.shape[2:]):
        raise ShapeError("mixture", _MIXTURE_AXES, mixture.shape)


def _check_estimates(mixture: Tensor, estimates: Tensor) -> None:
    if estimates.ndim < 2 or (estimates.shape[0], *estimates.shape[2:]) != tuple(mixture.shape):
        raise ShapeError(
            "estimates", f"(batch, stem, ...) for a mixture of shape {tuple(mixture.shape)}", estimates.shape
        )
