"""One system on one data set: `results.json` and `scores.csv`."""

import csv
import io
import json
import math
import os
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from mss_cli.datasets.track import VOCALS, in_order
from mss_cli.errors import InputError
from mss_cli.evaluation.aggregate import Rule, combine, summarize
from mss_cli.evaluation.pitch_values import PITCH_METRICS
from mss_cli.evaluation.scores import (
    FURTHER_METRICS,
    METRICS,
    FurtherMetric,
    Metric,
    StemScores,
    TrackScores,
    from_json,
    number,
    readable,
    to_json,
)
from mss_cli.evaluation.significance import bootstrap_interval
from mss_cli.events import Json
from mss_cli.files import output_error, publish, temporary_name

SCHEMA: Final = 1
SCORE_KIND: Final = "bsseval_v4 (images, 1 s frames, 512 taps): median of frames, median of tracks"
_NO_TEXT: Final = re.compile("[\ud800-\udfff]")
_HINT: Final = "write it anew with `mss-cli evaluate`"


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """What was evaluated: kind ("model", "estimates", "oracle", "baseline"), name, and what changes its estimates."""

    kind: str
    name: str
    settings: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """On what: data set, subset, and the number of tracks that published scores of it are over (None if no custom)."""

    name: str
    subset: str
    published_tracks: int | None


@dataclass(frozen=True, slots=True)
class Results:
    """Scores of one system on one data set.

    Attributes
    ----------
    system, dataset
    scenario : str
        As asked for: "auto", "four-stems" or "vocals-accompaniment"; each stem says which it was.
    score_kind : str
        The rule behind SDR, ISR, SIR and SAR. Numbers of another kind never stand beside these unmarked.
    decoder : str
        Libraries that read the references.
    tracks : tuple of TrackScores
        By subset and name.
    """

    system: SystemInfo
    dataset: DatasetInfo
    scenario: str
    score_kind: str
    decoder: str
    tracks: tuple[TrackScores, ...]

    @property
    def stems(self) -> tuple[str, ...]:
        """Stems of any track, in order."""
        return in_order(tuple({stem.stem for track in self.tracks for stem in track.stems}))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics of any stem."""
        found = {frames.metric for track in self.tracks for stem in track.stems for frames in stem.frames}
        return tuple(metric for metric in METRICS if metric in found)

    @property
    def further_metrics(self) -> tuple[FurtherMetric, ...]:
        """Further metrics of any stem."""
        found = {score.metric for track in self.tracks for stem in track.stems for score in stem.further}
        return tuple(metric for metric in FURTHER_METRICS if metric in found)

    @property
    def tells_pitch(self) -> bool:
        """Whether any track has scores of pitch."""
        return any(track.pitch is not None for track in self.tracks)

    def of(self, stem: str) -> list[StemScores]:
        """Scores of one stem, track by track."""
        return [scores for track in self.tracks for scores in track.stems if scores.stem == stem]

    def scenario_of(self, stem: str) -> str:
        """Scenario in which a stem was scored."""
        return ", ".join(sorted({scores.scenario for scores in self.of(stem)}))

    def per_track(self, stem: str, metric: str, rule: Rule = Rule.MEDIAN) -> dict[tuple[str, str], float]:
        """Score per track, by (subset, track): median or mean of frames, or the one number of other metrics.

        `PITCH_METRICS` are of the vocals.
        """
        if metric in PITCH_METRICS:
            known = {} if stem != VOCALS else {(t.subset, t.name): t.pitch for t in self.tracks if t.pitch is not None}
            return {key: scores.value(metric) for key, scores in known.items()}
        return {
            (track.subset, track.name): scores.of_track(metric, rule)
            for track in self.tracks
            for scores in track.stems
            if scores.stem == stem
        }

    def medians(self, stem: str, metric: str) -> dict[tuple[str, str], float]:
        """Score per track, by (subset, track): the median of frames, or the one number of other metrics."""
        return self.per_track(stem, metric)

    def value(self, stem: str, metric: str, rule: Rule = Rule.MEDIAN, *, frames_rule: Rule = Rule.MEDIAN) -> float:
        """One number for the set: median or mean over tracks of the score per track; NaN if there is none."""
        values = np.array(list(self.per_track(stem, metric, frames_rule).values()), np.float64)
        return float(combine(values, rule))

    def scored_tracks(self, stem: str, metric: str) -> frozenset[tuple[str, str]]:
        """(subset, track) of the tracks with a finite score."""
        return frozenset(key for key, value in self.per_track(stem, metric).items() if math.isfinite(value))

    def weighted_mean(self, stem: str, metric: str) -> float:
        """Mean over tracks, each counting by its length: GNSDR, if the metric is NSDR; NaN if there is none."""
        scores = self.per_track(stem, metric)
        seconds = {(track.subset, track.name): track.samples / track.sample_rate for track in self.tracks}
        kept = [key for key, value in scores.items() if math.isfinite(value) and seconds[key] > 0]
        if not kept:
            return math.nan
        return float(np.average([scores[key] for key in kept], weights=[seconds[key] for key in kept]))

    def only(self, keys: Set[tuple[str, str]]) -> "Results":
        """Keep the tracks with these (subset, track)."""
        return replace(self, tracks=tuple(track for track in self.tracks if (track.subset, track.name) in keys))

    def interval(self, stem: str, metric: str) -> tuple[float, float]:
        """95 % bootstrap interval over tracks of the median of `medians`."""
        found = bootstrap_interval(np.array(list(self.medians(stem, metric).values()), np.float64))
        return found.low, found.high


def to_text(results: Results) -> str:
    """Write results as strict JSON with sorted keys: the same results give the same bytes."""
    document: dict[str, Json] = {
        "schema": SCHEMA,
        "system": {
            "kind": results.system.kind,
            "name": results.system.name,
            "settings": dict(results.system.settings),
        },
        "dataset": {
            "name": results.dataset.name,
            "subset": results.dataset.subset,
            "tracks": len(results.tracks),
            "published_tracks": results.dataset.published_tracks,
        },
        "scenario": results.scenario,
        "score_kind": results.score_kind,
        "decoder": results.decoder,
        "tracks": [to_json(track) for track in results.tracks],
        "summary": {stem: _summary(results, stem) for stem in results.stems},
    }
    if results.tells_pitch:
        document["pitch"] = {metric: _over_tracks(results, VOCALS, metric) for metric in PITCH_METRICS}
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    # Of a stem or system whose name is not UTF-8: the file must be.
    return _NO_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _summary(results: Results, stem: str) -> dict[str, Json]:
    entry: dict[str, Json] = {"scenario": results.scenario_of(stem)}
    for metric in (*results.metrics, "uSDR", "SI-SDR", *results.further_metrics):
        figures = _over_tracks(results, stem, metric)
        if metric in METRICS:
            frames = [
                column.values for scores in results.of(stem) for column in scores.frames if column.metric == metric
            ]
            figures["median_of_medians"] = figures.pop("median")
            figures["mean_of_medians"] = figures.pop("mean")
            figures["median_of_means"] = number(results.value(stem, metric, frames_rule=Rule.MEAN))
            figures["mean_of_means"] = number(results.value(stem, metric, Rule.MEAN, frames_rule=Rule.MEAN))
            figures["frames"] = sum(len(values) for values in frames)
            figures["nan_frames"] = sum(not math.isfinite(value) for values in frames for value in values)
        if metric == "NSDR":
            figures["gnsdr"] = number(results.weighted_mean(stem, metric))
        entry[metric] = figures
    return entry


def _over_tracks(results: Results, stem: str, metric: str) -> dict[str, Json]:
    """Describe the one number per track of a metric."""
    values = np.array(list(results.medians(stem, metric).values()), np.float64)
    over = summarize(values)
    interval = bootstrap_interval(values)
    return {
        "ci95": [number(interval.low), number(interval.high)],
        "deviation": number(over.deviation),
        "lower_quartile": number(over.lower_quartile),
        "maximum": number(over.maximum),
        "mean": number(over.mean),
        "median": number(over.median),
        "minimum": number(over.minimum),
        "scored_tracks": over.tracks,
        "tracks": len(values),
        "upper_quartile": number(over.upper_quartile),
    }


def to_csv(results: Results) -> str:
    """Write one row per track, stem and metric: median and mean of frames, frames, frames without a score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["subset", "track", "stem", "scenario", "metric", "median", "mean", "frames", "nan_frames", "reason"]
    )
    for track in results.tracks:
        for stem in track.stems:
            base = [*map(readable, (track.subset, track.name, stem.stem)), stem.scenario]
            for column in stem.frames:
                counts = [len(column.values), sum(not math.isfinite(value) for value in column.values)]
                writer.writerow([*base, column.metric, _cell(column.median()), _cell(column.mean()), *counts, ""])
            whole = [("uSDR", stem.usdr), ("SI-SDR", stem.si_sdr)]
            whole += [(score.metric, score.value) for score in stem.further]
            for name, value in whole:
                writer.writerow([*base, name, _cell(value), _cell(value), "", "", stem.reason or ""])
        if track.pitch is not None:
            base = [*map(readable, (track.subset, track.name)), VOCALS, ""]
            for metric in PITCH_METRICS:
                cell = _cell(track.pitch.value(metric))
                writer.writerow([*base, metric, cell, cell, "", "", ""])
    return text.getvalue()


def _cell(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else ""


def write_results(results: Results, folder: Path) -> Path:
    """Write `results.json` and `scores.csv`; give the path of the first.

    Raises
    ------
    OutputError
        If one cannot be written.
    """
    write_text(folder / "scores.csv", to_csv(results))
    write_text(folder / "results.json", to_text(results))
    return folder / "results.json"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise output_error(path, error) from error
    publish({temporary: path})


def read_results(path: Path) -> Results:
    """Read a `results.json`.

    Raises
    ------
    InputError
        If it is missing or not what `to_text` writes: also if it holds NaN or Infinity, which strict JSON has not.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        document = json.loads(text, parse_constant=_no_constant)
    except OSError as error:
        raise InputError("cannot be read", path=str(path), hint="check the name") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a results file: {error}", path=str(path), hint=_HINT) from error
    try:
        return _results(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"not a results file: {error}", path=str(path), hint=_HINT) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"`{name}` where a number or null is needed")


def _results(document: Mapping[str, Json]) -> Results:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']} is not {SCHEMA}")
    system, dataset, tracks = document["system"], document["dataset"], document["tracks"]
    if not isinstance(system, dict) or not isinstance(dataset, dict) or not isinstance(tracks, list):
        raise ValueError("system, dataset or tracks are of the wrong type")
    settings, published = system["settings"], dataset["published_tracks"]
    if not isinstance(settings, dict) or not (published is None or isinstance(published, int)):
        raise ValueError("settings or published_tracks are of the wrong type")
    return Results(
        system=SystemInfo(str(system["kind"]), str(system["name"]), settings),
        dataset=DatasetInfo(str(dataset["name"]), str(dataset["subset"]), published),
        scenario=str(document["scenario"]),
        score_kind=str(document["score_kind"]),
        decoder=str(document["decoder"]),
        tracks=tuple(from_json(track) for track in tracks),
    )
