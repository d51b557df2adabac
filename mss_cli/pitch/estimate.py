"""Pitches of a whole track, read off its salience while it passes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MOST_VOICES = 6
# Columns of the picture; when they are used up, neighbours are joined and each stands for twice the time.
_MOST_COLUMNS = 2048


@dataclass(frozen=True, slots=True)
class PitchEstimate:
    """What is known of the pitches of a track.

    Parameters
    ----------
    hop_seconds : float
        Distance between frames; frame k is at ``k * hop_seconds``.
    threshold : float
        Salience from which on a frame has a pitch.
    frequencies : float32 array of shape (voice, frame), Hz
        The most salient first; 0 where a frame has fewer. At least one voice.
    confidences : float32 array of shape (voice, frame)
        Salience of each pitch, in [0, 1]. The first voice's is the largest salience of the frame also where that is
        below the threshold.
    columns : float32 array of shape (360, column)
        Salience at a picture's resolution: the largest of the frames of a column.
    frames_per_column : int
        Of all columns but the last, which may have fewer.
    """

    hop_seconds: float
    threshold: float
    frequencies: Floats
    confidences: Floats
    columns: Floats
    frames_per_column: int


def read_pitches(pieces: Iterable[Floats], *, hop_seconds: float, threshold: float) -> PitchEstimate:
    """Read the pitches of salience that comes in pieces.

    Parameters
    ----------
    pieces : iterable of float32 arrays of shape (360, frame)
        Following each other; at least one frame in all.
    hop_seconds : float
        Distance between frames.
    threshold : float
        Salience from which on a frame has a pitch.

    Returns
    -------
    PitchEstimate
        With at most 6 voices, the most salient ones.
    """
    import torch

    from mss_models.salience import pitches

    found: list[tuple[Floats, Floats]] = []
    picture = _Columns()
    for piece in pieces:
        voices, confidences = pitches(torch.from_numpy(piece)[None], threshold=threshold)
        heights = confidences[0, :MOST_VOICES].numpy().copy()  # (voice, frame)
        heights[0] = piece.max(axis=0, initial=0.0)
        found.append((voices[0, :MOST_VOICES].numpy(), heights))
        picture.push(piece)
    voices_in_all = max(frequencies.shape[0] for frequencies, _ in found)
    columns, frames_per_column = picture.finish()
    return PitchEstimate(
        hop_seconds,
        threshold,
        np.concatenate([_widened(frequencies, voices_in_all) for frequencies, _ in found], axis=1),
        np.concatenate([_widened(confidences, voices_in_all) for _, confidences in found], axis=1),
        columns,
        frames_per_column,
    )


def _widened(rows: Floats, count: int) -> Floats:
    """Add voices that never sound."""
    return np.pad(rows, ((0, count - rows.shape[0]), (0, 0)))


class _Columns:
    """Gathers the largest salience of every few frames, in constant memory."""

    def __init__(self) -> None:
        self._frames_per_column = 1
        self._columns: list[Floats] = []
        self._open: list[Floats] = []

    def push(self, piece: Floats) -> None:
        """Take the next frames, (bin, frame)."""
        for frame in piece.T:
            self._open.append(frame)
            if len(self._open) == self._frames_per_column:
                self._columns.append(np.max(self._open, axis=0))
                self._open = []
            if len(self._columns) == _MOST_COLUMNS:
                pairs = zip(self._columns[::2], self._columns[1::2], strict=True)
                self._columns = [np.maximum(first, second) for first, second in pairs]
                self._frames_per_column *= 2

    def finish(self) -> tuple[Floats, int]:
        """Give the columns, (bin, column), and the frames of each."""
        last = [np.max(self._open, axis=0)] if self._open else []
        return np.stack([*self._columns, *last], axis=1), self._frames_per_column
