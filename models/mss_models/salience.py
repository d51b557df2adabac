"""The grid of pitch salience: pitches drawn on it, and pitches read off it.

Salience says, for each cell of a grid of pitches and frames, how likely a fundamental frequency is there; several may
be high at once. The grid is that of Deep Salience (Bittner, McFee, Salamon, Li and Bello, ISMIR 2017): 360 bins of 20
cents from 32.7 Hz, six octaves from C1.
"""

import math

import torch
from torch import Tensor

from mss_models.errors import ShapeError

BINS = 360
BINS_PER_OCTAVE = 60
BIN_CENTS = 20.0
LOWEST_HZ = 32.7  # as published; C1 is 32.703 Hz, 0.2 cents higher
DEVIATION_CENTS = 25.0
THRESHOLD = 0.4  # thesis 5.2 (A. Jansson, City, University of London, 2019)

_FLOOR = 1e-6  # a neighbour of zero salience would send the logarithm, and with it the pitch, half a bin away


def frequencies(*, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Give the frequency of each bin: ``32.7 * 2 ** (bin / 60)``.

    Returns
    -------
    Tensor of shape (bin,), Hz
        360 of them, rising from 32.7 to 2069 Hz.
    """
    bins = torch.arange(BINS, device=device, dtype=torch.float64)
    return (LOWEST_HZ * torch.exp2(bins / BINS_PER_OCTAVE)).to(dtype)


def render(frequencies: Tensor, *, deviation_cents: float = DEVIATION_CENTS) -> Tensor:
    """Draw pitches as Gaussian ridges of height 1 over the bins.

    ``salience = exp(-(cents between bin and pitch) ** 2 / (2 * deviation ** 2))``; where voices overlap, the larger.

    Parameters
    ----------
    frequencies : floating Tensor of shape (batch, frame) or (batch, voice, frame), Hz
        0 (or less, or NaN) where the voice is silent. A pitch outside the grid leaves only the tail that reaches in.
    deviation_cents : float, > 0

    Returns
    -------
    Tensor of shape (batch, bin, frame)
        In [0, 1], dtype and device of ``frequencies``.

    Raises
    ------
    ShapeError, ValueError
        If ``frequencies`` has other axes; if the deviation is not positive.
    """
    if frequencies.ndim not in (2, 3):
        raise ShapeError("frequencies", "(batch, frame) or (batch, voice, frame)", frequencies.shape)
    voices = frequencies.unsqueeze(1) if frequencies.ndim == 2 else frequencies
    batch, count, frames = voices.shape
    salience = voices.new_zeros(batch, BINS, frames)
    for voice in range(count):  # a handful: the loop keeps memory at one voice's grid
        salience = torch.maximum(salience, _ridges(voices[:, voice], deviation_cents))
    return salience


def render_notes(
    starts: Tensor,
    ends: Tensor,
    frequencies: Tensor,
    frame_times: Tensor,
    *,
    deviation_cents: float = DEVIATION_CENTS,
) -> Tensor:
    """Draw notes of constant pitch; a note covers the frames with ``start <= time < end``.

    Parameters
    ----------
    starts, ends : Tensors of shape (..., note), seconds
    frequencies : floating Tensor of shape (..., note), Hz
        0 for an entry that is no note, so that songs with fewer notes can share a batch.
    frame_times : Tensor of shape (frame,), seconds
        Rising.
    deviation_cents : float, > 0

    Returns
    -------
    Tensor of shape (..., bin, frame)
        In [0, 1], dtype and device of ``frequencies``.

    Raises
    ------
    ShapeError, ValueError
        If the three do not have one shape, or the times more than one axis; if the deviation is not positive.
    """
    if starts.shape != frequencies.shape or ends.shape != frequencies.shape or not frequencies.ndim:
        raise ShapeError("starts, ends and frequencies", "(..., note), equal", frequencies.shape)
    if frame_times.ndim != 1:
        raise ShapeError("frame_times", "(frame,)", frame_times.shape)
    leading, notes, frames = frequencies.shape[:-1], frequencies.shape[-1], frame_times.numel()
    salience = frequencies.new_zeros(math.prod(leading), BINS, frames)
    shapes = _ridges(frequencies.reshape(-1, notes), deviation_cents)  # (batch, bin, note)
    first = torch.searchsorted(frame_times, starts.to(frame_times).contiguous()).reshape(-1, notes).tolist()
    last = torch.searchsorted(frame_times, ends.to(frame_times).contiguous()).reshape(-1, notes).tolist()
    for item in range(salience.shape[0]):
        for note in range(notes):
            covered = salience[item, :, first[item][note] : last[item][note]]  # a view: written in place
            torch.maximum(covered, shapes[item, :, note, None], out=covered)
    return salience.reshape(*leading, BINS, frames)


def best_pitch(salience: Tensor, *, threshold: float = THRESHOLD, guesses: bool = False) -> tuple[Tensor, Tensor]:
    """Read the one most salient pitch of each frame.

    The bin of the maximum, moved to the top of the parabola through the logarithms of it and its two neighbours: exact
    for the Gaussians of `render`. The frame is voiced where the maximum reaches the threshold.

    Parameters
    ----------
    salience : floating Tensor of shape (batch, bin, frame)
        In [0, 1].
    threshold : float
        0.4 in the thesis (5.2), 0.3 in Deep Salience.
    guesses : bool
        Give the pitch of an unvoiced frame as a negative frequency instead of 0, as pitch scores that ignore the
        voicing want it.

    Returns
    -------
    frequencies : Tensor of shape (batch, frame), Hz
    confidences : Tensor of shape (batch, frame)
        The maxima themselves, also where unvoiced.

    Raises
    ------
    ShapeError
        If ``salience`` is not such a grid.
    """
    _check_grid(salience)
    confidences, bins = salience.max(dim=1)  # (batch, frame)
    found = _refined(salience, bins.unsqueeze(1)).squeeze(1)
    unvoiced = -found if guesses else torch.zeros_like(found)
    return torch.where(confidences >= threshold, found, unvoiced), confidences


def pitches(salience: Tensor, *, threshold: float = THRESHOLD) -> tuple[Tensor, Tensor]:
    """Read every pitch of each frame: all local maxima over the bins that reach the threshold.

    Parameters
    ----------
    salience : floating Tensor of shape (batch, bin, frame)
        In [0, 1].
    threshold : float

    Returns
    -------
    frequencies : Tensor of shape (batch, voice, frame), Hz
        The most salient first, refined as in `best_pitch`; 0 where a frame has fewer. As many voices as the fullest
        frame has, at least one. Can be given to `render`.
    confidences : Tensor of shape (batch, voice, frame)
        Salience at the maxima; 0 where there is none.

    Raises
    ------
    ShapeError
        If ``salience`` is not such a grid.
    """
    _check_grid(salience)
    edge = salience.new_full((salience.shape[0], 1, salience.shape[2]), -math.inf)
    below, above = torch.cat([edge, salience[:, :-1]], dim=1), torch.cat([salience[:, 1:], edge], dim=1)
    peaks = (salience > below) & (salience >= above) & (salience >= threshold)  # a plateau counts once, at its foot
    voices = max(1, int(peaks.sum(dim=1).max())) if salience.numel() else 1
    confidences, bins = salience.masked_fill(~peaks, -math.inf).topk(voices, dim=1)  # (batch, voice, frame)
    none = confidences == -math.inf
    return _refined(salience, bins).masked_fill(none, 0.0), confidences.masked_fill(none, 0.0)


def _ridges(pitch: Tensor, deviation_cents: float) -> Tensor:
    """Gaussian over the bins around each of (batch, item) pitches: (batch, bin, item)."""
    if not deviation_cents > 0:
        raise ValueError(f"deviation must be positive, got {deviation_cents} cents")
    sounds = pitch > 0
    places = BINS_PER_OCTAVE * torch.log2(torch.where(sounds, pitch, LOWEST_HZ) / LOWEST_HZ)  # bins, with fractions
    bins = torch.arange(BINS, device=pitch.device, dtype=pitch.dtype)[:, None]
    distance = (bins - places.unsqueeze(1)) * (BIN_CENTS / deviation_cents)  # (batch, bin, item)
    return torch.exp(-0.5 * distance.square()) * sounds.unsqueeze(1)


def _refined(salience: Tensor, bins: Tensor) -> Tensor:
    """Frequencies of (batch, voice, frame) peak bins, between the bins."""
    heights = [salience.gather(1, (bins + step).clamp(0, BINS - 1)).clamp(min=_FLOOR).log() for step in (-1, 0, 1)]
    bend = 2 * heights[1] - heights[0] - heights[2]
    inside = (bins > 0) & (bins < BINS - 1) & (bend > 0)
    move = 0.5 * (heights[2] - heights[0]) / torch.where(inside, bend, 1.0)
    places = bins + torch.where(inside, move, 0.0).clamp(-0.5, 0.5)
    return LOWEST_HZ * torch.exp2(places / BINS_PER_OCTAVE)


def _check_grid(salience: Tensor) -> None:
    if salience.ndim != 3 or salience.shape[1] != BINS:
        raise ShapeError("salience", f"(batch, {BINS}, frame)", salience.shape)
