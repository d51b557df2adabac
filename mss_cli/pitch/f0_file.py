"""Pitches as comma-separated values, written and read."""

import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.errors import InputError
from mss_cli.files import output_error
from mss_cli.pitch.estimate import PitchEstimate

HEADER = ("time", "frequency", "confidence")


def save_f0(estimate: PitchEstimate, target: Path) -> None:
    """Write one line per frame: ``time,frequency,confidence`` with a header line of these names.

    Times in seconds, frequencies in Hz and 0 where there is no pitch, as in MedleyDB's annotations, which mir_eval's
    melody scores read so; confidences in [0, 1]. Further simultaneous pitches follow in columns ``frequency2``,
    ``confidence2`` and so on, where the track has any.

    Parameters
    ----------
    estimate : PitchEstimate
    target : Path
        Exactly this name is written.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    voices, frames = estimate.frequencies.shape
    further = [f"{word}{voice}" for voice in range(2, voices + 1) for word in HEADER[1:]]
    try:
        with target.open("w", encoding="ascii", newline="") as file:
            file.write(",".join([*HEADER, *further]) + "\n")
            for frame in range(frames):
                # To the nanosecond: mir_eval takes times rounded to the microsecond for uneven ones.
                cells = [f"{frame * estimate.hop_seconds:.9f}"]
                for voice in range(voices):
                    cells.append(f"{estimate.frequencies[voice, frame]:.3f}")
                    cells.append(f"{estimate.confidences[voice, frame]:.4f}")
                file.write(",".join(cells) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise output_error(target, error) from error


def read_f0(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read times and frequencies of the first voice, of a file of ours or of MedleyDB's form.

    Parameters
    ----------
    path : Path
        Comma-separated times in seconds and frequencies in Hz, with or without a header line; further columns are
        left out.

    Returns
    -------
    times, frequencies : float64 arrays of shape (frame,)

    Raises
    ------
    InputError
        Naming the first line that is no such pair.
    """
    pairs: list[tuple[float, float]] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file), start=1):
                if not row or (number == 1 and row[0].strip() == HEADER[0]):
                    continue
                try:
                    pairs.append((float(row[0]), float(row[1])))
                except (ValueError, IndexError) as error:
                    raise _no_f0(path, f"line {number} is no time and frequency") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _no_f0(path, str(error)) from error
    if not pairs:
        raise _no_f0(path, "it has no frames")
    values = np.array(pairs, np.float64)  # (frame, 2)
    return values[:, 0], values[:, 1]


def _no_f0(path: Path, reason: str) -> InputError:
    return InputError(f"cannot read pitches: {reason}", path=str(path), hint="give lines of `time,frequency`")
