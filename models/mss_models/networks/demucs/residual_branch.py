"""Residual branches of Demucs: narrow dilated convolutions, and at deep levels a recurrent layer and local attention.

Défossez, "Hybrid spectrogram and waveform source separation", 2021, section 3.2. Parameters are named as in the
published weights.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.settings import ResidualSettings

# The recurrent layer sees so many steps at once, and the next piece begins after half of them.
MAX_STEPS = 200
# Score of a step with itself, which so counts only where there is no other.
_SELF_SCORE = -100.0


class Scale(nn.Module):
    """Multiplies each channel by a learned factor.

    Parameters
    ----------
    channels : int
        Number of factors.
    start : float
        Their value before training.
    last : bool
        Channels are the last axis instead of the second.
    """

    def __init__(self, channels: int, start: float, *, last: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), start))
        self._last = last

    def forward(self, signal: Tensor) -> Tensor:
        """Scale (batch, channel, step), or (..., channel) with `last`; the shape stays."""
        return signal * (self.scale if self._last else self.scale[:, None])


class RecurrentContext(nn.Module):
    """An LSTM over overlapping pieces, added to its input.

    Parameters
    ----------
    channels : int
        Width of input, each direction and output.
    layers : int
        Recurrent layers.
    max_steps : int or None
        Length of a piece, even; None takes everything at once.
    skip : bool
        Add the input to the output.
    bidirectional : bool
        It looks at what comes, too.
    """

    def __init__(
        self,
        channels: int,
        *,
        layers: int = 2,
        max_steps: int | None = MAX_STEPS,
        skip: bool = True,
        bidirectional: bool = True,
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, num_layers=layers, bidirectional=bidirectional)
        self.linear = nn.Linear((2 if bidirectional else 1) * channels, channels)
        self._max_steps, self._skip = max_steps, skip

    def forward(self, signal: Tensor) -> Tensor:
        """Map (batch, channel, step) to the same shape."""
        steps = signal.shape[-1]
        if self._max_steps is None or steps <= self._max_steps:
            result = self._run(signal)
        else:
            result = self._run_pieces(signal, self._max_steps)
        return signal + result if self._skip else result

    def _run(self, signal: Tensor) -> Tensor:
        outputs, _ = self.lstm(signal.permute(2, 0, 1))  # (step, batch, channel of each direction)
        result: Tensor = self.linear(outputs)
        return result.permute(1, 2, 0)

    def _run_pieces(self, signal: Tensor, width: int) -> Tensor:
        """Run all pieces as a batch and keep the middle of each."""
        batch, channels, steps = signal.shape
        hop = width // 2
        count = -(-steps // hop)
        padded = functional.pad(signal, (0, (count - 1) * hop + width - steps))
        pieces = padded.unfold(-1, width, hop)  # (batch, channel, piece, step)
        results = self._run(pieces.transpose(1, 2).reshape(batch * count, channels, width))
        results = results.reshape(batch, count, channels, width).transpose(1, 2)  # (batch, channel, piece, step)
        edge = hop // 2
        parts = [results[:, :, 0, : width - edge]]
        parts += [results[:, :, index, edge : width - edge] for index in range(1, count - 1)]
        parts.append(results[:, :, count - 1, edge:])
        return torch.cat(parts, dim=-1)[..., :steps]


class LocalAttention(nn.Module):
    """Attention between steps that learns, for each step, how fast its interest fades with the distance.

    The score of step ``t`` for step ``s`` is the product of key and query over the root of their width, minus
    ``|t - s|`` times a slope that ``s`` chooses among ``1..decays``, each weighted by at most a half.

    Parameters
    ----------
    channels : int
        Width, a multiple of `heads`.
    heads, decays : int
        Number of heads; number of slopes.
    """

    def __init__(self, channels: int, *, heads: int = 4, decays: int = 4) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared among {heads} heads")
        self.content = nn.Conv1d(channels, channels, 1)
        self.query = nn.Conv1d(channels, channels, 1)
        self.key = nn.Conv1d(channels, channels, 1)
        self.query_decay = nn.Conv1d(channels, heads * decays, 1)
        self.query_decay.weight.data *= 0.01
        nn.init.constant_(_bias(self.query_decay), -2)
        self.proj = nn.Conv1d(channels, channels, 1)
        self._heads, self._decays = heads, decays

    def forward(self, signal: Tensor) -> Tensor:
        """Map (batch, channel, step) to the same shape."""
        batch, channels, steps = signal.shape
        query, key, content = (
            layer(signal).view(batch, self._heads, channels // self._heads, steps).transpose(2, 3)
            for layer in (self.query, self.key, self.content)
        )  # each (batch, head, step, channel of the head)
        shares = self.query_decay(signal).view(batch, self._heads, self._decays, steps).sigmoid() / 2
        factors = torch.arange(1, self._decays + 1, device=signal.device, dtype=signal.dtype)
        slopes = torch.einsum("bhds,d->bhs", shares, factors / math.sqrt(self._decays))
        places = torch.arange(steps, device=signal.device, dtype=signal.dtype)
        distances = (places[:, None] - places).abs()
        scores = query @ key.transpose(2, 3) / math.sqrt(channels // self._heads)  # (batch, head, s, t)
        scores = scores - slopes[..., None] * distances
        itself = torch.eye(steps, device=signal.device, dtype=torch.bool)
        weights = scores.masked_fill(itself, _SELF_SCORE).softmax(dim=-1)
        result = (weights @ content).transpose(2, 3).reshape(batch, channels, steps)
        output: Tensor = self.proj(result)
        return signal + output


class ResidualBranch(nn.Module):
    """Adds narrow dilated convolutions over time to its input.

    Each: convolution to the inner width, norm, GELU, perhaps recurrent layer and attention, convolution to twice the
    width, norm, GLU, scale.

    Parameters
    ----------
    channels : int
        Width outside.
    layers, compression, scale
        See `mss_models.networks.demucs.settings.ResidualSettings`.
    lstm, attention : bool
        Whether there are a recurrent layer and local attention.
    """

    def __init__(
        self, channels: int, *, layers: int, compression: int, scale: float, lstm: bool, attention: bool
    ) -> None:
        super().__init__()
        inner = channels // compression
        if inner < 1:
            raise ValueError(f"a compression of {compression} leaves nothing of {channels} channels")
        self.layers = nn.ModuleList()
        for index in range(layers):
            middle: list[nn.Module] = [RecurrentContext(inner)] if lstm else []
            middle += [LocalAttention(inner)] if attention else []
            dilation = 2**index
            self.layers.append(
                nn.Sequential(
                    nn.Conv1d(channels, inner, 3, dilation=dilation, padding=dilation),
                    nn.GroupNorm(1, inner),
                    nn.GELU(),
                    *middle,
                    nn.Conv1d(inner, 2 * channels, 1),
                    nn.GroupNorm(1, 2 * channels),
                    nn.GLU(1),
                    Scale(channels, scale),
                )
            )

    def forward(self, signal: Tensor) -> Tensor:
        """Map (batch, channel, step) to the same shape."""
        for layer in self.layers:
            signal = signal + layer(signal)
        return signal


def make_branch(
    settings: ResidualSettings | None, channels: int, *, level: int, decoder: bool
) -> ResidualBranch | None:
    """Make the branch of a level, 0 the outermost; None where the settings have none."""
    if settings is None or not (settings.in_decoder if decoder else settings.in_encoder):
        return None
    return ResidualBranch(
        channels,
        layers=settings.layers,
        compression=settings.compression,
        scale=settings.scale,
        lstm=settings.lstm_from is not None and level >= settings.lstm_from,
        attention=settings.attention_from is not None and level >= settings.attention_from,
    )


def _bias(layer: nn.Conv1d) -> Tensor:
    if layer.bias is None:
        raise ValueError("the layer has no bias")
    return layer.bias
