"""Scores that need a whole track at once: BSSEval v3, NSDR, log-WMSE, bleedless and fullness."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from mss_cli.evaluation.scores import FURTHER_METRICS, FurtherScore, rounded

if TYPE_CHECKING:
    from torch import Tensor

Samples = NDArray[np.float32]
Wide = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WholeTrack:
    """A track in memory.

    Attributes
    ----------
    references, estimates : float32 Tensor of shape (stem, channel, sample)
    mixture : float32 Tensor of shape (channel, sample) or None
    sample_rate : int, Hz
    """

    references: "Tensor"
    estimates: "Tensor"
    mixture: "Tensor | None"
    sample_rate: int

    @classmethod
    def read(
        cls, blocks: Iterator[tuple[Wide, Wide]], mixture: Callable[[], Iterator[Samples]] | None, *, sample_rate: int
    ) -> Self:
        """Hold a track.

        Parameters
        ----------
        blocks : iterator of (references, estimates)
            Of shape (stem, channel, sample) each.
        mixture : callable or None
            Gives blocks (channel, sample); cut or filled with zeros to the length of the references.
        sample_rate : int, Hz
        """
        import torch

        held = [(references.astype(np.float32), estimates.astype(np.float32)) for references, estimates in blocks]
        true, made = (torch.from_numpy(np.concatenate(side, axis=-1)) for side in zip(*held, strict=True))
        whole = None if mixture is None else torch.from_numpy(_as_long(mixture(), true.shape[1], true.shape[2]))
        return cls(true, made, whole, sample_rate)

    def scores(self, places: Sequence[int]) -> list[tuple[FurtherScore, ...]]:
        """Score stems together.

        Parameters
        ----------
        places : sequence of int
            Of the stems on the first axis; none of them silent. Interference of v3 is that of the others of them.

        Returns
        -------
        list of tuple of FurtherScore
            One of each of `FURTHER_METRICS` for each stem; NaN where it is not defined: NSDR if the mono sum of the
            mixture is silent, log-WMSE at another rate than 44.1 kHz, and both without a mixture.
        """
        chosen = list(places)
        true, made = self.references[chosen], self.estimates[chosen]
        columns = [*self._v3(true, made), self._log_wmse(true, made), *self._bleed(true, made)]
        return [
            tuple(itertools.starmap(FurtherScore, zip(FURTHER_METRICS, rounded(row), strict=True)))
            for row in zip(*columns, strict=True)
        ]

    def _v3(self, true: "Tensor", made: "Tensor") -> list[list[float]]:
        """SDR, SIR, SAR and NSDR of the mono sums."""
        from mss_models.metrics.bss_eval import SilentStemError
        from mss_models.metrics.bss_eval_v3 import bss_eval_sources, sources_sdr

        nothing = [math.nan] * len(true)
        mono, estimate = true.mean(dim=1, keepdim=True), made.mean(dim=1, keepdim=True)  # (stem, 1, sample)
        scores = bss_eval_sources(mono, estimate)
        three = [scores.sdr.tolist(), scores.sir.tolist(), scores.sar.tolist()]
        if self.mixture is None:
            return [*three, nothing]
        try:
            floor = sources_sdr(mono, self.mixture.mean(dim=0).expand_as(mono))
        except SilentStemError:
            return [*three, nothing]
        return [*three, (scores.sdr - floor).tolist()]

    def _log_wmse(self, true: "Tensor", made: "Tensor") -> list[float]:
        from mss_models.metrics.log_wmse import SAMPLE_RATE, log_wmse

        if self.mixture is None or self.sample_rate != SAMPLE_RATE:
            return [math.nan] * len(true)
        return [float(value) for value in log_wmse(true, made, self.mixture)]

    def _bleed(self, true: "Tensor", made: "Tensor") -> list[list[float]]:
        from mss_models.metrics.bleed import bleedless_and_fullness

        bleedless, fullness = [], []
        for s, e in zip(true, made, strict=True):  # one by one: spectrograms are large
            scores = bleedless_and_fullness(s[None], e[None], sample_rate=self.sample_rate)
            bleedless.append(float(scores.bleedless))
            fullness.append(float(scores.fullness))
        return [bleedless, fullness]


def _as_long(blocks: Iterator[Samples], channels: int, samples: int) -> Samples:
    whole = np.zeros((channels, samples), np.float32)
    done = 0
    for block in blocks:
        step = min(block.shape[1], samples - done)
        whole[:, done : done + step] = block[:, :step]
        done += step
    return whole
