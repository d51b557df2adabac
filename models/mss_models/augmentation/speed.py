"""Changes of tempo, pitch and speed by given ratios, batched, each item by its own."""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from mss_models.augmentation.step import window_samples
from mss_models.stft import StftSettings, istft

ZEROS = 16
"""Zero crossings of the interpolating sinc on each side."""
_ROLL_OFF = 0.95
_KAISER_BETA = 9.0
LARGEST_DENOMINATOR = 128
"""Of a ratio of speeds. Most ratios from 1/2 to 2 have such a neighbour within 0.2 cents, all within 7."""


def change_speed(audio: Tensor, ratios: Sequence[Fraction], samples: int) -> Tensor:
    """Play audio faster or slower, as a tape: tempo and pitch change together.

    ``y[m] = x(m ratio)`` by a windowed sinc (Kaiser, 16 zero crossings a side) whose cut-off lies at 0.95 of
    the lower of both rates: one matrix product per item, with a row per phase.

    Parameters
    ----------
    audio : float32 Tensor of shape (batch, ..., sample)
        Silent before its start and after its end.
    ratios : sequence of Fraction, > 0
        Speed of each item: 2 is twice as fast and an octave up. Small denominators are fast.
    samples : int, > 0
        Length of the result.

    Returns
    -------
    float32 Tensor of shape (batch, ..., samples)
        Sample m comes from the audio's sample ``m ratio``.

    References
    ----------
    Smith, "Digital audio resampling home page", Stanford 2002. Thesis 6.2.
    """
    changed = audio.new_empty(*audio.shape[:-1], samples)
    for item, ratio in enumerate(ratios):
        if ratio == 1:
            width, kernels = 0, torch.ones(1, 1)
        else:
            width, kernels = _phases(ratio)  # (phase, tap)
        rows = -(-samples // ratio.denominator)
        needed = (rows - 1) * ratio.numerator + kernels.shape[1]
        piece = audio[item][..., : max(0, needed - width)]
        padded = torch.nn.functional.pad(piece, (width, needed - width - piece.shape[-1]))
        cut = padded.unfold(-1, kernels.shape[1], ratio.numerator)  # (..., row, tap)
        product = cut @ kernels.to(audio.device, audio.dtype).T  # (..., row, phase)
        changed[item] = product.flatten(-2)[..., :samples]
    return changed


@lru_cache(maxsize=64)
def _phases(ratio: Fraction) -> tuple[int, Tensor]:
    """Taps before a row's first sample, and the filter of each phase: float32 of shape (phase, tap)."""
    cut_off = _ROLL_OFF * min(1.0, 1 / float(ratio))
    half = ZEROS / cut_off
    width = math.ceil(half)
    taps = torch.arange(-width, ratio.numerator + width + 1, dtype=torch.float64)
    places = torch.arange(ratio.denominator, dtype=torch.float64) * float(ratio)
    distance = taps - places.unsqueeze(1)  # (phase, tap)
    inside = (1 - (distance / half).square()).clamp_min(0.0).sqrt()
    window = torch.special.i0(_KAISER_BETA * inside) * (distance.abs() < half)
    kernels = torch.sinc(cut_off * distance) * window
    return width, (kernels / kernels.sum(dim=1, keepdim=True)).float()


def change_tempo(audio: Tensor, ratios: Tensor, samples: int, *, sample_rate: int) -> Tensor:
    """Play audio faster or slower without changing its pitch, by a phase vocoder.

    Output frame k is cut from the audio at the middle of its time times the ratio, together with the frame
    one hop before that. The phase goes on by what lies between these two, so no phase is ever unwrapped:
    ``Y_k = A_k r_k``, ``r_k = u(sum r_{k-1} A_{k-1} conj(B_k))``, with A the frames, B the frames one hop
    earlier, u(z) = z / |z|. The sum runs over the channels, which keeps the stereo image, and over three
    neighbouring bins, which keeps the bins of a partial together. At ratio 1 the audio comes out as it was.

    Parameters
    ----------
    audio : float32 Tensor of shape (batch, stem, channel, sample)
        Each stem has its own phases.
    ratios : float64 Tensor of shape (batch,), > 0
        On the CPU; 2 is twice as fast.
    samples : int, > 0
        Length of the result.
    sample_rate : int, Hz
        The window is 46 ms long.

    Returns
    -------
    float32 Tensor of shape (batch, stem, channel, samples)
        Time t comes from the audio's time ``t ratio``.

    References
    ----------
    Puckette, "Phase-locked vocoder", WASPAA 1995. Laroche and Dolson, "Improved phase vocoder time-scale
    modification of audio", IEEE Transactions on Speech and Audio Processing 1999. Thesis 6.2.
    """
    n_fft = window_samples(sample_rate)
    hop = n_fft // 4
    grid = StftSettings(n_fft, hop)
    middles = (torch.arange(grid.frames(samples)) - (grid.overlap_frames - 1)) * hop + n_fft / 2  # (frame,)
    starts = torch.round(ratios.double().unsqueeze(1) * middles - n_fft / 2).long()  # (batch, frame)
    lead = hop - int(starts.min())
    starts = starts + lead  # in the padded audio; a frame one hop earlier is there as well
    tail = max(0, int(starts.max()) + n_fft - lead - audio.shape[-1])
    padded = torch.nn.functional.pad(audio, (max(0, lead), tail))
    window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)  # that of `istft`
    every = padded.unfold(-1, n_fft, 1)  # (batch, stem, channel, start, n_fft), a view
    spectra = []
    for shift in (0, hop):
        frames = [
            item.index_select(-2, start) for item, start in zip(every, (starts - shift).to(audio.device), strict=True)
        ]
        spectra.append(torch.fft.rfft(torch.stack(frames) * window))  # (batch, stem, channel, frame, bin)
    now, earlier = spectra
    now[..., 1:, :] *= _turns((now[..., :-1, :] * earlier[..., 1:, :].conj()).sum(dim=2)).unsqueeze(2)
    return istft(now.transpose(-1, -2), grid, samples)


def _turns(advances: Tensor) -> Tensor:
    """Factors r of `change_tempo` from ``sum A_{k-1} conj(B_k)``: complex64 (batch, stem, frame, bin)."""
    turns = torch.empty_like(advances)
    # So little that it only matters where there is silence: there factors go on as they are.
    steps = (advances + 1e-30).unbind(dim=-2)  # (batch, stem, bin) for each frame
    turn = torch.ones_like(steps[0]) if steps else advances
    for frame, step in enumerate(steps):
        phases = step * turn
        locked = phases.clone()
        locked[..., 1:] += phases[..., :-1]
        locked[..., :-1] += phases[..., 1:]
        turn = torch.sgn(locked)  # z / |z|
        turns[..., frame, :] = turn
    return turns


def change_pitch(audio: Tensor, ratios: Sequence[Fraction], samples: int, *, sample_rate: int) -> Tensor:
    """Change the pitch without changing the tempo: `change_tempo`, undone by `change_speed`.

    Parameters
    ----------
    audio : float32 Tensor of shape (batch, stem, channel, sample)
        As for `change_tempo`. Formants move with the pitch.
    ratios : sequence of Fraction, > 0
        Of the frequencies of each item: 2 is an octave up.
    samples : int, > 0
        Length of the result.
    sample_rate : int, Hz
        Of the audio.

    Returns
    -------
    float32 Tensor of shape (batch, stem, channel, samples)
        Time t comes from the audio's time t.
    """
    longest = max(ratios)
    stretched = math.ceil(samples * longest) + reach(longest)
    tempo = torch.tensor([1 / float(ratio) for ratio in ratios], dtype=torch.float64)
    return change_speed(change_tempo(audio, tempo, stretched, sample_rate=sample_rate), ratios, samples)


def reach(ratio: Fraction | float) -> int:
    """Samples past ``samples * ratio`` that `change_speed` looks at, rounded up."""
    return math.ceil(ZEROS / _ROLL_OFF * max(1.0, float(ratio))) + 1


def nearest_ratios(ratios: Tensor) -> list[Fraction]:
    """Ratios of small whole numbers near these (batch, 1), to be used as exact from then on."""
    return [Fraction(ratio).limit_denominator(LARGEST_DENOMINATOR) for ratio in ratios.flatten().tolist()]
