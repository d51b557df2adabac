"""Makes a hybrid Demucs a `Separator`."""

import torch

from mss_models.networks.demucs.demucs_separator import DemucsSeparator
from mss_models.networks.demucs.hybrid import HybridDemucs
from mss_models.networks.demucs.lean import LeanHybridDemucs
from mss_models.networks.demucs.settings import HybridSettings
from mss_models.networks.network_separator import Signature
from mss_models.stft import StftSettings


class HybridDemucsSeparator(HybridDemucs, DemucsSeparator):
    """A hybrid Demucs for all its stems, or for some of them.

    The network brings each segment to its own mean and deviation besides. With a transformer, whose segments are
    always of one length, a shorter last one stands in the middle of a whole one, as upstream.

    Parameters
    ----------
    settings : HybridSettings
        Sizes.
    """

    def __init__(self, settings: HybridSettings) -> None:
        signature = Signature(
            stems=settings.stems,
            sample_rate=settings.sample_rate,
            channels=settings.channels,
            segment_samples=settings.segment_samples,
            transform=StftSettings(n_fft=settings.n_fft, hop_length=settings.hop_length),
            normalization="deviation",
        )
        DemucsSeparator.__init__(self, signature)
        self.build(settings)

    @property
    def fills_segments(self) -> bool:
        """Whether the last segment of a track is filled up; see `mss_models.separator.SegmentFiller`."""
        return self.settings.transformer is not None

    def lean(self, device: torch.device, dtype: torch.dtype) -> LeanHybridDemucs:
        """Make a lean copy; see `DemucsSeparator.lean`."""
        network = HybridDemucs(self.settings)
        network.load_state_dict(self.state_dict())
        if self.stems != self.settings.stems:
            network.keep_stems(self.stems)
        network.requires_grad_(False).eval().to(device)
        return LeanHybridDemucs(network, dtype)
