"""A hybrid Demucs as `separate` runs it: the network of `hybrid`, laid out and folded for speed.

Estimates differ from the network's by rounding only. In lower precisions most layers compute in these;
transforms, moments, statistics of norms, the outermost levels and the stream of the transformer stay in float32.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.affine import Affine
from mss_models.networks.demucs.branch_layers import DecoderLayer, EncoderLayer
from mss_models.networks.demucs.hybrid import HybridDemucs, Moments, standardise
from mss_models.networks.demucs.lean_layers import LeanDecoder, LeanEncoder
from mss_models.networks.demucs.lean_transformer import LeanTransformer
from mss_models.networks.demucs.spectrum import OUTSIDE, demucs_spectrum
from mss_models.stft import istft

# Levels that stay in float32: their errors are 4.5 dB of the output's, their time is short.
_FINE_ENCODERS = 2
_FINE_DECODERS = 1


class LeanHybridDemucs:
    """Runs a network without gradients.

    Parameters
    ----------
    network : HybridDemucs
        In evaluation mode, on its device; its weights are shared where they are not changed.
    dtype : torch.dtype
        Of the layers, but the outermost.
    """

    def __init__(self, network: HybridDemucs, dtype: torch.dtype) -> None:
        self._settings, self._grid, self._dtype = network.settings, network.grid, dtype
        self._encoder, self._tencoder = (
            [LeanEncoder(_encoder(layer), _dtype(level, _FINE_ENCODERS, dtype)) for level, layer in enumerate(layers)]
            for layers in (network.encoder, network.tencoder)
        )
        self._decoder, self._tdecoder = (
            [
                LeanDecoder(_decoder(layer), _dtype(level, _FINE_DECODERS, dtype))
                for level, layer in zip(range(len(layers) - 1, -1, -1), layers, strict=True)
            ]
            for layers in (network.decoder, network.tdecoder)
        )
        self._embedding: Tensor | None = None
        if network.freq_emb is not None:
            table = network.freq_emb().detach() * network.settings.frequency_embedding  # (channel, bin, 1)
            self._embedding = table.permute(1, 2, 0).contiguous()  # (bin, 1, channel)
        self._transformer: LeanTransformer | None = None
        self._up: tuple[Affine, Affine] | None = None
        self._down: tuple[Affine, Affine] | None = None
        if network.crosstransformer is not None:
            self._transformer = LeanTransformer(network.crosstransformer, dtype)
            if network.resampled:
                self._up = _pair(network.channel_upsampler, network.channel_upsampler_t, dtype)
                self._down = _pair(network.channel_downsampler, network.channel_downsampler_t, dtype)

    def separate_into(self, estimates: Tensor, mixture: Tensor) -> None:
        """Estimate the stems of (batch, channel, sample) into (batch, stem, channel, sample)."""
        samples = mixture.shape[-1]
        if self._transformer is not None and samples < self._settings.segment_samples:
            mixture = functional.pad(mixture, (0, self._settings.segment_samples - samples))
        spectrum = demucs_spectrum(mixture, self._grid)  # (batch, channel, bin, frame)
        planes = torch.view_as_real(spectrum).permute(0, 2, 3, 1, 4).flatten(3)  # (batch, bin, frame, plane)
        planes, plane_moments = standardise(planes)
        line, line_moments = standardise(mixture)
        planes = planes.contiguous()
        steps = line.transpose(1, 2).unsqueeze(1).contiguous()  # (batch, 1, sample, channel)
        del spectrum, line
        planes, steps = self._through(planes, steps)
        self._write(estimates, planes, plane_moments)
        stems, channels = estimates.shape[1:3]
        line = torch.unflatten(steps[:, 0, :samples].float(), -1, (stems, channels))
        estimates += line_moments.undo(line.permute(0, 2, 3, 1))

    def _through(self, planes: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        """Encode, couple and decode; all laid out (batch, row, step, channel)."""
        skips: list[Tensor] = []
        line_skips: list[Tensor] = []
        lengths: list[int] = []
        line_lengths: list[int] = []
        for index, encode in enumerate(self._encoder):
            lengths.append(planes.shape[2])
            other: Tensor | None = None
            if index < len(self._tencoder):
                line_lengths.append(line.shape[2])
                line = self._tencoder[index](line)
                if self._tencoder[index].bare:
                    other = line
                else:
                    line_skips.append(line)
            planes = encode(planes, other)
            if index == 0 and self._embedding is not None:
                planes += self._embedding
            skips.append(planes)
        coupled: tuple[Tensor | None, Tensor | None] = (None, None)
        if self._transformer is not None:
            coupled = self._couple(self._transformer, planes, line)
        inner, inner_line = coupled
        apart = len(self._decoder) - len(self._tdecoder)
        for index, decode in enumerate(self._decoder):
            inner, shared = decode(inner, skips.pop(), lengths.pop())
            if index < apart:
                continue
            line_decode = self._tdecoder[index - apart]
            if line_decode.bare:
                inner_line, _ = line_decode(shared, None, line_lengths.pop())
            else:
                inner_line, _ = line_decode(inner_line, line_skips.pop(), line_lengths.pop())
        if inner is None or inner_line is None:
            raise ValueError("a network needs a level")
        return inner, inner_line

    def _couple(self, transformer: LeanTransformer, planes: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        """Let the branches attend to each other."""
        planes, line = planes.to(self._dtype), line.to(self._dtype)
        if self._up is not None:
            planes, line = self._up[0](planes), self._up[1](line)
        planes, line = (part.to(self._dtype) for part in transformer(planes, line))
        if self._down is not None:
            planes, line = self._down[0](planes), self._down[1](line)
        return planes.contiguous(), line.contiguous()

    def _write(self, estimates: Tensor, planes: Tensor, moments: Moments) -> None:
        """Turn (batch, bin, frame, stem * plane) into signals, one stem at a time."""
        stems, channels, samples = estimates.shape[1:]
        hop, lead = self._grid.hop_length, self._grid.hop_length // 2 * 3
        batch, bins, frames = planes.shape[:3]
        parts = torch.unflatten(planes, -1, (stems, channels, 2)).permute(0, 3, 4, 2, 1, 5)
        # The frames outside and the highest bin stay zero.
        whole = planes.new_zeros(batch, channels, frames + 2 * OUTSIDE, bins + 1, 2, dtype=torch.float32)
        gain = math.sqrt(self._grid.n_fft)
        deviation, mean = (moment.unsqueeze(1) * gain for moment in (moments.deviation, moments.mean))
        for stem in range(stems):
            inner = whole[:, :, OUTSIDE:-OUTSIDE, :bins]
            inner.copy_(parts[:, stem]).mul_(deviation).add_(mean)
            spectrum = torch.view_as_complex(whole).transpose(-1, -2)
            signal = istft(spectrum, self._grid, (frames + OUTSIDE) * hop)
            estimates[:, stem] = signal[..., lead : lead + samples]


def _dtype(level: int, fine: int, dtype: torch.dtype) -> torch.dtype:
    """Give the precision of a level, 0 the outermost."""
    return torch.float32 if level < fine else dtype


def _pair(layer: nn.Conv1d, layer_t: nn.Conv1d, dtype: torch.dtype) -> tuple[Affine, Affine]:
    return _affine(layer, dtype), _affine(layer_t, dtype)


def _affine(layer: nn.Conv1d, dtype: torch.dtype) -> Affine:
    if layer.bias is None:
        raise TypeError("the layer has no bias")
    return Affine(layer.weight[:, :, 0], layer.bias, dtype)


def _encoder(layer: nn.Module) -> EncoderLayer:
    if not isinstance(layer, EncoderLayer):
        raise TypeError(f"not an encoder: {type(layer).__name__}")
    return layer


def _decoder(layer: nn.Module) -> DecoderLayer:
    if not isinstance(layer, DecoderLayer):
        raise TypeError(f"not a decoder: {type(layer).__name__}")
    return layer
