"""One played song: voice, drums, bass and the rest in one key and tempo, mixed as a record."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from mss_cli.datasets.player.bass import play_bass
from mss_cli.datasets.player.chords import play_other
from mss_cli.datasets.player.draw import chance, pick, uniform
from mss_cli.datasets.player.drums import play_drums
from mss_cli.datasets.player.harmony import Key, draw_chords, draw_key
from mss_cli.datasets.player.mixing import mixed_down
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio, Pack
from mss_cli.datasets.player.production import active_level
from mss_cli.datasets.player.rhythm import DRUM_STYLES, Grid, styles_at
from mss_cli.datasets.player.score import Score, draw_sections
from mss_cli.datasets.player.singing import PlayedNote
from mss_cli.datasets.player.voices import Choice, Voice, draw_voice, play_vocals
from mss_cli.errors import DatasetError

_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class SongStyle:
    """What songs may be like.

    Attributes
    ----------
    vocals : {"any", "sung-notes", "phrases", "recorded"}
        `sung-notes`: only melodies of single sung notes, whose pitch is known throughout. `phrases`: only recorded
        sung phrases. `recorded`: these and single notes, by one voice with its own formants: nothing is sung again
        from its periods, which sounds a little like an instrument. `any`: all of them, shouts and spoken words.
    tempo : tuple of float
        Slowest and fastest, in beats per minute.
    production : bool
        Mix as on records; False plays dry and even.
    rests : bool
        Whether stems rest for whole sections.
    absent : float
        Chance for each stem to be left out of a song, 0 to 1.
    harmonies : bool
        Whether voices may be harmonised; without it sung notes never overlap by intent.
    """

    vocals: Choice = "any"
    tempo: tuple[float, float] = (70.0, 170.0)
    production: bool = True
    rests: bool = True
    absent: float = 0.05
    harmonies: bool = True


@dataclass(frozen=True, slots=True)
class PlayedSong:
    """A song with its stems.

    Attributes
    ----------
    stems : float32 array of shape (4, 2, sample)
        vocals, drums, bass, other at 44.1 kHz; their sum is the mixture, with a peak of at most 1. Finite.
    notes : tuple of PlayedNote
        Sung notes whose pitch is known, by their start.
    tempo : float
        Beats per minute.
    key : int
        Tonic, 0 is C.
    mode : str
    beats : float32 array of shape (beat,)
        Seconds.
    description : str
        What was chosen, for people.
    """

    stems: Audio
    notes: tuple[PlayedNote, ...]
    tempo: float
    key: int
    mode: str
    beats: NDArray[np.float32] = field(repr=False)
    description: str

    @property
    def mixture(self) -> Audio:
        """Sum of the stems, of shape (2, sample)."""
        return np.asarray(self.stems.sum(axis=0))


def play_song(
    pack: Pack,
    *,
    seed: int | Sequence[int],
    seconds: float,
    style: SongStyle = SongStyle(),
    device: torch.device | str = "cpu",
) -> PlayedSong:
    """Play a song: a pure function of the pack, the seed, the length and the style.

    Notes are laid into tracks on the CPU; what makes a record of the tracks, which is half of the work, runs on the
    device.

    Parameters
    ----------
    pack : Pack
        As from `open_pack`.
    seed : int or sequence of int, >= 0
        Equal seeds give equal songs, bit for bit on one device and with equal versions of numpy, scipy and torch, and
        the same song to rounding on any device; where stems are coded, to what a coder makes of that.
    seconds : float, > 0
        Length of the song.
    style : SongStyle
    device : torch.device or str
        The song itself always comes back to the memory of the CPU.

    Returns
    -------
    PlayedSong
        Never silent, never with a number that is not finite.

    Raises
    ------
    ValueError
        If `seconds` is not positive and finite, or a value of the style is out of its range.
    DatasetError
        If no sound can be made of the pack.
    """
    _check(seconds, style)
    for attempt in range(_ATTEMPTS):
        entropy = [seed] if isinstance(seed, int) else list(seed)
        song = _play(pack, SeedSequence([*entropy, attempt]), seconds, style, torch.device(device))
        # The rare song in which nobody happens to play is drawn again.
        if active_level(torch.from_numpy(song.mixture)) > 1e-3:
            return song
    raise DatasetError(f"the pack gives no sound with seed {seed}", hint="check the pack for broken files")


def _check(seconds: float, style: SongStyle) -> None:
    if not (np.isfinite(seconds) and seconds > 0):
        raise ValueError(f"seconds must be positive and finite, got {seconds}")
    if not 40 <= style.tempo[0] <= style.tempo[1] <= 240:
        raise ValueError(f"tempo must be a range within 40 to 240 beats per minute, got {style.tempo}")
    if not 0 <= style.absent <= 1:
        raise ValueError(f"absent must be between 0 and 1, got {style.absent}")


def _play(pack: Pack, seeds: SeedSequence, seconds: float, style: SongStyle, device: torch.device) -> PlayedSong:
    # Each part has a generator of its own, so that what one draws does not change the others.
    plan, voice_random, drums_random, bass_random, other_random, mix_random = (
        default_rng(child) for child in seeds.spawn(6)
    )
    voice = draw_voice(pack, plan, choice=style.vocals, tempos=style.tempo)
    score = _write(plan, voice, seconds, style)
    vocals, notes, bandwidth = play_vocals(pack, score, voice, voice_random, harmonies=style.harmonies)
    drums, kit, kicks = play_drums(pack, score, drums_random)
    bass, bass_name = play_bass(pack, score, bass_random, kick_pattern=pick(bass_random, score.style.kicks))
    other, parts = play_other(pack, score, other_random, production=style.production, device=device)
    stems = mixed_down(
        (*(torch.from_numpy(track).to(device) for track in (vocals, drums, bass)), other),
        score,
        mix_random,
        kicks=kicks,
        bandwidth_hz=bandwidth,
        production=style.production,
    )
    description = (
        f"{score.style.name}, {score.grid.tempo:.1f} BPM, tonic {score.key.tonic} {score.key.mode}; "
        f"voice: {voice.manner} {voice.name} {voice.shift:+d}; kit: {kit}; bass: {bass_name}; {'; '.join(parts)}"
    )
    return PlayedSong(
        stems=stems.cpu().numpy(),
        notes=notes if score.playing["vocals"].any() else (),
        tempo=score.grid.tempo,
        key=score.key.tonic,
        mode=score.key.mode,
        beats=score.grid.beats(),
        description=description,
    )


def _write(random: Generator, voice: Voice, seconds: float, style: SongStyle) -> Score:
    """Write the frame of a song around a voice."""
    if voice.tempo is not None:
        drum_style = pick(random, styles_at(voice.tempo))
        tempo = voice.tempo
    else:
        drum_style = pick(random, DRUM_STYLES)
        tempo = float(np.clip(uniform(random, *drum_style.tempo), *style.tempo))
    key = _draw_key(random, voice)
    grid = Grid(tempo, max(int(np.ceil(seconds / (240 / tempo) - 1e-9)), 1), pick(random, drum_style.swing), seconds)
    playing, starts = draw_sections(random, grid.bars, rests=style.rests, absent=style.absent)
    electronic = float(np.clip(drum_style.electronic + random.normal(0, 0.15), 0, 1))
    samples = round(seconds * SAMPLE_RATE)
    return Score(
        grid, key, draw_chords(random, key, grid.bars), drum_style, electronic, playing, starts, max(samples, 1)
    )


def _draw_key(random: Generator, voice: Voice) -> Key:
    if voice.tonic is not None:
        return draw_key(random, tonic=voice.tonic, minor=voice.minor)
    return draw_key(random, tonic=int(random.integers(12)), minor=chance(random, 0.6))
