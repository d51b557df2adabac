"""Hybrid Demucs and Hybrid Transformer Demucs: one branch for the spectrogram, one for the waveform, joined inside.

    mixture -> spectrum -> frequency encoder -> + or transformer -> frequency decoder -> inverse -> +
    mixture ----------------> time encoder --> + or transformer ------> time decoder ------------> + -> stems

Without a transformer the deeper levels take all bins together, add the time branch and go on over time alone; the
decoders start from zeros and the skips. With one, the branches stay apart and attend to each other. The planes are the
real and imaginary parts of the spectrum; the outputs are those of the stems' spectra. State dicts have the names and
shapes of the published weights.

Défossez, "Hybrid spectrogram and waveform source separation", 2021; Rouard, Massa and Défossez, "Hybrid transformers
for music source separation", ICASSP 2023.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.bands import BandedDecoder, BandedEncoder
from mss_models.networks.demucs.branch_layers import DecoderLayer, EncoderLayer, LayerShape
from mss_models.networks.demucs.cross_transformer import CrossTransformer
from mss_models.networks.demucs.positions import FrequencyEmbedding
from mss_models.networks.demucs.residual_branch import ResidualBranch, make_branch
from mss_models.networks.demucs.settings import HybridSettings, Level
from mss_models.networks.demucs.spectrum import demucs_signal, demucs_spectrum, late_signal
from mss_models.stft import StftSettings
from mss_models.wiener import wiener

# Added to deviations, so that silence is divided by something.
_FLOOR = 1e-5
# Added to the mixture's magnitudes where its phase is taken.
_SILENCE = 1e-8
# The filter's windows and regularisation.
_WINDOW_FRAMES = 300
_NOISE = 1e-10
# Deviation that the weights of convolutions are brought near to before training.
_WEIGHT_DEVIATION = 0.1


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and deviation of each item, to be undone on the estimates.

    Parameters
    ----------
    mean, deviation : Tensor of shape (batch, 1, 1) or (batch, 1, 1, 1)
        Over all but the first axis.
    """

    mean: Tensor
    deviation: Tensor

    def undo(self, estimates: Tensor) -> Tensor:
        """Scale (batch, stem, ...) back; zero for silence."""
        return estimates * self.deviation.unsqueeze(1) + self.mean.unsqueeze(1)


def standardise(signal: Tensor) -> tuple[Tensor, Moments]:
    """Bring each item of (batch, ...) to mean 0 and deviation 1."""
    axes = tuple(range(1, signal.ndim))
    deviation, mean = torch.std_mean(signal, dim=axes, keepdim=True)
    return (signal - mean) / (deviation + _FLOOR), Moments(mean, deviation)


class HybridDemucs(nn.Module):
    """The network, from mixture to stems.

    Parameters
    ----------
    settings : HybridSettings
        Sizes; without ``transformer`` a Hybrid Demucs.
    """

    def __init__(self, settings: HybridSettings) -> None:
        nn.Module.__init__(self)  # a separator, which is a network too, has its own
        self.build(settings)

    def build(self, settings: HybridSettings) -> None:
        """Make the layers, with random weights."""
        self.settings = settings
        self.grid = StftSettings(n_fft=settings.n_fft, hop_length=settings.hop_length)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        self.tencoder, self.tdecoder = nn.ModuleList(), nn.ModuleList()
        levels = settings.levels()
        for level in levels:
            self._add_level(level)
        self.freq_emb: FrequencyEmbedding | None = None
        if settings.frequency_embedding:
            bins = levels[0].bins // levels[0].stride
            self.freq_emb = FrequencyEmbedding(bins, levels[0].planes)
        self.crosstransformer: CrossTransformer | None = None
        self.resampled = False
        if settings.transformer is not None:
            width, bottom = levels[-1].planes, settings.transformer.bottom_channels
            if bottom:
                self.resampled = True
                self.channel_upsampler, self.channel_downsampler = _pointwise(width, bottom), _pointwise(bottom, width)
                self.channel_upsampler_t = _pointwise(width, bottom)
                self.channel_downsampler_t = _pointwise(bottom, width)
            self.crosstransformer = CrossTransformer(bottom or width, settings.transformer)
        rescale(self)

    def _add_level(self, level: Level) -> None:
        """Append encoders, put decoders in front."""
        settings, stems = self.settings, len(self.settings.stems)
        groups = settings.norm_groups if level.index >= settings.norm_from else 0
        padding = 0 if level.merges else (level.kernel - level.stride) // 2
        frequency = LayerShape(
            *(level.planes_in, level.planes, level.kernel, level.stride, padding, level.hybrid, groups),
            settings.context,
        )
        last = level.index == 0
        wide = level.planes_in * stems if last else level.planes_in
        if level.index < settings.banded_levels and settings.band_ends:
            self._add_bands(level, frequency, wide)
        else:
            self.encoder.append(EncoderLayer(frequency, self._branch(level, decoder=False)))
            up = DecoderLayer(_outer(frequency, wide), self._branch(level, decoder=True), last=last)
            self.decoder.insert(0, up)
        if not level.hybrid:
            return
        kernel, stride = settings.kernel_size, settings.stride
        line = LayerShape(
            *(level.channels_in, level.channels, kernel, stride, (kernel - stride) // 2, False, groups),
            settings.context,
        )
        wide = level.channels_in * stems if last else level.channels_in
        bare = level.merges
        self.tencoder.append(EncoderLayer(line, None if bare else self._branch(level, decoder=False), bare=bare))
        residual = None if bare else self._branch(level, decoder=True)
        self.tdecoder.insert(0, DecoderLayer(_outer(line, wide), residual, bare=bare, last=last))

    def _add_bands(self, level: Level, shape: LayerShape, wide: int) -> None:
        """Append an encoder in bands, put its decoder in front."""
        ends = self.settings.band_ends
        shape = replace(shape, padding=0, context_in_time=True)
        down = [EncoderLayer(shape, self._branch(level, decoder=False)) for _ in range(len(ends) + 1)]
        up = [
            DecoderLayer(_outer(shape, wide), self._branch(level, decoder=True), last=True)
            for _ in range(len(ends) + 1)
        ]
        self.encoder.append(BandedEncoder(down, ends))
        self.decoder.insert(0, BandedDecoder(up, ends, last=level.index == 0))

    def _branch(self, level: Level, *, decoder: bool) -> ResidualBranch | None:
        return make_branch(self.settings.residual, level.planes, level=level.index, decoder=decoder)

    def keep_stems(self, stems: tuple[str, ...]) -> None:
        """Leave only some stems, in this order; the outermost transposed convolutions lose the others' channels.

        Raises
        ------
        ValueError
            If these have group norms, which tie the stems together.
        """
        kept = [self.settings.stems.index(stem) for stem in stems]
        for decoder in (self.decoder, self.tdecoder):
            layer = _layer(decoder[-1])
            if isinstance(layer, DecoderLayer):
                layer.keep_parts(kept, len(self.settings.stems))
        self.settings = replace(self.settings, stems=stems)

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the stems differentiably.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, channel, sample)
            At least 1 sample. With a transformer, fewer than a segment's are filled up with zeros.

        Returns
        -------
        float32 Tensor of shape (batch, stem, channel, sample)
            Estimates.
        """
        samples = mixture.shape[-1]
        if self.crosstransformer is not None and samples < self.settings.segment_samples:
            mixture = functional.pad(mixture, (0, self.settings.segment_samples - samples))
        settings = self.settings
        spectrum = demucs_spectrum(mixture, self.grid, mirrored=settings.mirrored_ends)  # (batch, channel, bin, frame)
        planes, plane_moments = standardise(_as_planes(spectrum) if settings.planes == "complex" else spectrum.abs())
        line, line_moments = standardise(mixture)
        planes, line = self._through(planes, line)
        stems = len(settings.stems)
        estimated = plane_moments.undo(torch.unflatten(planes, 1, (stems, -1)))  # (batch, stem, plane, bin, frame)
        if settings.planes == "complex":
            spectra = _as_spectrum(estimated)
        else:
            spectra = filtered_spectra(spectrum, estimated, settings.wiener_iterations)
        inverse = demucs_signal if settings.mirrored_ends else late_signal
        signals = inverse(spectra, self.grid, mixture.shape[-1])
        estimates = signals + line_moments.undo(torch.unflatten(line, 1, (stems, -1)))
        return estimates[..., :samples]

    def _through(self, planes: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        """Encode, couple and decode (batch, plane, bin, frame) and (batch, channel, sample); the same for all stems."""
        plane_skips: list[Tensor] = []
        line_skips: list[Tensor] = []
        lengths: list[int] = []
        line_lengths: list[int] = []
        for index, encode in enumerate(self.encoder):
            lengths.append(planes.shape[-1])
            other: Tensor | None = None
            if index < len(self.tencoder):
                line_lengths.append(line.shape[-1])
                line = self.tencoder[index](line)
                if _layer(self.tencoder[index]).bare:
                    other = line
                else:
                    line_skips.append(line)
            planes = encode(planes, other)
            if index == 0 and self.freq_emb is not None:
                planes = planes + self.settings.frequency_embedding * self.freq_emb()
            plane_skips.append(planes)
        if self.crosstransformer is None:
            planes, line = torch.zeros_like(planes), torch.zeros_like(line)
        else:
            planes, line = self._couple(self.crosstransformer, planes, line)
        apart = len(self.decoder) - len(self.tdecoder)
        for index, decode in enumerate(self.decoder):
            planes, inner = decode(planes, plane_skips.pop(), lengths.pop())
            if index < apart:
                continue
            line_decode = self.tdecoder[index - apart]
            if _layer(line_decode).bare:
                line, _ = line_decode(inner[:, :, 0], None, line_lengths.pop())
            else:
                line, _ = line_decode(line, line_skips.pop(), line_lengths.pop())
        return planes, line

    def _couple(self, transformer: CrossTransformer, planes: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
        """Let the branches attend to each other; (batch, channel, bin, frame), (batch, channel, step) stay so."""
        if not self.resampled:
            both: tuple[Tensor, Tensor] = transformer(planes, line)
            return both
        shape = planes.shape[-2:]
        planes = self.channel_upsampler(planes.flatten(2)).unflatten(-1, shape)
        planes, line = transformer(planes, self.channel_upsampler_t(line))
        return self.channel_downsampler(planes.flatten(2)).unflatten(-1, shape), self.channel_downsampler_t(line)


def filtered_spectra(mixture: Tensor, magnitudes: Tensor, iterations: int) -> Tensor:
    """Make spectra of estimated magnitudes.

    Parameters
    ----------
    mixture : complex Tensor of shape (batch, channel, bin, frame)
    magnitudes : float Tensor of shape (batch, stem, channel, bin, frame)
        As the network gives them; they may be negative.
    iterations : int, >= -1
        Of the filter, over windows of 300 frames; -1 takes the mixture's phase.

    Returns
    -------
    complex Tensor of shape (batch, stem, channel, bin, frame)
    """
    if iterations < 0:
        return (mixture / (mixture.abs() + _SILENCE)).unsqueeze(1) * magnitudes
    windows = zip(
        torch.split(mixture, _WINDOW_FRAMES, dim=-1), torch.split(magnitudes, _WINDOW_FRAMES, dim=-1), strict=True
    )
    parts = [wiener(mix, size, iterations=iterations, softmask=False, eps=_NOISE) for mix, size in windows]
    return torch.cat(parts, dim=-1)


def _as_planes(spectrum: Tensor) -> Tensor:
    """Lay real and imaginary parts of (batch, channel, bin, frame) side by side: (batch, channel * 2, bin, frame)."""
    return torch.view_as_real(spectrum).movedim(-1, 2).flatten(1, 2)


def _as_spectrum(planes: Tensor) -> Tensor:
    """Undo `_as_planes` on (batch, stem, channel * 2, bin, frame)."""
    parts = torch.unflatten(planes, 2, (-1, 2)).movedim(3, -1)
    return torch.view_as_complex(parts.contiguous())


def _outer(shape: LayerShape, outer: int) -> LayerShape:
    """The same shape with other channels outside."""
    return replace(shape, outer=outer)


def _pointwise(channels: int, outputs: int) -> nn.Conv1d:
    return nn.Conv1d(channels, outputs, 1)


def _layer(module: nn.Module) -> EncoderLayer | DecoderLayer:
    if not isinstance(module, EncoderLayer | DecoderLayer):
        raise TypeError(f"no layer: {type(module).__name__}")
    return module


def rescale(network: nn.Module) -> None:
    """Bring the deviations of convolutions' weights halfway, in decibels, to one value (Défossez et al. 2019)."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d):
            factor = (module.weight.detach().std() / _WEIGHT_DEVIATION).sqrt()
            module.weight.data /= factor
            if module.bias is not None:
                module.bias.data /= factor
