"""Levels of the two branches as `separate` runs them, laid out (batch, row, step, channel).

Rows are the bins of the frequency branch, and one for the time branch: both run the same two-dimensional
convolutions, which are fastest in this layout.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.affine import Affine
from mss_models.networks.demucs.branch_layers import DecoderLayer, EncoderLayer, LayerShape
from mss_models.networks.demucs.lean_branch import LeanBranch, gate
from mss_models.networks.demucs.residual_branch import ResidualBranch

_Convolution = nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d


class _Residual:
    """A residual branch of any kind; those with recurrent layers stay in float32 and in their own layout."""

    def __init__(self, branch: ResidualBranch, dtype: torch.dtype) -> None:
        self._lean = LeanBranch(branch, dtype) if LeanBranch.fits(branch) else None
        self._branch = branch

    def add_to(self, signal: Tensor) -> Tensor:
        """Add the branch to (batch, row, step, channel), perhaps in place."""
        if self._lean is not None:
            return self._lean.add_to(signal)
        batch, rows, steps, channels = signal.shape
        lines = signal.view(batch * rows, steps, channels).transpose(1, 2).float().contiguous()
        result: Tensor = self._branch(lines)
        return result.transpose(1, 2).to(signal.dtype).reshape(batch, rows, steps, channels)


class _Norm:
    """A group norm over channels that are the last axis; nothing without groups."""

    def __init__(self, norm: nn.Module) -> None:
        self._norm = norm if isinstance(norm, nn.GroupNorm) else None

    def __call__(self, signal: Tensor) -> Tensor:
        """Norm (batch, row, step, channel)."""
        if self._norm is None:
            return signal
        channels_last = signal.permute(0, 3, 1, 2)
        norm = self._norm
        weight, bias = norm.weight.to(signal.dtype), norm.bias.to(signal.dtype)
        normed = functional.group_norm(channels_last, norm.num_groups, weight, bias, norm.eps)
        return normed.permute(0, 2, 3, 1).contiguous()


class LeanEncoder:
    """One level down; see `EncoderLayer`.

    Parameters
    ----------
    layer : EncoderLayer
        With weights; not changed.
    dtype : torch.dtype
        Of what it computes and gives.
    """

    def __init__(self, layer: EncoderLayer, dtype: torch.dtype) -> None:
        self._shape, self.bare, self._dtype = layer.shape, layer.bare, dtype
        self._weight, self._bias = _filter(layer.conv, layer.shape, dtype)
        if layer.bare:
            return
        self._norm1, self._norm2 = _Norm(layer.norm1), _Norm(layer.norm2)
        weight, bias = _filter(layer.rewrite, layer.shape, torch.float32)
        if bias is None:
            raise TypeError("a gated convolution has a bias")
        self._gate = Affine(weight.flatten(1), bias, dtype)
        self._residual = None if layer.dconv is None else _Residual(layer.dconv, dtype)

    def __call__(self, signal: Tensor, other: Tensor | None = None) -> Tensor:
        """Map (batch, row, step, outer) to (batch, row, step, inner); `other` is added inside."""
        shape, signal = self._shape, signal.to(self._dtype)
        if shape.frequency:
            stride, padding = (shape.stride, 1), (shape.padding, 0)
        else:
            stride, padding = (1, shape.stride), (0, shape.padding)
            missing = -signal.shape[2] % shape.stride
            signal = functional.pad(signal, (0, 0, 0, missing)) if missing else signal
        inner = _back(functional.conv2d(_front(signal), self._weight, self._bias, stride, padding))
        if self.bare:
            return inner
        if other is not None:
            inner = inner.add_(other)
        inner = _activate(self._norm1(inner), self._shape)
        if self._residual is not None:
            inner = self._residual.add_to(inner)
        return gate(self._norm2(self._gate(inner)))


class LeanDecoder:
    """One level up; see `DecoderLayer`.

    Parameters
    ----------
    layer : DecoderLayer
        With weights; not changed.
    dtype : torch.dtype
        Of what it computes and gives.
    """

    def __init__(self, layer: DecoderLayer, dtype: torch.dtype) -> None:
        self._shape, self.bare, self._last, self._dtype = layer.shape, layer.bare, layer.last, dtype
        self._weight, self._bias = _filter(layer.conv_tr, layer.shape, dtype)
        self._norm2 = _Norm(layer.norm2)
        if layer.bare:
            return
        self._norm1 = _Norm(layer.norm1)
        self._gate = _filter(layer.rewrite, layer.shape, dtype)
        self._residual = None if layer.dconv is None else _Residual(layer.dconv, dtype)

    def __call__(self, signal: Tensor | None, skip: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        """Map (batch, row, step, inner) to (batch, row, length, outer), and give what the transposed convolution got.

        None in place of the signal stands for zeros. The signal is changed: here memory is at its highest.
        """
        shape = self._shape
        if signal is None or skip is None:
            signal = skip if signal is None else signal
        else:
            signal = signal.add_(skip) if signal.dtype == skip.dtype else signal + skip
        del skip
        if signal is None:
            raise ValueError("a layer needs a signal or a skip")
        signal = signal.to(self._dtype)
        if not self.bare:
            weight, bias = self._gate
            context = shape.context if shape.context_padding else 0
            around = (context, context) if shape.frequency else (0, context)
            doubled = _back(functional.conv2d(_front(signal), weight, bias, 1, around))
            signal = gate(self._norm1(doubled))
            del doubled
            if self._residual is not None:
                signal = self._residual.add_to(signal)
        along = (shape.stride, 1) if shape.frequency else (1, shape.stride)
        # A norm must see all that comes out.
        early = not shape.groups
        cut = shape.padding if early else 0
        cuts = (cut, 0) if shape.frequency else (0, cut)
        outer = _back(functional.conv_transpose2d(_front(signal), self._weight, self._bias, along, cuts))
        outer = self._norm2(outer)
        late = shape.padding - cut
        if shape.frequency:
            outer = outer[:, late : outer.shape[1] - late]
        else:
            outer = outer[:, :, late : late + length]
        return (outer if self._last else _activate(outer, shape)), signal


def _activate(signal: Tensor, shape: LayerShape) -> Tensor:
    """Apply GELU or ReLU in place."""
    return signal.relu_() if shape.rectified else torch.ops.aten.gelu_(signal)


def _filter(module: nn.Module, shape: LayerShape, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Give a convolution's weight and bias in two dimensions and in the layout of this module."""
    if not isinstance(module, _Convolution):
        raise TypeError(f"not a convolution: {type(module).__name__}")
    weight = module.weight.detach()
    weight = weight if shape.frequency else weight.unsqueeze(2)
    bias = None if module.bias is None else module.bias.detach().to(dtype)
    return weight.to(dtype).contiguous(memory_format=torch.channels_last), bias


def _front(signal: Tensor) -> Tensor:
    """View (batch, row, step, channel) as (batch, channel, row, step)."""
    return signal.permute(0, 3, 1, 2)


def _back(signal: Tensor) -> Tensor:
    """Undo `_front`; a copy only where a convolution chose another layout."""
    return signal.permute(0, 2, 3, 1).contiguous()
