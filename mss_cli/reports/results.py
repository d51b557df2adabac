"""What a `results.json` of `mss-cli evaluate` says about one system, read strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NoReturn, cast, get_args

from mss_cli.errors import InputError

SCHEMA: Final = 1
Metric = Literal["SDR", "ISR", "SIR", "SAR"]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
_HINT: Final = "write it anew with `mss-cli evaluate`"
_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class StemScores:
    """Scores of one stem of one track, in dB; None where a score is not defined.

    Attributes
    ----------
    median, mean : mapping of metric to float or None
        Over the frames of the track that have a number. Metrics that were not asked for are left out.
    frames : int
        Frames of the track.
    nan_frames : int
        Frames without a number, which no median or mean counts.
    usdr, si_sdr : float or None
        Scores over the whole track.
    scenario : str
        With which other stems it was scored: SIR and SAR depend on it. Empty if the file does not say.
    reason : str
        Why the stem was not scored; empty if it was.
    """

    median: Mapping[Metric, float | None]
    mean: Mapping[Metric, float | None]
    frames: int
    nan_frames: int
    usdr: float | None
    si_sdr: float | None
    scenario: str
    reason: str


@dataclass(frozen=True, slots=True)
class TrackScores:
    """Scores of one track: its name, subset, samples per channel, rate in Hz, and its stems by name."""

    name: str
    subset: str
    samples: int
    sample_rate: int
    stems: Mapping[str, StemScores]

    @property
    def key(self) -> tuple[str, str]:
        """What makes a track the same in two files: subset and name."""
        return self.subset, self.name


@dataclass(frozen=True, slots=True)
class SystemResults:
    """One system on one data set.

    Attributes
    ----------
    name, kind : str
        Name shown everywhere; kind such as "model", "estimates", "oracle" or "baseline".
    settings : tuple of (str, str)
        Name and value of each setting, values as JSON text, sorted by name.
    dataset, subset : str
    published_tracks : int or None
        Tracks that published scores on this subset are over.
    scenario, score_kind, decoder : str
        What was asked to be scored against what, by which rule, and how references were read.
    tracks : tuple of TrackScores
        In the order of the file.
    """

    name: str
    kind: str
    settings: tuple[tuple[str, str], ...]
    dataset: str
    subset: str
    published_tracks: int | None
    scenario: str
    score_kind: str
    decoder: str
    tracks: tuple[TrackScores, ...]

    def scenario_of(self, stem: str) -> str:
        """Give the scenario in which a stem was scored; the one asked for if its tracks do not say."""
        found = {track.stems[stem].scenario or self.scenario for track in self.tracks if stem in track.stems}
        return ", ".join(sorted(found)) or self.scenario

    def medians(self, stem: str, metric: Metric) -> dict[tuple[str, str], float]:
        """Give the track medians that are finite, by the key of their track, in the order of the file."""
        found: dict[tuple[str, str], float] = {}
        for track in self.tracks:
            value = track.stems[stem].median.get(metric) if stem in track.stems else None
            if value is not None:
                found[track.key] = value
        return found


def read_results(path: Path) -> SystemResults:
    """Read and check one results file.

    Keys that are not known are passed over, as later versions only add some.

    Parameters
    ----------
    path : Path
        A `results.json` of schema 1, in strict JSON: null stands for a score that is not defined.

    Returns
    -------
    SystemResults

    Raises
    ------
    InputError
        If the file cannot be read, is not strict JSON, or a key is missing or of the wrong type: the line names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise InputError(f"cannot read: {reason}", path=str(path), hint="check the name") from error
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", path=str(path), hint=_HINT) from error
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not strict JSON: {error}", path=str(path), hint=_HINT) from error
    return _system(_Node(path, "", document))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"`{name}` where a number or null is needed")


class _Node:
    """A value of the document and where it stands, for messages."""

    __slots__ = ("_path", "_value", "_where")

    def __init__(self, path: Path, where: str, value: object) -> None:
        self._path = path
        self._where = where
        self._value = value

    def refuse(self, problem: str) -> NoReturn:
        raise InputError(f"`{self._where or 'the document'}` {problem}", path=str(self._path), hint=_HINT)

    def _object(self) -> dict[str, object]:
        if not isinstance(self._value, dict):
            self.refuse("is not an object")
        return cast("dict[str, object]", self._value)

    def _under(self, key: str, value: object) -> _Node:
        return _Node(self._path, f"{self._where}.{key}" if self._where else key, value)

    def key(self, name: str) -> _Node:
        """Give the value of a key that must be there."""
        value = self._object().get(name, _MISSING)
        if value is _MISSING:
            self._under(name, None).refuse("is missing")
        return self._under(name, value)

    def optional(self, name: str) -> _Node | None:
        """Give the value of a key; None if it is missing or null."""
        value = self._object().get(name)
        return None if value is None else self._under(name, value)

    def entries(self) -> Iterator[tuple[str, _Node]]:
        for name, value in self._object().items():
            yield name, self._under(name, value)

    def items(self) -> Iterator[_Node]:
        if not isinstance(self._value, list):
            self.refuse("is not a list")
        for index, value in enumerate(self._value):
            yield _Node(self._path, f"{self._where}[{index}]", value)

    def text(self) -> str:
        if not isinstance(self._value, str):
            self.refuse("is not text")
        return self._value

    def count(self) -> int:
        if not isinstance(self._value, int) or isinstance(self._value, bool) or self._value < 0:
            self.refuse("is not a whole number from 0")
        return self._value

    def score(self) -> float | None:
        if self._value is None:
            return None
        if not isinstance(self._value, int | float) or isinstance(self._value, bool):
            self.refuse("is neither a number nor null")
        try:
            number = float(self._value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):  # strict JSON can still say 1e999
            self.refuse("is not finite")
        return number

    def json(self) -> str:
        if isinstance(self._value, str):
            return self._value
        return json.dumps(self._value, ensure_ascii=False, sort_keys=True)


def _system(root: _Node) -> SystemResults:
    if root.key("schema").count() != SCHEMA:
        root.key("schema").refuse(f"is not {SCHEMA}, the only one this version reads")
    system, dataset = root.key("system"), root.key("dataset")
    published = dataset.optional("published_tracks")
    settings = system.optional("settings")
    tracks = tuple(_track(node) for node in root.key("tracks").items())
    if len({track.key for track in tracks}) < len(tracks):
        root.key("tracks").refuse("names a track twice")
    return SystemResults(
        name=system.key("name").text(),
        kind=system.key("kind").text(),
        settings=() if settings is None else tuple(sorted((name, node.json()) for name, node in settings.entries())),
        dataset=dataset.key("name").text(),
        subset=_text_or_empty(dataset.optional("subset")),
        published_tracks=None if published is None else published.count(),
        scenario=root.key("scenario").text(),
        score_kind=root.key("score_kind").text(),
        decoder=root.key("decoder").text(),
        tracks=tracks,
    )


def _text_or_empty(node: _Node | None) -> str:
    return "" if node is None else node.text()


def _track(node: _Node) -> TrackScores:
    return TrackScores(
        name=node.key("name").text(),
        subset=_text_or_empty(node.optional("subset")),
        samples=node.key("samples").count(),
        sample_rate=node.key("sample_rate").count(),
        stems={name: _stem(stem) for name, stem in node.key("stems").entries()},
    )


def _stem(node: _Node) -> StemScores:
    frames = node.optional("frames")
    usdr, si_sdr = node.optional("usdr"), node.optional("si_sdr")
    return StemScores(
        median=_by_metric(node.key("median")),
        mean=_by_metric(node.optional("mean")),
        frames=0 if frames is None else _frame_count(frames),
        nan_frames=node.key("nan_frames").count(),
        usdr=None if usdr is None else usdr.score(),
        si_sdr=None if si_sdr is None else si_sdr.score(),
        scenario=_text_or_empty(node.optional("scenario")),
        reason=_text_or_empty(node.optional("reason")),
    )


def _by_metric(node: _Node | None) -> dict[Metric, float | None]:
    if node is None:
        return {}
    found = dict(node.entries())
    return {metric: found[metric].score() for metric in METRICS if metric in found}


def _frame_count(frames: _Node) -> int:
    """Check every frame and give how many there are; all metrics have as many."""
    counts = [len([frame.score() for frame in scores.items()]) for _, scores in frames.entries()]
    if len(set(counts)) > 1:
        frames.refuse("has metrics of unequal length")
    return counts[0] if counts else 0
