"""Scores of melodies and of several simultaneous pitches."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_models.errors import ShapeError

_OCTAVE = 1200.0
_CENTS_FROM_HZ = 10.0


@dataclass(frozen=True, slots=True)
class PitchTrack:
    """One pitch per time.

    Attributes
    ----------
    times : Tensor of shape (frame,), seconds
        Rising from 0 or later.
    frequencies : Tensor of shape (frame,), Hz
        0 where there is no pitch; negative where the frame is unvoiced but its pitch, if it had one, is guessed.
    """

    times: Tensor
    frequencies: Tensor


@dataclass(frozen=True, slots=True)
class MelodyScores:
    """Shares of frames, 0 to 1.

    Attributes
    ----------
    raw_pitch_accuracy, raw_chroma_accuracy : float
        Of the voiced reference frames, pitch right (octave errors forgiven); the estimate's voicing is ignored.
    overall_accuracy : float
        Of all frames: voiced in both with the right pitch, or unvoiced in both.
    voicing_recall, voicing_false_alarm : float
        Of the voiced, and of the unvoiced, reference frames: voiced in the estimate.
    """

    raw_pitch_accuracy: float
    raw_chroma_accuracy: float
    overall_accuracy: float
    voicing_recall: float
    voicing_false_alarm: float


@dataclass(frozen=True, slots=True)
class MultiPitchScores:
    """Shares over all frames together, 0 to 1.

    Attributes
    ----------
    precision, recall : float
        Matched pitches among those estimated, among those in the reference; 0 where there are none.
    accuracy : float
        Matched among all, each pair counted once.
    """

    precision: float
    recall: float
    accuracy: float


def melody_scores(reference: PitchTrack, estimate: PitchTrack, *, tolerance_cents: float = 50.0) -> MelodyScores:
    """Score a melody at the times of the reference.

    The estimate is brought to the reference's times by linear interpolation in cents; it has no pitch where its last
    frame before had none. A pitch is right if it is less than the tolerance from the reference. Without a voiced
    reference frame both pitch accuracies are 0. Say with the numbers which voicing threshold made the estimate, and
    whether it was chosen on the test data.

    Parameters
    ----------
    reference, estimate : PitchTrack
    tolerance_cents : float, > 0

    Returns
    -------
    MelodyScores

    Raises
    ------
    ShapeError, ValueError
        If times and frequencies are not equally long lines with at least one frame; if times do not rise.

    References
    ----------
    Salamon, Gomez, Ellis and Richard, "Melody extraction from polyphonic music signals", IEEE Signal Processing
    Magazine 31 (2014). Equal to mir_eval.melody 0.8.
    """
    times, reference_cents, reference_voiced = _cents(reference, "reference")
    estimate_times, estimate_cents, estimate_voiced = _cents(estimate, "estimate")
    estimate_cents, estimate_voiced = _at_times(times, estimate_times, estimate_cents, estimate_voiced)
    both = (reference_cents != 0) & (estimate_cents != 0)
    distance = (reference_cents - estimate_cents).abs()
    chroma = (distance - _OCTAVE * torch.floor(distance / _OCTAVE + 0.5)).abs()
    right, right_chroma = both & (distance < tolerance_cents), both & (chroma < tolerance_cents)
    voiced, unvoiced = int(reference_voiced.sum()), int((~reference_voiced).sum())
    agreed = int((right & reference_voiced & estimate_voiced).sum()) + int((~reference_voiced & ~estimate_voiced).sum())
    return MelodyScores(
        raw_pitch_accuracy=int((right & reference_voiced).sum()) / voiced if voiced else 0.0,
        raw_chroma_accuracy=int((right_chroma & reference_voiced).sum()) / voiced if voiced else 0.0,
        overall_accuracy=agreed / (voiced + unvoiced),
        voicing_recall=int((estimate_voiced & reference_voiced).sum()) / voiced if voiced else 1.0,
        voicing_false_alarm=int((estimate_voiced & ~reference_voiced).sum()) / unvoiced if unvoiced else 0.0,
    )


def multi_pitch_scores(
    reference: Sequence[Tensor], estimate: Sequence[Tensor], *, tolerance_semitones: float = 0.5
) -> MultiPitchScores:
    """Score several simultaneous pitches, frame by frame, on one grid of times.

    In each frame as many pairs as possible are made of a reference and an estimated pitch at most the tolerance
    apart, each pitch in one pair; pairs are summed over frames before anything is divided.

    Parameters
    ----------
    reference, estimate : sequences of Tensors of shape (pitch,), Hz, > 0
        One per frame, at the same times (see `nearest_frames`); empty where nothing sounds.
    tolerance_semitones : float, >= 0

    Returns
    -------
    MultiPitchScores

    Raises
    ------
    ValueError
        If the frames are not equally many; if a frequency is not positive.

    References
    ----------
    Bay, Ehmann and Downie, "Evaluation of multiple-F0 estimation and tracking systems", ISMIR 2009. Equal to
    mir_eval.multipitch 0.8.
    """
    if len(reference) != len(estimate):
        raise ValueError(f"reference has {len(reference)} frames, estimate {len(estimate)}")
    matched = sum(_matches(s, e, tolerance_semitones) for s, e in zip(reference, estimate, strict=True))
    given, found = sum(s.numel() for s in reference), sum(e.numel() for e in estimate)
    total = given + found - matched
    return MultiPitchScores(
        precision=matched / found if found else 0.0,
        recall=matched / given if given else 0.0,
        accuracy=matched / total if total else 0.0,
    )


def nearest_frames(frames: Sequence[Tensor], times: Tensor, new_times: Tensor) -> list[Tensor]:
    """Take, for each new time, the pitches of the nearest old one (the earlier of two); none outside the old times."""
    if len(frames) != times.numel():
        raise ValueError(f"{len(frames)} frames but {times.numel()} times")
    if not frames:
        return [torch.empty(0, dtype=torch.float64)] * new_times.numel()
    middles = (times[1:].double() + times[:-1].double()) / 2
    places = torch.searchsorted(middles, new_times.double()).tolist()
    inside = ((new_times >= times[0]) & (new_times <= times[-1])).tolist()
    return [frames[place] if ok else frames[0][:0] for place, ok in zip(places, inside, strict=True)]


def _cents(track: PitchTrack, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Times, cents above 10 Hz (0: no pitch) and voicing of a track, a frame at time 0 added if there is none."""
    times, frequencies = track.times.double(), track.frequencies.double()
    if times.ndim != 1 or times.shape != frequencies.shape or not times.numel():
        raise ShapeError(f"{name} times and frequencies", "(frame,)", times.shape)
    if bool((times.diff() <= 0).any()) or float(times[0]) < 0:
        raise ValueError(f"{name}: times must rise from 0 or later")
    if float(times[0]) > 0:
        times = torch.cat([times.new_zeros(1), times])
        frequencies = torch.cat([frequencies[:1], frequencies])
    pitched = frequencies != 0
    cents = _OCTAVE * torch.log2(frequencies.abs().masked_fill(~pitched, _CENTS_FROM_HZ) / _CENTS_FROM_HZ)
    return times, cents, frequencies > 0


def _at_times(new_times: Tensor, times: Tensor, cents: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
    """Bring cents and voicing to new times."""
    if times.shape == new_times.shape and torch.allclose(times, new_times):
        return cents, voiced
    # Rounded so that equal times stay equal.
    times, new_times = times.round(decimals=10), new_times.round(decimals=10)
    if new_times[-1] > times[-1]:
        times, cents = torch.cat([times, new_times[-1:]]), torch.cat([cents, cents.new_zeros(1)])
        voiced = torch.cat([voiced, voiced.new_zeros(1)])
    held = _hold_last(cents)
    before = (torch.searchsorted(times, new_times, right=True) - 1).clamp_(max=times.numel() - 1)
    after = (before + 1).clamp_(max=times.numel() - 1)
    share = (new_times - times[before]) / (times[after] - times[before]).masked_fill(after == before, 1.0)
    resampled = held[before] + share * (held[after] - held[before])
    return resampled * (cents[before] != 0), voiced[before]


def _hold_last(cents: Tensor) -> Tensor:
    """Replace frames without a pitch by the last one before, so that interpolation never slides towards 0."""
    places = torch.arange(cents.numel(), device=cents.device).masked_fill(cents == 0, 0)
    return cents[places.cummax(dim=0).values]


def _matches(reference: Tensor, estimate: Tensor, tolerance: float) -> int:
    """Size of the largest matching of two frames' pitches; on a line, first come first served is largest."""
    if bool((reference <= 0).any()) or bool((estimate <= 0).any()):
        raise ValueError("frequencies must be positive; a silent frame is empty")
    given = sorted((12 * torch.log2(reference.double() / 440)).tolist())
    found = sorted((12 * torch.log2(estimate.double() / 440)).tolist())
    first, second, count = 0, 0, 0
    while first < len(given) and second < len(found):
        if abs(given[first] - found[second]) <= tolerance:
            first, second, count = first + 1, second + 1, count + 1
        elif given[first] < found[second]:
            first += 1
        else:
            second += 1
    return count
