"""A teacher's pitch of a signal in any form."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.channels import fold
from mss_cli.audio.resample import resample
from mss_cli.pitch.estimate import PitchEstimate, read_pitches
from mss_cli.pitch.teachers import Teacher

Block = NDArray[np.float32]


def hear(teacher: Teacher, blocks: Callable[[], Iterator[Block]], *, sample_rate: int) -> PitchEstimate:
    """Let a teacher tell the pitches of a signal.

    Parameters
    ----------
    teacher : Teacher
    blocks : callable
        Gives the signal from its start, (channel, sample), any number of times.
    sample_rate : int, Hz
        Of the blocks.
    """

    def heard() -> Iterator[Block]:
        mono = (fold(block, 1) for block in blocks())
        return (block[0] for block in resample(mono, sample_rate, teacher.sample_rate, 1))

    hop_seconds = teacher.hop_samples / teacher.sample_rate
    return read_pitches(teacher.pieces(heard), hop_seconds=hop_seconds, threshold=teacher.threshold)
