"""Chorus, flanger, phaser and tremolo: effects that a slow oscillator moves.

All channels and stems of an item move together. Delay lines are empty at the start of an item.

References
----------
Zölzer (ed.), "DAFX: Digital Audio Effects", 2nd edition, Wiley 2011, chapters 2 and 3. Thesis 6.2.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.augmentation.draws import Draws
from mss_models.augmentation.oscillator import cosines, delayed
from mss_models.augmentation.step import Range, Step, check_count, check_ranges, per_item, window_samples
from mss_models.stft import StftSettings, istft, stft

_TURN = 2 * math.pi


@dataclass(frozen=True, slots=True, kw_only=True)
class Tremolo(Step):
    """Let the level go up and down: ``y = x (1 - depth (1 - cos(2 pi rate t + phase)) / 2)``.

    Parameters
    ----------
    rate_hz : (float, float), Hz, in [0.1, 20]
        Changes per second.
    depth : (float, float), in [0, 1]
        0 changes nothing, 1 falls to silence.
    """

    rate_hz: Range = (3.0, 8.0)
    depth: Range = (0.2, 0.8)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_ranges(self, {"rate_hz": (0.1, 20.0), "depth": (0.0, 1.0)})

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        rate, depth = draws.log_uniform(*self.rate_hz), draws.uniform(*self.depth)
        phase = draws.uniform(0.0, _TURN)
        wave = cosines(rate, phase, audio.shape[-1], sample_rate=sample_rate, device=audio.device)  # (batch, 1, sample)
        half = per_item(depth / 2, audio)
        return audio * torch.addcmul(1 - half, half, wave.unsqueeze(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chorus(Step):
    """Add copies whose delays, and so whose pitches, wander: one voice becomes several.

    ``y = (x + mix / sqrt(voices) sum_v x(t - d_v(t))) / sqrt(1 + mix^2)``: copies that do not correlate with
    the original leave its power as it was.

    Parameters
    ----------
    voices : int, in [1, 8]
        Copies, each with its own delay, rate and phase.
    delay_ms : (float, float), ms, in [1, 100]
        Mean delay of a copy.
    depth_ms : (float, float), ms, in [0, 20]
        How far the delay goes from its mean; cut where the delay would fall below 0.
    rate_hz : (float, float), Hz, in [0.01, 10]
        Of the delays.
    mix : (float, float), in [0, 1]
        Level of all copies together.
    """

    voices: int = 2
    delay_ms: Range = (10.0, 25.0)
    depth_ms: Range = (1.0, 4.0)
    rate_hz: Range = (0.2, 1.5)
    mix: Range = (0.3, 0.8)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_count("voices", self.voices, 1, 8)
        limits = {"delay_ms": (1.0, 100.0), "depth_ms": (0.0, 20.0), "rate_hz": (0.01, 10.0), "mix": (0.0, 1.0)}
        check_ranges(self, limits)

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        delay = draws.uniform(*self.delay_ms, self.voices) * sample_rate / 1000  # samples, (batch, voice)
        depth = torch.minimum(draws.uniform(*self.depth_ms, self.voices) * sample_rate / 1000, delay)
        rate, phase = draws.log_uniform(*self.rate_hz, self.voices), draws.uniform(0.0, _TURN, self.voices)
        mix = draws.uniform(*self.mix)
        lines = audio.flatten(1, 2)  # (batch, line, sample)
        copies = torch.zeros_like(lines)
        for voice in range(self.voices):
            copies += _moving(lines, delay[:, voice], depth[:, voice], rate[:, voice], phase[:, voice], sample_rate)
        wet = per_item(mix / math.sqrt(self.voices), audio)
        return (audio + wet * copies.view_as(audio)) / per_item((1 + mix.square()).sqrt(), audio)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flanger(Step):
    """Add a copy with a short, moving delay: a comb filter that sweeps.

    ``y = (x + mix sum_k feedback^(k-1) x(t - k d(t))) / (1 + mix / (1 - feedback))``, k from 1 to 3: the
    first three echoes of the feedback loop. A true loop would need a step per sample.

    Parameters
    ----------
    delay_ms : (float, float), ms, in [0.1, 15]
        Mean delay.
    depth : (float, float), in [0, 1]
        Share of the mean delay by which it moves.
    rate_hz : (float, float), Hz, in [0.01, 5]
        Of the delay.
    mix : (float, float), in [0, 1]
        Level of the copy.
    feedback : (float, float), in [0, 0.7]
        Level of each further echo relative to the one before.
    """

    delay_ms: Range = (0.5, 4.0)
    depth: Range = (0.3, 1.0)
    rate_hz: Range = (0.1, 1.0)
    mix: Range = (0.3, 0.9)
    feedback: Range = (0.0, 0.5)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        limits = {"delay_ms": (0.1, 15.0), "depth": (0.0, 1.0), "rate_hz": (0.01, 5.0)}
        check_ranges(self, limits | {"mix": (0.0, 1.0), "feedback": (0.0, 0.7)})

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        delay = draws.uniform(*self.delay_ms)[:, 0] * sample_rate / 1000  # samples
        depth = draws.uniform(*self.depth)[:, 0] * delay
        rate, phase = draws.log_uniform(*self.rate_hz)[:, 0], draws.uniform(0.0, _TURN)[:, 0]
        mix, feedback = draws.uniform(*self.mix), draws.uniform(*self.feedback)
        lines = audio.flatten(1, 2)  # (batch, line, sample)
        changed = audio
        for echo in (1, 2, 3):
            level = mix * feedback ** (echo - 1)  # (batch, 1)
            if level.any():
                copy = _moving(lines, echo * delay, echo * depth, rate, phase, sample_rate)
                changed = torch.addcmul(changed, per_item(level, audio), copy.view_as(audio))
        return changed / per_item(1 + mix / (1 - feedback), audio)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phaser(Step):
    """Add a copy that went through all-pass filters: notches that sweep.

    ``y = (x + mix A(x)) / (1 + mix)`` with a cascade A of first-order all-pass filters whose corner frequency
    moves between ``low_hz`` and ``high_hz`` on a logarithmic axis. Computed on spectra: each frame is
    multiplied by the response of the filters as they stand at its middle, which is exact while they stand
    still and close while they move slowly.

    Parameters
    ----------
    stages : int, in [2, 12]
        All-pass filters; every two make a notch.
    low_hz, high_hz : (float, float), Hz, in [20, 20000]
        Ends of the sweep; drawn apart and put in order; kept under 0.45 of the sample rate.
    rate_hz : (float, float), Hz, in [0.01, 5]
        Sweeps per second.
    mix : (float, float), in [0, 1]
        Level of the copy; 1 gives notches down to silence.
    """

    stages: int = 4
    low_hz: Range = (200.0, 600.0)
    high_hz: Range = (1200.0, 4000.0)
    rate_hz: Range = (0.1, 1.0)
    mix: Range = (0.3, 1.0)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        check_count("stages", self.stages, 2, 12)
        limits = {"low_hz": (20.0, 20_000.0), "high_hz": (20.0, 20_000.0), "rate_hz": (0.01, 5.0), "mix": (0.0, 1.0)}
        check_ranges(self, limits)

    def _apply(self, audio: Tensor, draws: Draws, sample_rate: int) -> Tensor:
        ends = torch.stack([draws.log_uniform(*self.low_hz), draws.log_uniform(*self.high_hz)])  # (2, batch, 1)
        ends = ends.clamp_max(0.45 * sample_rate).log()
        rate, phase = draws.log_uniform(*self.rate_hz), draws.uniform(0.0, _TURN)
        mix = draws.uniform(*self.mix)
        grid = StftSettings(window_samples(sample_rate), window_samples(sample_rate) // 4)
        frames = torch.arange(grid.frames(audio.shape[-1])) - (grid.overlap_frames - 1)
        time = (frames * grid.hop_length + grid.n_fft / 2) / sample_rate  # seconds, middle of each frame
        sweep = 0.5 - 0.5 * torch.cos(_TURN * rate * time + phase)  # (batch, frame), in [0, 1]
        corner = torch.exp(ends.amin(dim=0) + (ends.amax(dim=0) - ends.amin(dim=0)) * sweep)
        warped = torch.tan(math.pi * corner / sample_rate).unsqueeze(-1)  # (batch, frame, 1)
        bins = torch.tan(math.pi * torch.arange(grid.bins) / grid.n_fft).clamp_max(1e6)  # half the rate is at infinity
        # (1 - ir) / (1 + ir) = e^(-2i atan r): the all-pass (a + z^-1) / (1 + a z^-1) on the unit circle.
        angle = -2 * self.stages * torch.atan((bins / warped).to(audio.device, torch.float32))  # (batch, frame, bin)
        level = per_item(mix, audio)[..., 0]
        response = torch.complex(1 + level * angle.cos(), level * angle.sin()) / (1 + level)
        spectrum = stft(audio, grid) * response.transpose(-1, -2)[:, None, None]
        return istft(spectrum, grid, audio.shape[-1])


def _moving(lines: Tensor, delay: Tensor, depth: Tensor, rate: Tensor, phase: Tensor, sample_rate: int) -> Tensor:
    """Delay lines (batch, line, sample) by ``delay + depth cos(...)`` samples; all values (batch,) on the CPU."""
    wave = cosines(rate, phase, lines.shape[-1], sample_rate=sample_rate, device=lines.device)  # (batch, sample)
    mean, swing = (value.to(lines.device, lines.dtype).unsqueeze(1) for value in (delay, depth))
    # Rounding may carry the sum a little under 0.
    return delayed(lines, torch.addcmul(mean, swing, wave).clamp_min(0.0), math.ceil((delay + depth).max().item()) + 1)
