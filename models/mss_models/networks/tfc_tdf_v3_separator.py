"""Makes a `TfcTdfV3` a `Separator`: its transform, and segments as long as its publishers train with."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional

from mss_models.centered_stft import centered_istft, centered_stft
from mss_models.configuration import Reader, Values
from mss_models.networks.network_separator import Signature
from mss_models.networks.segment_separator import SegmentSeparator, dtype_of_weights
from mss_models.networks.tfc_tdf_v3 import Activation, Norm, TfcTdfV3, TfcTdfV3Shape
from mss_models.stft import StftSettings

_SIZES = ("bins", "sub_bands", "scales", "blocks", "channels", "growth", "bottleneck", "scale_frames", "scale_bins",
          "norm_groups")  # fmt: skip
# Of the network; the separator's own "channels" are those of the mixture.
_PREFIX = "network_"
_KEYS = ("stems", "sample_rate", "channels", "n_fft", "hop_length", "segment_samples", "norm", "activation",
         "elu_alpha", *(_PREFIX + key for key in _SIZES))  # fmt: skip


@dataclass(frozen=True, slots=True)
class TfcTdfV3Settings:
    """A network for its stems, and its transform.

    Parameters
    ----------
    stems : tuple of str
        In the order of the network's targets.
    sample_rate : int, Hz
    channels : {1, 2}
    transform : StftSettings
        Frames are centred, the signal goes on mirrored at its ends.
    segment_samples : int, > 0
        Length it was trained with: ``(frames - 1) * hop``.
    shape : TfcTdfV3Shape
        Of the network.

    Raises
    ------
    ValueError
        If they do not go together.
    """

    stems: tuple[str, ...]
    sample_rate: int
    channels: int
    transform: StftSettings
    segment_samples: int
    shape: TfcTdfV3Shape

    def __post_init__(self) -> None:
        if (self.shape.planes, self.shape.targets) != (2 * self.channels, len(self.stems)):
            raise ValueError("the network has other planes or targets than the separator has channels or stems")
        if self.shape.bins > self.transform.bins:
            raise ValueError(f"bins must be at most {self.transform.bins}, got {self.shape.bins}")
        if self.segment_samples < 1:
            raise ValueError(f"segment_samples must be at least 1, got {self.segment_samples}")

    def padded_samples(self, samples: int) -> int:
        """Give the shortest length from ``samples`` on that the network can take."""
        hop, multiple = self.transform.hop_length, self.shape.frame_multiple
        # Long enough to be mirrored, too.
        least = max(samples, self.transform.n_fft // 2 + 1)
        hops = -(-least // hop)
        return (hops + -(hops + 1) % multiple) * hop


class TfcTdfV3Separator(SegmentSeparator[TfcTdfV3]):
    """The network with its transform.

    Bins above those that the network sees are silent in every estimate, so their sum is not the mixture.

    Parameters
    ----------
    settings : TfcTdfV3Settings
    """

    # The linear layers go over neighbours in memory.
    memory_format = torch.contiguous_format

    def __init__(self, settings: TfcTdfV3Settings) -> None:
        signature = Signature(
            stems=settings.stems,
            sample_rate=settings.sample_rate,
            channels=settings.channels,
            segment_samples=settings.segment_samples,
            transform=settings.transform,
        )
        super().__init__(TfcTdfV3(settings.shape), signature)
        self.settings = settings

    def estimate(self, network: TfcTdfV3, mixture: Tensor) -> Tensor:
        """See `SegmentSeparator.estimate`."""
        settings, samples = self.settings, mixture.shape[-1]
        length = settings.padded_samples(samples)
        spectrum = centered_stft(functional.pad(mixture, (0, length - samples)), settings.transform)
        spectrum = spectrum[..., : settings.shape.bins]  # (batch, channel, frame, bin)
        planes = torch.view_as_real(spectrum).permute(0, 1, 4, 2, 3).flatten(1, 2)  # (batch, plane, frame, bin)
        estimate = network(planes.to(dtype_of_weights(network))).to(mixture.dtype)  # (batch, stem, plane, frame, bin)
        parts = torch.unflatten(estimate, 2, (-1, 2)).movedim(3, -1)  # (batch, stem, channel, frame, bin, part)
        above = settings.transform.bins - settings.shape.bins
        whole = torch.view_as_complex(functional.pad(parts, (0, 0, 0, above)))
        return centered_istft(whole, settings.transform, length)[..., :samples]


def read_tfc_tdf_v3(values: Values) -> TfcTdfV3Settings:
    """Read the settings of "tfc-tdf-v3".

    Keys are those of `TfcTdfV3Settings`, ``n_fft`` and ``hop_length``, ``norm``, ``activation`` and ``elu_alpha``, and
    the sizes of `TfcTdfV3Shape` with ``network_`` before them.

    Raises
    ------
    ConfigurationError, ValueError
        If a key is unknown or missing; if a value is not allowed.
    """
    reader = Reader(values, allowed=_KEYS)
    stems, channels = reader.names("stems"), reader.integer("channels")
    defaults: Mapping[str, object] = {one.name: one.default for one in fields(TfcTdfV3Shape)}
    optional = ("scale_frames", "scale_bins", "norm_groups")
    sizes = {
        key: reader.integer(_PREFIX + key, defaults[key]) if key in optional else reader.integer(_PREFIX + key)
        for key in _SIZES
    }
    shape = TfcTdfV3Shape(
        planes=2 * channels,
        targets=len(stems),
        norm=reader.choice("norm", get_args(Norm), "instance"),
        activation=reader.choice("activation", get_args(Activation), "gelu"),
        elu_alpha=reader.number("elu_alpha", 1.0),
        **sizes,
    )
    return TfcTdfV3Settings(
        stems=stems,
        sample_rate=reader.integer("sample_rate"),
        channels=channels,
        transform=StftSettings(n_fft=reader.integer("n_fft"), hop_length=reader.integer("hop_length")),
        segment_samples=reader.integer("segment_samples"),
        shape=shape,
    )


def tfc_tdf_v3_values(settings: TfcTdfV3Settings) -> Values:
    """The inverse of `read_tfc_tdf_v3`."""
    shape = settings.shape
    return {  # the keys are those of _KEYS
        "stems": list(settings.stems),
        "sample_rate": settings.sample_rate,
        "channels": settings.channels,
        "n_fft": settings.transform.n_fft,
        "hop_length": settings.transform.hop_length,
        "segment_samples": settings.segment_samples,
        "norm": shape.norm,
        "activation": shape.activation,
        "elu_alpha": shape.elu_alpha,
        **{_PREFIX + key: getattr(shape, key) for key in _SIZES},
    }
