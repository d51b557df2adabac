"""Scores of the pitch of vocals against labels of a data set or of ours."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.errors import InputError
from mss_cli.evaluation.pitch_values import PitchScores
from mss_cli.pitch.f0_file import read_f0

_FRAME_SECONDS = 0.032  # of iKala's labels, the first at time 0
_A4_NUMBER, _A4_HZ = 69, 440.0

Times = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class F0:
    """The pitch of one voice.

    Attributes
    ----------
    times, frequencies : float64 arrays of shape (frame,), seconds and Hz
        Times rise from 0 or later; 0 Hz where there is no pitch.
    """

    times: Times
    frequencies: Times

    @classmethod
    def read(cls, path: Path) -> "F0":
        """Read a file; see `read_labels`.

        Raises
        ------
        InputError
            If it cannot be read, or its times do not rise from 0 or later.
        """
        times, frequencies = read_labels(path)
        if times[0] < 0 or (np.diff(times) <= 0).any():
            raise InputError("times do not rise from 0 or later", path=str(path), hint="sort its lines by time")
        return cls(times, frequencies)


def score_f0(estimate: Path, labels: Path) -> PitchScores:
    """Score an f0 file; see `score_pitch`.

    Parameters
    ----------
    estimate : Path
        Of `mss_cli.pitch.f0_file.save_f0`; the first voice counts.
    labels : Path
        See `read_labels`.

    Returns
    -------
    PitchScores

    Raises
    ------
    InputError
        As `F0.read`.
    """
    return score_pitch(F0.read(estimate), F0.read(labels))


def score_pitch(estimate: F0, labels: F0) -> PitchScores:
    """Score the pitch of one voice: raw pitch, raw chroma and overall accuracy, 50 cents, and voicing.

    A frame of the estimate without a pitch has none to be right by: raw pitch accuracy then counts it as wrong.

    Parameters
    ----------
    estimate, labels : F0

    Returns
    -------
    PitchScores
        Of `mss_models.metrics.pitch.melody_scores`, with NaN for shares of no frames.
    """
    import torch

    from mss_models.metrics.pitch import PitchTrack, melody_scores

    tracks = [PitchTrack(torch.tensor(f0.times), torch.tensor(f0.frequencies)) for f0 in (labels, estimate)]
    scores = melody_scores(*tracks)
    voiced, unvoiced = bool((labels.frequencies > 0).any()), bool((labels.frequencies <= 0).any())
    return PitchScores(
        raw_pitch_accuracy=scores.raw_pitch_accuracy if voiced else math.nan,
        raw_chroma_accuracy=scores.raw_chroma_accuracy if voiced else math.nan,
        overall_accuracy=scores.overall_accuracy,
        voicing_recall=scores.voicing_recall if voiced else math.nan,
        voicing_false_alarm=scores.voicing_false_alarm if unvoiced else math.nan,
    )


def read_labels(path: Path) -> tuple[Times, Times]:
    """Read the pitches of one voice.

    Parameters
    ----------
    path : Path
        `.pv`, as iKala has them: one line per 32 ms with a MIDI note number, fractions included, or 0 where there is
        no pitch. Any other name: lines of `time,frequency`, see `mss_cli.pitch.f0_file.read_f0`.

    Returns
    -------
    times, frequencies : float64 arrays of shape (frame,), seconds and Hz
        0 Hz where there is no pitch.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    if path.suffix.lower() != ".pv":
        return read_f0(path)
    try:
        numbers = np.array([float(line) for line in path.read_text(encoding="ascii").split()], np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read labels: {error}", path=str(path), hint="give one number per line") from error
    if not numbers.size:
        raise InputError("cannot read labels: there are none", path=str(path), hint="give one number per line")
    frequencies: Times = np.where(numbers > 0, _A4_HZ * np.exp2((numbers - _A4_NUMBER) / 12), 0.0)
    times: Times = _FRAME_SECONDS * np.arange(numbers.size, dtype=np.float64)
    return times, frequencies
