"""A folder of sample packs: what is in it, under which licences, and its samples, decoded as they are needed.

Layout: `index.csv` with the columns file, split, class, source, kind, licence (others are optional), and beside every
file named there a table of its items: `phrases.csv` where kind is `phrases`, else `notes.csv`.
"""

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from mss_cli.datasets.player.contours import Contour, follow
from mss_cli.datasets.player.pitch import PitchTrack, track_pitch
from mss_cli.datasets.player.samples import BrokenFile, SampleCache
from mss_cli.errors import DatasetError

SAMPLE_RATE = 44100  # Hz, of everything played
LONGEST_SECONDS = 14.0  # of a phrase that is sung again
STEMS = ("vocals", "drums", "bass", "other")
Audio = NDArray[np.float32]
Listener = Callable[[BrokenFile], None]

# Licences, in lower case with hyphens, under which audio may be used for anything. CC BY asks for a notice only.
_FREE = ("cc0", "public-domain", "unlicense", "free-for-any-use", "mit", "bsd", "apache", "isc", "zlib", "cc-by")
_RESTRICTED = ("nc", "nd", "noncommercial", "noderivatives", "noderivs")
_TONICS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_KEY = re.compile(r"(?<![a-z])([a-g])(b|#|sharp|flat)?[ _-]?(major|minor|maj|min)(?![a-z])", re.IGNORECASE)
_TEMPO = re.compile(r"(?<!\d)(\d{2,3})[ _-]?bpm(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """One note, hit, loop or phrase.

    Attributes
    ----------
    file : Path
        Below the root of the pack.
    start, end : float
        Seconds in the file.
    midi : float or None
        Sounding pitch; None where there is none or it is not known.
    velocity : float or None
        Loudness of the layer, 0 to 1.
    label : str
        Articulation, drum piece, syllable or words.
    content : str
        What a voice does: sung, syllables, choir, speech, shouted; "" for instruments.
    tonic, minor : int or None, bool
        Key of a phrase (0 is C), where its name tells it.
    tempo : float or None
        Beats per minute of a phrase, where its name tells it.
    bandwidth_hz : float
        There is nothing above this frequency in the recording.
    voice : str
        Name of the singer or speaker, where it is known.
    """

    file: Path
    start: float
    end: float
    midi: float | None
    velocity: float | None
    label: str
    content: str
    tonic: int | None
    minor: bool
    tempo: float | None
    bandwidth_hz: float
    voice: str = ""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Source:
    """Items of one instrument, kit or singer.

    Attributes
    ----------
    stem : str
        The stem it plays in.
    name : str
    kind : str
        notes, hits, loops or phrases.
    licence : str
        As the index states it.
    items : tuple of Item
    """

    stem: str
    name: str
    kind: str
    licence: str
    items: tuple[Item, ...]

    @property
    def pitched(self) -> tuple[Item, ...]:
        """Items whose pitch is known."""
        return tuple(item for item in self.items if item.midi is not None)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that is not played, and why."""

    stem: str
    name: str
    licence: str
    reason: str


class Pack:
    """The sources of one split; use `open_pack`.

    Attributes
    ----------
    sources : tuple of Source
        What songs are played with, by stem and name: the list for a model card.
    refused : tuple of Refusal
        Sources left out for their licence, by name.
    """

    def __init__(self, sources: tuple[Source, ...], refused: tuple[Refusal, ...], samples: SampleCache) -> None:
        self.sources = sources
        self.refused = refused
        self._samples = samples
        self._pitches: dict[Item, PitchTrack] = {}
        self._contours: dict[Item, Contour] = {}
        self._by_stem = {stem: tuple(source for source in sources if source.stem == stem) for stem in STEMS}

    @property
    def broken(self) -> tuple[BrokenFile, ...]:
        """Files and rows that could not be read so far; they are skipped."""
        return self._samples.broken

    def of_stem(self, stem: str) -> tuple[Source, ...]:
        """Give the sources of a stem, by name."""
        return self._by_stem[stem]

    def audio(self, item: Item) -> Audio:
        """Decode one item.

        Returns
        -------
        float32 array of shape (channel, sample)
            1 or 2 channels at 44.1 kHz, finite, the caller's own. An item of a file that turns out to be broken is
            a short silence, and the file is reported once.
        """
        whole, scale = self._samples.read(item.file)
        start, end = round(item.start * SAMPLE_RATE), round(item.end * SAMPLE_RATE)
        part = whole[:, start:end]
        if part.shape[1] == 0:
            return np.zeros((1, 64), dtype=np.float32)
        return np.multiply(part, np.float32(scale), dtype=np.float32)

    def pitch(self, item: Item) -> PitchTrack:
        """Follow the pitch of a sung item, once; near its `midi`, where it has one."""
        if item not in self._pitches:
            sound = self.audio(item).mean(axis=0)
            if item.midi is None:
                self._pitches[item] = track_pitch(sound)
            else:
                hertz = 440 * 2 ** ((item.midi - 69) / 12)
                self._pitches[item] = track_pitch(sound, lowest=hertz / 1.4, highest=hertz * 1.4)
        return self._pitches[item]

    def contour(self, item: Item) -> Contour:
        """Follow the pitch of a phrase or of speech, of its first `LONGEST_SECONDS` and once."""
        if item not in self._contours:
            self._contours[item] = follow(self.opening(item).mean(axis=0))
        return self._contours[item]

    def opening(self, item: Item) -> Audio:
        """Decode the first `LONGEST_SECONDS` of an item; see `audio`."""
        return self.audio(replace(item, end=min(item.end, item.start + LONGEST_SECONDS)))


def open_pack(
    root: Path,
    *,
    split: str = "train",
    share_alike: bool = False,
    cache: Path | None = None,
    memory_bytes: int = 1 << 30,
    listener: Listener | None = None,
) -> Pack:
    """Read the tables of a pack and check its licences and file headers.

    Parameters
    ----------
    root : Path
        Folder with `index.csv`, or one of its split folders, which then decides the split.
    split : str
        Rows of the index to use.
    share_alike : bool
        Also use sources under a share-alike licence. Others with a licence that is not known to allow every use are
        left out in any case.
    cache : Path or None
        Folder for decoded samples (16 bit, memory-mapped, shared between processes). None keeps them in memory.
    memory_bytes : int
        Most bytes of decoded samples to keep in memory where there is no `cache`.
    listener : callable or None
        Told of every broken file, once.

    Returns
    -------
    Pack

    Raises
    ------
    DatasetError
        If there is no index, a column is missing, or nothing that may be used is left; share-alike sources that were
        left out are named.
    """
    root, split = _index_of(root, split)
    samples = SampleCache(root, cache=cache, memory_bytes=memory_bytes, listener=listener)
    grouped: dict[tuple[str, str, str, str], list[Item]] = {}
    refused: dict[tuple[str, str], Refusal] = {}
    for row in _rows(root / "index.csv", ("file", "split", "class", "source", "kind", "licence")):
        if row["split"] != split or row["class"] not in STEMS:
            continue
        stem, name, licence = row["class"], row["source"], row["licence"]
        reason = refusal_reason(licence, share_alike=share_alike)
        if reason is not None:
            refused[stem, name] = Refusal(stem, name, licence, reason)
            continue
        grouped.setdefault((stem, name, row["kind"], licence), []).extend(_items(root, row, samples))
    sources = tuple(Source(*key, tuple(items)) for key, items in sorted(grouped.items()) if items)
    if not sources:
        names = ", ".join(sorted(f"`{name}`" for _, name in refused)) or "none"
        raise DatasetError(
            f"no sources of the split `{split}` can be used (left out for their licence: {names})",
            path=str(root),
            hint="check the split, or allow share-alike licences",
        )
    return Pack(sources, tuple(refused[key] for key in sorted(refused)), samples)


def refusal_reason(licence: str, *, share_alike: bool) -> str | None:
    """Say why a source under a licence may not be used; None if it may.

    CC0, public domain, permissive software licences, "free for any use" and CC BY of any version allow every use.
    """
    words = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    parts = words.split("-")
    if not words.startswith(_FREE) or any(part in _RESTRICTED for part in parts):
        return "the licence is not known to allow every use"
    if not share_alike and ("sa" in parts or "sharealike" in parts):
        return "share-alike"
    return None


def key_of(text: str) -> tuple[int, bool] | None:
    """Find a key such as `Eb minor` or `Fsharp major` in a name: (tonic, 0 is C; whether it is minor)."""
    found = _KEY.search(text)
    if found is None:
        return None
    shift = {"b": -1, "flat": -1, "#": 1, "sharp": 1}.get((found[2] or "").lower(), 0)
    return (_TONICS[found[1].lower()] + shift) % 12, found[3].lower().startswith("min")


def tempo_of(text: str) -> float | None:
    """Find a tempo such as `124 BPM` in a name."""
    found = _TEMPO.search(text)
    return float(found[1]) if found is not None and 50 <= float(found[1]) <= 220 else None


def _index_of(root: Path, split: str) -> tuple[Path, str]:
    if (root / "index.csv").is_file():
        return root, split
    resolved = root.resolve()
    if (resolved.parent / "index.csv").is_file():
        return resolved.parent, resolved.name
    raise DatasetError("holds no `index.csv`", path=str(root), hint="give the folder of a sample pack")


def _rows(table: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8") as lines:
            rows = [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(lines)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"cannot be read: {error}", path=str(table), hint="fetch the pack again") from error
    missing = [f"`{column}`" for column in columns if rows and column not in rows[0]]
    if missing:
        raise DatasetError(f"has no column {', '.join(missing)}", path=str(table), hint="see docs/player.md")
    return rows


def _items(root: Path, row: Mapping[str, str], samples: SampleCache) -> list[Item]:
    """List the items of one audio file; what is broken is reported and skipped."""
    file = Path(row["file"])
    table = (root / file).parent / ("phrases.csv" if row["kind"] == "phrases" else "notes.csv")
    try:
        info = soundfile.info(str(root / file))
        if info.samplerate != SAMPLE_RATE:
            raise ValueError(f"{info.samplerate} Hz instead of {SAMPLE_RATE} Hz")
        rows = _rows(table, ("file", "start", "end"))
        return [_item(file, row, line, info.duration) for line in rows if line["file"] == file.name]
    except (OSError, ValueError, soundfile.LibsndfileError, DatasetError) as error:
        samples.report(BrokenFile(file, str(error)))
        return []


def _item(file: Path, row: Mapping[str, str], line: Mapping[str, str], duration: float) -> Item:
    start, end = float(line["start"]), float(line["end"])
    if not 0 <= start < end <= duration + 0.05:
        raise ValueError(f"item at {start} s ends at {end} s in {duration:.3f} s")
    label = line.get("articulation") or line.get("label") or ""
    words = f"{line.get('source_path', '')} {label}"
    key = key_of(words)
    return Item(
        file=file,
        start=start,
        end=end,
        midi=_number(line.get("midi")),
        velocity=_number(line.get("velocity")),
        label=label,
        content=line.get("kind") or row.get("content") or "",
        tonic=None if key is None else key[0],
        minor=key is None or key[1],
        tempo=tempo_of(words),
        bandwidth_hz=_number(line.get("bandwidth_hz")) or SAMPLE_RATE / 2,
        voice=line.get("voice") or "",
    )


def _number(text: str | None) -> float | None:
    return float(text) if text else None
