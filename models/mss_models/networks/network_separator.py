"""What every separator with learned weights is beside its own way from a mixture to estimates.

`SeparatorModule` tells the properties of the `Separator` protocol and refuses weights that do not fit.
`NetworkSeparator` adds the copy of one network that `separate` runs. A new network writes its settings, its `forward`
and its `separate`; and `inference_copy` where it has more than batch norms to fold.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from mss_models.networks.states import check_state
from mss_models.networks.unet import fold_batch_norm
from mss_models.separator import Normalization, Precision
from mss_models.stft import StftSettings

N = TypeVar("N", bound=nn.Module)

_DTYPES: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_stems(stems: tuple[str, ...]) -> None:
    """Refuse stems without names, two of one name, or none at all.

    Raises
    ------
    ValueError
        If they are such.
    """
    if not stems or len(set(stems)) != len(stems) or not all(stems):
        raise ValueError(f"stems must be different names, at least one, got {list(stems)}")


def dtype_of(precision: Precision, allowed: tuple[Precision, ...]) -> torch.dtype:
    """Give the type of numbers of a precision.

    Raises
    ------
    ValueError
        If it is not among those a separator allows.
    """
    if precision not in allowed:
        raise ValueError(f"precision must be one of {', '.join(allowed)}, got `{precision}`")
    return _DTYPES[precision]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a separator takes and gives.

    Parameters
    ----------
    stems : tuple of str
        Names of the estimates, at least one, no two alike.
    sample_rate : int, Hz
        Rate of the mixture.
    channels : {1, 2}
        Channels of the mixture.
    segment_samples : int, > 0
        Segment length it works best with.
    transform : StftSettings
        Of the front end; for a network of waveforms, the one in whose frames and cells a recipe counts examples and
        takes spectral losses.
    normalization : {"none", "deviation", "peak"}
        See `mss_models.separator.Separator`.

    Raises
    ------
    ValueError
        If stems are missing or alike.
    """

    stems: tuple[str, ...]
    sample_rate: int
    channels: int
    segment_samples: int
    transform: StftSettings
    normalization: Normalization = "none"

    def __post_init__(self) -> None:
        check_stems(self.stems)


class SeparatorModule(nn.Module, ABC):
    """A module with the properties of a `Separator`, which loads only weights that fit.

    Parameters
    ----------
    signature : Signature
        What it takes and gives.
    """

    precisions: tuple[Precision, ...] = ("fp32", "bf16", "fp16")

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        self.signature = signature

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of the estimates."""
        return self.signature.stems

    @property
    def network_stems(self) -> tuple[str, ...]:
        """The stems that networks estimate, first among ``stems``: the targets of training."""
        return self.signature.stems

    @property
    def sample_rate(self) -> int:
        """Rate of the mixture in Hz."""
        return self.signature.sample_rate

    @property
    def channels(self) -> int:
        """Channels of the mixture."""
        return self.signature.channels

    @property
    def segment_samples(self) -> int:
        """Segment length it works best with."""
        return self.signature.segment_samples

    @property
    def normalization(self) -> Normalization:
        """What the first pass measures."""
        return self.signature.normalization

    @property
    def transform(self) -> StftSettings:
        """The transform of the front end; see `Signature`."""
        return self.signature.transform

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> object:
        """Load weights; names and shapes must fit exactly.

        Raises
        ------
        StateMismatch
            If they do not.
        """
        check_state(self.state_dict(), state_dict)
        self.forget_prepared()
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    @abstractmethod
    def forget_prepared(self) -> None:
        """Drop what was prepared, because weights change."""

    @abstractmethod
    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Make what `separate` runs; see `mss_models.separator.Separator.prepare`."""

    @abstractmethod
    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""


@dataclass(frozen=True, slots=True)
class _Prepared(Generic[N]):
    """The network as `separate` runs it, and its precision."""

    network: N
    dtype: torch.dtype


class NetworkSeparator(SeparatorModule, Generic[N]):
    """A separator with one network, of which `separate` runs a prepared copy.

    `forward` is the differentiable way for training; `separate` the fast way of the `Separator` protocol. `prepare`
    may be called again, for another device or precision; the network itself always keeps its float32 weights.

    Parameters
    ----------
    network : Module
        With its first weights; ``network`` in the state dict.
    signature : Signature
        What the separator takes and gives.
    """

    # channels_last: 1.0 to 1.3 times faster in fp32 and bf16, for the transposed convolutions above all.
    memory_format: torch.memory_format = torch.channels_last

    def __init__(self, network: N, signature: Signature) -> None:
        super().__init__(signature)
        self.network = network
        self._prepared: _Prepared[N] | None = None

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Make the copy of the network that `separate` runs.

        Parameters
        ----------
        device : torch.device
            Where mixtures will be.
        precision : {"fp32", "bf16", "fp16"}
            Of the network; transforms and masks stay in float32.

        Raises
        ------
        ValueError
            If the precision is not among ``precisions``.
        """
        dtype = dtype_of(precision, self.precisions)
        self.forget_prepared()  # frees the old copy first
        network = self.inference_copy()
        network = network.to(device=device, dtype=dtype).to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self._prepared = _Prepared(network, dtype)

    def inference_copy(self) -> N:
        """Copy the network in evaluation mode, without gradients, its batch norms folded."""
        network = copy.deepcopy(self.network).requires_grad_(False).eval()
        fold_batch_norm(network)
        return network

    def forget_prepared(self) -> None:
        """Drop the prepared copy, because weights change."""
        self._prepared = None

    @property
    def prepared_network(self) -> N:
        """The network as `separate` runs it; RuntimeError before `prepare`."""
        return self._ready().network

    @property
    def prepared_dtype(self) -> torch.dtype:
        """Precision of the prepared network; RuntimeError before `prepare`."""
        return self._ready().dtype

    def _ready(self) -> _Prepared[N]:
        if self._prepared is None:
            raise RuntimeError("call `prepare` before `separate`, and again after loading weights")
        return self._prepared
