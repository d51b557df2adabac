"""Vocals and their pitch by one network: ten ways to wire U-Nets together.

All wirings see the magnitude spectrogram of a mono mixture and are made of the U-Nets of
`mss_models.networks.unet`. A source network gives a real mask (sigmoid), which is always applied to the
mixture's magnitude. A pitch network gives a salience (sigmoid): rows are pitches, the lowest 360 of the U-Net's
512 are the grid of `mss_models.salience`, those above mean nothing and are zero wherever a salience is an input.

A. Jansson, "Musical source separation with deep learning and large-scale datasets", City, University of London,
2019, chapter 5; Jansson, Bittner, Ewert and Weyde, "Joint singing voice separation and F0 estimation with deep
U-Net architectures", EUSIPCO 2019. What they leave open and how it is read here:

- Magnitudes are those of the STFT times the front end's gain, for inputs, estimates and losses alike. Shipped is
  "window-energy" on a waveform of peak 1: then both terms of (5.4) have about one size. With "window-sum", which
  would bring magnitudes into [0, 1], (5.2) is 26 times less and (5.3) drowns it: learning 6 s of a song by heart
  for 30 s, "source-to-pitch" came to 7 dB instead of 14 dB.
- The norms of (5.2) and (5.3) are means over elements: of absolute values, of squares.
- "source-pitch-source-pitch": the second source network sees the first estimates of vocals and salience and not
  the mixture (the text; the figure differs). All four estimates are in the loss, each against the same two
  references: the thesis names the inner two estimates of vocals and salience, and only a loss makes them so.
- "separately-trained": two phases, see `VocalPitchUnet.begin`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mss_models.errors import ShapeError
from mss_models.networks.front_end import FrontEnd
from mss_models.networks.network_separator import Signature
from mss_models.networks.unet import Decoder, Encoder, Unet, UnetSettings, padded_maps
from mss_models.salience import BINS as SALIENCE_BINS
from mss_models.stft import stft

Wiring = Literal[
    "pitch-only",
    "source-only",
    "oracle-vocals",
    "oracle-pitch",
    "shared-encoder",
    "cross-stitch",
    "source-to-pitch",
    "pitch-to-source",
    "source-pitch-source-pitch",
    "separately-trained",
]
Phase = Literal["all", "source", "pitch"]

# Input channels of the U-Nets of each wiring; those with two decoders are built apart.
_NETWORKS: Mapping[Wiring, Mapping[str, int]] = {
    "pitch-only": {"pitch": 1},
    "source-only": {"source": 1},
    "oracle-vocals": {"pitch": 1},
    "oracle-pitch": {"source": 2},
    "shared-encoder": {},
    "cross-stitch": {},
    "source-to-pitch": {"source": 1, "pitch": 1},
    "pitch-to-source": {"pitch": 1, "source": 2},
    "source-pitch-source-pitch": {"source": 1, "pitch": 1, "source-2": 2, "pitch-2": 1},
    "separately-trained": {"source": 1, "pitch": 1},
}
_TWO_TASKS: Mapping[Wiring, int] = {"shared-encoder": 1, "cross-stitch": 2}  # encoders
_NO_VOCALS: tuple[Wiring, ...] = ("pitch-only", "oracle-vocals")
_NO_PITCH: tuple[Wiring, ...] = ("source-only", "oracle-pitch")
_ORACLES: Mapping[Wiring, str] = {"oracle-vocals": "vocals", "oracle-pitch": "salience"}


class WiringError(ValueError):
    """Tell what a wiring lacks: an oracle it needs, or an output it does not have."""


@dataclass(frozen=True, slots=True)
class VocalPitchSettings:
    """A wiring with its front end and the size of its U-Nets.

    Parameters
    ----------
    wiring : Wiring
        One of the ten.
    front_end : FrontEnd
        One channel, at least 360 bins, and a hop that divides half the window, so that frames are centred on
        multiples of the hop. The thesis: 22050 Hz, 1024 / 256, 512 bins.
    segment_frames : int
        Frames of the segment it works best with; a multiple of ``2 ** levels`` wastes nothing.
    levels, base_channels, dropout_layers
        See `UnetSettings`.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    wiring: Wiring
    front_end: FrontEnd
    segment_frames: int
    levels: int = 6
    base_channels: int = 16
    dropout_layers: int = 3

    def __post_init__(self) -> None:
        grid = self.front_end.stft
        if self.wiring not in _NETWORKS:
            raise ValueError(f"wiring must be one of {', '.join(_NETWORKS)}, got `{self.wiring}`")
        if self.front_end.channels != 1:
            raise ValueError(f"channels must be 1, got {self.front_end.channels}")
        if self.front_end.bins < SALIENCE_BINS:
            raise ValueError(f"bins must be at least {SALIENCE_BINS}, the pitches of the salience")
        if grid.n_fft // 2 % grid.hop_length:
            raise ValueError(f"hop_length must divide {grid.n_fft // 2}, got {grid.hop_length}")
        self.signature, self.unet(1)

    @property
    def signature(self) -> Signature:
        """What the separator takes and gives: the vocals, whatever the wiring has."""
        return self.front_end.signature(("vocals",), segment_frames=self.segment_frames)

    @property
    def gives_vocals(self) -> bool:
        """The wiring estimates vocals."""
        return self.wiring not in _NO_VOCALS

    @property
    def gives_pitch(self) -> bool:
        """The wiring estimates a salience."""
        return self.wiring not in _NO_PITCH

    @property
    def oracle(self) -> str | None:
        """What the wiring must be told beside the mixture: "vocals", "salience" or nothing."""
        return _ORACLES.get(self.wiring)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Phases of a training, in order; see `VocalPitchUnet.begin`."""
        return ("source", "pitch") if self.wiring == "separately-trained" else ("all",)

    def unet(self, in_channels: int) -> UnetSettings:
        """Settings of a U-Net with one output."""
        return UnetSettings(
            in_channels=in_channels,
            levels=self.levels,
            base_channels=self.base_channels,
            dropout_layers=self.dropout_layers,
        )


@dataclass(frozen=True, slots=True)
class VocalPitchEstimate:
    """What a wiring estimates; None for what it does not.

    Attributes
    ----------
    mask : Tensor of shape (batch, 1, bin, frame) or None
        In [0, 1]; 0 above the bins that the network sees.
    magnitude : Tensor of shape (batch, 1, bin, frame) or None
        Of the vocals: mask times the mixture's magnitude (5.1).
    salience : Tensor of shape (batch, 360, frame) or None
        Of the vocal pitch, in [0, 1].
    inner_magnitude, inner_salience : Tensors of the same shapes or None
        The first estimates of "source-pitch-source-pitch".
    """

    mask: Tensor | None = None
    magnitude: Tensor | None = None
    salience: Tensor | None = None
    inner_magnitude: Tensor | None = None
    inner_salience: Tensor | None = None


class TwoTaskUnet(nn.Module):
    """Two decoders behind one encoder ("shared-encoder") or behind two ("cross-stitch").

    With two encoders their bottlenecks are concatenated and go to both decoders; skips stay within each task.

    Parameters
    ----------
    settings : UnetSettings
        Of the U-Net that is doubled.
    encoders : {1, 2}
        How many.
    """

    def __init__(self, settings: UnetSettings, *, encoders: int) -> None:
        super().__init__()
        self.settings = settings
        self.encoders = nn.ModuleList(Encoder(settings) for _ in range(encoders))
        self.decoders = nn.ModuleList(Decoder(settings, bottlenecks=encoders) for _ in range(2))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the outputs of both tasks.

        Parameters
        ----------
        features : float Tensor of shape (batch, in_channels, bin, frame)
            Any number of bins and frames.

        Returns
        -------
        float Tensor of shape (batch, 2 * out_channels, bin, frame)
            Outputs without activation, source before pitch.
        """
        bins, frames = features.shape[-2:]
        maps = padded_maps(features, self.settings)
        kept: list[list[Tensor]] = [encoder(maps) for encoder in self.encoders]
        bottleneck = torch.cat([outputs.pop() for outputs in kept], dim=1)
        skips = kept if len(kept) == 2 else [list(kept[0]), kept[0]]  # a decoder empties its list
        outputs = [decoder(bottleneck, own) for decoder, own in zip(self.decoders, skips, strict=True)]
        return torch.cat(outputs, dim=1)[..., :frames, :bins].transpose(-1, -2)


class VocalPitchUnet(nn.Module):
    """The U-Nets of a wiring and what flows between them.

    Parameters
    ----------
    settings : VocalPitchSettings
        Wiring, front end and sizes.
    """

    def __init__(self, settings: VocalPitchSettings) -> None:
        super().__init__()
        self.settings = settings
        self.phase: Phase = "all"
        networks: dict[str, nn.Module] = {
            name: Unet(settings.unet(channels)) for name, channels in _NETWORKS[settings.wiring].items()
        }
        if settings.wiring in _TWO_TASKS:
            networks["both"] = TwoTaskUnet(settings.unet(1), encoders=_TWO_TASKS[settings.wiring])
        self.networks = nn.ModuleDict(networks)

    def begin(self, phase: Phase) -> None:
        """Begin a phase of training; `VocalPitchSettings.phases` says which there are.

        - "all": everything learns. The state of a new network, and the only phase of nine wirings.
        - "source": the source network of "separately-trained" learns; in training mode the pitch network is not
          run, and no salience estimated.
        - "pitch": its source network is frozen (no gradients, evaluation mode: no dropout, fixed norms) and the
          pitch network learns from its estimates.

        Raises
        ------
        WiringError
            If the wiring has no such phase.
        """
        if phase != "all" and phase not in self.settings.phases:
            raise WiringError(f"wiring `{self.settings.wiring}` has no phase `{phase}`")
        self.phase = phase
        for name, network in self.networks.items():
            network.requires_grad_(phase in ("all", name))
        self.train(self.training)

    def trainable(self, phase: Phase) -> list[nn.Parameter]:
        """The parameters that learn in a phase."""
        chosen = (network for name, network in self.networks.items() if phase in ("all", name))
        return [parameter for network in chosen for parameter in network.parameters()]

    def train(self, mode: bool = True) -> "VocalPitchUnet":
        """Set the mode of all networks but the frozen one, which stays in evaluation mode."""
        super().train(mode)
        if self.phase == "pitch":
            self.networks["source"].eval()
        return self

    def magnitude(self, signal: Tensor) -> Tensor:
        """Give the magnitudes that `forward` takes and estimates.

        Parameters
        ----------
        signal : float32 Tensor of shape (batch, 1, sample)
            Mixture or vocals; both with one scale, the mixture's peak at about 1.

        Returns
        -------
        float32 Tensor of shape (batch, 1, bin, frame)
            All bins of the transform, times the front end's gain.
        """
        return stft(signal, self.settings.front_end.stft).abs() * self.settings.front_end.gain

    def frame_times(self, frames: int) -> Tensor:
        """Centres of the transform's frames: where the pitches of a salience for training are taken.

        Parameters
        ----------
        frames : int
            From the first frame on.

        Returns
        -------
        float64 Tensor of shape (frame,), seconds
            The first lies before the signal: with 1024 / 256 a hop before its first sample.
        """
        grid = self.settings.front_end.stft
        first = grid.n_fft // 2 - (grid.overlap_frames - 1) * grid.hop_length  # samples
        centres = torch.arange(frames, dtype=torch.float64) * grid.hop_length + first
        return centres / self.settings.front_end.sample_rate

    def forward(
        self, mixture_magnitude: Tensor, *, vocals_magnitude: Tensor | None = None, salience: Tensor | None = None
    ) -> VocalPitchEstimate:
        """Estimate vocals and pitch, differentiably.

        Parameters
        ----------
        mixture_magnitude : float32 Tensor of shape (batch, 1, bin, frame)
            As from `magnitude`; all bins of the transform.
        vocals_magnitude : Tensor of the same shape or None
            The true vocals; used by "oracle-vocals" alone.
        salience : float Tensor of shape (batch, 360, frame) or None
            The true salience; used by "oracle-pitch" alone.

        Returns
        -------
        VocalPitchEstimate
            In float32.

        Raises
        ------
        ShapeError, WiringError
            If axes do not fit; if the oracle is missing.
        """
        _check("mixture_magnitude", mixture_magnitude, (1, self.settings.front_end.stft.bins), None)
        mixture = mixture_magnitude
        match self.settings.wiring:
            case "pitch-only":
                return VocalPitchEstimate(salience=self._pitch("pitch", mixture))
            case "oracle-vocals":
                vocals = self._given("vocals", vocals_magnitude)
                _check("vocals_magnitude", vocals, tuple(mixture.shape[1:3]), mixture)
                return VocalPitchEstimate(salience=self._pitch("pitch", vocals))
            case "source-only":
                mask = self._mask("source", mixture)
                return VocalPitchEstimate(mask, mask * mixture)
            case "oracle-pitch":
                pitch = self._given("salience", salience)
                _check("salience", pitch, (SALIENCE_BINS,), mixture)
                mask = self._mask("source", mixture, pitch)
                return VocalPitchEstimate(mask, mask * mixture)
            case "shared-encoder" | "cross-stitch":
                outputs = self._run("both", mixture)  # (batch, 2, bin, frame)
                mask = self._as_mask(outputs[:, :1])
                return VocalPitchEstimate(mask, mask * mixture, _as_salience(outputs[:, 1:]))
            case "source-to-pitch" | "separately-trained":
                return self._source_to_pitch(mixture)
            case "pitch-to-source":
                pitch = self._pitch("pitch", mixture)
                mask = self._mask("source", mixture, pitch)
                return VocalPitchEstimate(mask, mask * mixture, pitch)
            case "source-pitch-source-pitch":
                inner_vocals = self._mask("source", mixture) * mixture
                inner_pitch = self._pitch("pitch", inner_vocals)
                mask = self._mask("source-2", inner_vocals, inner_pitch)
                vocals = mask * mixture
                return VocalPitchEstimate(mask, vocals, self._pitch("pitch-2", vocals), inner_vocals, inner_pitch)

    def _source_to_pitch(self, mixture: Tensor) -> VocalPitchEstimate:
        """Trained together, or with no gradient from pitch to source."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.phase != "pitch"):
            mask = self._mask("source", mixture)
            vocals = mask * mixture
        if self.phase == "source" and self.training:
            return VocalPitchEstimate(mask, vocals)
        heard = vocals.detach() if self.settings.wiring == "separately-trained" else vocals
        return VocalPitchEstimate(mask, vocals, self._pitch("pitch", heard))

    def _given(self, name: str, oracle: Tensor | None) -> Tensor:
        if oracle is None:
            raise WiringError(f"wiring `{self.settings.wiring}` needs the true {name}")
        return oracle

    def _mask(self, name: str, magnitude: Tensor, salience: Tensor | None = None) -> Tensor:
        """Run a source network: (batch, 1, bin, frame)."""
        return self._as_mask(self._run(name, magnitude, salience))

    def _pitch(self, name: str, magnitude: Tensor) -> Tensor:
        """Run a pitch network: (batch, 360, frame)."""
        return _as_salience(self._run(name, magnitude))

    def _run(self, name: str, magnitude: Tensor, salience: Tensor | None = None) -> Tensor:
        """Outputs of a network, without activation: (batch, output, seen bin, frame)."""
        seen = self.settings.front_end.bins
        features = magnitude[:, :, :seen]  # (batch, 1, bin, frame)
        if salience is not None:
            rows = nn.functional.pad(salience, (0, 0, 0, seen - SALIENCE_BINS)).unsqueeze(1)
            features = torch.cat([features, rows], dim=1)  # (batch, 2, bin, frame)
        network = self.networks[name]
        outputs: Tensor = network(features.to(next(network.parameters()).dtype))
        return outputs.float()

    def _as_mask(self, outputs: Tensor) -> Tensor:
        """Sigmoid (4.5), and 0 in the bins that the network does not see."""
        missing = self.settings.front_end.stft.bins - outputs.shape[2]
        return nn.functional.pad(outputs.sigmoid(), (0, 0, 0, missing))


def _as_salience(outputs: Tensor) -> Tensor:
    """Sigmoid of the lowest rows: (batch, 1, bin, frame) to (batch, 360, frame)."""
    return outputs[:, 0, :SALIENCE_BINS].sigmoid()


def _check(name: str, maps: Tensor, middle: tuple[int, ...], like: Tensor | None) -> None:
    """Refuse maps whose axes are not batch, the given ones, frame; batch and frame as those of `like`."""
    fits = maps.ndim == len(middle) + 2 and tuple(maps.shape[1:-1]) == middle
    if fits and like is not None:
        fits = (maps.shape[0], maps.shape[-1]) == (like.shape[0], like.shape[-1])
    if not fits:
        sizes = ", ".join(str(size) for size in middle)
        raise ShapeError(name, f"(batch, {sizes}, frame), batch and frame as the mixture's", maps.shape)
