"""Residual branches as `separate` runs them: the same numbers with less memory traffic.

Everything here is laid out (batch, row, step, channel): rows are the bins of the frequency branch, and one for the
time branch. A branch is mostly moved memory, so:

- the dilated convolution is one matrix product for its three taps, of which the narrow results are shifted and added;
- mean and deviation of the wide second norm come from mean and covariance of the narrow signal before it, which the
  wide convolution only maps linearly; the norm is then part of that convolution;
- that convolution, the gate and the sum are done for pieces that stay in the cache.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.residual_branch import LocalAttention, RecurrentContext, ResidualBranch, Scale

# Numbers of a piece; twice as many come out of the wide convolution.
_PIECE = 1 << 17


def gate(doubled: Tensor) -> Tensor:
    """Halve the channels of (..., 2 * channel) by a GLU."""
    channels = doubled.shape[-1] // 2
    # A sigmoid is several times slower where its numbers do not lie side by side.
    return doubled[..., channels:].contiguous().sigmoid_().mul_(doubled[..., :channels])


def centre(signal: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Take the mean over some axes out of a signal in place; give mean and variance, with these axes of length 1.

    Two passes of sums take a third of the time of torch's variance.
    """
    mean = signal.mean(dim=axes, keepdim=True)
    variance = signal.sub_(mean).square().mean(dim=axes, keepdim=True)
    return mean, variance


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer of a branch, its parameters as they are used."""

    narrow: Tensor  # (3 * inner, channel), dtype of the network
    narrow_bias: Tensor  # (inner, 1, 1)
    narrow_gain: Tensor  # (inner, 1, 1), of the first norm
    narrow_offset: Tensor  # (inner, 1, 1)
    dilation: int
    wide: tuple[Tensor, ...]  # two of (inner, channel), times the second norm's gain, dtype of the network
    plain: Tensor  # (2 * channel, inner), without
    plain_bias: Tensor  # (2 * channel,)
    gain: Tensor  # (2 * channel,), of the second norm
    offset: Tensor  # (2 * channel,)
    scale: Tensor  # (2 * channel,): the layer's scale, then ones for the gates
    epsilon: float
    second_epsilon: float


class LeanBranch:
    """A residual branch without recurrent layer and attention.

    Parameters
    ----------
    branch : ResidualBranch
        With weights; not changed.
    dtype : torch.dtype
        Of input and output.
    """

    def __init__(self, branch: ResidualBranch, dtype: torch.dtype) -> None:
        self._layers = [_layer(list(layer.children()), dtype) for layer in branch.layers]

    @staticmethod
    def fits(branch: ResidualBranch) -> bool:
        """Tell whether the branch has neither recurrent layers nor attention."""
        return not any(isinstance(module, RecurrentContext | LocalAttention) for module in branch.modules())

    def add_to(self, signal: Tensor) -> Tensor:
        """Add the branch to (batch, row, step, channel) in place."""
        batch, rows, steps, channels = signal.shape
        lines = signal.view(batch * rows, steps, channels)
        for layer in self._layers:
            _add_layer(lines, layer)
        return signal


def _layer(parts: list[nn.Module], dtype: torch.dtype) -> _Layer:
    narrow, first, _, wide, second, _, scale = parts
    if not isinstance(narrow, nn.Conv1d) or not isinstance(wide, nn.Conv1d) or not isinstance(scale, Scale):
        raise TypeError("not a layer of a residual branch")
    if not isinstance(first, nn.GroupNorm) or not isinstance(second, nn.GroupNorm):
        raise TypeError("not a layer of a residual branch")
    both = torch.cat([scale.scale, torch.ones_like(scale.scale)])
    plain = wide.weight[:, :, 0]
    bias = [_present(one.bias) for one in (narrow, wide)]
    shown = [one[:, None, None].float() for one in (bias[0], first.weight, first.bias)]
    return _Layer(
        narrow=narrow.weight.permute(2, 0, 1).flatten(0, 1).to(dtype),
        narrow_bias=shown[0],
        narrow_gain=shown[1],
        narrow_offset=shown[2],
        dilation=int(narrow.dilation[0]),
        wide=tuple(half.t().contiguous().to(dtype) for half in (plain * (second.weight * both)[:, None]).chunk(2)),
        plain=plain.float(),
        plain_bias=bias[1].float(),
        gain=second.weight.float(),
        offset=second.bias.float(),
        scale=both.float(),
        epsilon=first.eps,
        second_epsilon=second.eps,
    )


def _present(bias: Tensor | None) -> Tensor:
    if bias is None:
        raise TypeError("a convolution of a residual branch has a bias")
    return bias


def _add_layer(lines: Tensor, layer: _Layer) -> None:
    """Add one layer to (line, step, channel) in place."""
    count, steps, channels = lines.shape
    inner = layer.narrow_bias.shape[0]
    taps = (layer.narrow @ lines.view(-1, channels).t()).view(3, inner, count, steps).float()
    narrow = taps[1].add_(layer.narrow_bias)
    reach = min(layer.dilation, steps)
    narrow[..., reach:] += taps[0][..., : steps - reach]
    narrow[..., : steps - reach] += taps[2][..., reach:]
    _, variance = centre(narrow, (0, 2))  # (1, line, 1)
    narrow.mul_((variance + layer.epsilon).rsqrt())
    narrow.mul_(layer.narrow_gain).add_(layer.narrow_offset)
    narrow = functional.gelu(narrow)
    rate, bias = _second_norm(narrow, layer)  # (line,), (line, 2 * channel)
    narrow = (narrow * rate[None, :, None]).to(lines.dtype)
    biases = bias.to(lines.dtype).unsqueeze(1).chunk(2, dim=-1)  # each (line, 1, channel)
    halves = tuple(zip(biases, layer.wide, strict=True))
    thin = narrow.permute(1, 2, 0)  # (line, step, inner)
    at_once = max(1, _PIECE // (channels * steps))
    length = max(1, _PIECE // channels) if at_once == 1 else steps
    for line in range(0, count, at_once):
        own = slice(line, line + at_once)
        for start in range(0, steps, length):
            part = slice(start, start + length)
            piece = thin[own, part]
            signals, gates = (
                torch.baddbmm(one[own], piece, weight.expand(piece.shape[0], -1, -1)) for one, weight in halves
            )
            lines[own, part].addcmul_(signals, gates.sigmoid_())


def _second_norm(narrow: Tensor, layer: _Layer) -> tuple[Tensor, Tensor]:
    """Give the second norm's factor of each line, and its biases, without making what it norms.

    With the narrow signal ``h`` of mean ``m`` and covariance ``S`` over the steps of a line, the wide one is
    ``W h + b``: its mean over steps and channels is that of ``W m + b`` over channels, its variance that of
    ``W m + b`` plus the mean over channels of the diagonal of ``W S W'``.
    """
    steps, outputs = narrow.shape[-1], layer.plain.shape[0]
    middle = narrow.mean(dim=-1)  # (inner, line)
    # In float64: single sums of 100 000 steps drift by 1e-4 where the signal stands still.
    apart = (narrow - middle[..., None]).transpose(0, 1).double()  # (line, inner, step)
    spread = (apart @ apart.transpose(1, 2)).float() / steps  # (line, inner, inner)
    within = (spread * (layer.plain.t() @ layer.plain)).sum(dim=(1, 2)) / outputs
    means = (layer.plain @ middle).t() + layer.plain_bias  # (line, 2 * channel)
    variance, mean = torch.var_mean(means, dim=1, correction=0)
    rate = (variance + within + layer.second_epsilon).rsqrt()  # (line,)
    bias = ((layer.plain_bias - mean[:, None]) * rate[:, None] * layer.gain + layer.offset) * layer.scale
    return rate, bias
