"""Scores of an f0 file against labels of a data set or of ours."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mss_cli.errors import InputError
from mss_cli.pitch.f0_file import read_f0
from mss_models.metrics.pitch import MelodyScores, PitchTrack, melody_scores

_FRAME_SECONDS = 0.032  # of iKala's labels, the first at time 0
_A4_NUMBER, _A4_HZ = 69, 440.0

Times = NDArray[np.float64]


def score_f0(estimate: Path, labels: Path) -> MelodyScores:
    """Score an f0 file: raw pitch, raw chroma and overall accuracy, 50 cents.

    A frame of the estimate without a pitch has none to be right by: raw pitch accuracy then counts it as wrong.

    Parameters
    ----------
    estimate : Path
        Of `mss_cli.pitch.f0_file.save_f0`; the first voice counts.
    labels : Path
        See `read_labels`.

    Returns
    -------
    MelodyScores

    Raises
    ------
    InputError
        If a file cannot be read, or its times do not rise from 0 or later.
    """
    tracks = []
    for path, (times, frequencies) in ((labels, read_labels(labels)), (estimate, read_f0(estimate))):
        if times[0] < 0 or (np.diff(times) <= 0).any():
            raise InputError("times do not rise from 0 or later", path=str(path), hint="sort its lines by time")
        tracks.append(PitchTrack(torch.from_numpy(times.copy()), torch.from_numpy(frequencies.copy())))
    return melody_scores(*tracks)


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
