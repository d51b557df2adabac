"""Stereo position of every cell from the energies of middle and side."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.errors import ShapeError


@dataclass(frozen=True, slots=True)
class StereoPosition:
    """Where the sound of each cell stands; all axes (bin, frame).

    Parameters
    ----------
    energy : Tensor
        Energy of middle plus side.
    side_share : Tensor in [0, 1]
        Smoothed energy of the side over the total: 0 for a sound in the centre, 0.5 for one hard at a side or
        spread without correlation, 1 for channels in opposite phase.
    lean : Tensor in [0, 1]
        Smoothed ``2 |Re(mid * conj(side))| / total``: the level difference of the channels, 0 in the centre
        and for spread sound, 1 hard at a side.
    """

    energy: Tensor
    side_share: Tensor
    lean: Tensor


def mid_side(channels: Tensor) -> Tensor:
    """Turn (left, right) into (middle, side) or back, keeping the energy: ``(l + r, l - r) / sqrt(2)``.

    Parameters
    ----------
    channels : Tensor of shape (..., 2, sample)
        A signal of two channels.

    Returns
    -------
    Tensor of shape (..., 2, sample)
        Middle and side; the same call on these gives left and right again.

    Raises
    ------
    ShapeError
        If there are not two channels.
    """
    if channels.ndim < 2 or channels.shape[-2] != 2:
        raise ShapeError("channels", "(..., 2, sample)", channels.shape)
    first, second = channels.unbind(dim=-2)
    return torch.stack([first + second, first - second], dim=-2).mul(0.5**0.5)


def stereo_position(spectrum: Tensor) -> StereoPosition:
    """Measure the position of every cell, averaged over its eight neighbours.

    Parameters
    ----------
    spectrum : complex Tensor of shape (2, bin, frame)
        Middle and side.

    Returns
    -------
    StereoPosition
        All zero where there is silence; `side_share` and `lean` all zero for a mono signal.

    Raises
    ------
    ShapeError
        If there are not two channels.

    References
    ----------
    Barry, Lawlor and Coyle, "Sound source separation: azimuth discrimination and resynthesis", DAFx 2004 (the level
    difference as a cue); the measures are ours.
    """
    if spectrum.ndim != 3 or spectrum.shape[0] != 2:
        raise ShapeError("spectrum", "(2, bin, frame)", spectrum.shape)
    mid, side = torch.view_as_real(spectrum.transpose(-1, -2)).unbind(0)  # (frame, bin, 2) each
    products = torch.stack([mid.square().sum(-1), side.square().sum(-1), (mid * side).sum(-1)])  # (3, frame, bin)
    energy = (products[0] + products[1]).T
    smooth = torch.nn.functional.avg_pool2d(products, 3, stride=1, padding=1, count_include_pad=False)
    mid_energy, side_energy, cross = smooth.transpose(-1, -2)  # (bin, frame) each
    total = mid_energy + side_energy
    total = total.masked_fill(total == 0, 1.0)
    return StereoPosition(energy, side_energy / total, 2 * cross.abs() / total)
