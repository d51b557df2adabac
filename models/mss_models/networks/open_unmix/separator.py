"""Makes `OpenUnmix` networks a `Separator`: transform, factors of the magnitudes, multichannel Wiener filter, inverse.

Filter. The factors times the mixture are where the filter starts (`mss_models.spatial_filter`); it works on windows of
``wiener_frames`` frames from the start of the mixture, each with its own scale, as the package openunmix does.

Whole tracks. The LSTM has seen every frame when it decides on one, so `separate` on a segment is not what it would be
within the whole track. Exactly that, in memory that does not grow with the track, is `begin_track`, made by
`mss_models.networks.open_unmix.track`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from mss_models.centered_stft import CenteredSynthesis, centered_istft, centered_stft
from mss_models.networks.front_end import check_mixture
from mss_models.networks.network_separator import SeparatorModule, Signature, dtype_of
from mss_models.networks.open_unmix.folded import FoldedNetworks
from mss_models.networks.open_unmix.network import Crossing, OpenUnmix, OpenUnmixShape, bin_statistics, crossed_factors
from mss_models.networks.open_unmix.track import begin_whole_track
from mss_models.separator import Precision
from mss_models.spatial_filter import spatial_filter
from mss_models.stft import StftSettings
from mss_models.tracks import TrackInput, TrackStream

# Regularisation of openunmix; norbert's is the machine's.
_EPS = 1e-10
# Frames decoded at once where no window of the filter says how many.
_DECODED_FRAMES = 300


@dataclass(frozen=True, slots=True)
class OpenUnmixSettings:
    """Networks of the stems, with what stands around them.

    Parameters
    ----------
    network_stems : tuple of str
        Stems that have a network, at least one, no two alike.
    sample_rate : int, Hz, > 0
        Rate of the mixture.
    channels : {1, 2}
        Channels of the mixture.
    stft : StftSettings
        Transform, centred (`mss_models.centered_stft`); the hop is at most half of the window.
    heard_bins : int, in [1, stft.bins]
        Lowest bins the networks see; they estimate all.
    hidden_size, layers, bidirectional
        See `OpenUnmixShape`.
    crossing : {"none", "average", "concatenate"}
        What the networks know of each other: see `mss_models.networks.open_unmix.network.crossed_factors`.
    residual : str or None
        Name of one stem more: what the others leave of the mixture. The filter refines it with them.
    wiener_iterations : int, >= 0
        Steps of the filter; 0 keeps the mixture's phase and the networks' magnitudes.
    wiener_softmask : bool
        Start the filter from shares of the mixture instead of the networks' magnitudes.
    wiener_frames : int, >= 0
        Frames of a window of the filter; 0 takes all at once.
    segment_frames : int, > 0
        Frames of the segment it works best with.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    network_stems: tuple[str, ...]
    sample_rate: int
    channels: int
    stft: StftSettings
    heard_bins: int
    hidden_size: int = 512
    layers: int = 3
    bidirectional: bool = True
    crossing: Crossing = "none"
    residual: str | None = None
    wiener_iterations: int = 1
    wiener_softmask: bool = False
    wiener_frames: int = 300
    segment_frames: int = 1200

    def __post_init__(self) -> None:
        if self.sample_rate < 1:
            raise ValueError(f"sample_rate must be positive, got {self.sample_rate}")
        if self.channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, got {self.channels}")
        if self.stft.hop_length > self.stft.n_fft // 2:
            raise ValueError(f"hop_length must be in [1, {self.stft.n_fft // 2}], got {self.stft.hop_length}")
        if self.crossing not in get_args(Crossing):
            raise ValueError(f"crossing must be one of {', '.join(get_args(Crossing))}; got `{self.crossing}`")
        if min(self.wiener_iterations, self.wiener_frames) < 0 or self.segment_frames < 1:
            raise ValueError("wiener_iterations and wiener_frames must be at least 0 and segment_frames at least 1")
        if any("." in stem or hasattr(nn.ModuleDict, stem) for stem in self.network_stems):
            raise ValueError(
                f"stems must have names without dots that Python does not use, got {list(self.network_stems)}"
            )
        self.signature, self.network  # noqa: B018 - their own checks
        if self.wiener_iterations and len(self.stems) < 2:
            raise ValueError("wiener_iterations must be 0 for one stem: name a residual or a second stem")

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the estimates: those with a network, and the residual last."""
        return self.network_stems if self.residual is None else (*self.network_stems, self.residual)

    @property
    def signature(self) -> Signature:
        """What the separator takes and gives."""
        return Signature(
            stems=self.stems if self.network_stems else (),
            sample_rate=self.sample_rate,
            channels=self.channels,
            segment_samples=self.segment_frames * self.stft.hop_length,
            transform=self.stft,
        )

    @property
    def stored_numbers_per_second(self) -> float:
        """Numbers that are put away for each second of a track that is heard as a whole; 0 in one direction."""
        if not self.bidirectional:
            return 0.0
        stems = len(self.network_stems)
        signals = 1 if self.crossing == "average" else stems
        numbers = self.hidden_size * (signals + stems) + self.hidden_size // 2 * stems  # in each frame
        return numbers * self.sample_rate / self.stft.hop_length

    @property
    def network(self) -> OpenUnmixShape:
        """Sizes of each network."""
        return OpenUnmixShape(
            channels=self.channels,
            bins=self.stft.bins,
            heard_bins=self.heard_bins,
            hidden_size=self.hidden_size,
            layers=self.layers,
            bidirectional=self.bidirectional,
            skips=len(self.network_stems) if self.crossing == "concatenate" else 1,
        )


class OpenUnmixSeparator(SeparatorModule):
    """A network for each stem, and the filter behind them.

    `forward` is the differentiable way for training, without the filter; `separate` runs folded networks.

    Parameters
    ----------
    settings : OpenUnmixSettings
        Networks, transform and filter. ``networks.STEM`` in the state dict is the network of a stem.
    """

    def __init__(self, settings: OpenUnmixSettings) -> None:
        super().__init__(settings.signature)
        self.settings = settings
        self.networks = nn.ModuleDict({stem: OpenUnmix(settings.network) for stem in settings.network_stems})
        self._prepared: FoldedNetworks | None = None

    @property
    def members(self) -> tuple[OpenUnmix, ...]:
        """The networks in the order of their stems."""
        return tuple(network for network in self.networks.values() if isinstance(network, OpenUnmix))

    @property
    def network_stems(self) -> tuple[str, ...]:
        """The stems that have a network: the targets of training."""
        return self.settings.network_stems

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Fold the networks for `separate`; transforms, factors and filter stay in float32 or better.

        Parameters
        ----------
        device : torch.device
            Where mixtures will be.
        precision : {"fp32", "bf16", "fp16"}
            Of the networks.

        Raises
        ------
        ValueError
            If the precision is not one of these.
        """
        dtype = dtype_of(precision, self.precisions)
        self.forget_prepared()  # frees the old copy first
        self._prepared = FoldedNetworks(self.members, self.settings.crossing, device=device, dtype=dtype)

    def forget_prepared(self) -> None:
        """Drop the folded networks, because weights change."""
        self._prepared = None

    @property
    def folded(self) -> FoldedNetworks:
        """The networks as `separate` runs them; RuntimeError before `prepare`."""
        if self._prepared is None:
            raise RuntimeError("call `prepare` before `separate`, and again after loading weights")
        return self._prepared

    def begin_track(self, track: TrackInput) -> TrackStream:
        """Hear the whole track; see `mss_models.tracks.TrackSeparator`."""
        return begin_whole_track(self, track)

    def store_bytes_per_second(self) -> float:
        """Tell how much the stores take for one second of a track."""
        return self.settings.stored_numbers_per_second * self.folded.dtype.itemsize

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the stems differentiably: the networks' magnitudes with the mixture's phase.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, channel, sample)
            At least 1 sample.

        Returns
        -------
        float32 Tensor of shape (batch, stem, channel, sample)
            Estimates, the residual last if there is one.
        """
        check_mixture(mixture, self.channels)
        spectrum = centered_stft(mixture, self.transform)  # (batch, channel, frame, bin)
        factors = crossed_factors(self.members, spectrum.abs(), self.settings.crossing)
        estimates = centered_istft(factors * spectrum.unsqueeze(1), self.transform, mixture.shape[-1])
        if self.settings.residual is None:
            return estimates
        left = mixture.unsqueeze(1) - estimates.sum(dim=1, keepdim=True)
        return torch.cat([estimates, left], dim=1)

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        folded = self.folded
        # Made outside, so that the caller may change it in place: inference tensors forbid that.
        estimates = mixture.new_empty(mixture.shape[0], len(self.stems), *mixture.shape[1:])
        with torch.inference_mode():
            spectrum = centered_stft(mixture, self.transform)  # (batch, channel, frame, bin)
            signals = folded.encode(spectrum[..., : self.settings.heard_bins].abs())
            recurred = folded.recur(signals)
            length = self.window_frames or spectrum.shape[2]
            for item in range(mixture.shape[0]):
                synthesis, done = CenteredSynthesis(self.transform), 0
                for first in range(0, spectrum.shape[2], length):
                    window = slice(first, first + length)
                    refined = self.estimate(spectrum[item, :, window], signals[window, item], recurred[window, item])
                    part = synthesis.push(refined)
                    estimates[item, ..., done : done + part.shape[-1]] = part
                    done += part.shape[-1]
                estimates[item, ..., done:] = synthesis.finish(mixture.shape[-1])
        return estimates

    @property
    def window_frames(self) -> int:
        """Frames that are decoded and filtered at once; 0 for all."""
        settings = self.settings
        return settings.wiener_frames or (0 if settings.wiener_iterations else _DECODED_FRAMES)

    def estimate(self, spectrum: Tensor, signals: Tensor, recurred: Tensor) -> Tensor:
        """Estimate the spectrograms of the stems in one window.

        Parameters
        ----------
        spectrum : complex64 Tensor of shape (channel, frame, bin)
            Of the mixture.
        signals, recurred : Tensor of shape (frame, signal, hidden)
            Of `FoldedNetworks.encode` and `recur`.

        Returns
        -------
        complex64 Tensor of shape (stem, channel, frame, bin)
        """
        settings = self.settings
        factors = self.folded.decode(signals, recurred).float()  # (stem, channel, frame, bin)
        if settings.wiener_softmask:
            magnitudes = factors * spectrum.abs()
            factors = magnitudes / (magnitudes.sum(dim=0) + _EPS)
        if settings.residual is not None:
            factors = torch.cat([factors, 1 - factors.sum(dim=0, keepdim=True)])
        return spatial_filter(spectrum, factors, iterations=settings.wiener_iterations, eps=_EPS)

    def standardize(self, mixtures: Iterable[Tensor]) -> None:
        """Set the networks' first standardisation from mixtures like those they will learn from.

        Parameters
        ----------
        mixtures : iterable of float32 Tensor of shape (..., channel, sample)
            Many; their channels count together, as the mean of their magnitudes.
        """
        with torch.no_grad():
            mean, deviation = bin_statistics(
                centered_stft(mixture, self.transform).abs().mean(dim=-3) for mixture in mixtures
            )
        for network in self.members:
            network.standardize(mean, deviation)
        self.forget_prepared()
