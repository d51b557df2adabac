"""Rounding to 16 bits, as the package musdb has always read its lossy stems.

A lossy codec leaves a band empty above its cut-off and residues far below one step of 16 bits in pauses. Without the
rounding BSSEval's filter equations of such references have no answer that two computers agree on (SIR and SAR are
noise), and frames are scored that count as silent in every published table.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.probe import AudioInfo

Block = NDArray[np.float32]

_FULL_SCALE: Final = np.float32(32768)
_LOSSLESS: Final = ("pcm", "float", "double", "flac", "alac", "ape", "tak", "tta", "wavpack")


def is_lossy(info: AudioInfo) -> bool:
    """Tell whether the codec keeps less than the samples."""
    return not (info.codec.startswith(_LOSSLESS) or info.container == "flac")


def to_sixteen_bits(block: Block) -> Block:
    """Round to the nearest step of 1/32768 and clip, without dither."""
    rounded = np.clip(np.rint(block * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    return np.asarray(rounded / _FULL_SCALE, np.float32)
