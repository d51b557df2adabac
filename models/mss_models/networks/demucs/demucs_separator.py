"""What every kind of Demucs is as a `Separator`: stems may be left out, a lean copy runs without gradients."""

from abc import abstractmethod
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from mss_models.networks.front_end import check_mixture
from mss_models.networks.network_separator import SeparatorModule, Signature, dtype_of
from mss_models.separator import Precision


class LeanNetwork(Protocol):
    """A network laid out and folded for speed."""

    def separate_into(self, estimates: Tensor, mixture: Tensor) -> None:
        """Write the estimates, (batch, stem, channel, sample), of a mixture, (batch, channel, sample)."""


class DemucsSeparator(SeparatorModule):
    """A separator that is itself the network which learns, and runs a lean copy of it.

    `forward` is the differentiable way for training; `separate` the fast way of the `Separator` protocol. The state
    dict is that of the published weights. Mean and deviation of the whole mixture are taken out first, as upstream.

    Parameters
    ----------
    signature : Signature
        With all stems of the network.
    """

    precisions: tuple[Precision, ...] = ("fp32", "bf16")

    def __init__(self, signature: Signature) -> None:
        super().__init__(signature)
        self._all_stems = signature.stems
        self._prepared: LeanNetwork | None = None

    def forget_prepared(self) -> None:
        """Drop the prepared copy, because weights change."""
        self._prepared = None

    def restrict(self, stems: tuple[str, ...]) -> None:
        """Estimate only some stems from now on, in this order; what others alone need is not computed.

        Raises
        ------
        ValueError
            If one is not among the network's, none is left, or two are alike.
        """
        if not stems or len(set(stems)) != len(stems) or not set(stems) <= set(self._all_stems):
            raise ValueError(f"expected some of {', '.join(self._all_stems)}; got {', '.join(stems)}")
        self.signature = replace(self.signature, stems=stems)
        self.forget_prepared()

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Make the copy of the network that `separate` runs.

        Raises
        ------
        ValueError
            If the precision is not one of `precisions`.
        """
        dtype = dtype_of(precision, self.precisions)
        self.forget_prepared()  # frees the old copy first
        self._prepared = self.lean(device, dtype)

    @abstractmethod
    def lean(self, device: torch.device, dtype: torch.dtype) -> LeanNetwork:
        """Make a lean copy for `stems`; its layers compute in `dtype`, but those that must not."""

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        if self._prepared is None:
            raise RuntimeError("call `prepare` before `separate`, and again after loading weights")
        # Made outside, so that the caller may change it in place: inference tensors forbid that.
        estimates = mixture.new_empty(mixture.shape[0], len(self.stems), *mixture.shape[1:])
        with torch.inference_mode():
            self._prepared.separate_into(estimates, mixture)
        return estimates
