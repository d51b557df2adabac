"""Makes an `Scnet` a `Separator`: its transform, and segments as long as its publishers train with."""

import torch
from torch import Tensor
from torch.nn import functional

from mss_models.networks.front_end import check_mixture
from mss_models.networks.network_separator import NetworkSeparator, Signature, sounding_items
from mss_models.networks.scnet.network import Scnet
from mss_models.networks.scnet.settings import ScnetSettings
from mss_models.separator import Precision
from mss_models.stft import StftSettings


class ScnetSeparator(NetworkSeparator[Scnet]):
    """The network with its transform.

    Silence gives silence. Items of a batch go through the network one after the other on a CPU, where several at once
    are no faster and need more memory.

    Parameters
    ----------
    settings : ScnetSettings
    """

    precisions: tuple[Precision, ...] = ("fp32", "bf16")

    def __init__(self, settings: ScnetSettings) -> None:
        signature = Signature(
            stems=settings.stems,
            sample_rate=settings.sample_rate,
            channels=settings.channels,
            segment_samples=settings.segment_samples,
            transform=StftSettings(n_fft=settings.n_fft, hop_length=settings.hop_length),
            normalization=settings.normalization,
        )
        super().__init__(Scnet(settings), signature)
        self.settings = settings

    @property
    def fills_segments(self) -> bool:
        """The last segment of a track is filled up: the network sees whole segments only, as in training."""
        return True

    def inference_copy(self) -> Scnet:
        """Copy the network in evaluation mode, without gradients, its doubled convolutions halved."""
        network = super().inference_copy()
        network.fold()
        return network

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the stems, differentiably; (batch, channel, sample) to (batch, stem, channel, sample)."""
        check_mixture(mixture, self.channels)
        return self._estimate(self.network, torch.float32, mixture)

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        estimates = mixture.new_zeros(mixture.shape[0], len(self.stems), *mixture.shape[1:])
        with torch.inference_mode():
            for some in sounding_items(mixture):
                estimates[some] = self._estimate(self.prepared_network, self.prepared_dtype, mixture[some])
        return estimates

    def _estimate(self, network: Scnet, dtype: torch.dtype, mixture: Tensor) -> Tensor:
        settings, samples = self.settings, mixture.shape[-1]
        length = settings.padded_samples(samples)
        padded = functional.pad(mixture, (0, length - samples)).flatten(0, 1)  # (batch and channel, sample)
        size = settings.n_fft
        # The plain network was trained behind a rectangular window, which the transform of all others is not.
        make = torch.hann_window if settings.masked else torch.ones
        window = make(size, device=mixture.device, dtype=mixture.dtype)
        frames = torch.stft(
            padded, size, settings.hop_length, window=window, normalized=settings.unitary, return_complex=True
        )  # (batch and channel, bin, frame)
        spectrum = torch.unflatten(frames, 0, mixture.shape[:2])  # (batch, channel, bin, frame)
        planes = torch.view_as_real(spectrum).movedim(-1, 2).flatten(1, 2)  # (batch, plane, bin, frame)
        output = network(planes.to(dtype)).to(mixture.dtype)  # (batch, stem, plane, bin, frame)
        parts = torch.unflatten(output, 2, (-1, 2)).movedim(3, -1)  # (batch, stem, channel, bin, frame, part)
        estimate = torch.view_as_complex(parts.contiguous())  # (batch, stem, channel, bin, frame)
        if settings.masked:
            estimate = estimate * spectrum.unsqueeze(1)
        signal = torch.istft(
            estimate.flatten(0, 2), size, settings.hop_length, window=window, normalized=settings.unitary
        )  # (batch and stem and channel, sample)
        return torch.unflatten(signal, 0, estimate.shape[:3])[..., :samples]
