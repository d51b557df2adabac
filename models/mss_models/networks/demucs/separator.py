"""Makes a hybrid Demucs a `Separator`."""

import copy

import torch
from torch import Tensor, nn

from mss_models.networks.demucs.demucs_separator import DemucsSeparator, LeanNetwork
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
        if not settings.is_usual:
            self.precisions = ("fp32",)
        self.build(settings)

    @property
    def fills_segments(self) -> bool:
        """Whether the last segment of a track is filled up; see `mss_models.separator.SegmentFiller`."""
        return self.settings.transformer is not None

    def lean(self, device: torch.device, dtype: torch.dtype) -> LeanNetwork:
        """Make a lean copy; see `DemucsSeparator.lean`."""
        # Its modules are its own, its weights are ours: what the lean network needs differently it lays out itself.
        ours = {id(one): nn.Parameter(one.detach(), requires_grad=False) for one in self.parameters()}
        network = copy.deepcopy(self, memo=dict[int, object](ours)).eval().to(device)
        if not self.settings.is_usual:
            return _Plain(network, self.stems)
        if self.stems != self.settings.stems:
            network.keep_stems(self.stems)
        return LeanHybridDemucs(network, dtype)


class _Plain:
    """Runs a network as it is trained: the early models in ways of their own have no faster one."""

    def __init__(self, network: HybridDemucs, stems: tuple[str, ...]) -> None:
        self._network = network
        self._kept = [network.settings.stems.index(stem) for stem in stems]

    def separate_into(self, estimates: Tensor, mixture: Tensor) -> None:
        """Write the estimates, (batch, stem, channel, sample), of a mixture, (batch, channel, sample)."""
        # One by one: these networks hear long segments, and in a batch the sums come in another order.
        for item, found in zip(mixture, estimates, strict=True):
            found.copy_(self._network(item[None])[0, self._kept])
