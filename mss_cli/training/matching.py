"""What stems of different songs must share to sound like one song: tempo, beats, key (thesis 7.2).

Nothing is stretched or transposed: a song takes part where it fits as it is. Played songs bring their music with
them; of others tempo, beats and key are estimated once, with librosa, and kept beside the song in the cache.
"""

import json
import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mss_cli.errors import UsageError
from mss_cli.training.song_cache import CachedSong, SongCache, write_whole
from mss_cli.training.songs import TONICS, Music

Matched = Literal["none", "tempo", "beat", "key"]

# Over 6 s at 120 beats per minute the beats of two songs drift apart by at most a quarter of a beat.
_TEMPO_TOLERANCE: Final = 0.02
_FEWEST_BEATS: Final = 4
# Semitones from the tonic up to that of the major key with the same notes; of the harmonic minor those of the minor.
_TO_MAJOR: Final = {"major": 0, "mixolydian": 5, "minor": 3, "harmonic minor": 3, "dorian": 10, "phrygian": 8}
_FLATS: Final = {"Db": "C#", "Eb": "D#", "Gb": "F#", "Ab": "G#", "Bb": "A#"}
# How well each pitch class fits a key, from its tonic up: Krumhansl and Kessler, Psychological Review 89, 1982.
_MAJOR: Final = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR: Final = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def fits(first: Music, second: Music, matched: Matched) -> bool:
    """Tell whether stems of two songs may sound together.

    Parameters
    ----------
    first, second : Music
        What is not known of the second fits nothing; what is not known of the first asks for nothing.
    matched : {"none", "tempo", "beat", "key"}
        "tempo" and "beat": tempos within 2 %, or one twice the other; "key": that, and the notes of one scale, so that
        a minor key fits its relative major.
    """
    if matched == "none":
        return True
    return _same_tempo(first.tempo, second.tempo) and (matched != "key" or _same_scale(first.key, second.key))


def start_on_beat(first: Music, first_start: float, second: Music, second_start: float) -> float:
    """Move the start of a cut so that its beats fall together with those of another cut.

    Parameters
    ----------
    first : Music
        Of the song that stays.
    first_start, second_start : float, seconds
        Where the cuts start in their songs.

    Returns
    -------
    float, seconds
        The start for the second song nearest to `second_start`; that itself where a song has no beats. May lie a beat
        before the song.
    """
    if not first.beats or not second.beats:
        return second_start
    following = [beat for beat in first.beats if beat >= first_start] or [first.beats[-1]]
    offset = following[0] - first_start
    nearest = min(second.beats, key=lambda beat: abs(beat - offset - second_start))
    return nearest - offset


def scale_of(key: str) -> int:
    """Give the tonic, as a number of semitones above C, of the major key with the same notes.

    Parameters
    ----------
    key : str
        As "A minor" or "Bb mixolydian".

    Raises
    ------
    ValueError
        If it is no such name.
    """
    tonic, _, mode = key.partition(" ")
    name = _FLATS.get(tonic, tonic)
    if name not in TONICS or mode not in _TO_MAJOR:
        raise ValueError(f"`{key}` is no key")
    return (TONICS.index(name) + _TO_MAJOR[mode]) % 12


def music_of(song: CachedSong, cache: SongCache) -> Music:
    """Give tempo, key and beats of a song, estimating them the first time if nothing is known.

    Raises
    ------
    UsageError
        If they must be estimated and librosa is not installed.
    """
    if song.music.tempo is not None:
        return song.music
    path = cache.beside(song, "music")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        mixture = sum(song.cut(stem, 0, song.samples).mean(axis=0) for stem in range(len(song.stems)))
        estimate = estimated(np.asarray(mixture, np.float32), cache.form.sample_rate)
        document = {"tempo": estimate.tempo, "key": estimate.key, "beats": estimate.beats}
        write_whole(path, json.dumps(document, allow_nan=False).encode())
    return Music(document["tempo"], document["key"], tuple(document["beats"]), song.music.notes)


def estimated(mixture: NDArray[np.float32], sample_rate: int) -> Music:
    """Estimate tempo, beats and key of a recording.

    Beats by librosa's dynamic programming (Ellis 2007); the tempo is that of the beats found. The key is the one of
    the 24 whose profile correlates best with the mean chroma (Krumhansl and Kessler 1982).

    Parameters
    ----------
    mixture : float32 array of shape (sample,)
        Mono.
    sample_rate : int, Hz

    Returns
    -------
    Music
        Tempo None and no beats where there are fewer than four; key None without any pitch.

    Raises
    ------
    UsageError
        If librosa is not installed.
    """
    try:
        import librosa
    except ImportError as error:
        hint = "run `pip install 'mss-cli[research]'`, or set `mixing.matched` to `none`"
        raise UsageError("matched mixing of recordings needs the package `librosa`", hint=hint) from error
    _, found = librosa.beat.beat_track(y=mixture, sr=sample_rate, units="time")
    beats = tuple(float(beat) for beat in found)
    tempo = None
    if len(beats) >= _FEWEST_BEATS and beats[-1] > beats[0]:
        tempo = 60.0 * (len(beats) - 1) / (beats[-1] - beats[0])
    chroma = librosa.feature.chroma_stft(y=mixture, sr=sample_rate, tuning=0.0).mean(axis=1)
    return Music(tempo, key_of(chroma.tolist()), beats if tempo is not None else ())


def key_of(chroma: Sequence[float]) -> str | None:
    """Give the key whose profile correlates best with the strength of each pitch class, from C up; None if all equal.

    Source: Krumhansl and Kessler 1982, as used by Krumhansl and Schmuckler.
    """
    strengths = np.asarray(chroma, np.float64)
    if not np.isfinite(strengths).all() or strengths.std() == 0.0:
        return None
    fit = {
        f"{tonic} {mode}": float(np.corrcoef(strengths, np.roll(profile, place))[0, 1])
        for place, tonic in enumerate(TONICS)
        for mode, profile in (("major", _MAJOR), ("minor", _MINOR))
    }
    return max(fit, key=lambda name: fit[name])


def _same_tempo(first: float | None, second: float | None) -> bool:
    if first is None:
        return True
    if second is None:
        return False
    octaves = math.log2(second / first)
    nearest = min(max(round(octaves), -1), 1)
    return abs(octaves - nearest) <= math.log2(1 + _TEMPO_TOLERANCE)


def _same_scale(first: str | None, second: str | None) -> bool:
    if first is None:
        return True
    return second is not None and scale_of(first) == scale_of(second)
