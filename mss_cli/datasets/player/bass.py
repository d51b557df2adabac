"""The bass part: lines in many manners, on recorded basses or synthesizers."""

from numpy.random import Generator

from mss_cli.datasets.player.draw import chance, pick, uniform, weighted
from mss_cli.datasets.player.harmony import at_or_above
from mss_cli.datasets.player.pack import Audio, Pack
from mss_cli.datasets.player.rhythm import LEVELS, STEPS
from mss_cli.datasets.player.score import Score
from mss_cli.datasets.player.synths import draw_bass_patch, synthesizer
from mss_cli.datasets.player.tracks import Play, blank, humanised, place, sampled

LOWEST = 28  # E1, the lowest string of a bass guitar
_RHYTHMS = (
    "x...............",
    "x.......x.......",
    "x.x.x.x.x.x.x.x.",
    "xxxxxxxxxxxxxxxx",
    "x..x..x...x..x..",
    "..x...x...x...x.",
    "x...x...x...x...",
    "x..x....x..x....",
    "x.......x.x...x.",
    "x..x..x.x..x..x.",
    "x.x...x...x.x...",
    "..xx..xx..xx..xx",
    ".xxx.xxx.xxx.xxx",
    "x.....x.x.....x.",
    "x...x.....x.....",
    "X.x.x..x..x.x...",
)
_MIN_NOTES = 5


def draw_bass(pack: Pack, score: Score, random: Generator) -> tuple[str, Play]:
    """Choose a recorded bass or a synthesizer: (name, instrument)."""
    sources = [source for source in pack.of_stem("bass") if len(source.pitched) >= _MIN_NOTES]
    if not sources or chance(random, 0.12 + 0.68 * score.electronic):
        patch = draw_bass_patch(random)
        return f"synth {patch.wave}", synthesizer(patch, random)
    source = pick(random, sources)
    return source.name, sampled(pack, source.pitched, random, release=uniform(random, 0.02, 0.12))


def play_bass(pack: Pack, score: Score, random: Generator, *, kick_pattern: str) -> tuple[Audio, str]:
    """Play the bass of a song.

    Parameters
    ----------
    pack : Pack
    score : Score
    random : Generator
    kick_pattern : str
        16 marks of the kick, which some lines follow.

    Returns
    -------
    track : float32 array of shape (2, sample)
    name : str
        The instrument.
    """
    name, play = draw_bass(pack, score, random)
    rhythm = kick_pattern if chance(random, 0.2) else pick(random, _RHYTHMS)
    if "x" not in rhythm and "X" not in rhythm:
        rhythm = _RHYTHMS[1]
    manner = weighted(random, (("roots", 4.0), ("octaves", 2.0), ("fifths", 1.5), ("riff", 2.5), ("walk", 0.8)))
    track, grid = blank(score.samples), score.grid
    gate = uniform(random, 0.5, 1.0)
    error = uniform(random, 0, 0.008) if score.electronic < 0.6 else 0.0
    low = LOWEST + pick(random, (-3, 0, 0, 0, 5))
    riff = [pick(random, (0, 0, 0, 2, 4, -1, 6, 7, 3)) for _ in range(STEPS)]
    variation = rhythm if chance(random, 0.6) else pick(random, _RHYTHMS)
    if manner == "walk":
        rhythm = variation = "x...x...x...x..."
    for bar in range(grid.bars):
        if not score.playing["bass"][bar]:
            continue
        marks = variation if bar % 4 == 3 else rhythm
        steps = [step for step, mark in enumerate(marks) if mark in LEVELS]
        for number, step in enumerate(steps):
            following = steps[number + 1] if number + 1 < len(steps) else STEPS
            midi = _note(score, bar, step, manner, riff, low)
            held = max((following - step) * grid.step * gate, 0.06)
            at = humanised(random, seconds=grid.at(bar, step), spread=error)
            place(track, play(midi, held), seconds=at, gain=LEVELS[marks[step]] * uniform(random, 0.85, 1.05))
    return track, f"{name}, {manner}"


def _note(score: Score, bar: int, step: int, manner: str, riff: list[int], low: int) -> int:
    chord = score.chord(bar, step)
    root = at_or_above(chord.root, low)
    if manner == "octaves":
        return root + 12 * (step // 2 % 2)
    if manner == "fifths":
        return at_or_above(chord.tones[min(2, len(chord.tones) - 1)], root) if step >= 8 else root
    if manner == "riff":
        return score.key.step(root, riff[step]) if riff[step] else root
    if manner == "walk":
        beat = step // 4
        if beat == 3:  # lead into the next root by a half tone
            following = at_or_above(score.chord(bar + 1, 0).root, low)
            return following + (1 if (bar + step) % 2 else -1)
        return at_or_above(chord.tones[beat % len(chord.tones)], root)
    return root
