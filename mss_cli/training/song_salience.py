"""Salience of songs, cut to the frames of a network's transform.

Frame times. Frame ``k`` of `mss_models.stft` of a cut that begins at sample ``start`` of its song is centred on sample
``start + k * hop - lead + n_fft / 2`` of the song, with ``lead = (ceil(n_fft / hop) - 1) * hop``: for the thesis's
1024 and 256 on ``start + (k - 1) * hop``. Notes are drawn at exactly these times. A teacher that listens gives frame
``j`` at ``j * 256 / 22050`` seconds; each frame of the network takes the nearest. At 22050 Hz with a hop of 256 and
cuts that start at multiples of the hop, which `RecipeExamples` keeps to, the two grids are one: ``j = start / hop + k
- 1``.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mss_cli.audio.resample import resample
from mss_cli.datasets.track import files_fingerprint
from mss_cli.errors import DatasetError
from mss_cli.pitch.teachers import HOP_SAMPLES, SAMPLE_RATE, find_teacher
from mss_cli.pitch.teachers import Teacher as Hearing
from mss_cli.training.song_cache import CachedSong, SongCache, write_array
from mss_models.salience import BINS, render_notes
from mss_models.stft import StftSettings

Salience = NDArray[np.float32]


class Listening(Protocol):
    """A teacher that hears pitches in isolated vocals; it is sent to the processes that make examples."""

    @property
    def name(self) -> str:
        """Changes with anything that changes what it gives; names its files in the cache."""

    def salience(self, vocals: NDArray[np.float32]) -> Salience:
        """Give (360, frame) in [0, 1] of mono samples at 22050 Hz; frame ``j`` is centred on sample ``256 * j``."""


@dataclass(frozen=True, slots=True)
class PublishedTeacher:
    """Deep Salience with the weights of a file, or pYIN without; loaded where it is first asked, in each process."""

    weights: Path | None = None

    @property
    def name(self) -> str:
        """Tell Deep Salience with other weights apart."""
        return "pyin" if self.weights is None else f"deep-salience-{files_fingerprint([self.weights])[:12]}"

    def salience(self, vocals: NDArray[np.float32]) -> Salience:
        """Ask the teacher; raises `UsageError` or `WeightsError` if it cannot be loaded."""
        return _teacher(self.weights)(vocals)


@lru_cache(maxsize=2)
def _teacher(weights: Path | None) -> Hearing:
    return find_teacher(weights)


@dataclass(frozen=True, slots=True)
class Pitch:
    """What the salience of an example is made from.

    Attributes
    ----------
    transform : StftSettings
        Of the network.
    sample_rate : int, Hz
        Of the network.
    stem : str
        The stem of an example whose pitches they are.
    teacher : Listening or None
        None draws the notes that a song was played with.
    """

    transform: StftSettings
    sample_rate: int
    stem: str = "vocals"
    teacher: Listening | None = None

    def frame_times(self, start: int, samples: int) -> NDArray[np.float64]:
        """Give the centres, in seconds of the song, of all frames of a cut of so many samples."""
        hop, n_fft = self.transform.hop_length, self.transform.n_fft
        lead = (self.transform.overlap_frames - 1) * hop
        frames = np.arange(self.transform.frames(samples))
        return np.asarray((start + frames * hop - lead + n_fft / 2) / self.sample_rate, np.float64)


def cut_salience(pitch: Pitch, cache: SongCache, song: CachedSong, stem: int, start: int, samples: int) -> Salience:
    """Give the salience of one stem of a song on the frames of a cut.

    Parameters
    ----------
    pitch : Pitch
    cache : SongCache
        Where a teacher's answers are kept, float16, beside the song.
    song : CachedSong
    stem : int
        Place among the song's stems; only a teacher that listens needs it.
    start, samples : int
        Of the cut.

    Returns
    -------
    float32 array of shape (360, frame)

    Raises
    ------
    DatasetError
        If the notes are asked for and the song has none on record.
    """
    times = pitch.frame_times(start, samples)
    if pitch.teacher is None:
        return _drawn(song, times)
    whole = _heard(pitch.teacher, cache, song, stem, pitch.sample_rate)
    frames = np.rint(times * (SAMPLE_RATE / HOP_SAMPLES)).astype(np.int64)
    cut = np.zeros((BINS, len(frames)), np.float32)
    there = (frames >= 0) & (frames < whole.shape[1])
    cut[:, there] = whole[:, frames[there]]
    return cut


def _drawn(song: CachedSong, times: NDArray[np.float64]) -> Salience:
    if song.music.notes is None:
        hint = "use a `teacher` that listens, or `notes` with `vocals: sung-notes`"
        raise DatasetError(f"song {song.key} has no pitch labels", hint=hint)
    notes = [note for note in song.music.notes if note[1] > times[0] and note[0] <= times[-1]]
    if not notes:
        return np.zeros((BINS, len(times)), np.float32)
    starts, ends, frequencies = torch.tensor(notes, dtype=torch.float64).unbind(dim=1)
    salience = render_notes(starts, ends, frequencies, torch.from_numpy(times))
    return salience.to(torch.float32).numpy()


def _heard(teacher: Listening, cache: SongCache, song: CachedSong, stem: int, rate: int) -> NDArray[np.float16]:
    """Map the teacher's answer for a whole song into memory, asking it first if need be."""
    path = cache.beside(song, f"{stem}.{teacher.name}.npy")
    answer = _kept(path)
    if answer is None:
        mono = song.cut(stem, 0, song.samples).mean(axis=0, keepdims=True)  # (1, sample)
        vocals = np.concatenate(list(resample([mono], rate, SAMPLE_RATE, 1)), axis=1)[0]
        answer = teacher.salience(vocals).astype(np.float16)
        write_array(path, answer)
    return answer


def _kept(path: Path) -> NDArray[np.float16] | None:
    try:
        kept: NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, EOFError, ValueError):
        return None  # not there, or damaged: the teacher is asked again
    return kept
