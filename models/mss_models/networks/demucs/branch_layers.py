"""Levels of the two branches of a hybrid Demucs: strided convolution, gated convolution, residual branch.

A frequency level works on (batch, channel, bin, frame) and its convolutions run over bins; a time level works on
(batch, channel, step). Défossez 2021, section 3. Parameters are named as in the published weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.residual_branch import ResidualBranch


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What encoder and decoder of a level have in common.

    Parameters
    ----------
    outer, inner : int
        Channels outside and inside.
    kernel, stride, padding : int
        Of the strided convolution.
    frequency : bool
        Two axes, convolved over the first.
    groups : int
        Of the group norms; 0 for none.
    context : int
        Neighbours of the decoder's gated convolution.
    context_padding : bool
        It sees zeros beyond the ends; if False, the result is shorter.
    rectified : bool
        ReLU instead of GELU.
    context_in_time : bool
        A frequency level's neighbours are those in time alone.
    """

    outer: int
    inner: int
    kernel: int
    stride: int
    padding: int
    frequency: bool
    groups: int
    context: int
    context_padding: bool = True
    rectified: bool = False
    context_in_time: bool = False

    def norm(self, channels: int) -> nn.Module:
        """Make a norm, or what does nothing."""
        return nn.GroupNorm(self.groups, channels) if self.groups else nn.Identity()

    def gate(self, context: int) -> nn.Module:
        """Make the convolution to twice the inner channels that a GLU halves again."""
        if self.frequency and self.context_in_time:
            return nn.Conv2d(self.inner, 2 * self.inner, (1, 1 + 2 * context), padding=(0, context))
        kind = nn.Conv2d if self.frequency else nn.Conv1d
        return kind(self.inner, 2 * self.inner, 1 + 2 * context, padding=context if self.context_padding else 0)


class EncoderLayer(nn.Module):
    """One level down.

    Parameters
    ----------
    shape : LayerShape
        Sizes.
    residual : ResidualBranch or None
        Between the strided and the gated convolution.
    bare : bool
        Only the strided convolution: the last level of the time branch, which goes into the other branch.
    """

    def __init__(self, shape: LayerShape, residual: ResidualBranch | None, *, bare: bool = False) -> None:
        super().__init__()
        self.shape, self.bare = shape, bare
        if shape.frequency:
            kernel, stride, padding = (shape.kernel, 1), (shape.stride, 1), (shape.padding, 0)
            self.conv: nn.Module = nn.Conv2d(shape.outer, shape.inner, kernel, stride, padding)
        else:
            self.conv = nn.Conv1d(shape.outer, shape.inner, shape.kernel, shape.stride, shape.padding)
        if bare:
            return
        self.norm1, self.norm2 = shape.norm(shape.inner), shape.norm(2 * shape.inner)
        self.rewrite = shape.gate(0)
        self.dconv = residual

    def forward(self, signal: Tensor, other: Tensor | None = None) -> Tensor:
        """Go one level down.

        Parameters
        ----------
        signal : Tensor of shape (batch, outer, bin, frame) or (batch, outer, step)
            A time level takes (batch, outer, 1, frame) too, and any number of steps.
        other : Tensor of shape (batch, inner, frame), optional
            The time branch, where it goes into the frequency branch.

        Returns
        -------
        Tensor of shape (batch, inner, bin, frame) or (batch, inner, step)
            ``ceil(step / stride)`` steps.
        """
        if not self.shape.frequency:
            signal = signal.flatten(1, 2) if signal.ndim == 4 else signal
            signal = functional.pad(signal, (0, -signal.shape[-1] % self.shape.stride))
        inner: Tensor = self.conv(signal)
        if self.bare:
            return inner
        if other is not None:
            inner = inner + (other[:, :, None] if inner.ndim == 4 else other)
        inner = functional.gelu(self.norm1(inner))
        if self.dconv is not None:
            inner = along_time(self.dconv, inner)
        return functional.glu(self.norm2(self.rewrite(inner)), dim=1)


class DecoderLayer(nn.Module):
    """One level up, the mirror of `EncoderLayer`.

    Parameters
    ----------
    shape : LayerShape
        Sizes.
    residual : ResidualBranch or None
        After the gated convolution.
    bare : bool
        Only the strided convolution: the first level of the time branch, which comes out of the other branch.
    last : bool
        The outermost level: no GELU at its end.
    """

    def __init__(
        self, shape: LayerShape, residual: ResidualBranch | None, *, bare: bool = False, last: bool = False
    ) -> None:
        super().__init__()
        self.shape, self.bare, self.last = shape, bare, last
        if shape.frequency:
            kernel, stride = (shape.kernel, 1), (shape.stride, 1)
            self.conv_tr: nn.Module = nn.ConvTranspose2d(shape.inner, shape.outer, kernel, stride)
        else:
            self.conv_tr = nn.ConvTranspose1d(shape.inner, shape.outer, shape.kernel, shape.stride)
        self.norm2 = shape.norm(shape.outer)
        if bare:
            return
        self.rewrite = shape.gate(shape.context)
        self.norm1 = shape.norm(2 * shape.inner)
        self.dconv = residual

    def keep_parts(self, kept: list[int], parts: int) -> None:
        """Leave some of `parts` equal groups of the outer channels; only where no norm follows."""
        if self.shape.groups or not isinstance(self.conv_tr, nn.ConvTranspose1d | nn.ConvTranspose2d):
            raise ValueError("the channels of a normed layer belong together")
        weight, bias = self.conv_tr.weight, self.conv_tr.bias
        self.conv_tr.weight = nn.Parameter(torch.unflatten(weight.detach(), 1, (parts, -1))[:, kept].flatten(1, 2))
        if bias is not None:
            self.conv_tr.bias = nn.Parameter(torch.unflatten(bias.detach(), 0, (parts, -1))[kept].flatten())
        self.conv_tr.out_channels = self.conv_tr.weight.shape[1]

    def forward(self, signal: Tensor, skip: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        """Go one level up.

        Parameters
        ----------
        signal : Tensor of shape (batch, inner, bin, frame) or (batch, inner, step)
            A frequency level takes (batch, inner * bin, frame) too.
        skip : Tensor as `signal`, or None
            What the encoder gave at this level; None in a bare layer.
        length : int
            Steps of the result; a frequency level keeps its frames.

        Returns
        -------
        tuple of two Tensors
            (batch, outer, bin, frame) or (batch, outer, length), and what the strided convolution was given.
        """
        if self.shape.frequency and signal.ndim == 3:
            signal = torch.unflatten(signal, 1, (self.shape.inner, -1))
        if not self.bare:
            signal = signal if skip is None else signal + skip
            signal = functional.glu(self.norm1(self.rewrite(signal)), dim=1)
            if self.dconv is not None:
                signal = along_time(self.dconv, signal)
        outer: Tensor = self.norm2(self.conv_tr(signal))
        padding = self.shape.padding
        if self.shape.frequency:
            outer = outer[:, :, padding : outer.shape[2] - padding]
        else:
            outer = outer[..., padding : padding + length]
        return (outer if self.last else functional.gelu(outer)), signal


def along_time(branch: nn.Module, signal: Tensor) -> Tensor:
    """Run a module for (batch, channel, step) on that or on each bin of (batch, channel, bin, frame)."""
    if signal.ndim == 3:
        result: Tensor = branch(signal)
        return result
    batch, channels, bins, frames = signal.shape
    result = branch(signal.transpose(1, 2).reshape(batch * bins, channels, frames))
    return result.view(batch, bins, channels, frames).transpose(1, 2)
