"""Makes a Demucs in the time domain a `Separator`."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mss_models.networks.demucs.lean_time import LeanTimeDemucs
from mss_models.networks.demucs.time import TimeDemucs
from mss_models.networks.demucs.time_settings import TimeSettings
from mss_models.networks.front_end import check_mixture
from mss_models.networks.network_separator import SeparatorModule, Signature
from mss_models.separator import Precision
from mss_models.stft import StftSettings

_DTYPES: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TimeDemucsSeparator(TimeDemucs, SeparatorModule):
    """A Demucs in the time domain for all its stems, or for some of them.

    `forward` is the differentiable way for training; `separate` the fast way of the `Separator` protocol, which runs
    a prepared copy. Its state dict is that of the published weights. Mean and deviation of the whole mixture are
    taken out first, as upstream.

    Parameters
    ----------
    settings : TimeSettings
        Sizes.
    """

    precisions: tuple[Precision, ...] = ("fp32", "bf16")

    def __init__(self, settings: TimeSettings) -> None:
        signature = Signature(
            stems=settings.stems,
            sample_rate=settings.sample_rate,
            channels=settings.channels,
            segment_samples=settings.segment_samples,
            transform=StftSettings(n_fft=4096, hop_length=1024),
            normalization="deviation",
        )
        SeparatorModule.__init__(self, signature)
        self.build(settings)
        self._prepared: LeanTimeDemucs | None = None

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
        if not stems or len(set(stems)) != len(stems) or not set(stems) <= set(self.settings.stems):
            raise ValueError(f"expected some of {', '.join(self.settings.stems)}; got {', '.join(stems)}")
        self.signature = replace(self.signature, stems=stems)
        self.forget_prepared()

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Make the copy of the network that `separate` runs.

        Raises
        ------
        ValueError
            If the precision is not one of `precisions`.
        """
        if precision not in self.precisions:
            raise ValueError(f"precision must be one of {', '.join(self.precisions)}, got `{precision}`")
        self.forget_prepared()  # frees the old copy first
        with torch.device("meta"):
            network = TimeDemucs(self.settings)
        state = {key: value.to(device, copy=True) for key, value in self.state_dict().items()}
        network.load_state_dict(state, assign=True)
        network.requires_grad_(False).eval()
        self._prepared = LeanTimeDemucs(network, _DTYPES[precision], self.stems)

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
