"""Makes a RoFormer a `Separator`, with the transform of its publishers."""

import torch
from torch import Tensor
from torch.nn import functional

from mss_models.networks.network_separator import Signature
from mss_models.networks.roformer.network import Roformer
from mss_models.networks.roformer.settings import RoformerSettings
from mss_models.networks.segment_separator import SegmentSeparator
from mss_models.separator import Precision


class RoformerSeparator(SegmentSeparator[Roformer]):
    """A BS-RoFormer or Mel-Band RoFormer with its transform.

    The transform is centred and mirrors the ends of a segment, as upstream; a shorter last segment stands in the middle
    of a whole one.

    Parameters
    ----------
    settings : RoformerSettings
    """

    def __init__(self, settings: RoformerSettings) -> None:
        signature = Signature(
            stems=settings.stems,
            sample_rate=settings.sample_rate,
            channels=settings.channels,
            segment_samples=settings.segment_samples,
            transform=settings.transform,
        )
        super().__init__(Roformer(settings), signature)
        self.settings = settings

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Make the copy that `separate` runs; the angles of its positions stay in float32."""
        super().prepare(device, precision)
        for copied, exact in zip(self.prepared_network.positions, self.network.positions, strict=True):
            copied.freqs = exact.freqs.to(device)

    def estimate(self, network: Roformer, mixture: Tensor) -> Tensor:
        """See `SegmentSeparator.estimate`."""
        settings, samples = self.settings, mixture.shape[-1]
        window = torch.hann_window(settings.window_length, device=mixture.device)
        # Mirrored ends need more samples than half a frame.
        padded = functional.pad(mixture, (0, max(0, settings.n_fft - samples)))
        spectrum = torch.stft(
            padded.flatten(0, 1),
            settings.n_fft,
            settings.hop_length,
            settings.window_length,
            window,
            normalized=settings.scaled_transform,
            return_complex=True,
        )  # (batch and channel, bin, frame)
        sorted_cells = spectrum.reshape(*mixture.shape[:2], *spectrum.shape[1:]).permute(0, 3, 2, 1)
        estimates = network(sorted_cells.contiguous())  # (batch, stem, frame, bin, channel)
        sounding = torch.istft(
            estimates.permute(0, 1, 4, 3, 2).flatten(0, 2),
            settings.n_fft,
            settings.hop_length,
            settings.window_length,
            window,
            normalized=settings.scaled_transform,
            length=padded.shape[-1],
        )  # (batch and stem and channel, sample)
        return sounding.reshape(mixture.shape[0], -1, mixture.shape[1], padded.shape[-1])[..., :samples]
