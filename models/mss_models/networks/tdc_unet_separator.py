"""Makes a `TdcUnet` a `Separator`, with the signal way of its publishers.

The mixture is cut into segments of a fixed number of frames, without centring, of which a margin on both sides is
thrown away; the rest is joined without a cross-fade. The frames of a segment stand where its publishers' stand, so that
the published answers come out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mss_models.configuration import Reader, Values
from mss_models.networks.front_end import check_mixture
from mss_models.networks.network_separator import NetworkSeparator, Signature
from mss_models.networks.tdc_unet import Block, TdcUnet, TdcUnetShape
from mss_models.separator import Precision
from mss_models.stft import StftSettings

# Thrown away on both sides of a segment, samples.
_MARGIN = 5000
# Segments that go through the network at once, and how many make the segment it works best with.
_AT_ONCE = 2
_BEST = 4
_KEYS = ("stems", "sample_rate", "channels", "n_fft", "hop_length", "segment_frames", "block", "levels",
         "internal_channels", "dense_layers")  # fmt: skip
_BLOCKS: tuple[Block, ...] = ("tdc", "tfc-tdf")


@dataclass(frozen=True, slots=True)
class TdcUnetSettings:
    """A network for one stem, and its transform.

    Parameters
    ----------
    stem : str
    sample_rate : int, Hz
    channels : {1, 2}
    transform : StftSettings
        The window is periodic Hann and frames are not centred.
    segment_frames : int
        Frames of a segment, of which less than the margins must be thrown away.
    block, levels, internal_channels, dense_layers
        See `TdcUnetShape`.

    Raises
    ------
    ValueError
        If they do not go together.
    """

    stem: str
    sample_rate: int
    channels: int
    transform: StftSettings
    segment_frames: int
    block: Block
    levels: int
    internal_channels: int = 24
    dense_layers: int = 5

    def __post_init__(self) -> None:
        if self.advance_samples < 1:
            raise ValueError(f"{self.segment_frames} frames are less than the margins of {_MARGIN} samples")
        if self.segment_frames % self.shape.frame_multiple:
            raise ValueError(f"segment_frames must be a multiple of {self.shape.frame_multiple}")

    @property
    def shape(self) -> TdcUnetShape:
        """Sizes of the network."""
        return TdcUnetShape(
            planes=2 * self.channels,
            bins=self.transform.bins,
            block=self.block,
            levels=self.levels,
            internal_channels=self.internal_channels,
            dense_layers=self.dense_layers,
        )

    @property
    def piece_samples(self) -> int:
        """Length of a segment with its margins."""
        return self.transform.n_fft + (self.segment_frames - 1) * self.transform.hop_length

    @property
    def advance_samples(self) -> int:
        """Distance between segments."""
        return self.piece_samples - 2 * _MARGIN


class TdcUnetSeparator(NetworkSeparator[TdcUnet]):
    """The network of one stem with its transform.

    Silence gives silence, which the network alone does not: its biases sound.

    Parameters
    ----------
    settings : TdcUnetSettings
    """

    precisions: tuple[Precision, ...] = ("fp32", "bf16")

    def __init__(self, settings: TdcUnetSettings) -> None:
        signature = Signature(
            stems=(settings.stem,),
            sample_rate=settings.sample_rate,
            channels=settings.channels,
            segment_samples=_BEST * settings.advance_samples,
            transform=settings.transform,
        )
        super().__init__(TdcUnet(settings.shape), signature)
        self.settings = settings

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the stem, differentiably; (batch, channel, sample) to (batch, 1, channel, sample)."""
        check_mixture(mixture, self.channels)
        return self._estimate(self.network, torch.float32, mixture)

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stem; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        estimates = mixture.new_empty(mixture.shape[0], 1, *mixture.shape[1:])
        with torch.inference_mode():
            for item, estimate in zip(mixture, estimates, strict=True):
                if item.any():
                    estimate.copy_(self._estimate(self.prepared_network, self.prepared_dtype, item[None])[0])
                else:
                    estimate.zero_()
        return estimates

    def _estimate(self, network: TdcUnet, dtype: torch.dtype, mixture: Tensor) -> Tensor:
        settings, samples = self.settings, mixture.shape[-1]
        advance = settings.advance_samples
        padded = functional.pad(mixture, (_MARGIN, -samples % advance + _MARGIN))
        pieces = padded.unfold(-1, settings.piece_samples, advance).transpose(1, 2)  # (batch, piece, channel, sample)
        flat = pieces.flatten(0, 1)  # (batch and piece, channel, sample)
        joined = torch.cat([self._piece(network, dtype, some) for some in torch.split(flat, _AT_ONCE)])
        kept = joined[..., _MARGIN:-_MARGIN].reshape(*pieces.shape[:3], advance)  # (batch, piece, channel, advance)
        return kept.transpose(1, 2).flatten(2)[..., :samples].unsqueeze(1)

    def _piece(self, network: TdcUnet, dtype: torch.dtype, pieces: Tensor) -> Tensor:
        """Take segments, (item, channel, sample), through the network."""
        transform = self.settings.transform
        window = torch.hann_window(transform.n_fft, device=pieces.device, dtype=pieces.dtype)
        frames = pieces.unfold(-1, transform.n_fft, transform.hop_length) * window  # (item, channel, frame, sample)
        parts = torch.view_as_real(torch.fft.rfft(frames))  # (item, channel, frame, bin, part)
        planes = parts.permute(0, 1, 4, 3, 2).flatten(1, 2)  # (item, channel and part, bin, frame)
        estimate = network(planes.to(dtype)).to(pieces.dtype)
        parts = estimate.unflatten(1, (-1, 2)).permute(0, 1, 4, 3, 2)  # (item, channel, frame, bin, part)
        sounding = torch.fft.irfft(torch.view_as_complex(parts.contiguous()), n=transform.n_fft) * window
        return _overlap_add(sounding, transform.hop_length) / _overlap_add(
            window.square().expand(1, 1, frames.shape[2], -1), transform.hop_length
        ).clamp_min(torch.finfo(pieces.dtype).eps)


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Add frames, (item, channel, frame, sample), to a signal, (item, channel, sample)."""
    count, length = frames.shape[2:]
    signal = frames.flatten(0, 1).transpose(1, 2)  # (item and channel, sample of frame, frame)
    folded = functional.fold(signal, (1, (count - 1) * hop + length), (1, length), stride=(1, hop))
    return folded.reshape(*frames.shape[:2], -1)


def read_tdc_unet(values: Values) -> TdcUnetSettings:
    """Read the settings of "tdc-unet": keys are those of `TdcUnetSettings`, ``stems`` with one name for its stem.

    Raises
    ------
    ConfigurationError, ValueError
        If a key is unknown or missing; if a value is not allowed.
    """
    reader = Reader(values, allowed=_KEYS)
    stems = reader.names("stems")
    if len(stems) != 1:
        raise ValueError(f"stems: expected one, got {', '.join(stems)}")
    return TdcUnetSettings(
        stem=stems[0],
        sample_rate=reader.integer("sample_rate"),
        channels=reader.integer("channels"),
        transform=StftSettings(n_fft=reader.integer("n_fft"), hop_length=reader.integer("hop_length")),
        segment_frames=reader.integer("segment_frames"),
        block=reader.choice("block", _BLOCKS),
        levels=reader.integer("levels"),
        internal_channels=reader.integer("internal_channels", 24),
        dense_layers=reader.integer("dense_layers", 5),
    )


def tdc_unet_values(settings: TdcUnetSettings) -> Values:
    """The inverse of `read_tdc_unet`."""
    return {
        "stems": [settings.stem],
        "sample_rate": settings.sample_rate,
        "channels": settings.channels,
        "n_fft": settings.transform.n_fft,
        "hop_length": settings.transform.hop_length,
        "segment_frames": settings.segment_frames,
        "block": settings.block,
        "levels": settings.levels,
        "internal_channels": settings.internal_channels,
        "dense_layers": settings.dense_layers,
    }
