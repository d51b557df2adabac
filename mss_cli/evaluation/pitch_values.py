"""Scores of the pitch of the vocals of one track, as values and as strict JSON."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Final, Literal, get_args

from mss_cli.events import Json

PitchMetric = Literal["RPA", "RCA", "OA", "VR", "VFA"]
PITCH_METRICS: Final[tuple[PitchMetric, ...]] = get_args(PitchMetric)
# Of `VFA` the lower is better.
HIGHER_IS_BETTER: Final[tuple[PitchMetric, ...]] = ("RPA", "RCA", "OA", "VR")
_DECIMALS: Final = 6


@dataclass(frozen=True, slots=True)
class PitchScores:
    """Shares of frames at the times of the labels, 0 to 1, in the order of `PITCH_METRICS`.

    Attributes
    ----------
    raw_pitch_accuracy, raw_chroma_accuracy : float
        Of the voiced frames; NaN if there is none.
    overall_accuracy : float
        Of all frames.
    voicing_recall, voicing_false_alarm : float
        Of the voiced, and of the unvoiced, frames; NaN if there is none.
    """

    raw_pitch_accuracy: float
    raw_chroma_accuracy: float
    overall_accuracy: float
    voicing_recall: float
    voicing_false_alarm: float

    def value(self, metric: PitchMetric) -> float:
        """Give one of them."""
        values: tuple[float, ...] = astuple(self)
        return values[PITCH_METRICS.index(metric)]

    def to_json(self) -> dict[str, Json]:
        """Give them by metric; null where there is no such frame."""
        return {metric: _share(self.value(metric)) for metric in PITCH_METRICS}

    @classmethod
    def from_json(cls, entry: Mapping[str, Json]) -> "PitchScores":
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError, KeyError
            If one is missing, or is neither null nor a share.
        """
        return cls(*(_number(entry[metric]) for metric in PITCH_METRICS))


def _share(value: float) -> float | None:
    return round(value, _DECIMALS) if math.isfinite(value) else None


def _number(value: Json) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("a score of pitch is neither a share nor null")
    return float(value)
