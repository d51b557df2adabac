"""Steps that change tempo, pitch or both; they need more audio than they give.

All stems and channels of an item change alike: they are meant for whole tracks, after the steps per stem
(thesis 6.2). An item that is not changed gives its first samples.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from mss_models.augmentation.draws import Draws
from mss_models.augmentation.speed import change_pitch, change_speed, change_tempo, nearest_ratios, reach
from mss_models.augmentation.step import Range, Step, check_ranges, window_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class TempoChange(Step):
    """Play faster or slower at the same pitch; see `speed.change_tempo`.

    Parameters
    ----------
    ratio : (float, float), in [0.25, 4]
        1.1 is 10 % faster. It needs that many times the samples, and two windows of 46 ms.
    """

    ratio: Range = (0.85, 1.15)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_ranges(self, {"ratio": (0.25, 4.0)})

    def required_samples(self, samples: int, *, sample_rate: int) -> int:
        """See `Step`."""
        return _required(samples, self.ratio[1], self._margin(sample_rate))

    def produced_samples(self, samples: int, *, sample_rate: int) -> int:
        """See `Step`."""
        return _produced(samples, self.ratio[1], self._margin(sample_rate))

    def _margin(self, sample_rate: int) -> int:
        # The last frame's middle lies half a window past the end, in the output; its samples half a window on.
        return math.ceil((max(1.0, self.ratio[1]) + 1) / 2 * window_samples(sample_rate))

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        samples = self.produced_samples(audio.shape[-1], sample_rate=sample_rate)
        return change_tempo(audio, draws.log_uniform(*self.ratio)[:, 0], samples, sample_rate=sample_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class PitchShift(Step):
    """Play higher or lower at the same tempo; see `speed.change_pitch`.

    Parameters
    ----------
    semitones : (float, float), in [-24, 24]
        Even on this axis. The ratio of frequencies is rounded to a fraction, mostly by 0.2 cents and by 7 at most.
    """

    semitones: Range = (-2.0, 2.0)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_ranges(self, {"semitones": (-24.0, 24.0)})

    def required_samples(self, samples: int, *, sample_rate: int) -> int:
        """See `Step`."""
        return samples + self._margin(sample_rate)

    def produced_samples(self, samples: int, *, sample_rate: int) -> int:
        """See `Step`."""
        return samples - self._margin(sample_rate)

    def _margin(self, sample_rate: int) -> int:
        slowest = 2 ** (-self.semitones[0] / 12)  # most input per sample of the stretched audio
        window = math.ceil((max(1.0, slowest) + 1) / 2 * window_samples(sample_rate))
        return window + math.ceil(reach(2 ** (self.semitones[1] / 12)) * max(1.0, slowest))

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        samples = self.produced_samples(audio.shape[-1], sample_rate=sample_rate)
        ratios = nearest_ratios(2 ** (draws.uniform(*self.semitones) / 12))
        return change_pitch(audio, ratios, samples, sample_rate=sample_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling(Step):
    """Play faster and higher, or slower and lower, as a tape does; see `speed.change_speed`.

    Parameters
    ----------
    ratio : (float, float), in [0.25, 4]
        1.1 is 10 % faster and 1.65 semitones up. It needs that many times the samples.
    """

    ratio: Range = (0.9, 1.1)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_ranges(self, {"ratio": (0.25, 4.0)})

    def required_samples(self, samples: int, *, sample_rate: int) -> int:
        """See `Step`."""
        return _required(samples, self.ratio[1], reach(self.ratio[1]))

    def produced_samples(self, samples: int, *, sample_rate: int) -> int:
        """See `Step`."""
        return _produced(samples, self.ratio[1], reach(self.ratio[1]))

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        samples = self.produced_samples(audio.shape[-1], sample_rate=sample_rate)
        return change_speed(audio, nearest_ratios(draws.log_uniform(*self.ratio)), samples)


def _required(samples: int, ratio: float, margin: int) -> int:
    return math.ceil(max(1.0, ratio) * samples) + margin


def _produced(samples: int, ratio: float, margin: int) -> int:
    """Most samples for which `_required` asks for no more than these; quotients are rounded, so it is asked."""
    produced = math.floor((samples - margin) / max(1.0, ratio))
    while _required(produced + 1, ratio, margin) <= samples:
        produced += 1
    while _required(produced, ratio, margin) > samples:
        produced -= 1
    return produced
