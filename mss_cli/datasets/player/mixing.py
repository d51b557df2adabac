"""From four tracks to the stems of a record: sound, levels, ducking, and the gain of the sum."""

from collections.abc import Sequence

import torch
from numpy.random import Generator
from torch import Tensor

from mss_cli.datasets.player.coding import CODERS, coded
from mss_cli.datasets.player.draw import chance, pick, uniform
from mss_cli.datasets.player.pack import SAMPLE_RATE
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
    tracks: Sequence[Tensor],
    score: Score,
    random: Generator,
    *,
    kicks: Sequence[float],
    bandwidth_hz: float,
    production: bool,
) -> Tensor:
    """Mix vocals, drums, bass and other.

    Parameters
    ----------
    tracks : sequence of four float32 Tensors of shape (2, sample)
        On one device, where all is done but coding.
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
    float32 Tensor of shape (4, 2, sample)
        Their sum peaks at 1 at most.
    """
    levels = [*(random.normal(mean, spread) for mean, spread in _LEVELS_DB), uniform(random, *_OTHER_DB)]
    if not production:
        levels = [0.0, 0.0, 0.0, -3.0]
    cutoff = draw_coding_cutoff(random)
    if bandwidth_hz < _CODED_BELOW_HZ:
        cutoff = min(cutoff, bandwidth_hz)
    room = draw_room(random, decay=uniform(random, 0.3, 2.2))
    out = tracks[0].new_empty(len(tracks), *tracks[0].shape)
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
        ).to(out.device)
        out[2] *= gain
        out[3] *= gain
        if chance(random, 0.2):
            out[0] *= gain.sqrt()
    out = _mastered(out, random, production=production)
    if production and chance(random, _CODED_SHARE):
        coder, bits = pick(random, CODERS), round(uniform(random, 45_000, 128_000))
        for place_of in range(out.shape[0]):
            heard = coded(out[place_of].cpu().numpy(), coder=coder, bits_per_second=bits)
            out[place_of] = torch.from_numpy(heard)
        out *= min(1.0, 0.99 / max(_peak(out.sum(dim=0)), 1e-6))
    return out


def _mastered(stems: Tensor, random: Generator, *, production: bool) -> Tensor:
    """Give all stems the gain that compression and limiting of their sum ask for."""
    mixture = stems.sum(dim=0)
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
    peak = _peak(mixture)
    if peak == 0:
        return stems
    ceiling = uniform(random, 0.5, 0.99) if production else 0.9
    loudness = uniform(random, 0, 9) if production and chance(random, 0.7) else 0.0  # dB that the limiter takes off
    push = ceiling / peak * 10 ** (loudness / 20)
    stems *= push
    if loudness > 0:
        stems *= limiter_gain(mixture * push, ceiling=ceiling)
    return stems


def _peak(track: Tensor) -> float:
    return float(track.abs().max()) if track.numel() else 0.0


def _voice(track: Tensor, score: Score, random: Generator, room: Tensor, cutoff: float) -> Tensor:
    return shaped(
        with_voice_effects(track, score, random),
        eq_db=draw_eq(random, spread_db=3),
        high_pass_hz=uniform(random, 60, 180),
        low_pass_hz=cutoff,
        room=room,
        wet=uniform(random, 0.03, 0.8) if chance(random, 0.85) else 0.0,
    )


def _drums(track: Tensor, score: Score, random: Generator, room: Tensor, cutoff: float) -> Tensor:
    if chance(random, 0.6):
        squashed = compressed(
            track,
            threshold_db=uniform(random, -8, 2),
            ratio=uniform(random, 2, 8),
            attack=uniform(random, 0.001, 0.03),
            release=uniform(random, 0.04, 0.3),
        )
        share = pick(random, (1.0, 0.5))  # parallel compression
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


def _crushed(track: Tensor, random: Generator) -> Tensor:
    hold = pick(random, (2, 3, 4))
    steps = 2 ** pick(random, (7, 8, 10)) / max(_peak(track), 1e-6)
    held = track[:, ::hold].repeat_interleave(hold, dim=1)[:, : track.shape[1]]
    return (held * steps).round_() / steps


def _bass(track: Tensor, score: Score, random: Generator, room: Tensor, cutoff: float) -> Tensor:
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
        track = track.mean(dim=0).repeat(2, 1)
    low_pass = uniform(random, 200, 2500) if chance(random, 0.3) else cutoff
    return shaped(
        track,
        eq_db=draw_eq(random, spread_db=3),
        high_pass_hz=uniform(random, 20, 45),
        low_pass_hz=min(low_pass, cutoff),
        room=room,
        wet=0.06 if chance(random, 0.15) else 0.0,
    )


def _other(track: Tensor, score: Score, random: Generator, room: Tensor, cutoff: float) -> Tensor:
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
