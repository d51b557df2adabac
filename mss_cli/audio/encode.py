"""Blocks to an audio file of exactly the name, format, rate and length asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.blocks import counted, scaled
from mss_cli.audio.formats import OutputFormat
from mss_cli.audio.resample import resample, resampled_length
from mss_cli.audio.sink import open_sink
from mss_cli.audio.tags import Tags
from mss_cli.audio.writers import open_writer
from mss_cli.errors import OutputError

Block = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A file that was written whole and synced.

    Attributes
    ----------
    path : Path
        Where it lies.
    sample_rate : int, Hz
        Rate of the file.
    samples : int
        Samples per channel at that rate.
    bytes : int
        Size of the file.
    """

    path: Path
    sample_rate: int
    samples: int
    bytes: int


def encode(
    blocks: Iterable[Block],
    target: Path,
    *,
    format: OutputFormat,
    sample_rate: int,
    channels: int,
    samples: int,
    gain: float = 1.0,
    clamp: bool = False,
    tags: Tags | None = None,
) -> EncodedFile:
    """Write blocks to a file and sync it; remove what was written if anything fails.

    Integers are rounded to the nearest step and clipped; 32-bit float wav keeps values beyond ±1. A wav that would
    pass 4 GiB becomes RF64. A lossy file decodes to the same length, aligned to the sample.

    Parameters
    ----------
    blocks : iterable of float32 arrays of shape (channel, sample)
        The whole signal at ``sample_rate``, full scale ±1.
    target : Path
        Exactly this name is written, whatever its suffix; pass a temporary name and rename it.
    format : OutputFormat
        Not "stem.mp4": see `mss_cli.audio.stemfile.encode_stem_file`.
    sample_rate : int, Hz
        Rate of the blocks. The file has ``format.sample_rate(sample_rate)``.
    channels : {1, 2}
    samples : int, >= 1
        Samples per channel that the blocks add up to.
    gain : float
        Factor on every sample.
    clamp : bool
        Clip to ±1 before a lossy codec sees it. Float wav is never clipped, integers always are.
    tags : Tags or None
        Written where the format can hold them.

    Returns
    -------
    EncodedFile

    Raises
    ------
    OutputError
        If the file cannot be written, or a sample is not finite.
    ValueError
        If the blocks do not have ``channels`` channels or do not add up to ``samples``.
    """
    rate = format.sample_rate(sample_rate)
    total = resampled_length(samples, sample_rate, rate)
    if total == 0:
        hint = "write wav or flac, which hold the input's rate"
        raise OutputError(f"shorter than one sample at {rate} Hz", path=str(target), hint=hint)
    ready = scaled(counted(blocks, channels, samples), target, gain=gain, clamp=clamp and not format.is_float)
    with open_sink(target) as sink:
        with open_writer(sink, format, rate=rate, channels=channels, samples=total, tags=tags or Tags()) as writer:
            for block in resample(ready, sample_rate, rate, channels):
                writer.write(block)
                sink.check()
        size = sink.finish()
    return EncodedFile(target, rate, total, size)
