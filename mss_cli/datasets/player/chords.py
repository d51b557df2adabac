"""Everything that is not voice, drums or bass: pads, chords, arpeggios, riffs, leads, guitars, textures, noise."""

import itertools

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from mss_cli.datasets.player.draw import chance, pick, uniform, weighted
from mss_cli.datasets.player.filters import sweep
from mss_cli.datasets.player.harmony import at_or_above, voicing
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio, Pack
from mss_cli.datasets.player.production import amplified, draw_eq, echoed, normalised, saturated, shaped, widened
from mss_cli.datasets.player.rhythm import LEVELS, STEPS
from mss_cli.datasets.player.score import Score
from mss_cli.datasets.player.synths import Patch, draw_lead_patch, draw_pad_patch, draw_pluck_patch, synthesizer
from mss_cli.datasets.player.tracks import Play, blank, humanised, level_out, place, sampled, transpose

_MIN_NOTES = 5
_COMPS = (
    "x...x...x...x...",
    "..x...x...x...x.",
    "x..x..x...x..x..",
    "x.......x.......",
    "x..x..x.x..x..x.",
    "x.xx.xx.x.xx.xx.",
    "x.x.x.x.x.x.x.x.",
    "....x.......x...",
    "x.....x.....x...",
    "x..x.....x......",
    "x.o.x.o.x.o.x.o.",
    "xoxxoxxoxoxxoxxo",
)
_CHUGS = ("xxxxxxxxxxxxxxxx", "x.x.x.x.x.x.x.x.", "x.xxx.xxx.xxx.xx", "x..x..x.x..x..x.", "x.......x.x.x...")
_PARTS = (
    ("pad", 2.5),
    ("comp", 3.0),
    ("strum", 1.5),
    ("arpeggio", 2.5),
    ("riff", 2.0),
    ("lead", 1.5),
    ("power", 2.4),
    ("texture", 0.6),
    ("noise", 0.7),
)


def play_other(
    pack: Pack, score: Score, random: Generator, *, production: bool, device: torch.device
) -> tuple[Tensor, tuple[str, ...]]:
    """Play one to five parts, each in some sections only.

    Returns
    -------
    track : float32 Tensor of shape (2, sample)
        On the device, where each part gets its sound.
    names : tuple of str
        The parts.
    """
    track, names = torch.zeros(2, score.samples, device=device), []
    count = weighted(random, ((1, 1.0), (2, 2.0), (3, 2.0), (4, 1.2), (5, 0.5)))
    kinds = [weighted(random, _PARTS) for _ in range(count)]
    if all(kind in ("noise", "texture") for kind in kinds):
        kinds[0] = "comp"
    narrow = chance(random, 0.4)  # in the middle, beside the voice
    for number, kind in enumerate(kinds):
        bars = _bars_of_part(score, random, always=number == 0)
        pan = uniform(random, -1, 1) * (0.15 if narrow or number == 0 else 0.9)
        played, name = _play_part(kind, pack, score, random, bars, pan)
        line = torch.from_numpy(played).to(device)
        if production:
            line = _produced(kind, line, score, random)
        track += normalised(line, level_db=0 if number == 0 else uniform(random, -9, 2))
        names.append(f"{kind}: {name}")
    return track, tuple(names)


def _bars_of_part(score: Score, random: Generator, *, always: bool) -> list[int]:
    """Choose the sections a part plays in."""
    bars: list[int] = []
    starts = [*score.section_starts, score.grid.bars]
    for start, end in itertools.pairwise(starts):
        on = always or chance(random, 0.65)
        bars.extend(bar for bar in range(start, end) if on and score.playing["other"][bar])
    return bars


def _instrument(kind: str, pack: Pack, score: Score, random: Generator) -> tuple[str, Play]:
    sources = [source for source in pack.of_stem("other") if len(source.pitched) >= _MIN_NOTES]
    if kind == "power":
        strings = [source for source in sources if "guitar" in source.name]
        if strings and chance(random, 0.6):
            source = pick(random, strings)
            return source.name, sampled(pack, source.pitched, random, release=0.04)
        return "plucked string", synthesizer(Patch("string", decay=uniform(random, 0.8, 2.5), sustain=1.0), random)
    if not sources or chance(random, 0.2 + 0.65 * score.electronic):
        draw = {"pad": draw_pad_patch, "lead": draw_lead_patch, "riff": draw_lead_patch}.get(kind, draw_pluck_patch)
        patch = draw(random)
        return f"synth {patch.wave}", synthesizer(patch, random)
    source = pick(random, sources)
    return source.name, sampled(pack, source.pitched, random, release=uniform(random, 0.04, 0.3))


def _play_part(
    kind: str, pack: Pack, score: Score, random: Generator, bars: list[int], pan: float
) -> tuple[Audio, str]:
    track = blank(score.samples)
    if kind == "noise":
        return _risers(track, score, random), "risers"
    if kind == "texture":
        return _texture(track, pack, score, random, bars)
    name, play = _instrument(kind, pack, score, random)
    writer = {"pad": _pad, "comp": _comp, "strum": _strum, "arpeggio": _arpeggio, "power": _power}.get(kind, _melody)
    error = uniform(random, 0, 0.009) if score.electronic < 0.7 else uniform(random, 0, 0.002)
    for bar, step, midi, steps, level, late in writer(score, random, bars):
        at = humanised(random, seconds=score.grid.at(bar, step), spread=error) + late
        place(track, play(midi, max(steps * score.grid.step, 0.05)), seconds=at, gain=level, pan=pan)
    return track, name


# A note: bar, step, MIDI pitch, length in steps, level, seconds it comes late.
_Note = tuple[int, int, int, float, float, float]


def _pad(score: Score, random: Generator, bars: list[int]) -> list[_Note]:
    near, spread = pick(random, (55, 60, 60, 67)), chance(random, 0.4)
    notes = []
    for bar in bars:
        halves = (0, 8) if score.chord(bar, 0) != score.chord(bar, 8) else (0,)
        for step in halves:
            for midi in voicing(score.chord(bar, step), near=near, spread=spread):
                notes.append((bar, step, midi, 15.5 / len(halves), 0.5, 0.0))
    return notes


def _comp(score: Score, random: Generator, bars: list[int]) -> list[_Note]:
    near, marks = pick(random, (55, 60, 64, 67)), pick(random, _COMPS)
    held = pick(random, (0.7, 1.5, 3.0))
    return [
        (bar, step, midi, held, LEVELS[mark] * uniform(random, 0.8, 1), 0.0)
        for bar in bars
        for step, mark in enumerate(marks)
        if mark in LEVELS
        for midi in voicing(score.chord(bar, step), near=near)
    ]


def _strum(score: Score, random: Generator, bars: list[int]) -> list[_Note]:
    marks, gap = pick(random, _COMPS), uniform(random, 0.006, 0.025)
    notes = []
    for bar in bars:
        for step, mark in enumerate(marks):
            if mark not in LEVELS:
                continue
            tones = voicing(score.chord(bar, step), near=55)
            strings = sorted({*tones, *(midi + 12 for midi in tones), at_or_above(score.chord(bar, step).root, 40)})
            order = strings if step % 4 == 0 else strings[::-1]
            held = pick(random, (2.0, 3.0, 4.0))
            notes += [
                (bar, step, midi, held, LEVELS[mark] * uniform(random, 0.7, 1), place_of * gap)
                for place_of, midi in enumerate(order)
            ]
    return notes


def _arpeggio(score: Score, random: Generator, bars: list[int]) -> list[_Note]:
    stride = weighted(random, ((1, 2.0), (2, 3.0), (3, 0.8)))
    near, octaves = pick(random, (55, 60, 67, 72)), pick(random, (1, 2))
    shape = pick(random, ("up", "down", "both", "any"))
    order = [int(random.integers(0, 12)) for _ in range(STEPS)]
    notes = []
    for bar in bars:
        for number, step in enumerate(range(0, STEPS, stride)):
            tones = voicing(score.chord(bar, step), near=near)
            ladder = [midi + 12 * octave for octave in range(octaves) for midi in tones]
            if shape == "down":
                ladder = ladder[::-1]
            elif shape == "both":
                ladder = ladder + ladder[-2:0:-1]
            midi = ladder[(order[number] if shape == "any" else number) % len(ladder)]
            notes.append((bar, step, midi, stride * 0.9, 0.6 + 0.4 * (step % 4 == 0), 0.0))
    return notes


def _power(score: Score, random: Generator, bars: list[int]) -> list[_Note]:
    marks, muted = pick(random, _CHUGS), chance(random, 0.5)
    notes = []
    for bar in bars:
        for step, mark in enumerate(marks):
            if mark in LEVELS:
                root = at_or_above(score.chord(bar, step).root, 38)
                held = 0.6 if muted and step % 8 else 2.0
                notes += [(bar, step, root + up, held, uniform(random, 0.85, 1), 0.0) for up in (0, 7, 12)]
    return notes


def _melody(score: Score, random: Generator, bars: list[int]) -> list[_Note]:
    """Write a motif of one or two bars that follows the chords, with answers."""
    near, length = pick(random, (60, 67, 72)), pick(random, (STEPS, 2 * STEPS))
    onsets = sorted({0} | {int(step) for step in random.choice(length, size=int(random.integers(3, 10)))})
    moves = [pick(random, (-2, -1, -1, 0, 1, 1, 2, 4, -3)) for _ in onsets]
    notes = []
    for bar in bars:
        offset = STEPS * (bar % (length // STEPS))
        midi = voicing(score.chord(bar, 0), near=near)[0]
        for number, onset in enumerate(onsets):
            midi = score.key.step(midi, moves[number]) if number else midi
            midi += 12 if midi < near - 9 else (-12 if midi > near + 14 else 0)
            if not offset <= onset < offset + STEPS:
                continue
            following = onsets[number + 1] if number + 1 < len(onsets) else length
            steps = min(following - onset, 6) * 0.9
            notes.append((bar, onset - offset, midi, steps, uniform(random, 0.7, 1), 0.0))
    return notes


def _texture(track: Audio, pack: Pack, score: Score, random: Generator, bars: list[int]) -> tuple[Audio, str]:
    """Let one-shots without a known pitch sound now and then, transposed at random."""
    items = [item for source in pack.of_stem("other") for item in source.items if item.midi is None]
    if not items:
        return _risers(track, score, random), "risers"
    item = pick(random, items)
    sound = level_out(transpose(pack.audio(item), pick(random, (-12.0, -7.0, -5.0, 0.0, 0.0, 5.0, 7.0))))
    every = pick(random, (1, 2, 4))
    for bar in bars:
        if bar % every == 0:
            step = pick(random, (0, 0, 4, 8, 14))
            place(track, sound, seconds=score.grid.at(bar, step), pan=uniform(random, -0.8, 0.8))
    return track, item.label


def _risers(track: Audio, score: Score, random: Generator) -> Audio:
    """Let filtered noise rise into sections and fall out of them."""
    length = pick(random, (1, 2, 4)) * score.grid.bar
    samples = round(min(length, 8.0) * SAMPLE_RATE)
    noise = random.standard_normal((1, samples), dtype=np.float32)
    low, high = uniform(random, 200, 800), uniform(random, 5000, 14000)
    ramp = np.linspace(0, 1, samples, dtype=np.float32)
    rise = level_out(_swept(noise, low, high, resonance=uniform(random, 0, 4)) * ramp**2)
    fall = level_out(_swept(noise, high, low, resonance=0.5) * (1 - ramp) ** 3)
    for start in (*score.section_starts, score.grid.bars):
        if chance(random, 0.7):
            place(track, rise, seconds=score.grid.at(start) - samples / SAMPLE_RATE)
        if chance(random, 0.6):
            place(track, fall, seconds=score.grid.at(start), gain=0.7)
    for bar in np.flatnonzero(~score.playing["other"]):
        track[:, round(bar * score.grid.bar * SAMPLE_RATE) : round((bar + 1) * score.grid.bar * SAMPLE_RATE)] = 0
    return track


def _swept(noise: Audio, start_hz: float, end_hz: float, *, resonance: float) -> Audio:
    cutoffs = np.array([start_hz, end_hz], dtype=np.float32)
    return np.asarray(sweep(torch.from_numpy(noise), cutoffs, resonance=resonance).numpy())


def _produced(kind: str, line: Tensor, score: Score, random: Generator) -> Tensor:
    """Give a part its own sound."""
    played = kind in ("riff", "lead", "comp", "strum", "arpeggio") and score.electronic < 0.5
    if kind == "power" or (played and chance(random, 0.35)):
        line = amplified(line, random, drive=2 ** uniform(random, 0, 5))
        if chance(random, 0.5):
            line = widened(line, seconds=uniform(random, 0.008, 0.025), share=1.0)
        return line
    if chance(random, 0.25) and kind != "noise":  # the filter opens or closes over the sections
        points = max(score.grid.bars // 4, 2)
        cutoffs = (2 ** random.uniform(np.log2(300), np.log2(16000), points)).astype(np.float32)
        line = sweep(line, cutoffs, resonance=uniform(random, 0, 2), window=2048)
    if chance(random, 0.2):
        line = saturated(line, drive=2 ** uniform(random, -1, 3))
    if chance(random, 0.3):
        seconds = score.grid.step * pick(random, (2, 3, 4, 6))
        line = echoed(
            line,
            seconds=seconds,
            feedback=uniform(random, 0.2, 0.6),
            level=uniform(random, 0.15, 0.6),
            ping_pong=chance(random, 0.5),
        )
    if chance(random, 0.25):
        line = widened(line, seconds=uniform(random, 0.006, 0.02), share=uniform(random, 0.3, 1))
    if chance(random, 0.15):  # tremolo or a gate in time
        time = torch.arange(line.shape[1], device=line.device) / (score.grid.step * SAMPLE_RATE)
        wave = 0.5 + 0.5 * torch.sin(2 * np.pi / pick(random, (1, 2, 4)) * time)
        line *= 1 - uniform(random, 0.3, 1) * wave
    if chance(random, 0.3):
        line = shaped(line, eq_db=draw_eq(random, spread_db=4), high_pass_hz=pick(random, (0.0, 150.0, 400.0)))
    return line
