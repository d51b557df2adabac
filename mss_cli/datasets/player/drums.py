"""The drum part: a kit, a pattern with variations, ghosts and fills, percussion and loops beside it."""

import numpy as np
from numpy.random import Generator

from mss_cli.datasets.player.draw import chance, pick, uniform
from mss_cli.datasets.player.drum_synths import synthetic_hit
from mss_cli.datasets.player.kits import Kit, Piece, draw_kit, loops_of
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio, Pack
from mss_cli.datasets.player.rhythm import LEVELS, STEPS, draw_fill
from mss_cli.datasets.player.score import Score
from mss_cli.datasets.player.tracks import blank, humanised, level_out, place, transpose

_PIECES: tuple[Piece, ...] = (
    "kick",
    "snare",
    "clap",
    "rim",
    "hat",
    "open",
    "crash",
    "ride",
    "tom",
    "shaker",
    "percussion",
)
# Usual loudness of a piece against the kick in dB, and how widely it varies from song to song.
_LEVELS_DB = {
    "kick": (0.0, 2.5),
    "snare": (-2.0, 3.0),
    "clap": (-4.0, 3.0),
    "rim": (-7.0, 3.0),
    "hat": (-13.0, 4.0),
    "open": (-13.0, 4.0),
    "crash": (-9.0, 3.0),
    "ride": (-13.0, 3.0),
    "tom": (-4.0, 2.0),
    "shaker": (-15.0, 4.0),
    "percussion": (-12.0, 4.0),
}
_PAN = {"hat": 0.4, "open": 0.4, "crash": 0.7, "ride": 0.6, "tom": 0.6, "shaker": 0.7, "percussion": 0.8, "rim": 0.3}
_EXTRA = ("x..x..x.x..x..x.", "..x...x...x...x.", "x.x.x.x.x.x.x.x.", "......x......x..", "...x..x....x..x.")


class _Hits:
    """Sounds of the pieces in one song, each with a level and a place; some pieces are machines."""

    def __init__(self, pack: Pack, score: Score, random: Generator) -> None:
        self.name, kit = draw_kit(pack, random)
        self._random = random
        synthetic = chance(random, 0.35 * score.electronic)
        self.tight = score.electronic > 0.6 or chance(random, 0.3)  # the same sample every time
        tuning = uniform(random, -3, 3) if chance(random, 0.5) else 0.0
        self._sounds = {piece: self._prepare(pack, kit, piece, synthetic, tuning) for piece in _PIECES}
        self._gains = {
            piece: 10 ** ((mean + spread * random.normal()) / 20) for piece, (mean, spread) in _LEVELS_DB.items()
        }
        width = pick(random, (0.0, 0.5, 1.0, 1.0))
        self._pans = {piece: width * uniform(random, -1, 1) * _PAN.get(piece, 0.05) for piece in _PIECES}

    def _prepare(self, pack: Pack, kit: Kit, piece: Piece, synthetic: bool, tuning: float) -> list[Audio]:
        if piece not in kit or (synthetic and chance(self._random, 0.75)):
            return [synthetic_hit(piece, self._random)]
        chosen = kit[piece] if not self.tight else (pick(self._random, kit[piece]),)
        most = 1 if self.tight else 4
        sounds = [level_out(transpose(pack.audio(item), tuning)) for item in chosen[:most]]
        if piece in ("kick", "snare") and chance(self._random, 0.25):  # a second layer, as producers do
            other = synthetic_hit(piece, self._random)
            sounds = [_layered(sound, other) for sound in sounds]
        return sounds

    def strike(self, track: Audio, piece: Piece, *, seconds: float, level: float) -> None:
        sound = pick(self._random, self._sounds[piece])
        place(track, sound, seconds=seconds, gain=level * self._gains[piece], pan=self._pans[piece])


def _layered(sound: Audio, other: Audio) -> Audio:
    out = np.zeros((sound.shape[0], max(sound.shape[1], other.shape[1])), dtype=np.float32)
    out[:, : sound.shape[1]] += sound
    out[:, : other.shape[1]] += np.float32(0.6) * other
    return out


def play_drums(pack: Pack, score: Score, random: Generator) -> tuple[Audio, str, tuple[float, ...]]:
    """Play the drums of a song.

    Returns
    -------
    track : float32 array of shape (2, sample)
    name : str
        The kit.
    kicks : tuple of float
        Times of the kicks in seconds: what side-chain compression listens to.
    """
    hits = _Hits(pack, score, random)
    track = blank(score.samples)
    style = score.style
    lines: list[tuple[Piece, str]] = [("kick", pick(random, style.kicks))]
    backbeat = pick(random, style.snares)
    first: Piece = "clap" if style.claps and chance(random, 0.5) else "snare"
    if first == "snare" and chance(random, 0.08):
        first = "rim"
    lines.append((first, backbeat))
    if style.claps and chance(random, 0.4):
        lines.append(("clap" if first == "snare" else "snare", backbeat.replace("o", ".").replace("x", ".")))
    lines.append(("ride" if style.electronic < 0.5 and chance(random, 0.15) else "hat", pick(random, style.hats)))
    if chance(random, 0.7):
        lines.append((pick(random, ("open", "open", "ride")), pick(random, style.opens)))
    for piece in ("shaker", "percussion", "percussion"):
        if chance(random, 0.25):
            lines.append(("shaker" if piece == "shaker" else "percussion", pick(random, _EXTRA)))
    kicks = _play_lines(track, hits, lines, score, random)
    if chance(random, 0.15):
        _play_loop(track, pack, score, random)
    return track, hits.name, kicks


def _play_lines(
    track: Audio, hits: _Hits, lines: list[tuple[Piece, str]], score: Score, random: Generator
) -> tuple[float, ...]:
    kicks: list[float] = []
    error = 0.0 if hits.tight else uniform(random, 0.001, 0.007)
    change = uniform(random, 0, 0.06)
    fill_every = pick(random, (4, 8, 8, 16))
    for bar in np.flatnonzero(score.playing["drums"]).tolist():
        fill = draw_fill(random) if (bar + 1) % fill_every == 0 and chance(random, 0.75) else ""
        fill_from = len(fill) - len(fill.lstrip(".")) if fill else STEPS
        if (bar in score.section_starts or bar % fill_every == 0) and chance(random, 0.6):
            hits.strike(track, "crash", seconds=score.grid.at(bar), level=uniform(random, 0.7, 1))
        for piece, marks in lines:
            for step, mark in enumerate(marks):
                level = _varied(LEVELS.get(mark, 0.0), piece, random, change=change)
                if level == 0 or (step >= fill_from and piece != "kick"):
                    continue
                at = humanised(random, seconds=score.grid.at(bar, step), spread=error)
                hits.strike(track, piece, seconds=at, level=level * uniform(random, 0.85, 1))
                if piece == "kick" and level > 0.5:
                    kicks.append(at)
                if piece == "hat" and score.style.name == "trap":
                    _roll(track, hits, random, seconds=at, step=score.grid.step, level=0.6 * level)
        for step in range(fill_from, STEPS):
            if fill[step] in LEVELS:
                voice: Piece = "snare" if step % 4 < 2 or chance(random, 0.4) else "tom"
                hits.strike(track, voice, seconds=score.grid.at(bar, step), level=LEVELS[fill[step]] * 0.9)
    return tuple(sorted(kicks))


def _varied(level: float, piece: Piece, random: Generator, *, change: float) -> float:
    """Now and then leave a note out or add a ghost; accents stay."""
    if not chance(random, change):
        return level
    if level == 0:
        return 0.0 if piece == "open" else 0.25
    return level if level >= 1 else 0.0


def _roll(track: Audio, hits: _Hits, random: Generator, *, seconds: float, step: float, level: float) -> None:
    """Now and then let a hat go on within its step, as 32nds or triplets."""
    if chance(random, 0.06):
        parts = pick(random, (2, 3))
        for part in range(1, parts):
            hits.strike(track, "hat", seconds=seconds + part * step / parts, level=level)


def _play_loop(track: Audio, pack: Pack, score: Score, random: Generator) -> None:
    """Lay a loop under the beat, resampled to fill a power of two of beats."""
    loops = loops_of(pack)
    if not loops:
        return
    loop = pick(random, loops)
    beats = 2.0 ** np.clip(round(np.log2(max(loop.seconds * score.grid.tempo / 60, 0.5))), 0, 5)
    semitones = 12 * np.log2(loop.seconds / (beats * 60 / score.grid.tempo))
    sound = level_out(transpose(pack.audio(loop), float(semitones)))
    gain, every = uniform(random, 0.15, 0.7), beats * 60 / score.grid.tempo
    for start in np.arange(0, score.samples / SAMPLE_RATE, every):
        bar = min(int(start / score.grid.bar + 1e-6), score.grid.bars - 1)
        if score.playing["drums"][bar]:
            place(track, sound, seconds=float(start), gain=gain)
