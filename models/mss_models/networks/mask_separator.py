"""Makes a mask network a `Separator`: transform, network, masks, inverse transform."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mss_models.masks import bounded_complex_mask
from mss_models.networks.front_end import FrontEnd, check_mixture, network_features
from mss_models.networks.network_separator import NetworkSeparator, Signature
from mss_models.networks.unet import Unet, UnetSettings
from mss_models.stft import istft, stft

Head = Literal["sigmoid", "polar", "cartesian"]

# Rows of a channels-last map that are turned to planes at once: read and written parts stay in the cache.
_TURNED_ROWS = 8


@dataclass(frozen=True, slots=True)
class MaskSettings:
    """A mask network with its front end and the meaning of its outputs.

    Parameters
    ----------
    stems : tuple of str
        Names of the estimates, at least one, no two alike.
    front_end : FrontEnd
        Transform and scales.
    head : {"sigmoid", "polar", "cartesian"}
        "sigmoid": magnitudes in, real masks out (T 4.5, 6.5). The others: real and imaginary part in,
        complex masks out (`mss_models.masks.bounded_complex_mask`).
    segment_frames : int
        Frames of the segment it works best with; a multiple of ``2 ** levels`` wastes nothing.
    levels, base_channels, skips, normalize_first, dropout_layers
        See `UnetSettings`.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    stems: tuple[str, ...]
    front_end: FrontEnd
    head: Head
    segment_frames: int
    levels: int = 6
    base_channels: int = 16
    skips: bool = True
    normalize_first: bool = True
    dropout_layers: int = 3

    def __post_init__(self) -> None:
        self.signature, self.network  # noqa: B018 - their own checks

    @property
    def signature(self) -> Signature:
        """What the separator takes and gives."""
        return self.front_end.signature(self.stems, segment_frames=self.segment_frames)

    @property
    def network(self) -> UnetSettings:
        """Settings of the network, with the channels that follow from stems, front end and head."""
        parts = 1 if self.head == "sigmoid" else 2
        return UnetSettings(
            in_channels=self.front_end.channels * parts,
            out_channels=len(self.stems) * self.front_end.channels * parts,
            levels=self.levels,
            base_channels=self.base_channels,
            skips=self.skips,
            normalize_first=self.normalize_first,
            dropout_layers=self.dropout_layers,
        )


class MaskSeparator(NetworkSeparator[Unet]):
    """One network whose outputs are the masks of all stems.

    Parameters
    ----------
    settings : MaskSettings
        Front end, network and head.
    """

    def __init__(self, settings: MaskSettings) -> None:
        super().__init__(Unet(settings.network), settings.signature)
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
        grid = self.settings.front_end.stft
        spectrum = stft(mixture, grid)  # (batch, channel, bin, frame)
        return istft(self.masks(spectrum) * spectrum.unsqueeze(1), grid, mixture.shape[-1])

    def masks(self, spectrum: Tensor) -> Tensor:
        """Compute the masks of a spectrogram, differentiably.

        Parameters
        ----------
        spectrum : complex64 Tensor of shape (batch, channel, bin, frame)
            From `mss_models.stft.stft` with the front end's settings.

        Returns
        -------
        float32 or complex64 Tensor of shape (batch, stem, channel, bin, frame)
            Real for the head "sigmoid", else complex; 0 above the front end's bins.
        """
        features = self.features(spectrum, torch.float32)
        outputs = self.network(features)  # (batch, stem * channel * part, bin, frame)
        bins, frames = self.settings.front_end.bins, spectrum.shape[-1]
        outputs = outputs[:, :, :bins, :frames].unflatten(1, (len(self.stems), self.channels, -1))
        masks = _masks(outputs.unbind(dim=3), self.settings.head)  # (batch, stem, channel, bin, frame)
        return nn.functional.pad(masks, (0, 0, 0, spectrum.shape[-2] - bins))

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        # Made outside, so that the caller may change it in place: inference tensors forbid that.
        estimates = mixture.new_empty(mixture.shape[0], len(self.stems), *mixture.shape[1:])
        with torch.inference_mode():
            spectrum = stft(mixture, self.settings.front_end.stft)  # (batch, channel, bin, frame)
            self.estimate_into(estimates, spectrum, self.features(spectrum, self.prepared_dtype))
        return estimates

    def features(self, spectrum: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn a spectrogram into what the network sees; see `mss_models.networks.front_end`."""
        return network_features(
            spectrum,
            self.settings.front_end,
            complex_parts=self.settings.head != "sigmoid",
            multiple=self.settings.network.multiple,
            dtype=dtype,
        )

    def sees_as(self, other: "MaskSeparator") -> bool:
        """Tell whether both networks see the same features of a mixture."""
        mine, its = self.settings, other.settings
        same_kind = (mine.head == "sigmoid") == (its.head == "sigmoid")
        return same_kind and mine.front_end == its.front_end and mine.levels == its.levels

    def estimate_into(self, estimates: Tensor, spectrum: Tensor, features: Tensor) -> None:
        """Write the estimates of a mixture whose spectrogram and features are known.

        Parameters
        ----------
        estimates : float32 Tensor of shape (batch, stem, channel, sample)
            Written to.
        spectrum : complex64 Tensor of shape (batch, channel, bin, frame)
            Of the mixture.
        features : Tensor of shape (batch, channel * part, padded bin, padded frame)
            From `features` in `prepared_dtype`.
        """
        front_end = self.settings.front_end
        outputs = self.prepared_network(features)  # (batch, stem * channel * part, padded bin, padded frame)
        frames = spectrum.shape[-1]
        planes = _planes(outputs[:, :, : front_end.bins, :frames])  # (batch, stem * channel * part, frame, bin)
        shape = (planes.shape[0], len(self.stems), self.channels, -1, *planes.shape[2:])
        planes = planes.view(shape)  # (batch, stem, channel, part, frame, bin)
        heard = spectrum.transpose(-1, -2)[..., : front_end.bins]  # (batch, channel, frame, bin)
        # One stem and channel at a time: its planes stay in the cache from the mask to the overlap-add, and
        # the spectrograms of the estimates never exist all at once.
        masked = spectrum.new_zeros(spectrum.shape[0], frames, front_end.stft.bins)  # (batch, frame, bin)
        for stem in range(planes.shape[1]):
            for channel in range(planes.shape[2]):
                parts = [plane.float() for plane in planes[:, stem, channel].unbind(dim=1)]
                mask = _masks(parts, self.settings.head)  # (batch, frame, bin)
                torch.mul(heard[:, channel], mask, out=masked[..., : front_end.bins])
                signal = istft(masked.transpose(-1, -2), front_end.stft, estimates.shape[-1])
                estimates[:, stem, channel] = signal


def _planes(outputs: Tensor) -> Tensor:
    """Turn (batch, part, bin, frame) into contiguous (batch, part, frame, bin)."""
    turned = outputs.transpose(-1, -2)  # (batch, part, frame, bin)
    planes = torch.empty(turned.shape, dtype=turned.dtype, device=turned.device)
    rows = _TURNED_ROWS if turned.device.type == "cpu" else turned.shape[2]
    for row in range(0, turned.shape[2], rows):
        planes[:, :, row : row + rows] = turned[:, :, row : row + rows]
    return planes


def _masks(parts: list[Tensor] | tuple[Tensor, ...], head: Head) -> Tensor:
    """Masks from the network's output parts: one for a real mask, two for a complex one."""
    if head == "sigmoid":
        return parts[0].sigmoid()
    return bounded_complex_mask(parts[0], parts[1], head=head)
