"""Published models of others: where their weights lie and what is known of them; a data file, read when asked for."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal, cast

from mss_cli.errors import WeightsError

Family = Literal["open-unmix", "demucs", "tdc-unet", "roformer", "tfc-tdf-v3", "scnet", "deep-salience"]
_DATA: Final = "published.toml"
_SCORE_WORDS = ("kind", "dataset", "source", "against")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a published model.

    Parameters
    ----------
    name : str
        As published; its name in the cache too.
    addresses : tuple of str
        Where it lies, the first is tried first.
    size_bytes : int or None
        Exact, where it was published.
    approximate_bytes : int or None
        For people, where the exact size was not published.
    sha256 : str or None
        In full, where it was published.
    sha256_prefix : str or None
        The beginning, where only that was published.
    role : str or None
        The stem it is for, where each file is for one.
    """

    name: str
    addresses: tuple[str, ...]
    size_bytes: int | None = None
    approximate_bytes: int | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    role: str | None = None

    @property
    def about_bytes(self) -> int | None:
        """How large it is, as far as it is known."""
        return self.size_bytes if self.size_bytes is not None else self.approximate_bytes

    def agrees(self, sha256: str) -> bool:
        """Tell whether a hash is the published one, as far as it was published."""
        return sha256.startswith(self.sha256 or self.sha256_prefix or "")


@dataclass(frozen=True, slots=True)
class Score:
    """Published scores of a model.

    Parameters
    ----------
    kind : str
        One of `mss_cli.evaluation.published.KINDS`.
    dataset, source : str
    values : mapping of str to float
        By stem, dB; `mean` is of the stems.
    against : str or None
        Its name for `mss-cli evaluate --against`, where it has one.
    """

    kind: str
    dataset: str
    source: str
    values: Mapping[str, float]
    against: str | None = None


def speed_class(cpu_seconds_per_second: float | None) -> str | None:
    """Say in a word how fast a model is: `fast` below half the track's length on one core, `medium` below twice."""
    if cpu_seconds_per_second is None:
        return None
    return "fast" if cpu_seconds_per_second < 0.5 else "medium" if cpu_seconds_per_second < 2 else "slow"


@dataclass(frozen=True, slots=True)
class Published:
    """A published model.

    Parameters
    ----------
    name : str
        What `--model` and `download-weights` take.
    family : str
        Which reader turns its files into a checkpoint of ours.
    stems : tuple of str
        In the order they are estimated; none for models that tell pitch.
    sample_rate : int, Hz
    licence, licence_source : str
        Of the weights, as their authors state it, and where.
    ask : bool
        Whether the licence must be accepted first: it is not free, or not stated.
    derived_from : str
        What it was trained on.
    description : str
        One line.
    files : tuple of PublishedFile
        At least one.
    score : Score or None
    bag_weights : tuple of tuples of float
        A row for each file, a column for each stem, where the files are networks whose estimates are averaged.
    segment_seconds : float or None
        Where the publisher gives another than the network's own.
    cpu_seconds_per_second : float or None
        Cost of the publisher's own program, one thread, as measured.
    """

    name: str
    family: Family
    stems: tuple[str, ...]
    sample_rate: int
    licence: str
    licence_source: str
    ask: bool
    derived_from: str
    description: str
    files: tuple[PublishedFile, ...]
    score: Score | None = None
    bag_weights: tuple[tuple[float, ...], ...] = ()
    segment_seconds: float | None = None
    cpu_seconds_per_second: float | None = None

    @property
    def weights(self) -> Path | None:
        """What is loaded, in the cache of this user; None while it is not there."""
        from mss_cli.weights.cache import Cache, default_folder

        path = Cache(default_folder()).checkpoint(self)
        return path if path.is_file() else None

    @property
    def architecture(self) -> str:
        """The family, which decides the network."""
        return self.family

    @property
    def separates(self) -> bool:
        """Whether it is a separator: `--model` takes it."""
        return bool(self.stems)

    @property
    def about_bytes(self) -> int | None:
        """How large its files are together, as far as it is known; None if it is not known of one."""
        sizes = [file.about_bytes for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def about_size(self) -> str:
        """The same in words."""
        return "size unknown" if self.about_bytes is None else f"about {self.about_bytes / 1e6:.0f} MB"

    @property
    def speed_class(self) -> str | None:
        """How fast it is, in one word; None where it was not measured."""
        return speed_class(self.cpu_seconds_per_second)


@dataclass(frozen=True, slots=True)
class Manifest:
    """All published models that are known here.

    Attributes
    ----------
    models : mapping of str to Published
        By name, those that can be fetched.
    refused : mapping of str to tuple of str and str
        By name, those that cannot be loaded safely: why, and the name of what to take instead.
    """

    models: Mapping[str, Published]
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def published(self, name: str) -> Published | None:
        """Find a model by name.

        Raises
        ------
        WeightsError
            If it is one that cannot be loaded safely.
        """
        if name in self.refused:
            reason, instead = self.refused[name]
            raise WeightsError(f"`{name}` is refused: {reason}", hint=f"take `{instead}` instead")
        return self.models.get(name)


@cache
def manifest() -> Manifest:
    """Read the data file of the package, once."""
    return read_manifest(files("mss_cli.weights").joinpath(_DATA).read_text(encoding="utf-8"))


def read_manifest(text: str) -> Manifest:
    """Read a manifest.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is damaged: it is part of the package, so that is a bug.
    """
    raw = tomllib.loads(text)
    models = [_model(table) for table in raw["model"]]
    refused = {str(table["name"]): (str(table["reason"]), str(table["instead"])) for table in raw.get("refused", [])}
    return Manifest({model.name: model for model in models}, refused)


def _model(table: dict[str, object]) -> Published:
    known = dict(table)
    score = cast("dict[str, object] | None", known.pop("score", None))
    return Published(
        stems=tuple(cast("list[str]", known.pop("stems"))),
        files=tuple(_file(part) for part in cast("list[dict[str, object]]", known.pop("file"))),
        score=None if score is None else _score(score),
        bag_weights=tuple(tuple(row) for row in cast("list[list[float]]", known.pop("bag_weights", []))),
        **known,  # type: ignore[arg-type]
    )


def _file(table: dict[str, object]) -> PublishedFile:
    known = dict(table)
    return PublishedFile(
        addresses=tuple(cast("list[str]", known.pop("addresses"))),
        size_bytes=cast("int | None", known.pop("bytes", None)),
        **known,  # type: ignore[arg-type]
    )


def _score(table: dict[str, object]) -> Score:
    values = {key: cast(float, value) for key, value in table.items() if key not in _SCORE_WORDS}
    return Score(
        kind=str(table["kind"]),
        dataset=str(table["dataset"]),
        source=str(table["source"]),
        values=values,
        against=cast("str | None", table.get("against")),
    )
