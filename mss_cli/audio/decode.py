"""Samples out of a file: float32 blocks of bounded size, aligned to the sample, never normalised."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from mss_cli.audio.access import unreadable
from mss_cli.audio.bytesource import two_times
from mss_cli.audio.libav import open_input
from mss_cli.audio.probe import COUNTED_CODECS, AudioInfo
from mss_cli.errors import InputError

Block = NDArray[np.float32]

# Samples the decoder puts before the music: the AC-3 transform overlaps by one block of 256.
_EXTRA_SAMPLES: Final = {"ac3": 256, "eac3": 256}
# How much the announced length of a lossy stream may exceed what decodes: clocks of mp4 headers tick in milliseconds,
# and some writers count the encoder's delay (2112 samples with Apple's). A file that was cut is found before decoding.
_LOOSE_SAMPLES: Final = 4096


_FLAC_STEP: Final = 4096


def decode(info: AudioInfo, *, block_samples: int = 65536) -> Iterator[Block]:
    """Decode a stream from its start to its end.

    A click stays where it is: encoder delay and padding announced by mp3, aac and opus files are cut, the 256 samples
    of AC-3 too, and the first frame that WMA decoders lose is given as silence.

    Parameters
    ----------
    info : AudioInfo
        From `mss_cli.audio.probe.probe`.
    block_samples : int, >= 1
        Longest block given.

    Yields
    ------
    float32 array of shape (channel, sample), 1 <= sample <= block_samples
        Full scale is ±1, beyond it what the file holds. Contiguous or the transpose of interleaved memory; each block
        owns its memory. If ``info.samples`` is known, the blocks add up to it.

    Raises
    ------
    InputError
        If a sample is not finite, a stretch cannot be decoded, or the file ends before its announced end.
    """
    raw = (
        _libsndfile_blocks(info, block_samples) if info.decoder == "libsndfile" else _libav_blocks(info, block_samples)
    )
    given = 0
    try:
        for block in _aligned(raw, info):
            for start in range(0, block.shape[1], block_samples):
                part = block[:, start : start + block_samples]
                _refuse_not_finite(part, info, given)
                given += part.shape[1]
                yield part
    except (soundfile.LibsndfileError, av.error.FFmpegError) as error:
        raise _broken(info, given) from error
    except OSError as error:
        raise unreadable(info.path, error) from error
    if given == 0:
        raise InputError("holds no samples", path=str(info.path), hint="check the file or leave it out")


def _libsndfile_blocks(info: AudioInfo, block_samples: int) -> Iterator[Block]:
    descriptor = os.open(info.path, os.O_RDONLY)
    try:
        with soundfile.SoundFile(descriptor, closefd=False) as file:
            if (file.samplerate, file.channels) != (info.sample_rate, info.channels):
                raise InputError("changed since its header was read", path=str(info.path), hint="run again")
            # A read that fails loses all of its samples: flac is read in short steps, to tell the time of a fault.
            step = min(block_samples, _FLAC_STEP) if info.container == "flac" else block_samples
            while True:
                block: Block = np.empty((block_samples, file.channels), np.float32)
                filled, fault = _fill(block, file, step)
                if filled:
                    yield block[:filled].T  # (channel, sample)
                if fault is not None:
                    raise fault
                if filled < block_samples:
                    return
    finally:
        os.close(descriptor)


def _fill(block: Block, file: soundfile.SoundFile, step: int) -> tuple[int, soundfile.LibsndfileError | None]:
    """Read into ``block`` of shape (sample, channel); give how many samples came, and what stopped them."""
    filled = 0
    while filled < len(block):
        try:
            read = len(file.read(out=block[filled : filled + step]))
        except soundfile.LibsndfileError as error:
            return filled, error
        if not read:
            break
        filled += read
    return filled, None


def _libav_blocks(info: AudioInfo, block_samples: int) -> Iterator[Block]:
    """Join the frames of libav, about a thousand samples each, to blocks that are worth handling one by one."""
    parts: list[Block] = []
    length = 0
    for part in _libav_frames(info):
        if length and length + part.shape[1] > block_samples:
            yield np.concatenate(parts, axis=1)  # (channel, sample)
            parts, length = [], 0
        parts.append(part)
        length += part.shape[1]
    if length:
        yield np.concatenate(parts, axis=1)  # (channel, sample)


def _libav_frames(info: AudioInfo) -> Iterator[Block]:
    """Decode frame by frame, without the samples that the codec puts before the music."""
    with open_input(info.path) as container:
        stream = container.streams.audio[info.stream or 0]
        extra, seen = _EXTRA_SAMPLES.get(info.codec, 0), 0
        for packet in container.demux(stream):  # the last packets are empty: they flush the decoder
            if seen == 0 and packet.has_sidedata("skip_samples"):
                extra = 0  # the container told libav to leave them out already
            for frame in packet.decode():
                if frame.sample_rate != info.sample_rate or frame.layout.nb_channels != info.channels:
                    where = _time(seen / info.sample_rate)
                    raise InputError(
                        f"changes sample rate or channels at {where}", path=str(info.path), hint="split it there"
                    )
                yield _floats(frame, info.channels)[:, max(0, extra - seen) :]
                seen += frame.samples


def _floats(frame: av.AudioFrame, channels: int) -> Block:
    """Give the samples of a frame as float32 of shape (channel, sample), full scale at ±1."""
    samples = frame.to_ndarray()  # planar: (channel, sample); packed: (1, sample * channel)
    if frame.format.is_packed:
        samples = samples.reshape(-1, channels).T  # (channel, sample)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) * np.float32(1 / 128)
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
    return samples.astype(np.float32, copy=False)


def _aligned(blocks: Iterator[Block], info: AudioInfo) -> Iterator[Block]:
    """Cut what the codec adds after the music; fill what it loses before it."""
    lost = _lost_samples(info)
    if lost:
        yield np.zeros((info.channels, lost), np.float32)
    given = lost
    for block in blocks:
        kept = block if info.samples is None else block[:, : info.samples - given]
        if kept.shape[1]:
            given += kept.shape[1]
            yield kept
    if info.samples is None or given == info.samples:
        return
    missing = info.samples - given
    lossy = info.decoder == "ffmpeg" and info.codec not in COUNTED_CODECS
    if lossy and given and missing <= _LOOSE_SAMPLES:
        yield np.zeros((info.channels, missing), np.float32)
        return
    raise too_short(info, given)


def _lost_samples(info: AudioInfo) -> int:
    """Give the length of the first frame of Windows Media Audio 1 and 2, which decoders drop."""
    if info.codec not in ("wmav1", "wmav2"):
        return 0
    if info.sample_rate <= 16000:
        return 512
    if info.sample_rate <= 22050 or (info.sample_rate <= 32000 and info.codec == "wmav1"):
        return 1024
    return 2048


def _refuse_not_finite(block: Block, info: AudioInfo, start: int) -> None:
    # The sum is not finite if any sample is not; it is much cheaper than a test of each.
    with np.errstate(all="ignore"):
        if np.isfinite(block.sum()):
            return
    bad = ~np.isfinite(block).all(axis=0)  # (sample,)
    if not bad.any():
        return
    first = start + int(bad.argmax())
    kind = "NaN" if np.isnan(block[:, first - start]).any() else "infinite"
    raise InputError(
        f"{kind} sample at {_time(first / info.sample_rate)}",
        path=str(info.path),
        hint="repair or export the file again",
    )


def too_short(info: AudioInfo, given: int) -> InputError:
    """Give the error of a stream that ends before its announced end."""
    announced = info.samples or 0
    return InputError(
        f"ends after {two_times(given / info.sample_rate, announced / info.sample_rate)} its header announces",
        path=str(info.path),
        hint="copy the file again",
    )


def _broken(info: AudioInfo, given: int) -> InputError:
    return InputError(
        f"cannot decode after {_time(given / info.sample_rate)}", path=str(info.path), hint="copy the file again"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s"
