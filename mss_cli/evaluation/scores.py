"""Scores of one track, as values, as museval's JSON and as strict JSON of ours."""

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, get_args

import numpy as np

from mss_cli.evaluation.aggregate import Rule, combine
from mss_cli.evaluation.pitch_values import PitchScores
from mss_cli.events import Json

Metric = Literal["SDR", "ISR", "SIR", "SAR"]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
FurtherMetric = Literal["SDR v3", "SIR v3", "SAR v3", "NSDR", "log-WMSE", "bleedless", "fullness"]
FURTHER_METRICS: Final[tuple[FurtherMetric, ...]] = get_args(FurtherMetric)
# The order in which museval writes them.
_MUSEVAL_ORDER: Final[tuple[Metric, ...]] = ("SDR", "SIR", "SAR", "ISR")
_FIVE_DECIMALS: Final = Decimal(".00001")
# Decimals of every score in our files: finer than any tolerance, coarse enough to be read.
DECIMALS: Final = 6

FOUR_STEMS: Final = "four-stems"
PAIR: Final = "vocals-accompaniment"


@dataclass(frozen=True, slots=True)
class Frames:
    """One metric of one stem in every frame: dB, NaN where nothing can be scored, infinite for a perfect frame."""

    metric: Metric
    values: tuple[float, ...]

    def median(self) -> float:
        """Median of the finite frames; NaN if there is none."""
        return self._combined(Rule.MEDIAN)

    def mean(self) -> float:
        """Mean of the finite frames; NaN if there is none."""
        return self._combined(Rule.MEAN)

    def _combined(self, rule: Rule) -> float:
        return rounded([float(combine(np.asarray(self.values, np.float64), rule))])[0]


@dataclass(frozen=True, slots=True)
class FurtherScore:
    """One of `FURTHER_METRICS`: one number for the whole track, NaN if it is not defined."""

    metric: FurtherMetric
    value: float


@dataclass(frozen=True, slots=True)
class StemScores:
    """Scores of one stem of one track.

    Attributes
    ----------
    stem : str
    scenario : str
        `FOUR_STEMS` or `PAIR`: with which other stems it was scored.
    frames : tuple of Frames
        Of each metric that was asked for, SDR first; empty if the stem was not scored.
    usdr, si_sdr : float, dB
        Over the whole track; NaN if not defined.
    reason : str or None
        Why it was not scored: "silent reference" or "silent estimate".
    further : tuple of FurtherScore
        Empty unless they were asked for.
    """

    stem: str
    scenario: str
    frames: tuple[Frames, ...]
    usdr: float
    si_sdr: float
    reason: str | None = None
    further: tuple[FurtherScore, ...] = ()

    @property
    def frame_count(self) -> int:
        """Number of frames of the track."""
        return len(self.frames[0].values) if self.frames else 0

    @property
    def nan_frames(self) -> int:
        """Number of frames that are not scored, or perfect and so infinite: medians leave both out."""
        return sum(not math.isfinite(value) for value in self.frames[0].values) if self.frames else 0

    def median(self, metric: Metric) -> float:
        """Median over frames; NaN if the metric was not asked for."""
        return next((frames.median() for frames in self.frames if frames.metric == metric), math.nan)

    def of_track(self, metric: str, rule: Rule = Rule.MEDIAN) -> float:
        """One number for the track; NaN if there is none.

        Parameters
        ----------
        metric : str
            One of `METRICS`, "uSDR", "SI-SDR" or one of `FURTHER_METRICS`.
        rule : Rule
            Over the frames of `METRICS`; the others are one number as they are.
        """
        if metric == "uSDR":
            return self.usdr
        if metric == "SI-SDR":
            return self.si_sdr
        for frames in self.frames:
            if frames.metric == metric:
                return frames.median() if rule is Rule.MEDIAN else frames.mean()
        return next((score.value for score in self.further if score.metric == metric), math.nan)


@dataclass(frozen=True, slots=True)
class TrackScores:
    """Scores of one track.

    Attributes
    ----------
    name, subset : str
    samples : int
        Scored, per channel.
    sample_rate : int, Hz
        A frame is one second.
    stems : tuple of StemScores
    pitch : PitchScores or None
        Of the vocals, where the track has labels and the system tells a pitch.
    """

    name: str
    subset: str
    samples: int
    sample_rate: int
    stems: tuple[StemScores, ...]
    pitch: PitchScores | None = None


def museval_json(track: TrackScores, *, version: str) -> str:
    """Write scores as museval does: five decimals, NaN also for infinite values.

    Parameters
    ----------
    track : TrackScores
        Stems that were not scored are left out, as museval has no way to say so. A metric that was not asked for is
        NaN.
    version : str
        What stands under `museval_version`.

    Returns
    -------
    str
        Not strict JSON: NaN is written as `NaN`, as museval's own reader expects.
    """
    targets = [_museval_target(stem) for stem in track.stems if stem.frames]
    listed = "[\n" + ",\n".join(targets) + "\n  ]" if targets else "[]"
    return f'{{\n  "targets": {listed},\n  "museval_version": {_quoted(version)}\n}}'


def _museval_target(stem: StemScores) -> str:
    columns = {frames.metric: frames.values for frames in stem.frames}
    frames = []
    for index in range(stem.frame_count):
        rows = [
            f'            "{metric}": {_museval_number(columns[metric][index] if metric in columns else math.nan)}'
            for metric in _MUSEVAL_ORDER
        ]
        frames.append(
            f'        {{\n          "time": {float(index)},\n          "duration": 1.0,\n          "metrics": {{\n'
            + ",\n".join(rows)
            + "\n          }\n        }"
        )
    listed = "[\n" + ",\n".join(frames) + "\n      ]" if frames else "[]"
    return f'    {{\n      "name": {_quoted(stem.stem)},\n      "frames": {listed}\n    }}'


def _museval_number(value: float) -> str:
    return str(Decimal(value).quantize(_FIVE_DECIMALS)) if math.isfinite(value) else "NaN"


def _quoted(text: str) -> str:
    return json.dumps(text)


def to_json(track: TrackScores) -> dict[str, Json]:
    """Give a track as strict JSON: null where a score is not a finite number, and the reason beside it.

    A name that is not UTF-8 is written readably as `name`, and byte by byte, base64, as `name_b64`.
    """
    pitch: dict[str, Json] = {} if track.pitch is None else {"pitch": track.pitch.to_json()}
    return {
        **_text("name", track.name),
        **_text("subset", track.subset),
        **pitch,
        "samples": track.samples,
        "sample_rate": track.sample_rate,
        "stems": {stem.stem: _stem_json(stem) for stem in track.stems},
    }


def readable(text: str) -> str:
    r"""Give a name of the file system as text that UTF-8 can hold: other bytes become `\xff`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _text(key: str, text: str) -> dict[str, Json]:
    plain: dict[str, Json] = {key: readable(text)}
    if plain[key] != text:
        plain[f"{key}_b64"] = base64.b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")
    return plain


def _text_of(entry: dict[str, Json], key: str) -> str:
    raw = entry.get(f"{key}_b64")
    if raw is None:
        return str(entry[key])
    return base64.b64decode(str(raw), validate=True).decode("utf-8", "surrogateescape")


def _stem_json(stem: StemScores) -> dict[str, Json]:
    entry: dict[str, Json] = {
        "scenario": stem.scenario,
        "frames": {frames.metric: [number(value) for value in frames.values] for frames in stem.frames},
        "median": {frames.metric: number(frames.median()) for frames in stem.frames},
        "mean": {frames.metric: number(frames.mean()) for frames in stem.frames},
        "nan_frames": stem.nan_frames,
        "usdr": number(stem.usdr),
        "si_sdr": number(stem.si_sdr),
    }
    infinite: dict[str, Json] = {
        frames.metric: {str(place): _sign(value) for place, value in enumerate(frames.values) if math.isinf(value)}
        for frames in stem.frames
        if any(map(math.isinf, frames.values))
    }
    numbers: list[tuple[str, float]] = [("usdr", stem.usdr), ("si_sdr", stem.si_sdr)]
    numbers += [(score.metric, score.value) for score in stem.further]
    whole: dict[str, Json] = {key: _sign(value) for key, value in numbers if math.isinf(value)}
    if stem.further:
        entry["further"] = {score.metric: number(score.value) for score in stem.further}
    if infinite or whole:
        entry["infinite"] = infinite | whole
    if stem.reason is not None:
        entry["reason"] = stem.reason
    return entry


def from_json(entry: Json) -> TrackScores:
    """Read what `to_json` wrote.

    Raises
    ------
    ValueError
        If something is missing or of the wrong type.
    """
    try:
        return _track(_object(entry))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not scores of a track: {error}") from error


def _track(entry: dict[str, Json]) -> TrackScores:
    samples, rate = entry["samples"], entry["sample_rate"]
    if not isinstance(samples, int) or not isinstance(rate, int):
        raise ValueError("samples and sample_rate must be whole numbers")
    stems = [_stem(name, _object(value)) for name, value in _object(entry["stems"]).items()]
    pitch = PitchScores.from_json(_object(entry["pitch"])) if "pitch" in entry else None
    return TrackScores(_text_of(entry, "name"), _text_of(entry, "subset"), samples, rate, tuple(stems), pitch)


def _stem(name: str, entry: dict[str, Json]) -> StemScores:
    infinite = _object(entry.get("infinite", {}))
    columns = _object(entry["frames"])
    frames = []
    for metric in METRICS:
        if metric not in columns:
            continue
        column = columns[metric]
        if not isinstance(column, list):
            raise ValueError(f"{metric} must be a list")
        signs = _object(infinite.get(metric, {}))
        values = [_number(value, signs.get(str(place))) for place, value in enumerate(column)]
        frames.append(Frames(metric, tuple(values)))
    further = _object(entry.get("further", {}))
    reason = entry.get("reason")
    return StemScores(
        stem=name,
        scenario=str(entry["scenario"]),
        frames=tuple(frames),
        usdr=_number(entry["usdr"], infinite.get("usdr")),
        si_sdr=_number(entry["si_sdr"], infinite.get("si_sdr")),
        reason=None if reason is None else str(reason),
        further=tuple(
            FurtherScore(metric, _number(further[metric], infinite.get(metric)))
            for metric in FURTHER_METRICS
            if metric in further
        ),
    )


def number(value: float) -> float | None:
    """Round a score for a file; None if it is not finite."""
    return round(value, DECIMALS) + 0.0 if math.isfinite(value) else None


def rounded(values: Sequence[float]) -> tuple[float, ...]:
    """Round scores as files have them, so that what is shown equals what is read again."""
    return tuple(value if not math.isfinite(value) else round(value, DECIMALS) + 0.0 for value in values)


def _number(value: Json, sign: Json) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):  # strict JSON can still say 1e999
            raise ValueError("a score is not finite")
        return float(value)
    if value is not None:
        raise ValueError("a score is neither a number nor null")
    return {"+": math.inf, "-": -math.inf}.get(str(sign), math.nan)


def _sign(value: float) -> str:
    return "+" if value > 0 else "-"


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ValueError("an object is needed")
    return value
