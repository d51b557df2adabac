"""Demucs in the time domain: strided convolutions down, perhaps an LSTM, transposed convolutions up, with skips.

A level down: convolution, norm, GELU or ReLU, residual branch, gated convolution. A level up is its mirror and begins
with the sum of what comes from below and of what the same level gave on the way down. Parameters are named as in the
published weights of the third version; those of the second differ by the number of two convolutions
(`mss_models.networks.demucs.published_time`).

Défossez, Usunier, Bottou and Bach, "Music source separation in the waveform domain", 2019; Défossez, "Hybrid
spectrogram and waveform source separation", 2021. The decoders for each stem are those of Goel, Huang, Owoputi and
Poudyal, "Music source separation using deep learning", 2021, section 5.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_models.networks.demucs.branch_layers import DecoderLayer, EncoderLayer, LayerShape
from mss_models.networks.demucs.doubling import double_rate, halve_rate
from mss_models.networks.demucs.hybrid import rescale
from mss_models.networks.demucs.residual_branch import RecurrentContext, ResidualBranch, make_branch
from mss_models.networks.demucs.time_settings import TimeSettings

# Added to deviations, so that silence is divided by something.
_FLOOR = 1e-5


class TimeEncoder(nn.Sequential):
    """One level down, (batch, outer, step) to (batch, inner, step).

    Parameters
    ----------
    shape : LayerShape
        Sizes.
    residual : ResidualBranch or None
        Between the strided and the gated convolution.
    """

    def __init__(self, shape: LayerShape, residual: ResidualBranch | None) -> None:
        super().__init__(
            nn.Conv1d(shape.outer, shape.inner, shape.kernel, shape.stride),
            shape.norm(shape.inner),
            _activation(shape),
            *([] if residual is None else [residual]),
            shape.gate(0),
            shape.norm(2 * shape.inner),
            nn.GLU(dim=1),
        )
        self.shape = shape

    def as_layer(self) -> EncoderLayer:
        """Give the same modules as the layer that a lean one is made of."""
        conv, norm1, _, *residual, rewrite, norm2, _ = self.children()
        with torch.device("meta"):
            layer = EncoderLayer(self.shape, _branch(residual))
        layer.conv, layer.norm1, layer.rewrite, layer.norm2 = conv, norm1, rewrite, norm2
        return layer


class TimeDecoder(nn.Sequential):
    """One level up, (batch, inner, step) to (batch, outer, step).

    Parameters
    ----------
    shape : LayerShape
        Sizes.
    residual : ResidualBranch or None
        After the gated convolution.
    last : bool
        The outermost level: neither norm nor activation at its end.
    """

    def __init__(self, shape: LayerShape, residual: ResidualBranch | None, *, last: bool) -> None:
        super().__init__(
            shape.gate(shape.context),
            shape.norm(2 * shape.inner),
            nn.GLU(dim=1),
            *([] if residual is None else [residual]),
            nn.ConvTranspose1d(shape.inner, shape.outer, shape.kernel, shape.stride),
            *([] if last else [shape.norm(shape.outer), _activation(shape)]),
        )
        self.shape, self.last = shape, last

    def as_layer(self) -> DecoderLayer:
        """Give the same modules as the layer that a lean one is made of."""
        rewrite, norm1, _, *rest = self.children()
        residual, conv_tr = ([], rest[0]) if isinstance(rest[0], nn.ConvTranspose1d) else (rest[:1], rest[1])
        shape = replace(self.shape, groups=0) if self.last else self.shape
        with torch.device("meta"):
            layer = DecoderLayer(shape, _branch(residual), last=self.last)
        layer.rewrite, layer.norm1, layer.conv_tr = rewrite, norm1, conv_tr
        layer.norm2 = nn.Identity() if self.last else rest[-2]
        return layer


class TimeDemucs(nn.Module):
    """The network, from mixture to stems.

    Parameters
    ----------
    settings : TimeSettings
        Sizes.
    """

    def __init__(self, settings: TimeSettings) -> None:
        nn.Module.__init__(self)  # a separator, which is a network too, has its own
        self.build(settings)

    def build(self, settings: TimeSettings) -> None:
        """Make the layers, with random weights."""
        self.settings = settings
        levels = range(settings.depth)
        self.encoder = nn.ModuleList(
            TimeEncoder(self._shape(level, self._outer(level)), self._branch(level, decoder=False)) for level in levels
        )
        if settings.decoders == "shared":
            self.decoder = self._decoder(len(settings.stems))
        else:
            self.decoders = nn.ModuleDict({stem: self._decoder(1) for stem in settings.stems})
        self.lstm: RecurrentContext | None = None
        if settings.lstm_layers:
            self.lstm = RecurrentContext(
                settings.width_of(settings.depth - 1),
                layers=settings.lstm_layers,
                max_steps=None,
                skip=False,
                bidirectional=settings.lstm_bidirectional,
            )
        rescale(self)

    def _decoder(self, stems: int) -> nn.ModuleList:
        """Make the levels up, the innermost first."""
        made = nn.ModuleList()
        for level in reversed(range(self.settings.depth)):
            outer = self._outer(level) * (1 if level else stems)
            made.append(TimeDecoder(self._shape(level, outer), self._branch(level, decoder=True), last=level == 0))
        return made

    def _outer(self, level: int) -> int:
        return self.settings.width_of(level - 1) if level else self.settings.channels

    def _shape(self, level: int, outer: int) -> LayerShape:
        settings = self.settings
        return LayerShape(
            outer=outer,
            inner=settings.width_of(level),
            kernel=settings.kernel_size,
            stride=settings.stride,
            padding=0,
            frequency=False,
            groups=settings.norm_groups if level >= settings.norm_from else 0,
            context=settings.context,
            context_padding=settings.context_padding,
            rectified=settings.activation == "relu",
        )

    def _branch(self, level: int, *, decoder: bool) -> ResidualBranch | None:
        return make_branch(self.settings.residual, self.settings.width_of(level), level=level, decoder=decoder)

    def groups(self) -> list[tuple[tuple[str, ...], list[TimeDecoder]]]:
        """Give the decoders, each with the stems it estimates; their levels from the innermost."""
        settings = self.settings
        if settings.decoders == "shared":
            return [(settings.stems, _levels(self.decoder))]
        return [((stem,), _levels(self.decoders[stem])) for stem in settings.stems]

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the stems differentiably.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, channel, sample)
            At least 1 sample.

        Returns
        -------
        float32 Tensor of shape (batch, stem, channel, sample)
            Estimates.
        """
        line, mean, deviation = entered(mixture, self.settings)
        skips: list[Tensor] = []
        for encode in self.encoder:
            line = encode(line)
            skips.append(line)
        if self.lstm is not None:
            line = self.lstm(line)
        estimates: list[Tensor] = []
        for stems, levels in self.groups():
            signal = line
            for skip, decode in zip(reversed(skips), levels, strict=True):
                signal = decode(signal + middle(skip, signal.shape[-1]))
            if self.settings.resample:
                signal = halve_rate(signal)
            signal = middle(signal, mixture.shape[-1]) * deviation + mean
            estimates.append(torch.unflatten(signal, 1, (len(stems), -1)))
        return torch.cat(estimates, dim=1)


def entered(mixture: Tensor, settings: TimeSettings) -> tuple[Tensor, Tensor, Tensor]:
    """Bring (batch, channel, sample) to what the encoder takes; give mean and deviation, to be undone, too.

    These are of the mean over channels, (batch, 1, 1); 0 and 1 where the network does not normalise.
    """
    samples = mixture.shape[-1]
    line, mean, deviation = mixture, mixture.new_zeros(()), mixture.new_ones(())
    if settings.normalize:
        mono = mixture.mean(dim=1, keepdim=True)
        # One sample has no deviation.
        deviation, mean = torch.std_mean(mono, dim=-1, keepdim=True, correction=min(1, samples - 1))
        line = (mixture - mean) / (deviation + _FLOOR)
    missing = settings.padded_samples(samples) - samples
    line = functional.pad(line, (missing // 2, missing - missing // 2))
    return (double_rate(line) if settings.resample else line), mean, deviation


def middle(signal: Tensor, steps: int, axis: int = -1) -> Tensor:
    """View so many steps in the middle; where the rest is odd, the odd one is left out at the end."""
    return signal.narrow(axis, (signal.shape[axis] - steps) // 2, steps)


def _activation(shape: LayerShape) -> nn.Module:
    return nn.ReLU() if shape.rectified else nn.GELU()


def _branch(modules: list[nn.Module]) -> ResidualBranch | None:
    branch = modules[0] if modules else None
    return branch if isinstance(branch, ResidualBranch) else None


def _levels(modules: nn.Module) -> list[TimeDecoder]:
    return [module for module in modules.children() if isinstance(module, TimeDecoder)]
