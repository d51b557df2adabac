"""Networks that see whole segments only, with a transform of their own: how mixtures pass through them."""

from abc import abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn

from mss_models.networks.front_end import check_mixture
from mss_models.networks.network_separator import NetworkSeparator
from mss_models.separator import Precision

N = TypeVar("N", bound=nn.Module)


class SegmentSeparator(NetworkSeparator[N]):
    """A separator whose network has norms or attention over a whole segment, as long as in training.

    Silence gives silence. Items of a batch go through the network one after the other on a CPU, where several at once
    are hardly faster and need more memory; all together elsewhere.
    """

    precisions: tuple[Precision, ...] = ("fp32", "bf16")

    @property
    def fills_segments(self) -> bool:
        """The last segment of a track is filled up; see `mss_models.separator.SegmentFiller`."""
        return True

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the stems, differentiably; (batch, channel, sample) to (batch, stem, channel, sample)."""
        check_mixture(mixture, self.channels)
        return self.estimate(self.network, mixture)

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        network = self.prepared_network
        # Made outside, so that the caller may change it in place: inference tensors forbid that.
        estimates = mixture.new_zeros(mixture.shape[0], len(self.stems), *mixture.shape[1:])
        with torch.inference_mode():
            sounding = mixture.flatten(1).any(dim=1).nonzero().flatten()
            at_once = 1 if mixture.device.type == "cpu" else max(1, len(sounding))
            for some in torch.split(sounding, at_once):
                if len(some):
                    estimates[some] = self.estimate(network, mixture[some])
        return estimates

    @abstractmethod
    def estimate(self, network: N, mixture: Tensor) -> Tensor:
        """Run transform, network and inverse.

        Parameters
        ----------
        network : Module
            The one that learns, or the prepared copy; its weights tell the precision of its layers.
        mixture : float32 Tensor of shape (batch, channel, sample)

        Returns
        -------
        float32 Tensor of shape (batch, stem, channel, sample)
        """


def dtype_of_weights(network: nn.Module) -> torch.dtype:
    """Tell the precision of a network's layers."""
    return next(network.parameters()).dtype
