"""From four tracks to the stems of a record: sound, levels, ducking, and the gain of the sum."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from mss_cli.datasets.player.coding import CODERS, coded
from mss_cli.datasets.player.draw import chance, pick, uniform
from mss_cli.datasets.player.pack import SAMPLE_RATE, Audio
from mss_cli.datasets.player.production import (
    compressed,
    compression_gain,
    draw_coding_cutoff,
    draw_eq,
    draw_room,
    ducking_gain,
    limiter_gain,
    normalised,
    saturated,
    shaped,
)
from mss_cli.datasets.player.score import Score
from mss_cli.datasets.player.voice_effects import with_voice_effects

# Level of each stem in dB: mean and deviation for vocals, drums, bass; `other` evenly between two levels, since on
# records it is now far below the rest, now a wall of guitars in front of it.
_LEVELS_DB = ((0.0, 3.0), (0.5, 3.0), (-1.0, 3.5))
_OTHER_DB = (-9.0, 6.0)
_CODED_BELOW_HZ = 15000.0
_CODED_SHARE = 0.14  # of songs; coding four stems takes as long as playing a song


def mixed_down(
    tracks: Sequence[Audio],
    score: Score,
    random: Generator,
    *,
    kicks: Sequence[float],
    bandwidth_hz: float,
    production: bool,
) -> Audio:
    """Mix vocals, drums, bass and other.

    Parameters
    ----------
    tracks : sequence of four float32 arrays of shape (2, sample)
    score : Score
    random : Generator
    kicks : sequence of float
        Seconds.
    bandwidth_hz : float
        Where the voice has nothing above a low frequency, all stems are cut there: else a network would learn that
        voices have no treble.
    production : bool
        False only sets even levels and keeps the peak.

    Returns
    -------
    float32 array of shape (4, 2, sample)
        Their sum peaks at 1 at most.
    """
    levels = [*(random.normal(mean, spread) for mean, spread in _LEVELS_DB), uniform(random, *_OTHER_DB)]
    if not production:
        levels = [0.0, 0.0, 0.0, -3.0]
    cutoff = draw_coding_cutoff(random)
    if bandwidth_hz < _CODED_BELOW_HZ:
        cutoff = min(cutoff, bandwidth_hz)
    room = draw_room(random, decay=uniform(random, 0.3, 2.2))
    out = np.empty((len(tracks), *tracks[0].shape), dtype=np.float32)
    for place_of, (track, produce) in enumerate(zip(tracks, (_voice, _drums, _bass, _other), strict=True)):
        if production and track.any():
            track = produce(track, score, random, room, cutoff)
        out[place_of] = normalised(track, level_db=levels[place_of])
    if production and kicks and chance(random, 0.15 + 0.45 * score.electronic):
        gain = ducking_gain(
            out.shape[2],
            kicks,
            depth=uniform(random, 0.2, 0.95),
            release=uniform(random, 0.3, 1.0) * 60 / score.grid.tempo,
        )
        out[2] *= gain
        out[3] *= gain
        if chance(random, 0.2):
            out[0] *= np.sqrt(gain)
    out = _mastered(out, random, production=production)
    if production and chance(random, _CODED_SHARE):
        coder, bits = pick(random, CODERS), round(uniform(random, 45_000, 128_000))
        for place_of in range(out.shape[0]):
            out[place_of] = coded(out[place_of], coder=coder, bits_per_second=bits)
        peak = float(np.abs(out.sum(axis=0)).max(initial=0.0))
        out *= np.float32(min(1.0, 0.99 / max(peak, 1e-6)))
    return out


def _mastered(stems: Audio, random: Generator, *, production: bool) -> Audio:
    """Give all stems the gain that compression and limiting of their sum ask for."""
    mixture = stems.sum(axis=0)
    if production and chance(random, 0.6):
        gain = compression_gain(
            mixture,
            threshold_db=uniform(random, -6, 3),
            ratio=uniform(random, 1.5, 4),
            attack=uniform(random, 0.005, 0.03),
            release=uniform(random, 0.05, 0.4),
        )
        stems *= gain
        mixture *= gain
    peak = float(np.abs(mixture).max(initial=0.0))
    if peak == 0:
        return stems
    ceiling = uniform(random, 0.5, 0.99) if production else 0.9
    loudness = uniform(random, 0, 9) if production and chance(random, 0.7) else 0.0  # dB that the limiter takes off
    push = np.float32(ceiling / peak * 10 ** (loudness / 20))
    stems *= push
    if loudness > 0:
        stems *= limiter_gain(mixture * push, ceiling=ceiling)
    return stems


def _voice(track: Audio, score: Score, random: Generator, room: Audio, cutoff: float) -> Audio:
    return shaped(
        with_voice_effects(track, score, random),
        eq_db=draw_eq(random, spread_db=3),
        high_pass_hz=uniform(random, 60, 180),
        low_pass_hz=cutoff,
        room=room,
        wet=uniform(random, 0.03, 0.8) if chance(random, 0.85) else 0.0,
    )


def _drums(track: Audio, score: Score, random: Generator, room: Audio, cutoff: float) -> Audio:
    if chance(random, 0.6):
        squashed = compressed(
            track,
            threshold_db=uniform(random, -8, 2),
            ratio=uniform(random, 2, 8),
            attack=uniform(random, 0.001, 0.03),
            release=uniform(random, 0.04, 0.3),
        )
        share = np.float32(pick(random, (1.0, 0.5)))  # parallel compression
        track = share * squashed + (1 - share) * track
    if chance(random, 0.5):
        track = saturated(track, drive=2 ** uniform(random, -2, 3.5))
    if chance(random, 0.1):  # fewer bits and a lower rate, as early samplers
        track = _crushed(track, random)
    wet = uniform(random, 0.02, 0.35) if chance(random, 0.6) else 0.0
    return shaped(
        track,
        eq_db=draw_eq(random, spread_db=3.5),
        high_pass_hz=uniform(random, 20, 45),
        low_pass_hz=min(cutoff, uniform(random, 3000, 9000)) if chance(random, 0.08) else cutoff,
        room=room[:, : round(uniform(random, 0.15, 0.8) * SAMPLE_RATE)],
        wet=wet,
    )


def _crushed(track: Audio, random: Generator) -> Audio:
    hold = pick(random, (2, 3, 4))
    steps = np.float32(2 ** pick(random, (7, 8, 10)) / max(float(np.abs(track).max()), 1e-6))
    held = np.repeat(track[:, ::hold], hold, axis=1)[:, : track.shape[1]]
    return (np.round(held * steps) / steps).astype(np.float32)


def _bass(track: Audio, score: Score, random: Generator, room: Audio, cutoff: float) -> Audio:
    if chance(random, 0.6):
        track = compressed(
            track,
            threshold_db=uniform(random, -8, 2),
            ratio=uniform(random, 2, 6),
            attack=uniform(random, 0.005, 0.03),
            release=uniform(random, 0.08, 0.3),
        )
    if chance(random, 0.45):
        track = saturated(track, drive=2 ** uniform(random, -1, 4))
    if chance(random, 0.8):  # low tones stay in the middle
        track = np.repeat(track.mean(axis=0, keepdims=True), 2, axis=0)
    low_pass = uniform(random, 200, 2500) if chance(random, 0.3) else cutoff
    return shaped(
        track,
        eq_db=draw_eq(random, spread_db=3),
        high_pass_hz=uniform(random, 20, 45),
        low_pass_hz=min(low_pass, cutoff),
        room=room,
        wet=0.06 if chance(random, 0.15) else 0.0,
    )


def _other(track: Audio, score: Score, random: Generator, room: Audio, cutoff: float) -> Audio:
    if chance(random, 0.4):
        track = compressed(
            track,
            threshold_db=uniform(random, -6, 3),
            ratio=uniform(random, 1.5, 5),
            attack=uniform(random, 0.005, 0.05),
            release=uniform(random, 0.1, 0.5),
        )
    return shaped(
        track,
        eq_db=draw_eq(random, spread_db=3),
        high_pass_hz=pick(random, (30.0, 80.0, 150.0, 250.0)),
        low_pass_hz=cutoff,
        room=room,
        wet=uniform(random, 0.03, 0.7) if chance(random, 0.8) else 0.0,
    )
