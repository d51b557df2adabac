"""Makes a `SubbandUnet` a `Separator`: transform, compressed planes, network, spectra of the stems, inverse.

What the network sees. Of every cell ``u`` of the scaled spectrogram (`FrontEnd.gain`): real part, imaginary part and
magnitude, all three compressed, ``u |u|^(p - 1)`` and ``|u|^p``, as planes in this order, channels side by side.

Levels. With the level "absolute", ``u`` is the cell times the front end's gain, so soft music looks unlike loud
music. With "segment" it is also divided by its root mean square over the segment: however loud the mixture, the network
sees the same, and ``g`` times the mixture gives ``g`` times the estimates.

What its outputs mean. With ``X`` the cell of the mixture, ``e = |X| / |u|^p`` (so ``e`` times a compressed value
is on the scale of the mixture, and 0 where ``|u|`` is below -160 dB) and outputs ``o`` of each stem and channel:

- "shares": ``Y = s X + e (o_1 + i o_2)``, where the shares ``s`` are the softmax over stems of ``o_0``.
- "mask": ``Y = M X`` with a complex mask of magnitude below 1, `bounded_complex_mask` of ``o_0 + i o_1``.
- "mapping": ``Y = e (o_0 + i o_1)``.

The bins above the front end's are in no estimate, unless consistency shares out what the estimates leave. Ours; the
compression after Ephrat et al., "Looking to listen at the cocktail party", ACM Transactions on Graphics 2018.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from mss_models.masks import bounded_complex_mask, mixture_consistency
from mss_models.networks.front_end import FrontEnd, check_mixture
from mss_models.networks.network_separator import NetworkSeparator, Signature
from mss_models.networks.subband_unet import Context, Skips, SubbandUnet, SubbandUnetSettings, frame_cost
from mss_models.stft import StftSettings, istft, stft

SubbandHead = Literal["shares", "mask", "mapping"]
Consistency = Literal["none", "equal", "energy"]
Level = Literal["absolute", "segment"]

_OUTPUTS: Mapping[SubbandHead, int] = {"shares": 3, "mask": 2, "mapping": 2}
# Real part, imaginary part, magnitude.
_PARTS = 3
# Magnitudes are compressed from here on, -160 dB; the derivative of a root at 0 has no bound.
_SMALLEST = 1e-8
# Segments below this root mean square of scaled cells, about -90 dBFS, are not made as loud as music.
_QUIETEST = 1e-6


@dataclass(frozen=True, slots=True)
class SubbandSettings:
    """A sub-band network with its front end and the meaning of its outputs.

    Parameters
    ----------
    stems : tuple of str
        Names of the estimates, at least one, no two alike.
    front_end : FrontEnd
        Transform and scales.
    head : {"shares", "mask", "mapping"}
        See this module.
    segment_frames : int
        Frames of the segment it works best with; a multiple of ``2 ** (scales - 1)`` wastes nothing.
    power : float, in (0, 1]
        Exponent of the compression.
    level : {"absolute", "segment"}
        What the network's input is relative to, see this module.
    consistency : {"none", "equal", "energy"}
        How what the estimates leave of the mixture is shared out among them, if at all: see
        `mss_models.masks.mixture_consistency`.
    sub_bands, channels, convolutions, bottleneck, skips, context, context_size
        See `SubbandUnetSettings`.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    stems: tuple[str, ...]
    front_end: FrontEnd
    head: SubbandHead
    segment_frames: int
    power: float = 0.4
    level: Level = "absolute"
    consistency: Consistency = "none"
    sub_bands: int = 8
    channels: tuple[int, ...] = (48, 96, 144)
    convolutions: int = 2
    bottleneck: int = 8
    skips: Skips = "add"
    context: Context = "gru"
    context_size: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.power <= 1:
            raise ValueError(f"power must be in (0, 1], got {self.power}")
        words = (("head", SubbandHead), ("level", Level), ("consistency", Consistency))
        for name, choices in ((name, get_args(kind)) for name, kind in words):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got `{getattr(self, name)}`")
        self.signature, self.network  # noqa: B018 - their own checks

    @property
    def signature(self) -> Signature:
        """What the separator takes and gives."""
        return self.front_end.signature(self.stems, segment_frames=self.segment_frames)

    @property
    def network(self) -> SubbandUnetSettings:
        """Settings of the network, with the planes that follow from stems, front end and head."""
        channels = self.front_end.channels
        return SubbandUnetSettings(
            in_planes=_PARTS * channels,
            out_planes=_OUTPUTS[self.head] * len(self.stems) * channels,
            bins=self.front_end.bins,
            sub_bands=self.sub_bands,
            channels=self.channels,
            convolutions=self.convolutions,
            bottleneck=self.bottleneck,
            skips=self.skips,
            context=self.context,
            context_size=self.context_size,
        )


def multiply_accumulates(settings: SubbandSettings) -> float:
    """Count the network's multiplications for one second of audio.

    Parameters
    ----------
    settings : SubbandSettings
        Network and front end.

    Returns
    -------
    float
        As `frame_cost` counts them, for the frames that begin in a second: without transforms, without overlap of
        segments.
    """
    front_end = settings.front_end
    return frame_cost(settings.network) * front_end.sample_rate / front_end.stft.hop_length


class SubbandSeparator(NetworkSeparator[SubbandUnet]):
    """One sub-band network for all stems.

    Parameters
    ----------
    settings : SubbandSettings
        Front end, network and head.
    """

    def __init__(self, settings: SubbandSettings) -> None:
        super().__init__(SubbandUnet(settings.network), settings.signature)
        self.settings = settings

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the stems differentiably, in the network's own precision and mode.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, channel, sample)
            At least 1 sample.

        Returns
        -------
        float32 Tensor of shape (batch, stem, channel, sample)
            Estimates.
        """
        check_mixture(mixture, self.channels)
        front_end = self.settings.front_end
        spectrum = stft(mixture, front_end.stft)  # (batch, channel, bin, frame)
        planes, expansion = self._planes(spectrum, torch.float32)
        parts = self._parts(self.network(planes).float())
        heard = spectrum.transpose(-1, -2)[..., : front_end.bins]  # (batch, channel, frame, bin)
        heard = heard.unsqueeze(1)  # (batch, 1, channel, frame, bin)
        cells = _spectra(parts, heard.real, heard.imag, expansion.unsqueeze(1), head=self.settings.head)
        missing = front_end.stft.bins - front_end.bins
        spectra = nn.functional.pad(cells, (0, missing)).transpose(-1, -2)  # (batch, stem, channel, bin, frame)
        estimates: Tensor = _Inverse.apply(spectra, front_end.stft, mixture.shape[-1])  # type: ignore[no-untyped-call]
        return self._consistent(mixture, estimates)

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        network, dtype = self.prepared_network, self.prepared_dtype
        front_end = self.settings.front_end
        # Made outside, so that the caller may change it in place: inference tensors forbid that.
        estimates = mixture.new_empty(mixture.shape[0], len(self.stems), *mixture.shape[1:])
        with torch.inference_mode():
            spectrum = stft(mixture, front_end.stft)  # (batch, channel, bin, frame)
            planes, expansion = self._planes(spectrum, dtype)
            outputs = network(planes)  # (batch, frame, output * stem * channel, bin)
            parts = self._parts(outputs)
            heard = spectrum.transpose(-1, -2)[..., : front_end.bins]  # (batch, channel, frame, bin)
            # One stem and channel at a time: the spectrograms of the estimates never exist all at once.
            whole = spectrum.new_zeros(spectrum.shape[0], spectrum.shape[-1], front_end.stft.bins)
            for channel in range(self.channels):
                # Read by every stem, and twice as fast where the numbers of a part lie side by side.
                real, imaginary = heard[:, channel].real.contiguous(), heard[:, channel].imag.contiguous()
                for stem in range(len(self.stems)):
                    one = [part[:, stem, channel] for part in parts]  # each (batch, frame, bin)
                    cells = _spectra(one, real, imaginary, expansion[:, channel], head=self.settings.head)
                    whole[..., : front_end.bins] = cells
                    signal = istft(whole.transpose(-1, -2), front_end.stft, mixture.shape[-1])
                    estimates[:, stem, channel] = signal
        return self._consistent(mixture, estimates)

    def inference_copy(self) -> SubbandUnet:
        """Copy the network as its base does; its linear layers have batch norms too."""
        network = super().inference_copy()
        network.fold_batch_norm()
        return network

    def _planes(self, spectrum: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Give what the network sees, (batch, frame, part * channel, bin), and ``e``, (batch, channel, frame, bin)."""
        front_end, power = self.settings.front_end, self.settings.power
        heard = spectrum.transpose(-1, -2)[..., : front_end.bins]  # (batch, channel, frame, bin)
        magnitude = heard.abs()
        scale = self._scale(magnitude)
        scaled = (magnitude * scale).clamp_min(_SMALLEST)
        compressed = scaled.pow(power)
        gain = compressed / scaled * scale
        batch, channels, frames, bins = heard.shape
        planes = magnitude.new_empty(batch, frames, _PARTS, channels, bins, dtype=dtype)
        for place, part in enumerate((heard.real * gain, heard.imag * gain, compressed)):
            planes[:, :, place] = part.transpose(1, 2)  # (batch, frame, channel, bin)
        # Where the compression ends, cells are shared out and nothing is added: else the faintest would be made loud.
        return planes.flatten(2, 3), (magnitude / compressed).masked_fill_(scaled <= _SMALLEST, 0.0)

    def _scale(self, magnitude: Tensor) -> Tensor | float:
        """Give the factor between cells and what is compressed, (batch, 1, 1, 1) or one for all."""
        gain = self.settings.front_end.gain
        if self.settings.level == "absolute":
            return gain
        energy = (magnitude * gain).square().mean(dim=(1, 2, 3), keepdim=True)  # over channel, frame and bin
        return gain / energy.clamp_min(_QUIETEST**2).sqrt()

    def _parts(self, outputs: Tensor) -> Sequence[Tensor]:
        """Give the outputs of each stem and channel, each (batch, stem, channel, frame, bin); shares are softmaxed."""
        batch, frames, _, bins = outputs.shape
        stacked = outputs.reshape(batch, frames, -1, len(self.stems), self.channels, bins)
        parts: Sequence[Tensor] = stacked.permute(2, 0, 3, 4, 1, 5).unbind()  # each (batch, stem, channel, frame, bin)
        if self.settings.head != "shares":
            return parts
        return (parts[0].float().softmax(dim=1), *parts[1:])

    def _consistent(self, mixture: Tensor, estimates: Tensor) -> Tensor:
        """Share out what the estimates leave, if that is chosen."""
        if self.settings.consistency == "none":
            return estimates
        return mixture_consistency(mixture, estimates, shares=self.settings.consistency)


def _spectra(
    parts: Sequence[Tensor], real: Tensor, imaginary: Tensor, expansion: Tensor, *, head: SubbandHead
) -> Tensor:
    """Turn the outputs of stems into their spectra; all of shape (..., frame, bin) that broadcast."""
    if head == "mask":
        mask = bounded_complex_mask(parts[0], parts[1], head="cartesian")
        return mask * torch.complex(real, imaginary)
    # Products of half precisions with float32 are float32.
    first, second = parts[-2] * expansion, parts[-1] * expansion
    if head == "shares":
        first = torch.addcmul(first, parts[0], real)
        second = torch.addcmul(second, parts[0], imaginary)
    return torch.complex(first, second)


class _Inverse(torch.autograd.Function):
    """`istft` with a derivative that is one transform, half the work of taking its slices and sums apart.

    The inverse multiplies each frame's inverse Fourier transform by the window over the sum of squared windows, which
    has the period of the hop, and adds the frames up. Its transpose divides the signal by that sum and transforms it.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, spectrum: Tensor, grid: StftSettings, samples: int) -> Tensor:
        """See `istft`."""
        ctx.grid = grid  # type: ignore[attr-defined]
        return istft(spectrum, grid, samples)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Give the derivative by the spectrum."""
        grid: StftSettings = ctx.grid  # type: ignore[attr-defined]
        squares = gradient.new_zeros(grid.overlap_frames * grid.hop_length)
        squares[: grid.n_fft] = torch.hann_window(grid.n_fft, dtype=gradient.dtype, device=gradient.device).square()
        total = squares.view(-1, grid.hop_length).sum(dim=0)  # (hop,)
        samples = gradient.shape[-1]
        spectrum = stft(gradient / total.repeat(-(-samples // grid.hop_length))[:samples], grid)
        spectrum *= 2 / grid.n_fft
        # All but the first and the last bin stand for two of the whole circle.
        spectrum[..., 0, :] /= 2
        spectrum[..., -1, :] /= 2
        return spectrum, None, None
