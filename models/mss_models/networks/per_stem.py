"""One mask network per stem; what they leave is the residual."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from mss_models.masks import residual
from mss_models.networks.front_end import check_mixture
from mss_models.networks.mask_separator import MaskSeparator
from mss_models.networks.network_separator import SeparatorModule
from mss_models.separator import Precision
from mss_models.stft import StftSettings, istft, stft


class PerStemSeparator(SeparatorModule):
    """One `MaskSeparator` per stem, and the stem that is left as the residual.

    Parameters
    ----------
    separators : sequence of MaskSeparator
        At least one; equal sample rate, channels and normalisation, no stem twice. The segment is the first
        one's.
    residual : str or None
        Name of the mixture minus all estimates, last in ``stems``; None for no such stem. With it the stems
        add up to the mixture.

    Raises
    ------
    ValueError
        If they do not go together.
    """

    def __init__(self, separators: list[MaskSeparator], *, residual: str | None) -> None:
        stems = tuple(stem for separator in separators for stem in separator.stems)
        stems += () if residual is None else (residual,)
        if not separators:
            raise ValueError("a per-stem separator needs at least one network")
        if len(set(stems)) != len(stems):
            raise ValueError(f"stems must be different names, got {', '.join(stems)}")
        for name in ("sample_rate", "channels", "normalization"):
            if len({getattr(separator, name) for separator in separators}) > 1:
                raise ValueError(f"all networks must have the same {name}")
        super().__init__(replace(separators[0].signature, stems=stems))
        self.residual = residual
        self.separators = nn.ModuleDict({"+".join(separator.stems): separator for separator in separators})

    @property
    def members(self) -> list[MaskSeparator]:
        """The separators in the order of their stems."""
        return [separator for separator in self.separators.values() if isinstance(separator, MaskSeparator)]

    @property
    def network_stems(self) -> tuple[str, ...]:
        """All stems but the residual."""
        return self.stems if self.residual is None else self.stems[:-1]

    def forget_prepared(self) -> None:
        """Drop the prepared copies, because weights change."""
        for member in self.members:
            member.forget_prepared()

    def prepare(self, device: torch.device, precision: Precision) -> None:
        """Prepare every network; see `MaskSeparator.prepare`."""
        for member in self.members:
            member.prepare(device, precision)

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimate the stems differentiably, in the networks' own precision and mode.

        Parameters
        ----------
        mixture : float32 Tensor of shape (batch, channel, sample)
            At least 1 sample.

        Returns
        -------
        float32 Tensor of shape (batch, stem, channel, sample)
            In the order of ``stems``, the residual last if there is one. A loss on the residual would train every
            network on what the others miss; ``estimates[:, :len(network_stems)]`` are the networks' own.
        """
        check_mixture(mixture, self.channels)
        spectra: dict[StftSettings, Tensor] = {}
        estimates: list[Tensor] = []
        for member in self.members:
            grid = member.settings.front_end.stft
            if grid not in spectra:
                spectra[grid] = stft(mixture, grid)  # (batch, channel, bin, frame)
            masked = member.masks(spectra[grid]) * spectra[grid].unsqueeze(1)
            estimates.append(istft(masked, grid, mixture.shape[-1]))  # (batch, stem, channel, sample)
        networks = torch.cat(estimates, dim=1)
        if self.residual is None:
            return networks
        return torch.cat([networks, residual(mixture, networks).unsqueeze(1)], dim=1)

    def separate(self, mixture: Tensor) -> Tensor:
        """Estimate the stems; see `mss_models.separator.Separator.separate`."""
        check_mixture(mixture, self.channels)
        spectra: dict[StftSettings, Tensor] = {}
        estimates = mixture.new_empty(mixture.shape[0], len(self.stems), *mixture.shape[1:])
        with torch.inference_mode():
            shared: tuple[MaskSeparator, Tensor] | None = None
            first = 0
            for member in self.members:
                grid = member.settings.front_end.stft
                if grid not in spectra:
                    spectra[grid] = stft(mixture, grid)
                if shared is None or not member.sees_as(shared[0]):
                    shared = (member, member.features(spectra[grid], member.prepared_dtype))
                last = first + len(member.stems)
                member.estimate_into(estimates[:, first:last], spectra[grid], shared[1])
                first = last
            if self.residual is not None:
                estimates[:, -1] = residual(mixture, estimates[:, :-1])
        return estimates
