"""Sizes in the headers of wav, rf64, w64, aiff, caf and au: walks from chunk to chunk.

Sources: Microsoft "Multimedia Programming Interface and Data Specifications 1.0" (RIFF), EBU Tech 3306 (RF64), Sony
Wave64, Apple "Audio Interchange File Format 1.3" and "Core Audio Format Specification 1.0".
"""

from __future__ import annotations

import struct
from typing import Final

from mss_cli.audio.bytesource import ByteSource, Length, NoChannels

# What programs leave in the size of the data chunk when they write to a pipe: nothing yet (0), ffmpeg and most
# others (all ones, or that minus the header), sox (the largest multiple of 4096 below 2^31), arecord (2^31).
_PIPED: Final = frozenset({0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, *range(0xFFFFFFFF - 128, 0x100000000), 0xFFFFF000})
_UNKNOWN_64: Final = 0xFFFFFFFFFFFFFFFF
# A long file of zeros after its first bytes is not walked to its end.
_MOST_CHUNKS: Final = 10_000
_CHUNKS_AFTER_DATA: Final = frozenset(
    {
        b"LIST",
        b"id3 ",
        b"ID3 ",
        b"bext",
        b"cue ",
        b"smpl",
        b"inst",
        b"iXML",
        b"_PMX",
        b"JUNK",
        b"PAD ",
        b"fact",
        b"PEAK",
    }
)
_AU_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


def measure_riff(data: ByteSource) -> Length | None:
    """Measure RIFF/WAVE and RF64; None if the size was never filled in or it is no WAVE file."""
    if data.take(8, 4) != b"WAVE":
        return None
    position, bytes_per_second, block, long_size = 12, 0, 1, None
    for _ in range(_MOST_CHUNKS):
        kind, size = struct.unpack("<4sI", data.take(position, 8))
        body = position + 8
        if kind == b"ds64":
            (long_size,) = struct.unpack("<Q", data.take(body + 8, 8))
        elif kind == b"fmt ":
            channels, bytes_per_second, block = struct.unpack("<H4xIH", data.take(body + 2, 12))
            _refuse_no_channels(channels)
        elif kind == b"data":
            if size == 0xFFFFFFFF and long_size is not None:
                size = long_size
            if size in _PIPED or size == _UNKNOWN_64:
                return None
            return _bytes(data.size - body, size, bytes_per_second, block)
        position = body + size + size % 2
    return None


def find_chunk(data: ByteSource, kind: bytes) -> int | None:
    """Give where the content of a RIFF chunk before the samples begins; None if there is none."""
    position = 12
    while len(head := data.read(position, 8)) == 8 and head[:4] != b"data":
        if head[:4] == kind:
            return position + 8
        size = int.from_bytes(head[4:], "little")
        position += 8 + size + size % 2
    return None


def has_unsized_samples(data: ByteSource) -> bool:
    """Tell whether samples follow a data chunk of size 0: a writer that was stopped, or wrote to a pipe."""
    if data.read(0, 4) != b"RIFF" or data.read(8, 4) != b"WAVE":
        return False
    position = 12
    for _ in range(_MOST_CHUNKS):
        kind, size = struct.unpack("<4sI", data.take(position, 8))
        if kind == b"data":
            follows = data.read(position + 8, 4)
            return size == 0 and len(follows) == 4 and follows not in _CHUNKS_AFTER_DATA
        position += 8 + size + size % 2
    return False


def measure_w64(data: ByteSource) -> Length | None:
    """Measure Sony Wave64: names of 16 bytes, sizes of 64 bits that count their own head, steps of 8 bytes."""
    position, bytes_per_second, block = 40, 0, 1
    for _ in range(_MOST_CHUNKS):
        kind, size = struct.unpack("<4s12xQ", data.take(position, 24))
        if size < 24:
            return None
        body = position + 24
        if kind == b"fmt ":
            channels, bytes_per_second, block = struct.unpack("<H4xIH", data.take(body + 2, 12))
            _refuse_no_channels(channels)
        elif kind == b"data":
            return _bytes(data.size - body, size - 24, bytes_per_second, block)
        position += (size + 7) // 8 * 8
    return None


def measure_aiff(data: ByteSource) -> Length | None:
    """Measure AIFF and AIFF-C; None if it is another FORM."""
    if data.take(8, 4) not in (b"AIFF", b"AIFC"):
        return None
    position, samples, rate = 12, 0, 0.0
    for _ in range(_MOST_CHUNKS):
        kind, size = struct.unpack(">4sI", data.take(position, 8))
        body = position + 8
        if kind == b"COMM":
            channels, samples = struct.unpack(">HI", data.take(body, 6))
            _refuse_no_channels(channels)
            rate = _extended(data.take(body + 8, 10))
        elif kind == b"SSND":
            there = data.size - body
            if size in _PIPED or there >= size or size <= 8 or samples == 0:
                return None
            # The count of samples stands in COMM, so the part that is there follows from the bytes.
            return Length(samples, max(0, there - 8) * samples // (size - 8), rate)
        position = body + size + size % 2
    return None


def measure_caf(data: ByteSource) -> Length | None:
    """Measure a Core Audio file; None if its data go to the end, whatever that is."""
    position, per_second = 8, 0.0
    for _ in range(_MOST_CHUNKS):
        kind, size = struct.unpack(">4sq", data.take(position, 12))
        body = position + 12
        if kind == b"desc":
            rate, packet_bytes, packet_samples, channels = struct.unpack(">d8xIII", data.take(body, 28))
            _refuse_no_channels(channels)
            per_second = rate * packet_bytes / packet_samples if packet_samples else 0.0
        elif kind == b"data":
            return None if size < 0 else _bytes(data.size - body, size, per_second, 1)
        if size < 0:
            return None
        position = body + size
    return None


def measure_au(data: ByteSource) -> Length | None:
    """Measure a Sun audio file; None if its size was never filled in."""
    start, size, encoding, rate, channels = struct.unpack(">5I", data.take(4, 20))
    _refuse_no_channels(channels)
    if size in _PIPED:
        return None
    block = _AU_BYTES.get(encoding, 0) * channels
    return _bytes(data.size - start, size, float(rate * block), block)


def _bytes(present: int, announced: int, per_second: float, block: int) -> Length:
    """Give lengths in bytes; what is missing after the last whole sample was never music."""
    whole = announced - announced % max(block, 1)
    return Length(announced, announced if present >= whole else max(0, present), per_second)


def _refuse_no_channels(channels: int) -> None:
    if channels == 0:
        raise NoChannels


def _extended(field: bytes) -> float:
    """Read the 80-bit float of AIFF: sign and exponent in 16 bits, then a mantissa of 64 bits."""
    exponent, mantissa = struct.unpack(">HQ", field)
    if exponent >= 0x7FFF or mantissa == 0:
        return 0.0
    power = int(exponent) - 16383 - 63
    return float(mantissa) * 2.0**power if -200 < power < 200 else 0.0
