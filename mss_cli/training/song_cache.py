"""Songs on disk as a training reads them: decoded once, at the network's rate, memory-mapped ever after.

A song is two files: `KEY.npy`, int16 of shape (stem, sample, channel), and `KEY.json`, which is written last and so
says that the song is whole. `KEY` hashes all that decides the samples. Both appear under their names by an atomic
rename, so any number of processes may fill and read one folder; two that want the same song at once both make it,
with equal content. A song that cannot be used leaves `KEY.broken` with the reason, so that it is tried once only.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mss_cli.audio.channels import check_channels, fold
from mss_cli.audio.resample import resample
from mss_cli.errors import DatasetError, InputError
from mss_cli.files import make_folder, output_error, publish, temporary_name
from mss_cli.training.examples import Skipped
from mss_cli.training.songs import Music, Song, Songs, part_of_target

Pcm = NDArray[np.int16]
Samples = NDArray[np.float32]

# Raised when files of older versions cannot be read any more.
_VERSION = 1
_FULL_SCALE = 32768.0
# Activity is kept for stretches of a quarter of a second; one sounds from -60 dB of full scale.
_STRETCHES_PER_SECOND = 4
_SOUNDING_POWER = 1e-6
# Each holds a file descriptor, of which a process usually has 1024.
_OPEN_SONGS = 256


class BrokenSong(Exception):
    """A song cannot be used; another takes its place."""

    def __init__(self, skipped: Skipped) -> None:
        super().__init__(skipped.message)
        self.skipped = skipped


@dataclass(frozen=True, slots=True)
class Form:
    """What the network is fed.

    Attributes
    ----------
    sample_rate : int, Hz
    channels : {1, 2}
    """

    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True, eq=False)
class CachedSong:
    """A song at the network's rate and channels.

    Attributes
    ----------
    key : str
        Name of its files.
    stems : tuple of str
    gains : tuple of float, >= 1
        Of each stem: what its samples, read as fractions of 32768, are multiplied by.
    pcm : int16 memory map of shape (stem, sample, channel)
    sounding : bool array of shape (stem, stretch)
        Whether each quarter of a second is above -60 dB of full scale.
    stretch : int, samples
        Length of such a stretch; the last one may be shorter.
    music : Music
    skipped : tuple of Skipped
        Files that were left out of it.
    """

    key: str
    stems: tuple[str, ...]
    gains: tuple[float, ...]
    pcm: Pcm
    sounding: NDArray[np.bool_]
    stretch: int
    music: Music
    skipped: tuple[Skipped, ...] = ()

    @property
    def samples(self) -> int:
        """Length of every stem."""
        return int(self.pcm.shape[1])

    def cut(self, stem: int, start: int, samples: int) -> Samples:
        """Read a stretch of one stem.

        Parameters
        ----------
        stem : int
            Place among `stems`.
        start, samples : int
            `start` may be negative, and the end beyond the song's: there are zeros.

        Returns
        -------
        float32 array of shape (channel, sample)
            The caller's own.
        """
        cut = np.zeros((self.pcm.shape[2], samples), np.float32)
        first, last = max(start, 0), min(start + samples, self.samples)
        if last > first:
            scale = np.float32(self.gains[stem] / _FULL_SCALE)
            np.multiply(self.pcm[stem, first:last].T, scale, out=cut[:, first - start : last - start])
        return cut

    def sounds(self, stem: int, start: int, samples: int) -> bool:
        """Tell whether a whole sounding stretch of a stem lies in a window.

        Windows too short to hold one for sure are judged by their samples.
        """
        if samples < 2 * self.stretch:
            return bool(np.square(self.cut(stem, start, samples)).mean() > _SOUNDING_POWER)
        first, last = -(-max(start, 0) // self.stretch), max(0, start + samples) // self.stretch
        if start + samples >= self.samples:
            last = self.sounding.shape[1]
        return bool(self.sounding[stem, first:last].any())

    def start_with(self, random: Generator, stems: Sequence[int], samples: int) -> int | None:
        """Draw the start of a window in which one of the stems sounds; None if they never do.

        A quarter of a second that sounds is drawn, then a window that holds it; a window that cannot hold one is put
        where its loudest sample lies. The window leaves the song only where it is longer than the song.
        """
        stretches = np.flatnonzero(self.sounding[list(stems)].any(axis=0)) if stems else np.zeros(0, np.int64)
        if not len(stretches):
            return None
        begin = int(stretches[random.integers(len(stretches))]) * self.stretch
        end = min(begin + self.stretch, self.samples)
        if samples < self.stretch:
            levels = np.abs(self.pcm[list(stems), begin:end].astype(np.int32)).max(axis=(0, 2))
            begin += int(levels.argmax())
            end = begin + 1
        latest = self.samples - samples
        first, last = max(min(0, latest), end - samples), min(max(0, latest), begin)
        return int(random.integers(first, last, endpoint=True))


class SongCache:
    """Songs of one form in one folder.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    form : Form
    stems : mapping of str to sequence of str
        The recipe's `data.stems`: songs whose stems belong together are kept as these sums.

    Attributes
    ----------
    form : Form
    """

    def __init__(self, folder: Path, form: Form, stems: Mapping[str, Sequence[str]]) -> None:
        make_folder(folder)
        self._folder = folder
        self.form = form
        self._wanted = {name: tuple(parts) for name, parts in stems.items()}

    def song(self, songs: Songs, number: int) -> CachedSong:
        """Give a song, decoding it if it is not there yet.

        Raises
        ------
        BrokenSong
            If it cannot be read, holds no samples, NaN, or only silence.
        OutputError
            If it cannot be written.
        """
        key = self.key(songs, number)
        found = self._open(key)
        if found is None:
            self._refuse_broken(key, songs.path(number))
            self._make(key, songs, number)
            old = songs.replaced(number)
            if old is not None:
                self._remove(self.key(songs, old))
            found = self._open(key)
        if found is None:
            raise DatasetError("a song vanished from the cache", path=str(self._folder), hint="leave the folder alone")
        return found

    def key(self, songs: Songs, number: int) -> str:
        """Hash all that decides a song's samples."""
        wanted = list(self._wanted.items()) if songs.whole else []
        parts = [_VERSION, songs.fingerprint(number), self.form.sample_rate, self.form.channels, wanted]
        return hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def beside(self, song: CachedSong, suffix: str) -> Path:
        """Name a file that belongs to a song, as its salience."""
        return self._folder / f"{song.key}.{suffix}"

    def _open(self, key: str) -> CachedSong | None:
        try:
            return _opened(self._folder / f"{key}.json", self.form.sample_rate)
        except (FileNotFoundError, EOFError, ValueError, KeyError, TypeError):
            return None  # not there, or damaged: it is made again

    def _refuse_broken(self, key: str, path: Path) -> None:
        try:
            message = (self._folder / f"{key}.broken").read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        raise BrokenSong(Skipped(path, message))

    def _make(self, key: str, songs: Songs, number: int) -> None:
        try:
            song = songs.load(number)
            groups = part_of_target(tuple(song.stems), self._wanted) if songs.whole else {n: (n,) for n in song.stems}
            pcm, gains = _decoded(song, groups, self.form, songs.path(number))
            sounding = _sounding(pcm, gains, _stretch(self.form.sample_rate))
            if not sounding.any():
                raise InputError("holds only silence")
        except (InputError, DatasetError) as error:
            write_whole(self._folder / f"{key}.broken", error.message.encode())
            raise BrokenSong(Skipped(songs.path(number), error.message)) from error
        document = {
            "path": str(songs.path(number)),
            "stems": tuple(groups),
            "gains": gains,
            "sounding": ["".join("01"[int(sounds)] for sounds in row) for row in sounding],
            "tempo": song.music.tempo,
            "key": song.music.key,
            "beats": song.music.beats,
            "notes": song.music.notes,
            "skipped": [(str(skip.path), skip.message) for skip in song.skipped],
        }
        write_array(self._folder / f"{key}.npy", pcm)
        text = json.dumps(document, allow_nan=False)
        write_whole(self._folder / f"{key}.json", text.encode("utf-8", "backslashreplace"))

    def _remove(self, key: str) -> None:
        for path in self._folder.glob(f"{key}.*"):
            path.unlink(missing_ok=True)


def write_whole(target: Path, content: bytes) -> None:
    """Write a file under its name at once, synced; raise `OutputError` if that fails."""
    temporary = temporary_name(target)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise output_error(target, error) from error
    publish({temporary: target})


def write_array(target: Path, array: Pcm | NDArray[np.float16]) -> None:
    """Write an array as .npy as `write_whole` writes bytes."""
    temporary = temporary_name(target)
    try:
        with temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise output_error(target, error) from error
    publish({temporary: target})


@lru_cache(maxsize=_OPEN_SONGS)
def _opened(path: Path, sample_rate: int) -> CachedSong:
    """Map a song into memory; kept per process, and never sent to another one."""
    document = json.loads(path.read_text(encoding="utf-8"))
    pcm = np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
    notes = document["notes"]
    return CachedSong(
        key=path.stem,
        stems=tuple(document["stems"]),
        gains=tuple(document["gains"]),
        pcm=pcm,
        sounding=np.array([[mark == "1" for mark in row] for row in document["sounding"]]),
        stretch=_stretch(sample_rate),
        music=Music(
            tempo=document["tempo"],
            key=document["key"],
            beats=tuple(document["beats"]),
            notes=None if notes is None else tuple((start, end, pitch) for start, end, pitch in notes),
        ),
        skipped=tuple(Skipped(Path(skipped), message) for skipped, message in document["skipped"]),
    )


def _stretch(sample_rate: int) -> int:
    return max(1, sample_rate // _STRETCHES_PER_SECOND)


def _decoded(song: Song, groups: Mapping[str, Sequence[str]], form: Form, path: Path) -> tuple[Pcm, tuple[float, ...]]:
    """Decode stem by stem, so that only one is held in floats: int16 (stem, sample, channel), and the gains."""
    parts: list[Pcm] = []
    gains: list[float] = []
    for names in groups.values():
        total = np.zeros((form.channels, 0), np.float32)
        for name in names:
            total = _added(total, _stem(song, name, form, path))
        if not np.isfinite(total).all():
            raise InputError("holds samples that are no numbers")
        # The gain is 1 unless a sample passes the range, so 16-bit files stay as they are, bit by bit.
        gain = max(1.0, float(total.max(initial=0.0)) * _FULL_SCALE / (_FULL_SCALE - 1), -float(total.min(initial=0.0)))
        parts.append(np.rint(total.T * (_FULL_SCALE / gain)).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16))
        gains.append(gain)
    length = max((len(part) for part in parts), default=0)
    if not length:
        raise InputError("holds no samples")
    pcm = np.zeros((len(parts), length, form.channels), np.int16)
    for place, part in enumerate(parts):
        pcm[place, : len(part)] = part
    return pcm, tuple(gains)


def _stem(song: Song, name: str, form: Form, path: Path) -> Samples:
    """One stem of a song, (channel, sample), at the network's rate and channels."""
    sound = song.stems[name]
    channels = min(check_channels(sound.channels, path=str(path), downmix=True), form.channels)
    folded = (fold(block, channels) for block in sound.blocks)
    blocks = list(resample(folded, sound.rate, form.sample_rate, channels))
    if not blocks:
        return np.zeros((form.channels, 0), np.float32)
    return fold(np.concatenate(blocks, axis=1), form.channels)


def _added(first: Samples, second: Samples) -> Samples:
    """Sum of two signals, as long as the longer."""
    longer, shorter = (first, second) if first.shape[1] >= second.shape[1] else (second, first)
    total = longer.copy()
    total[:, : shorter.shape[1]] += shorter
    return total


def _sounding(pcm: Pcm, gains: Sequence[float], stretch: int) -> NDArray[np.bool_]:
    """Tell for every (stem, stretch) whether it is louder than -60 dB of full scale."""
    stems, samples, channels = pcm.shape
    count = -(-samples // stretch)
    sounding = np.zeros((stems, count), np.bool_)
    for stem, gain in enumerate(gains):
        padded = np.zeros((count * stretch, channels), np.float32)
        padded[:samples] = pcm[stem]
        power = np.square(padded * np.float32(gain / _FULL_SCALE)).reshape(count, -1).mean(axis=1)
        sounding[stem] = power > _SOUNDING_POWER
    return sounding
