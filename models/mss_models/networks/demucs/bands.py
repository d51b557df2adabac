"""Levels that are cut into bands of frequencies, each with a layer of its own (the package's `MultiWrap`).

With equal layers they give what one layer for all frequencies gives: an encoder's bands overlap as its kernel needs,
and what a decoder's bands make of the bins between them is added up.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.branch_layers import DecoderLayer, EncoderLayer


class BandedEncoder(nn.Module):
    """One level down in bands.

    Parameters
    ----------
    layers : sequence of EncoderLayer
        One for each band, the lowest first, without padding; kernels of twice their stride.
    ends : sequence of float, in (0, 1), rising
        Where the bands end, as shares of the bins; the last one ends at the top.
    """

    def __init__(self, layers: Sequence[EncoderLayer], ends: Sequence[float]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self._ends, self._shape = tuple(ends), layers[0].shape

    def forward(self, signal: Tensor, other: Tensor | None = None) -> Tensor:
        """Map (batch, outer, bin, frame) to (batch, inner, bin / stride, frame).

        Raises
        ------
        ValueError
            If there is another signal to add: bands come before the branches merge.
        """
        if other is not None:
            raise ValueError("a level in bands takes no other branch")
        kernel, stride = self._shape.kernel, self._shape.stride
        padding, bins = (kernel - stride) // 2, signal.shape[2]
        found, start = [], 0
        for band, layer in enumerate(self.layers):
            below, above = padding if band == 0 else 0, padding if band == len(self._ends) else 0
            if above:
                end = bins
            else:
                width = round(bins * self._ends[band]) - start + below
                end = start + (round((width - kernel) / stride + 1) - 1) * stride + kernel - below
            part = functional.pad(signal[:, :, start:end], (0, 0, below, above))
            found.append(layer(part))
            start = end - kernel + stride
        return torch.cat(found, dim=2)


class BandedDecoder(nn.Module):
    """One level up in bands, the mirror of `BandedEncoder`.

    Parameters
    ----------
    layers : sequence of DecoderLayer
        One for each band, without padding, and as if each were the outermost; kernels of twice their stride.
    ends : sequence of float, in (0, 1), rising
        Where the bands end, as shares of the bins; the last one ends at the top.
    last : bool
        The outermost level: no GELU at its end.
    """

    def __init__(self, layers: Sequence[DecoderLayer], ends: Sequence[float], *, last: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self._ends, self._shape, self._last = tuple(ends), layers[0].shape, last

    def forward(self, signal: Tensor, skip: Tensor, length: int) -> tuple[Tensor, None]:
        """Map (batch, inner, bin, frame) to (batch, outer, bin * stride, frame); the second of the pair is nothing."""
        stride, bins = self._shape.stride, signal.shape[2]
        ends = [*(round(bins * end) for end in self._ends), bins]
        found: list[Tensor] = []
        start = 0
        for layer, end in zip(self.layers, ends, strict=True):
            part, _ = layer(signal[:, :, start:end], skip[:, :, start:end], length)
            if found:
                # Both bands reach into these bins, and both have added their bias.
                both = found[-1][:, :, -stride:] + part[:, :, :stride] - _bias(layer)
                found[-1] = torch.cat([found[-1][:, :, :-stride], both], dim=2)
                part = part[:, :, stride:]
            found.append(part)
            start = end
        whole = torch.cat(found, dim=2)
        whole = whole[:, :, stride // 2 : whole.shape[2] - stride // 2]
        return (whole if self._last else functional.gelu(whole)), None


def _bias(layer: nn.Module) -> Tensor:
    """Give what a layer adds to each bin, (1, outer, 1, 1)."""
    if not isinstance(layer, DecoderLayer) or not isinstance(layer.conv_tr, nn.ConvTranspose2d):
        raise TypeError("a band has a layer of frequencies")
    if layer.conv_tr.bias is None:
        raise TypeError("a transposed convolution has a bias")
    return layer.conv_tr.bias.view(1, -1, 1, 1)
