"""What a training makes smaller: the network's outputs on a batch, term by term, and scores for its validation."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from mss_cli.training.batches import Batch
from mss_models.losses import Term, evaluate_terms, total
from mss_models.networks.network_separator import SeparatorModule
from mss_models.separator import Normalization

# Below this level, relative to the mixture, a stem counts as silent and has no score.
_SILENT_DB = -60.0


class Objective(Protocol):
    """Joins a network with its losses."""

    def terms(self, network: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Compute every term of the loss, unweighted.

        Parameters
        ----------
        network : nn.Module
            The one that is trained, or its average.
        batch : Batch
            Augmented, on the network's device.
        progress : float, in [0, 1]
            Share of the training that is done, for networks trained in phases.

        Returns
        -------
        dict of str to scalar Tensor
            By the term's name.
        """

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Weigh and add the terms: what is differentiated."""

    def scores(self, network: nn.Module, batch: Batch) -> dict[str, tuple[float, float]]:
        """Score a batch for validation.

        Returns
        -------
        dict of str to (float, float)
            Sum and count by name, so that batches can be added; higher is better.
        """


class SeparationObjective:
    """Losses of a separator on the stems it estimates.

    Parameters
    ----------
    separator : SeparatorModule
        Tells stems, transform and normalisation.
    stems : sequence of str
        Stems of an example, in order; all of the separator's are among them.
    terms : sequence of Term
        With their weights.
    """

    def __init__(self, separator: SeparatorModule, stems: Sequence[str], terms: Sequence[Term]) -> None:
        self._names = separator.network_stems
        self._places = [list(stems).index(name) for name in self._names]
        self._terms = tuple(terms)
        self._transform = separator.transform
        self._normalization: Normalization = separator.normalization

    def terms(self, network: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `Objective`."""
        mixture, targets = self._signals(batch)
        estimates = self._estimates(network, mixture)
        return evaluate_terms(
            self._terms, estimates=estimates, targets=targets, mixture=mixture, transform=self._transform
        )

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """See `Objective`."""
        return total(self._terms, dict(terms))

    def scores(self, network: nn.Module, batch: Batch) -> dict[str, tuple[float, float]]:
        """Give the SDR over each example, 10 log10(|y|^2 / |y - ŷ|^2), by stem; silent stems are left out."""
        mixture, targets = self._signals(batch)
        estimates = self._estimates(network, mixture)
        return stem_scores(self._names, estimates=estimates, targets=targets, mixture=mixture)

    def _estimates(self, network: nn.Module, mixture: Tensor) -> Tensor:
        """Estimates of the networks, (batch, stem, channel, sample); a residual, the last one, is not learned."""
        estimates: Tensor = network(mixture)
        return estimates[:, : len(self._names)].float()

    def _signals(self, batch: Batch) -> tuple[Tensor, Tensor]:
        stems = normalized(batch.stems, self._normalization)
        return stems.sum(dim=1), stems[:, self._places]


def normalized(stems: Tensor, normalization: Normalization) -> Tensor:
    """Scale examples as the streaming engine scales tracks: by the mixture's peak or deviation.

    Parameters
    ----------
    stems : float32 Tensor of shape (batch, stem, channel, sample)
        A silent mixture stays as it is.
    normalization : {"none", "deviation", "peak"}
        Of the separator.
    """
    if normalization == "none":
        return stems
    mixture = stems.sum(dim=1)  # (batch, channel, sample)
    if normalization == "peak":
        scale = mixture.abs().amax(dim=(1, 2))
    else:
        scale = mixture.mean(dim=1).std(dim=1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return stems / scale[:, None, None, None]


def stem_scores(
    names: Sequence[str], *, estimates: Tensor, targets: Tensor, mixture: Tensor
) -> dict[str, tuple[float, float]]:
    """Sum and count the SDR of each stem over the examples where it sounds.

    Parameters
    ----------
    names : sequence of str
        Along the stem axis.
    estimates, targets : float32 Tensor of shape (batch, stem, channel, sample)
        Equal shapes.
    mixture : float32 Tensor of shape (batch, channel, sample)
        Tells which stems count as silent.
    """
    energy = targets.double().square().sum(dim=(2, 3))  # (batch, stem)
    error = (estimates.detach().double() - targets.double()).square().sum(dim=(2, 3))
    floor = mixture.double().square().sum(dim=(1, 2))[:, None] * 10 ** (_SILENT_DB / 10)
    sounds = (energy > floor) & (energy > 0)
    sdr = 10 * torch.log10(energy.clamp_min(1e-20) / error.clamp_min(1e-20))
    return {
        name: (float(sdr[:, place][sounds[:, place]].sum()), float(sounds[:, place].sum()))
        for place, name in enumerate(names)
    }
