"""Synthetic drums, as of analogue machines."""

import numpy as np
import scipy.signal
from numpy.random import Generator

from mss_cli.datasets.player.draw import chance, uniform
from mss_cli.datasets.player.kits import Piece
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio
from mss_cli.datasets.player.tracks import level_out


def synthetic_hit(piece: Piece, random: Generator) -> Audio:
    """Make a hit of a piece of a machine; each call draws a new sound.

    Returns
    -------
    float32 array of shape (1, sample)
        Peak 0.5.
    """
    if piece == "kick":
        return _drum(
            random,
            low=uniform(random, 38, 65),
            sweep=uniform(random, 2, 6),
            decay=uniform(random, 0.08, 0.5),
            noise=uniform(random, 0, 0.08),
            drive=uniform(random, 0.5, 6),
        )
    if piece == "tom":
        return _drum(
            random,
            low=uniform(random, 80, 220),
            sweep=uniform(random, 1.2, 2),
            decay=uniform(random, 0.1, 0.3),
            noise=0.05,
            drive=1.0,
        )
    if piece == "snare":
        return _drum(
            random,
            low=uniform(random, 150, 240),
            sweep=1.5,
            decay=uniform(random, 0.05, 0.12),
            noise=uniform(random, 0.5, 3),
            drive=uniform(random, 0.5, 3),
        )
    if piece in ("clap", "shaker"):
        return _noise(
            random,
            low=uniform(random, 700, 2500),
            high=uniform(random, 5000, 12000),
            decay=uniform(random, 0.04, 0.2),
            bursts=3 if piece == "clap" else 1,
        )
    if piece in ("hat", "open", "crash", "ride"):
        decay = {"hat": (0.015, 0.06), "open": (0.12, 0.4), "crash": (0.5, 1.4), "ride": (0.3, 0.8)}[piece]
        return _metal(random, decay=uniform(random, *decay), low=uniform(random, 4000, 8500))
    return _drum(
        random, low=uniform(random, 300, 1800), sweep=1.05, decay=uniform(random, 0.02, 0.12), noise=0.1, drive=1.0
    )


def _drum(random: Generator, *, low: float, sweep: float, decay: float, noise: float, drive: float) -> Audio:
    """Sine that falls onto its pitch, with noise on top."""
    time = np.arange(round(min(6 * decay, 1.5) * SAMPLE_RATE)) / SAMPLE_RATE
    frequency = low * (1 + (sweep - 1) * np.exp(-time / (0.12 * decay + 0.008)))
    body = np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE) * np.exp(-time / decay)
    rattle = random.standard_normal(time.size) * np.exp(-time / (0.6 * decay if noise < 0.3 else decay))
    return level_out(_edges(np.tanh(drive * (body + 0.4 * noise * rattle))[None].astype(np.float32)))


def _noise(random: Generator, *, low: float, high: float, decay: float, bursts: int) -> Audio:
    time = np.arange(round(6 * decay * SAMPLE_RATE) + 2000) / SAMPLE_RATE
    envelope = np.zeros(time.size)
    for burst in range(bursts):
        late = time - burst * 0.011
        last = decay if burst == bursts - 1 else 0.006
        envelope += np.where(late >= 0, np.exp(-np.maximum(late, 0) / last), 0)
    sections = scipy.signal.butter(2, (low, high), btype="bandpass", fs=SAMPLE_RATE, output="sos")
    shaped = scipy.signal.sosfilt(sections, random.standard_normal(time.size)) * envelope
    return level_out(_edges(shaped[None].astype(np.float32)))


def _metal(random: Generator, *, decay: float, low: float) -> Audio:
    """Noise or six squares out of tune, above a high-pass."""
    time = np.arange(round(min(6 * decay, 3) * SAMPLE_RATE)) / SAMPLE_RATE
    if chance(random, 0.5):
        tone = random.standard_normal(time.size)
    else:
        base = uniform(random, 200, 560)
        ratios = np.array([1, 1.342, 1.2312, 1.6532, 1.9523, 2.1523])
        tone = np.sign(np.sin(2 * np.pi * base * ratios[:, None] * time)).sum(axis=0)
    sections = scipy.signal.butter(3, low, btype="highpass", fs=SAMPLE_RATE, output="sos")
    return level_out(_edges((scipy.signal.sosfilt(sections, tone) * np.exp(-time / decay))[None].astype(np.float32)))


def _edges(sound: Audio) -> Audio:
    fade = min(400, sound.shape[1])
    sound[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return sound
