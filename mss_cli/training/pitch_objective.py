"""Losses of vocals and their pitch learned together (thesis chapter 5)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mss_cli.training.batches import Batch
from mss_cli.training.objective import normalized, stem_scores
from mss_models.networks.vocal_pitch_losses import vocal_pitch_losses
from mss_models.networks.vocal_pitch_separator import VocalPitchSeparator

MAGNITUDE, SALIENCE = "magnitude-l1", "salience-l2"


class VocalPitchObjective:
    """Losses 5.2 to 5.4 of a `VocalPitchSeparator`; of both estimates where there are inner ones.

    Parameters
    ----------
    separator : VocalPitchSeparator
        Tells wiring and normalisation.
    stems : sequence of str
        Stems of an example; "vocals" is one of them.
    weights : mapping of str to float
        Of "magnitude-l1" and "salience-l2"; one that is missing is not learned.
    """

    def __init__(self, separator: VocalPitchSeparator, stems: Sequence[str], weights: Mapping[str, float]) -> None:
        self._vocals = list(stems).index(separator.stems[0])
        self._weights = dict(weights)
        self._settings = separator.settings

    def terms(self, network: nn.Module, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `mss_cli.training.objective.Objective`."""
        separator, mixture, vocals, salience = self._signals(network, batch)
        phases = self._settings.phases
        phase = phases[min(int(progress * len(phases)), len(phases) - 1)]
        if separator.network.phase != phase:
            separator.network.begin(phase)
        estimate = separator.estimate(mixture, vocals=vocals, salience=salience)
        losses = vocal_pitch_losses(separator.network.magnitude(vocals), salience, estimate)
        terms = {
            MAGNITUDE: losses.source,
            f"inner-{MAGNITUDE}": losses.inner_source,
            SALIENCE: losses.pitch,
            f"inner-{SALIENCE}": losses.inner_pitch,
        }
        return {name: value for name, value in terms.items() if value is not None}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """See `mss_cli.training.objective.Objective`."""
        weighed = [
            self._weights[name.removeprefix("inner-")] * value
            for name, value in terms.items()
            if name.removeprefix("inner-") in self._weights
        ]
        return torch.stack(weighed).sum()

    def scores(self, network: nn.Module, batch: Batch) -> dict[str, tuple[float, float]]:
        """Give the SDR of the vocals and, in the same unit, how near the salience is: both in dB.

        The latter is 10 log10(|S|^2 / |S - S^|^2) of each example with a voiced frame.
        """
        separator, mixture, vocals, salience = self._signals(network, batch)
        estimate = separator.estimate(mixture, vocals=vocals, salience=salience)
        scores: dict[str, tuple[float, float]] = {}
        if estimate.mask is not None:
            waveform = separator.waveform(mixture, estimate)
            scores |= stem_scores(separator.stems, estimates=waveform, targets=vocals.unsqueeze(1), mixture=mixture)
        if estimate.salience is not None and salience is not None:
            energy = salience.double().square().sum(dim=(1, 2))
            error = (salience.double() - estimate.salience.double()).square().sum(dim=(1, 2)).clamp_min(1e-20)
            voiced = energy > 0
            nearness = 10 * torch.log10(energy[voiced] / error[voiced])
            scores["salience"] = float(nearness.sum()), float(voiced.sum())
        return scores

    def _signals(self, network: nn.Module, batch: Batch) -> tuple[VocalPitchSeparator, Tensor, Tensor, Tensor | None]:
        if not isinstance(network, VocalPitchSeparator):
            raise TypeError("the objective needs a network of vocals and pitch")
        stems = normalized(batch.stems, self._settings.front_end.normalization)
        salience = None if batch.salience is None else batch.salience.float()
        return network, stems.sum(dim=1), stems[:, self._vocals], salience
