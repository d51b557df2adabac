"""What records do to voices: heavy compression, distortion, telephone, chorus, delay throws."""

import itertools

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from mss_cli.datasets.player.draw import chance, pick, uniform
from mss_cli.datasets.player.pack import SAMPLE_RATE
from mss_cli.datasets.player.production import active_level, band_passed, compressed, echoed, saturated, widened
from mss_cli.datasets.player.score import Score


def with_voice_effects(track: Tensor, score: Score, random: Generator) -> Tensor:
    """Play a voice through a drawn chain of effects; equaliser and room come after it.

    Parameters
    ----------
    track : float32 Tensor of shape (2, sample)
    score : Score
        Gives the times of delays and of sections.
    random : Generator

    Returns
    -------
    float32 Tensor of shape (2, sample)
    """
    if chance(random, 0.8):
        track = compressed(
            track,
            threshold_db=uniform(random, -10, 0),
            ratio=uniform(random, 2, 8),
            attack=uniform(random, 0.002, 0.02),
            release=uniform(random, 0.05, 0.25),
        )
    if chance(random, 0.2):  # all at one level, as in most pop
        track = compressed(track, threshold_db=uniform(random, -18, -10), ratio=12, attack=0.001, release=0.06)
    if chance(random, 0.3):
        track = saturated(track, drive=2 ** uniform(random, -2, 2.5))
    if chance(random, 0.07):
        track = distorted(track, drive=uniform(random, 3, 15), share=uniform(random, 0.3, 1.0))
    if chance(random, 0.1):
        track = _in_sections(track, telephoned(track, random), score, random)
    if chance(random, 0.08):
        track = chorused(track, random, share=uniform(random, 0.2, 0.6))
    if chance(random, 0.15):
        track = widened(track, seconds=uniform(random, 0.008, 0.025), share=uniform(random, 0.3, 1))
    if chance(random, 0.35):
        track = echoed(
            track,
            seconds=score.grid.step * pick(random, (1, 2, 3, 4, 6, 8)),
            level=uniform(random, 0.08, 0.5),
            feedback=uniform(random, 0.15, 0.65),
            ping_pong=chance(random, 0.5),
        )
    elif chance(random, 0.3):
        track = with_throws(track, score, random)
    return track


def distorted(track: Tensor, *, drive: float, share: float) -> Tensor:
    """Mix a voice with itself overdriven on one side more than on the other.

    Parameters
    ----------
    track : float32 Tensor of shape (2, sample)
    drive : float, > 0
    share : float, 0 to 1
        Of the distorted voice.
    """
    level = active_level(track)
    if level == 0:
        return track
    bent = (track * (drive / (2 * level)) + 0.3).tanh_() - float(np.tanh(0.3))
    bent *= level / max(active_level(bent), 1e-6)
    return (1 - share) * track + share * bent


def telephoned(track: Tensor, random: Generator) -> Tensor:
    """Play a voice through a small loudspeaker: a band of some kHz, driven."""
    narrow = band_passed(track, low_hz=uniform(random, 250, 600), high_hz=uniform(random, 2200, 4500))
    return distorted(narrow, drive=uniform(random, 1, 6), share=uniform(random, 0.2, 1.0))


def chorused(track: Tensor, random: Generator, *, share: float) -> Tensor:
    """Mix each side with itself at a delay that wavers, on both sides differently."""
    samples = track.shape[1]
    time = torch.arange(samples, dtype=torch.float32, device=track.device)
    out = track.clone()
    for side in (0, 1):
        turn = time * (2 * np.pi * uniform(random, 0.2, 1.2) / SAMPLE_RATE) + uniform(random, 0, 6)
        late = uniform(random, 500, 1000) + uniform(random, 30, 150) * turn.sin_()
        positions = (time - late).clamp_min_(0)
        whole = positions.to(torch.int32)
        following = (whole + 1).clamp_max_(samples - 1)
        out[side] += share * torch.lerp(track[side, whole], track[side, following], positions - whole)
    return out


def with_throws(track: Tensor, score: Score, random: Generator) -> Tensor:
    """Send single words at the ends of lines into an echo."""
    thrown = torch.zeros_like(track)
    every = pick(random, (1, 2, 2, 4))
    for bar in range(every - 1, score.grid.bars, every):
        first, last = (round(score.grid.at(bar, step) * SAMPLE_RATE) for step in (pick(random, (8, 10, 12)), 16))
        piece = track[:, first:last]
        fade = min(400, piece.shape[1] // 2)
        thrown[:, first:last] = piece
        if fade:
            ramp = torch.linspace(0, 1, fade, device=track.device)
            thrown[:, first : first + fade] *= ramp
            thrown[:, first + piece.shape[1] - fade : first + piece.shape[1]] *= ramp.flip(0)
    echoes = echoed(
        thrown,
        seconds=score.grid.step * pick(random, (2, 3, 4, 6)),
        level=uniform(random, 0.3, 0.9),
        feedback=uniform(random, 0.3, 0.75),
        ping_pong=chance(random, 0.5),
    )
    return track + echoes - thrown


def _in_sections(track: Tensor, changed: Tensor, score: Score, random: Generator) -> Tensor:
    """Use a changed voice throughout, or in some sections only."""
    if chance(random, 0.4):
        return changed
    edges = [round(score.grid.at(bar) * SAMPLE_RATE) for bar in score.section_starts] + [track.shape[1]]
    out = track.clone()
    for start, end in itertools.pairwise(edges):
        if chance(random, 0.4):
            out[:, start:end] = changed[:, start:end]
    return out
