"""Frames of simultaneous pitches to notes."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mss_cli.pitch.estimate import PitchEstimate

# A pitch this near to a sounding note belongs to it: vibrato of 0.4 semitones each way stays one note, a step is new.
_SAME_NOTE_SEMITONES = 0.8
_MEMORY_FRAMES = 20  # whose median is where a note now is
_LONGEST_GAP_SECONDS = 0.05  # consonants and lost frames do not end a note
_SHORTEST_NOTE_SECONDS = 0.08


@dataclass(frozen=True, slots=True)
class Note:
    """A note of constant pitch.

    Parameters
    ----------
    start, end : float, seconds
    number : int
        MIDI note: 69 is A4, 440 Hz.
    confidence : float
        Mean salience, in [0, 1].
    """

    start: float
    end: float
    number: int
    confidence: float


@dataclass(slots=True)
class _Sounding:
    first: int
    last: int
    pitches: list[float] = field(default_factory=list)  # semitones
    confidences: list[float] = field(default_factory=list)

    def distance(self, pitch: float) -> float:
        return abs(float(np.median(self.pitches[-_MEMORY_FRAMES:])) - pitch)

    def add(self, frame: int, pitch: float, confidence: float) -> None:
        self.last = frame
        self.pitches.append(pitch)
        self.confidences.append(confidence)


def find_notes(estimate: PitchEstimate) -> list[Note]:
    """Join pitches that follow each other to notes; several may sound at once.

    A pitch continues the nearest sounding note at most 0.8 semitones from that note's median of late, else begins one.
    A note ends after 50 ms without a pitch; shorter ones than 80 ms are left out. Of two notes with one number at a
    time, the earlier one ends where the later begins. Ours.

    Parameters
    ----------
    estimate : PitchEstimate

    Returns
    -------
    list of Note
        By start, then number.
    """
    longest_gap = round(_LONGEST_GAP_SECONDS / estimate.hop_seconds)
    shortest = round(_SHORTEST_NOTE_SECONDS / estimate.hop_seconds)
    sounding: list[_Sounding] = []
    ended: list[_Sounding] = []
    for frame, voices in enumerate(_voices(estimate)):
        ended += [note for note in sounding if frame - note.last > longest_gap]
        sounding = [note for note in sounding if frame - note.last <= longest_gap]
        free = list(sounding)
        for pitch, confidence in voices:  # the most salient first
            nearest = min(free, key=lambda note: note.distance(pitch), default=None)
            if nearest is None or nearest.distance(pitch) > _SAME_NOTE_SEMITONES:
                nearest = _Sounding(frame, frame)
                sounding.append(nearest)
            else:
                free.remove(nearest)
            nearest.add(frame, pitch, confidence)
    notes = [
        Note(
            start=note.first * estimate.hop_seconds,
            end=(note.last + 1) * estimate.hop_seconds,
            number=min(127, max(0, round(float(np.median(note.pitches))))),
            confidence=float(np.mean(note.confidences)),
        )
        for note in [*ended, *sounding]
        if note.last + 1 - note.first >= shortest
    ]
    return _one_at_a_time(sorted(notes, key=lambda note: (note.start, note.number, note.end)))


def _voices(estimate: PitchEstimate) -> Iterator[list[tuple[float, float]]]:
    """Pitches of each frame in MIDI semitones, with their confidences."""
    pitched = estimate.frequencies > 0
    semitones: NDArray[np.float32] = 69 + 12 * np.log2(np.where(pitched, estimate.frequencies, 440.0) / 440.0)
    for frame in range(pitched.shape[1]):
        there = np.flatnonzero(pitched[:, frame])
        yield [(float(semitones[v, frame]), float(estimate.confidences[v, frame])) for v in there]


def _one_at_a_time(notes: list[Note]) -> list[Note]:
    """End a note where another of its number begins: MIDI cannot hold both."""
    kept: list[Note] = []
    following: dict[int, float] = {}
    for note in reversed(notes):
        end = min(note.end, following.get(note.number, note.end))
        following[note.number] = note.start
        if end > note.start:
            kept.append(Note(note.start, end, note.number, note.confidence))
    return kept[::-1]
