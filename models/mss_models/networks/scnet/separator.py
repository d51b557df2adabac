"""Makes an `Scnet` a `Separator`: its transform, and segments as long as its publishers train with."""

import torch
from torch import Tensor
from torch.nn import functional

from mss_models.networks.network_separator import Signature
from mss_models.networks.scnet.network import Scnet
from mss_models.networks.scnet.settings import ScnetSettings
from mss_models.networks.segment_separator import SegmentSeparator, dtype_of_weights
from mss_models.stft import StftSettings


class ScnetSeparator(SegmentSeparator[Scnet]):
    """The network with its transform.

    Parameters
    ----------
    settings : ScnetSettings
    """

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

    def inference_copy(self) -> Scnet:
        """Copy the network in evaluation mode, without gradients, its doubled convolutions halved."""
        network = super().inference_copy()
        network.fold()
        return network

    def estimate(self, network: Scnet, mixture: Tensor) -> Tensor:
        """See `SegmentSeparator.estimate`."""
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
        output = network(planes.to(dtype_of_weights(network))).to(mixture.dtype)  # (batch, stem, plane, bin, frame)
        parts = torch.unflatten(output, 2, (-1, 2)).movedim(3, -1)  # (batch, stem, channel, bin, frame, part)
        estimate = torch.view_as_complex(parts.contiguous())  # (batch, stem, channel, bin, frame)
        if settings.masked:
            estimate = estimate * spectrum.unsqueeze(1)
        signal = torch.istft(
            estimate.flatten(0, 2), size, settings.hop_length, window=window, normalized=settings.unitary
        )  # (batch and stem and channel, sample)
        return torch.unflatten(signal, 0, estimate.shape[:3])[..., :samples]
