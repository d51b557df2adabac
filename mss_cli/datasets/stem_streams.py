"""Streams of MUSDB18 stem files as musdb's users get them: AAC decoded by libav, rounded to 16 bits."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.access import check_readable
from mss_cli.audio.libav import open_input
from mss_cli.datasets.rounding import to_sixteen_bits
from mss_cli.errors import DatasetError, InputError

Block = NDArray[np.float32]

# Frames of AAC hold 1024 samples: this many are joined to one block.
_BLOCK_SAMPLES = 1 << 16


def stream_form(path: Path, number: int) -> tuple[int, int]:
    """Give sample rate in Hz and channels of an audio stream.

    Raises
    ------
    InputError
        If the file cannot be read.
    DatasetError
        If it lacks the stream.
    """
    check_readable(path)
    try:
        with open_input(path) as container:
            streams = container.streams.audio
            if number < len(streams):
                context = streams[number].codec_context
                return int(context.sample_rate), int(context.layout.nb_channels)
            count = len(streams)
    except (av.error.FFmpegError, OSError) as error:
        raise InputError("not a stem file that can be read", path=str(path), hint="copy the file again") from error
    raise _no_stream(path, count)


def stream_blocks(path: Path, number: int, *, sixteen_bits: bool = True) -> Iterator[Block]:
    """Decode one audio stream of a stem file from its start to its end.

    Priming samples that the file announces are left out; the end is not trimmed to the length in the header, as the
    ffmpeg program does not trim it either.

    Parameters
    ----------
    path : Path
    number : int
        0 is the mixture; then drums, bass, other, vocals.
    sixteen_bits : bool
        Round to steps of 1/32768 and clip, as musdb asks ffmpeg to do. Without it passages below half a step stay
        faint instead of silent, and other frames are scored than in published numbers.

    Yields
    ------
    float32 array of shape (channel, sample)

    Raises
    ------
    InputError
        If the file cannot be read or decoded, or holds no samples.
    DatasetError
        If it lacks the stream.
    """
    check_readable(path)
    parts: list[Block] = []
    length = given = 0
    try:
        with open_input(path) as container:
            streams = container.streams.audio
            if number >= len(streams):
                raise _no_stream(path, len(streams))
            for packet in container.demux(streams[number]):
                for frame in packet.decode():
                    parts.append(_samples(frame, sixteen_bits))
                    length += parts[-1].shape[1]
                if length >= _BLOCK_SAMPLES:
                    yield np.concatenate(parts, axis=1)  # (channel, sample)
                    given += length
                    parts, length = [], 0
    except (av.error.FFmpegError, OSError) as error:
        raise InputError("cannot decode the stem file", path=str(path), hint="copy the file again") from error
    if length:
        yield np.concatenate(parts, axis=1)  # (channel, sample)
    elif not given:
        raise InputError("holds no samples", path=str(path), hint="copy the file again")


def _no_stream(path: Path, count: int) -> DatasetError:
    hint = "check that this is a MUSDB18 stem file"
    return DatasetError(f"has {count} audio streams, not 5", path=str(path), hint=hint)


def _samples(frame: av.AudioFrame, sixteen_bits: bool) -> Block:
    samples: Block = frame.to_ndarray().astype(np.float32, copy=False)  # planar AAC: (channel, sample)
    return to_sixteen_bits(samples) if sixteen_bits else samples
