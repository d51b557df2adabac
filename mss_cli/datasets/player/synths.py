"""Synthesizers: band-limited oscillators, frequency modulation, plucked strings; filters with envelopes."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.signal
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from mss_cli.datasets.player.draw import chance, pick, uniform, weighted
from mss_cli.datasets.player.filters import sweep
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio
from mss_cli.datasets.player.tracks import Play, fade_out, level_out

Wave = Literal["saw", "square", "triangle", "sine", "fm", "organ", "string"]


@dataclass(frozen=True, slots=True)
class Patch:
    """Settings of a synthesizer.

    Attributes
    ----------
    wave : str
    voices : int
        Oscillators on one note.
    detune_cents : float
        Largest distance of a voice from the note.
    wide : bool
        Whether voices are spread between the sides: two channels instead of one.
    sub : float
        Level of a sine an octave below, against the voices.
    cutoff_octaves : tuple of float
        Cut-off of the low-pass above the note at the start, at the end of the decay: the filter's envelope.
    resonance : float
    attack, decay, release : float
        Seconds; the loudness falls towards `sustain` with the time constant `decay`.
    sustain : float
        0 to 1.
    fm_ratio, fm_index : float
        Of wave `fm`: frequency of the modulator against the note, and its depth at the start.
    drive : float
        Saturation of the note; 0 for none.
    vibrato_cents : float
    glide_semitones : float
        The note starts this far above its pitch and falls within 50 ms, as a drum-like bass does.
    """

    wave: Wave
    voices: int = 1
    detune_cents: float = 0.0
    wide: bool = False
    sub: float = 0.0
    cutoff_octaves: tuple[float, float] = (6.0, 3.0)
    resonance: float = 0.0
    attack: float = 0.003
    decay: float = 0.4
    sustain: float = 0.6
    release: float = 0.1
    fm_ratio: float = 1.0
    fm_index: float = 2.0
    drive: float = 0.0
    vibrato_cents: float = 0.0
    glide_semitones: float = 0.0


def synthesizer(patch: Patch, random: Generator) -> Play:
    """Make an instrument of a patch; phases are drawn once for each pitch and length."""
    known: dict[tuple[float, float], Audio] = {}

    def play(midi: float, seconds: float) -> Audio:
        key = (midi, round(seconds, 3))
        if key not in known:
            known[key] = render_note(patch, midi=midi, seconds=seconds, random=random)
        return known[key]

    return play


def render_note(patch: Patch, *, midi: float, seconds: float, random: Generator) -> Audio:
    """Render one note of a patch.

    Returns
    -------
    float32 array of shape (channel, sample)
        Peak 0.5; 2 channels if the patch is wide, else 1.
    """
    frequency = 440 * 2 ** ((midi - 69) / 12)
    samples = max(round((seconds + patch.release) * SAMPLE_RATE), 64)
    time = np.arange(samples) / SAMPLE_RATE
    bend = np.ones(samples)
    if patch.vibrato_cents:
        depth = np.minimum(time / 0.5, 1) * patch.vibrato_cents / 1200
        bend *= 2 ** (depth * np.sin(2 * np.pi * 5.3 * time))
    if patch.glide_semitones:
        bend *= 2 ** (patch.glide_semitones / 12 * np.exp(-time / 0.02))
    out = np.zeros((2 if patch.wide else 1, samples), dtype=np.float32)
    cycles = np.cumsum(bend) * frequency / SAMPLE_RATE
    for voice in range(patch.voices):
        spread = 0.0 if patch.voices == 1 else 2 * voice / (patch.voices - 1) - 1
        ratio = 2 ** (spread * patch.detune_cents / 1200)
        tone = _oscillate(patch, cycles * ratio + random.random(), time, frequency * ratio, random)
        if patch.wide:
            out[0] += tone * np.float32(1 - 0.8 * spread)
            out[1] += tone * np.float32(1 + 0.8 * spread)
        else:
            out[0] += tone
    if patch.sub:
        out += np.float32(patch.sub * patch.voices) * np.sin(np.pi * cycles).astype(np.float32)
    if patch.wave not in ("sine", "string") and patch.cutoff_octaves[0] < 9:
        out = _filtered(patch, out, frequency, seconds)
    envelope = patch.sustain + (1 - patch.sustain) * np.exp(-time / patch.decay)
    envelope *= np.minimum(time / patch.attack, 1)
    out = level_out(out * envelope.astype(np.float32))
    if patch.drive:
        out = level_out(np.tanh(np.float32(2 * patch.drive) * out))
    return fade_out(out, seconds=seconds, release=patch.release)


def _filtered(patch: Patch, sound: Audio, frequency: float, seconds: float) -> Audio:
    time = np.linspace(0, sound.shape[1] / SAMPLE_RATE, 40)
    start, end = patch.cutoff_octaves
    octaves = end + (start - end) * np.exp(-time / max(patch.decay * 0.6, 0.02))
    cutoffs = np.clip(frequency * 2.0**octaves, 60, 19000).astype(np.float32)
    window = 1024 if seconds > 0.15 else 512
    return sweep(torch.from_numpy(sound), cutoffs, resonance=patch.resonance, window=window).numpy()


def _oscillate(
    patch: Patch, cycles: NDArray[np.float64], time: NDArray[np.float64], frequency: float, random: Generator
) -> NDArray[np.float32]:
    """Give one voice from its running count of cycles."""
    if patch.wave == "saw":
        return _saw(cycles, frequency)
    if patch.wave == "square":
        return _saw(cycles, frequency) - _saw(cycles + 0.5, frequency)
    if patch.wave == "string":
        return _string(frequency, time.size, patch.decay, random)
    phase = (2 * np.pi * (cycles % 1)).astype(np.float32)
    if patch.wave == "sine":
        return np.sin(phase)
    if patch.wave == "triangle":
        return np.arcsin(np.sin(phase)) * np.float32(2 / np.pi)
    if patch.wave == "fm":
        index = patch.fm_index * (0.25 + 0.75 * np.exp(-time / patch.decay))
        index *= min(1.0, 6000 / (frequency * max(patch.fm_ratio, 1) * (patch.fm_index + 1)))
        modulator = np.sin((2 * np.pi * (cycles * patch.fm_ratio % 1)).astype(np.float32))
        return np.asarray(np.sin(phase + index.astype(np.float32) * modulator))
    harmonics = [h for h in (0.5, 1, 1.5, 2, 3, 4, 6, 8) if h * frequency < 16000]
    levels = np.float32(0.9) ** np.arange(len(harmonics))
    turns = [
        np.sin((2 * np.pi * (cycles * h % 1)).astype(np.float32)) * g for h, g in zip(harmonics, levels, strict=True)
    ]
    return np.asarray(np.sum(turns, axis=0, dtype=np.float32))


def _saw(cycles: NDArray[np.float64], frequency: float) -> NDArray[np.float32]:
    """Saw between -1 and 1, its step smoothed over two samples (polynomial band-limited step)."""
    width = np.float32(frequency / SAMPLE_RATE)
    phase = (cycles % 1).astype(np.float32)
    wave = 2 * phase - 1
    after = np.flatnonzero(phase < width)
    part = phase[after] / width
    wave[after] -= 2 * part - part * part - 1
    before = np.flatnonzero(phase > 1 - width)
    part = (phase[before] - 1) / width
    wave[before] -= part * part + 2 * part + 1
    return wave


def _string(frequency: float, samples: int, decay: float, random: Generator) -> NDArray[np.float32]:
    """Plucked string: a burst of noise in a damped delay line (Karplus and Strong, 1983)."""
    period = SAMPLE_RATE / frequency - 0.5
    whole = int(period)
    share = period - whole
    kept = 0.5 ** (1 / (frequency * max(decay, 0.05)))  # half the loudness after `decay`
    feedback = np.zeros(whole + 3)
    feedback[0] = 1
    # The mean of two neighbours damps treble; a linear mix of two such means sets the pitch between samples.
    feedback[whole : whole + 3] -= kept * np.array([(1 - share) / 2, 0.5, share / 2])
    burst = np.zeros(samples)
    size = min(whole, samples)
    burst[:size] = random.uniform(-1, 1, size)
    burst[:size] -= 0.9 * np.roll(burst[:size], max(whole // 5, 1))  # plucked at a fifth of its length
    return np.asarray(scipy.signal.lfilter([1.0], feedback, burst), dtype=np.float32)


def draw_bass_patch(random: Generator) -> Patch:
    """Draw a bass: sub, saw, square, reese, acid, modulated or struck."""
    kind = weighted(
        random, (("sub", 1.5), ("808", 1.5), ("saw", 2.0), ("square", 1.5), ("reese", 1.3), ("acid", 0.8), ("fm", 1.3))
    )
    release = uniform(random, 0.02, 0.12)
    if kind == "sub":
        return Patch("sine", drive=uniform(random, 0, 3), decay=1.0, sustain=0.8, release=release)
    if kind == "808":
        return Patch(
            "sine",
            drive=uniform(random, 0.3, 6),
            decay=uniform(random, 0.3, 1.2),
            sustain=0.0,
            release=release,
            glide_semitones=uniform(random, 5, 24),
        )
    if kind == "reese":
        return Patch(
            "saw",
            voices=3,
            detune_cents=uniform(random, 12, 35),
            wide=chance(random, 0.5),
            sub=uniform(random, 0, 0.6),
            cutoff_octaves=(uniform(random, 2.5, 6), uniform(random, 2, 5)),
            decay=uniform(random, 0.3, 2),
            sustain=0.9,
            release=release,
            drive=pick(random, (0.0, 2.0, 5.0)),
        )
    if kind == "acid":
        return Patch(
            pick(random, ("saw", "square")),
            cutoff_octaves=(uniform(random, 3.5, 6), uniform(random, 1, 2.5)),
            resonance=uniform(random, 2, 6),
            decay=uniform(random, 0.08, 0.3),
            sustain=0.5,
            release=0.02,
            drive=pick(random, (0.0, 1.0, 4.0)),
        )
    if kind == "fm":
        return Patch(
            "fm",
            fm_ratio=pick(random, (1.0, 2.0, 0.5, 3.0)),
            fm_index=uniform(random, 1, 6),
            decay=uniform(random, 0.1, 0.6),
            sustain=0.4,
            release=release,
            sub=uniform(random, 0, 0.4),
        )
    wave: Wave = "saw" if kind == "saw" else "square"
    return Patch(
        wave,
        voices=pick(random, (1, 1, 2)),
        detune_cents=uniform(random, 2, 12),
        sub=uniform(random, 0, 0.8),
        cutoff_octaves=(uniform(random, 2.5, 6.5), uniform(random, 1.2, 4.5)),
        resonance=uniform(random, 0, 2),
        decay=uniform(random, 0.08, 0.6),
        sustain=uniform(random, 0.2, 0.9),
        release=release,
        drive=pick(random, (0.0, 0.0, 1.0, 3.0)),
    )


def draw_pad_patch(random: Generator) -> Patch:
    """Draw a pad: many detuned voices or an organ, slow, often dark."""
    wave: Wave = weighted(random, (("saw", 5.0), ("square", 1.5), ("triangle", 0.7), ("organ", 1.2), ("fm", 0.8)))
    voices = pick(random, (3, 5, 7)) if wave in ("saw", "square") else pick(random, (1, 2))
    return Patch(
        wave,
        voices=voices,
        detune_cents=uniform(random, 5, 28),
        wide=True,
        cutoff_octaves=(uniform(random, 1.5, 6), uniform(random, 1.5, 6)),
        resonance=uniform(random, 0, 1.2),
        attack=pick(random, (0.01, 0.05, 0.2, 0.5)),
        decay=uniform(random, 0.5, 3),
        sustain=uniform(random, 0.6, 1),
        release=uniform(random, 0.1, 0.5),
        fm_ratio=pick(random, (1.0, 2.0)),
        fm_index=uniform(random, 0.5, 2.5),
    )


def draw_pluck_patch(random: Generator) -> Patch:
    """Draw a short sound for stabs and arpeggios."""
    wave: Wave = weighted(
        random, (("saw", 4.0), ("square", 2.5), ("triangle", 1.0), ("fm", 2.5), ("string", 1.2), ("organ", 0.8))
    )
    voices = pick(random, (1, 1, 3, 5)) if wave in ("saw", "square") else 1
    return Patch(
        wave,
        voices=voices,
        detune_cents=uniform(random, 4, 22),
        wide=voices > 1,
        cutoff_octaves=(uniform(random, 3, 7), uniform(random, 0.5, 4)),
        resonance=uniform(random, 0, 3),
        attack=0.002,
        decay=uniform(random, 0.06, 0.5),
        sustain=uniform(random, 0, 0.5),
        release=uniform(random, 0.03, 0.25),
        fm_ratio=pick(random, (1.0, 2.0, 3.0, 3.5, 7.0)),
        fm_index=uniform(random, 0.8, 5),
    )


def draw_lead_patch(random: Generator) -> Patch:
    """Draw a lead: bright, held, sometimes with vibrato."""
    wave: Wave = weighted(random, (("saw", 4.0), ("square", 3.0), ("triangle", 1.0), ("sine", 0.8), ("fm", 1.2)))
    voices = pick(random, (1, 2, 3, 7)) if wave in ("saw", "square") else 1
    return Patch(
        wave,
        voices=voices,
        detune_cents=uniform(random, 4, 25),
        wide=voices > 1 and chance(random, 0.6),
        cutoff_octaves=(uniform(random, 2.5, 7), uniform(random, 2, 6)),
        resonance=uniform(random, 0, 2.5),
        attack=uniform(random, 0.002, 0.05),
        decay=uniform(random, 0.2, 1.5),
        sustain=uniform(random, 0.4, 1),
        release=uniform(random, 0.03, 0.2),
        fm_ratio=pick(random, (1.0, 2.0, 3.0)),
        fm_index=uniform(random, 0.5, 4),
        drive=pick(random, (0.0, 0.0, 2.0)),
        vibrato_cents=pick(random, (0.0, 0.0, 15.0, 35.0)),
    )
