"""Mixing as on records: equaliser, room, echo, saturation, compression, ducking, loudness. Pure functions of tracks.

Tracks are tensors of shape (2, sample) on any device: what acts on every sample runs there. What a value in three
milliseconds is enough for, as the gain of a compressor, is worked out by SciPy on the CPU.

Everything that is applied to the sum of the stems is a gain over time shared by all of them, so that the stems still
add up to the mixture.
"""

from collections.abc import Sequence

import numpy as np
import scipy.fft
import scipy.signal
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mss_cli.datasets.player.draw import chance, uniform
from mss_cli.datasets.player.pack import SAMPLE_RATE

_BLOCK = 128  # samples between two values of a gain
_SILENT = 1e-5
# Equaliser curves are lines between these frequencies in Hz, over log frequency.
_EQ_HZ = np.array([30, 80, 200, 500, 1200, 3000, 7000, 16000], dtype=np.float64)
_CURVE_HZ = np.geomspace(10, SAMPLE_RATE / 2, 4096)


def active_level(track: Tensor) -> float:
    """Give the RMS level over the blocks that are within 40 dB of the loudest one; 0 for silence."""
    mean_square = _block_means(track.square().mean(dim=0), 1024)
    loudest = float(mean_square.max(initial=0.0))
    if loudest < _SILENT**2:
        return 0.0
    return float(np.sqrt(mean_square[mean_square > 1e-4 * loudest].mean()))


def normalised(track: Tensor, *, level_db: float) -> Tensor:
    """Bring the active level of a track to `level_db` (0 is RMS 0.1); silence stays."""
    level = active_level(track)
    if level == 0:
        return torch.zeros_like(track)
    return track * (0.1 * 10 ** (level_db / 20) / level)


def draw_room(random: Generator, *, decay: float) -> Tensor:
    """Make a stereo room of shape (2, sample) whose noise falls by 60 dB in `decay` seconds, treble first."""
    samples = round(min(decay, 2.5) * SAMPLE_RATE)
    time = np.arange(samples, dtype=np.float32) / SAMPLE_RATE
    noise = random.standard_normal((2, samples), dtype=np.float32)
    dark = scipy.signal.lfilter([0.25], [1, -0.75], noise, axis=1).astype(np.float32)
    response = noise * np.exp(-18 * time / decay) * np.float32(0.4) + dark * np.exp(-6.9 * time / decay)
    before = round(uniform(random, 0.0, 0.03) * SAMPLE_RATE)
    response = np.pad(response, ((0, 0), (before, 0))).astype(np.float32)
    energy = float(np.sqrt(np.square(response).sum(axis=1).mean()))
    return torch.from_numpy((response / np.float32(energy)).astype(np.float32))


def draw_eq(random: Generator, *, spread_db: float) -> NDArray[np.float64]:
    """Draw gains in dB at the frequencies of an equaliser; neighbours are alike."""
    steps = random.normal(0, spread_db, _EQ_HZ.size)
    smooth = np.convolve(np.pad(steps, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    return np.asarray(smooth - smooth.mean(), dtype=np.float64)


def shaped(
    track: Tensor,
    *,
    eq_db: NDArray[np.float64],
    high_pass_hz: float = 0.0,
    low_pass_hz: float = SAMPLE_RATE / 2,
    room: Tensor | None = None,
    wet: float = 0.0,
) -> Tensor:
    """Apply an equaliser, cut-offs and a room in one pass through the spectrum.

    Parameters
    ----------
    track : float32 Tensor of shape (2, sample)
    eq_db : array of shape (8,)
        As from `draw_eq`.
    high_pass_hz, low_pass_hz : float
        Cut-offs of 24 and about 60 dB per octave.
    room : float32 Tensor of shape (2, sample) or None
        Impulse response, on any device.
    wet : float
        Level of the room against the dry sound.

    Returns
    -------
    float32 Tensor of shape (2, sample)
        As long as the track.
    """
    curve = 10 ** (np.interp(np.log(_CURVE_HZ), np.log(_EQ_HZ), eq_db) / 20)
    if high_pass_hz > 0:
        curve /= np.sqrt(1 + (high_pass_hz / _CURVE_HZ) ** 8)
    if low_pass_hz < 0.45 * SAMPLE_RATE:
        curve /= np.sqrt(1 + (_CURVE_HZ / low_pass_hz) ** 20)
    return _in_spectrum(track, curve, room if wet > 0 else None, wet)


def band_passed(track: Tensor, *, low_hz: float, high_hz: float) -> Tensor:
    """Keep a band, with the slopes of a Butterworth filter of second order at both ends and no delay."""
    curve = 1 / np.sqrt((1 + (low_hz / _CURVE_HZ) ** 4) * (1 + (_CURVE_HZ / high_hz) ** 4))
    return _in_spectrum(track, curve, None, 0.0)


def _in_spectrum(track: Tensor, curve: NDArray[np.float64], room: Tensor | None, wet: float) -> Tensor:
    """Multiply the spectrum of a track by a smooth curve, given at `_CURVE_HZ`, and by that of a room."""
    tail = 0 if room is None else room.shape[1]
    size = scipy.fft.next_fast_len(track.shape[1] + max(tail, 2048), real=True)
    gains = _between(curve, size // 2 + 1, track.device)
    spectrum = torch.fft.rfft(track, size)  # (side, bin)
    spectrum *= gains
    if room is not None:
        spectrum *= 1 + wet * torch.fft.rfft(room.to(track.device), size)
    filtered: Tensor = torch.fft.irfft(spectrum, size)
    return filtered[:, : track.shape[1]].contiguous()


def _between(curve: NDArray[np.float64], bins: int, device: torch.device) -> Tensor:
    """Read a curve at every bin, on lines over log frequency."""
    points = torch.from_numpy(curve.astype(np.float32)).to(device)
    hertz = torch.linspace(0, SAMPLE_RATE / 2, bins, device=device).clamp_min_(_CURVE_HZ[0])
    place = (hertz / _CURVE_HZ[0]).log_().mul_((points.numel() - 1) / np.log(_CURVE_HZ[-1] / _CURVE_HZ[0]))
    below = place.to(torch.int32).clamp_max_(points.numel() - 2)
    return torch.lerp(points[below], points[below + 1], place.sub_(below))


def echoed(track: Tensor, *, seconds: float, feedback: float, level: float, ping_pong: bool) -> Tensor:
    """Add echoes, each `feedback` times the one before, until they are 30 dB down."""
    out = track.clone()
    middle = track.mean(dim=0)
    samples = round(seconds * SAMPLE_RATE)
    for number in range(1, 9):
        gain = level * feedback ** (number - 1)
        late = number * samples
        if gain < 0.03 or late >= track.shape[1] or samples <= 0:
            break
        for side in (0, 1):
            if not ping_pong or number % 2 == side:
                out[side, late:].add_(middle[:-late], alpha=gain)
    return out


def saturated(track: Tensor, *, drive: float) -> Tensor:
    """Saturate: `tanh(drive * x / (4 * level)) / drive`, so that `drive` acts alike at all levels."""
    level = active_level(track)
    if level == 0 or drive <= 0:
        return track
    return (track * (drive / (4 * level))).tanh_().mul_(4 * level / drive)


def compressed(track: Tensor, *, threshold_db: float, ratio: float, attack: float, release: float) -> Tensor:
    """Compress a track; the threshold is against its active level."""
    return track * compression_gain(track, threshold_db=threshold_db, ratio=ratio, attack=attack, release=release)


def compression_gain(track: Tensor, *, threshold_db: float, ratio: float, attack: float, release: float) -> Tensor:
    """Give the gain of a compressor, of shape (sample,).

    Above the threshold the level rises only by `1 / ratio`. The gain falls with the time constant `attack` and
    recovers with `release`, both in seconds.
    """
    level = active_level(track)
    if level == 0:
        return torch.ones(track.shape[1], device=track.device)
    loud = np.sqrt(_block_means(track.square().mean(dim=0), _BLOCK))
    over = np.maximum(20 * np.log10(np.maximum(loud, 1e-9) / level) - threshold_db, 0) * (1 - 1 / ratio)
    fast = _smoothed(over, attack)
    slow = _smoothed(np.maximum(fast, over), release)
    return _to_samples(10 ** (-np.minimum(np.maximum(fast, slow), 24) / 20), track.shape[1], track.device)


def limiter_gain(mixture: Tensor, *, ceiling: float) -> Tensor:
    """Give a gain of shape (sample,) that keeps the peaks of the mixture at or below the ceiling."""
    padded = functional.pad(mixture.abs().amax(dim=0), (0, -mixture.shape[1] % _BLOCK))
    peaks = padded.reshape(-1, _BLOCK).amax(dim=1).double().cpu().numpy()
    need = np.minimum(1, ceiling / np.maximum(peaks, 1e-9))
    # The least over some 25 ms around, then a mean over a shorter stretch: never above what any sample needs.
    least = -_running_max(-need, 4)
    padded_least = np.pad(least, 2, mode="edge")
    smooth = np.convolve(padded_least, np.ones(5) / 5, mode="valid")
    return _to_samples(smooth, mixture.shape[1], mixture.device)


def ducking_gain(samples: int, kicks: Sequence[float], *, depth: float, release: float) -> Tensor:
    """Give a gain of shape (sample,) that falls by `depth` (0 to 1) at kicks and is back after `release` seconds."""
    time = np.arange(-(-samples // _BLOCK)) * (_BLOCK / SAMPLE_RATE)
    gain = np.ones(time.size)
    for kick in kicks:
        since = time - kick + 0.005
        now = (since >= 0) & (since < release)
        gain[now] = np.minimum(gain[now], 1 - depth * (1 - since[now] / release) ** 1.5)
    return _to_samples(gain, samples, torch.device("cpu"))


def widened(track: Tensor, *, seconds: float, share: float) -> Tensor:
    """Mix the right side with itself a few milliseconds later: a cheap double."""
    late = round(seconds * SAMPLE_RATE)
    out = track.clone()
    if 0 < late < track.shape[1]:
        out[1, late:] = (1 - share) * track[1, late:] + share * track[1, :-late]
    return out


def amplified(track: Tensor, random: Generator, *, drive: float) -> Tensor:
    """Play a track through a distorting guitar amplifier and a loudspeaker."""
    level = active_level(track)
    if level == 0:
        return track
    tight = shaped(track, eq_db=np.zeros(8), high_pass_hz=uniform(random, 70, 250))
    bent = (tight * (drive / level) + 0.15).tanh_() - float(np.tanh(0.15))
    cabinet = np.array([-8, 0, 2, uniform(random, -4, 1), 2, uniform(random, 1, 5), -6, -24])
    return shaped(bent, eq_db=cabinet, low_pass_hz=uniform(random, 4500, 7500), high_pass_hz=60)


def draw_coding_cutoff(random: Generator) -> float:
    """Draw a frequency in Hz above which a coder leaves nothing; mostly none."""
    return uniform(random, 14500, 19500) if chance(random, 0.4) else SAMPLE_RATE / 2


def _block_means(values: Tensor, block: int) -> NDArray[np.float64]:
    padded = functional.pad(values, (0, -values.numel() % block))
    return np.asarray(padded.reshape(-1, block).mean(dim=1).double().cpu().numpy(), dtype=np.float64)


def _smoothed(values: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    kept = float(np.exp(-_BLOCK / SAMPLE_RATE / max(seconds, 1e-3)))
    return np.asarray(scipy.signal.lfilter([1 - kept], [1, -kept], values), dtype=np.float64)


def _running_max(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    padded = np.pad(values, reach, mode="edge")
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1))


def _to_samples(gains: NDArray[np.float64], samples: int, device: torch.device) -> Tensor:
    """Read block-wise gains at every sample, along lines between the middles of blocks."""
    edges = torch.from_numpy(np.concatenate((gains[:1], gains, gains[-1:])).astype(np.float32)).to(device)
    ramp = (torch.arange(_BLOCK, dtype=torch.float32, device=device) + 0.5) / _BLOCK
    lines = edges[:-1, None] + (edges[1:] - edges[:-1])[:, None] * ramp  # from middle to middle
    return lines.reshape(-1)[_BLOCK // 2 :][:samples].contiguous()
