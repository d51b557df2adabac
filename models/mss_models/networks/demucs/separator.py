"""Makes a hybrid Demucs a `Separator`."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from mss_models.networks.demucs.hybrid import HybridDemucs
from mss_models.networks.demucs.settings import HybridSettings
from mss_models.networks.front_end import check_mixture
from mss_models.networks.states import check_state
from mss_models.separator import Normalization, Precision


class HybridDemucsSeparator(HybridDemucs):
    """A hybrid Demucs for all its stems, or for some of them.

    `forward` is the differentiable way for training; `separate` the fast way of the `Separator` protocol, which runs
    a prepared copy. Its state dict is that of the published weights.

    Parameters
    ----------
    settings : HybridSettings
        Sizes.
    """

    precisions: tuple[Precision, ...] = ("fp32",)

    def __init__(self, settings: HybridSettings) -> None:
        super().__init__(settings)
        self._prepared: HybridDemucs | None = None
        self._wanted = settings.stems

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the estimates: the network's, or those of `restrict`."""
        return self._wanted

    @property
    def sample_rate(self) -> int:
        """Rate of the mixture in Hz."""
        return self.settings.sample_rate

    @property
    def channels(self) -> int:
        """Channels of the mixture."""
        return self.settings.channels

    @property
    def segment_samples(self) -> int:
        """Segment of the training."""
        return self.settings.segment_samples

    @property
    def normalization(self) -> Normalization:
        """Mean and deviation of the whole mixture, as upstream; each segment is brought to its own besides."""
        return "deviation"

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> object:
        """Load weights, those of a published file too; names and shapes must fit exactly.

        Raises
        ------
        StateMismatch
            If they do not.
        """
        check_state(self.state_dict(), state_dict)
        self._prepared = None
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def restrict(self, stems: tuple[str, ...]) -> None:
        """Estimate only some stems from now on, in this order; what others alone need is not computed.

        Raises
        ------
        ValueError
            If one is not among the network's, none is left, or two are alike.
        """
        if not stems or len(set(stems)) != len(stems) or not set(stems) <= set(self.settings.stems):
            raise ValueError(f"expected some of {', '.join(self.settings.stems)}; got {', '.join(stems)}")
        self._wanted = stems
        self._prepared = None

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Make the copy of the network that `separate` runs.

        Raises
        ------
        ValueError
            If the precision is not one of `precisions`.
        """
        if precision not in self.precisions:
            raise ValueError(f"precision must be one of {', '.join(self.precisions)}, got `{precision}`")
        self._prepared = None  # frees the old copy first
        network = HybridDemucs(self.settings)
        network.load_state_dict(copy.deepcopy(self.state_dict()))
        network.keep_stems(self._wanted)
        self._prepared = network.requires_grad_(False).eval().to(device)

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        if self._prepared is None:
            raise RuntimeError("call `prepare` before `separate`, and again after loading weights")
        # Made outside, so that the caller may change it in place: inference tensors forbid that.
        estimates = mixture.new_empty(mixture.shape[0], len(self.stems), *mixture.shape[1:])
        with torch.inference_mode():
            estimates.copy_(self._prepared(mixture))
        return estimates
