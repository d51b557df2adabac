"""Length of flac and mp3 files, whose headers count samples or frames rather than bytes.

Sources: RFC 9639 (FLAC), ISO/IEC 11172-3 and 13818-3 (MPEG audio), the Xing and LAME tag as LAME writes it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mss_cli.audio.bytesource import ByteSource, CutInsideHeader, Length

# The last frame of a FLAC file lies in this stretch: frames of 8 channels, 32 bit, 65535 samples are 2 MiB.
_FLAC_TAIL_BYTES: Final = 1 << 21
# kbit/s by (version 1, layer III) and (versions 2 and 2.5, layer III); index 0 is "free", 15 is not allowed.
_MP3_KBIT_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_MP3_KBIT_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_MP3_RATES: Final = (44100, 48000, 32000, 0)


def measure_after_id3(data: ByteSource) -> Length | None:
    """Measure what follows an ID3v2 tag."""
    size = _id3_bytes(data, 0)
    if data.read(size, 4) == b"fLaC":
        return measure_flac(data, size)
    return measure_mp3(data, size)


def _id3_bytes(data: ByteSource, start: int) -> int:
    """Give the position after the ID3v2 tags that begin at ``start``."""
    while data.read(start, 3) == b"ID3":
        head = data.take(start, 10)
        size = 0
        for byte in head[6:]:
            size = size << 7 | byte & 0x7F
        start += 10 + size + (10 if head[5] & 0x10 else 0)  # flag 0x10: a footer repeats the header
        if start > data.size:
            raise CutInsideHeader
    return start


def measure_flac(data: ByteSource, start: int = 0) -> Length | None:
    """Measure FLAC: STREAMINFO's count against the last frame whose header is whole."""
    position, total, rate, fixed_block = start + 4, 0, 0, 0
    while True:
        head = data.take(position, 4)
        size = int.from_bytes(head[1:], "big")
        if head[0] & 0x7F == 0:
            info = data.take(position + 4, 34)
            fixed_block = int.from_bytes(info[0:2], "big")
            packed = int.from_bytes(info[10:18], "big")
            rate, total = packed >> 44, packed & (1 << 36) - 1
        position += 4 + size
        if position > data.size:
            raise CutInsideHeader
        if head[0] & 0x80:
            break
    if total == 0 or rate == 0:
        return None
    return Length(total, _flac_end(data, position, fixed_block, total), rate)


def _flac_end(data: ByteSource, first: int, fixed_block: int, total: int) -> int:
    """Give the sample after the last frame whose header is found, searching backwards."""
    lowest = max(first, data.size - _FLAC_TAIL_BYTES)
    tail = data.read(lowest, data.size - lowest)
    position, latest = len(tail), 0
    while (position := tail.rfind(b"\xff", 0, position)) >= 0:
        end = _flac_frame_end(tail[position : position + 16], fixed_block)
        # A check sum of 8 bits meets by chance inside a frame: only the announced end stops the search.
        if end == total:
            return end
        if end is not None and end < total:
            latest = max(latest, end)
    return latest


def _flac_frame_end(head: bytes, fixed_block: int) -> int | None:
    """Give the sample after the frame that begins with ``head``; None if it is no frame header."""
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 0x01 or head[2] >> 4 == 0 or head[2] & 0x0F == 0x0F:
        return None
    ones = 8 - (head[4] ^ 0xFF).bit_length()  # leading ones tell the length of the coded number, as in UTF-8
    if ones == 1 or ones > 7:
        return None
    count = max(ones, 1)
    if len(head) < 4 + count:
        return None
    number = head[4] & (0x7F >> ones)
    for byte in head[5 : 4 + count]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    code, position = head[2] >> 4, 4 + count
    if code in (6, 7):
        block = int.from_bytes(head[position : position + code - 5], "big") + 1
        position += code - 5
    else:
        block = {1: 192}.get(code) or (576 << code - 2 if code < 6 else 256 << code - 8)
    position += {12: 1, 13: 2, 14: 2}.get(head[2] & 0x0F, 0)
    if len(head) <= position or _crc8(head[:position]) != head[position]:
        return None
    first = number if head[1] & 0x01 else number * fixed_block  # variable block size counts samples, fixed frames
    return first + block


def _crc8(data: bytes) -> int:
    """Check sum of FLAC frame headers: polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


@dataclass(frozen=True, slots=True)
class _Mp3Frame:
    """One frame header: length in bytes and samples, rate, where a Xing tag would stand."""

    size: int
    samples: int
    rate: int
    xing_offset: int


@dataclass(frozen=True, slots=True)
class _Mp3Tag:
    """What the Xing or Info tag in the first frame of an mp3 file tells.

    ``size`` counts bytes from ``start`` on; ``unheard`` is encoder delay plus padding, None if not told.
    """

    start: int
    first: _Mp3Frame
    frames: int
    size: int
    unheard: int | None


def measure_mp3(data: ByteSource, start: int = 0) -> Length | None:
    """Measure mp3 by its Xing or Info tag; None if it has none or its end is there."""
    tag = _mp3_tag(data, start)
    if tag is None or data.size >= tag.start + tag.size:
        return None
    count, position = 0, tag.start + tag.first.size  # the tag's own frame holds no music
    while (found := _mp3_frame(data.read(position, 4))) and position + found.size <= data.size:
        position += found.size
        count += 1
    announced = tag.frames * tag.first.samples - (tag.unheard or 0)
    return Length(announced, min(count * tag.first.samples, announced - 1), tag.first.rate)


def counted_samples(data: ByteSource) -> int | None:
    """Give the exact length of an mp3 file with a LAME tag; None if it is not told or more music follows."""
    tag = _mp3_tag(data, _id3_bytes(data, 0))
    if tag is None or tag.unheard is None:
        return None
    follows = data.read(tag.start + tag.size, 4)
    if follows.startswith(b"ID3") or _mp3_frame(follows) is not None:
        return None  # files were joined; the tag is about the first one
    return max(0, tag.frames * tag.first.samples - tag.unheard)


def _mp3_tag(data: ByteSource, start: int) -> _Mp3Tag | None:
    frame = _mp3_frame(data.read(start, 4))
    if frame is None:
        return None
    position = start + frame.xing_offset
    if data.read(position, 4) not in (b"Xing", b"Info"):
        return None
    flags, frames, size = struct.unpack(">III", data.take(position + 4, 12))
    # Both counts are needed (flags 1 and 2): the bytes to see a cut, the frames to name the lengths.
    if flags & 3 != 3 or frames == 0:
        return None
    # Then 100 bytes of contents (flag 4), the quality (flag 8), and LAME's part.
    position += 16 + (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    lame = data.read(position, 24)
    unheard = None
    if len(lame) == 24 and lame[:4] in (b"LAME", b"Lavf", b"Lavc"):
        packed = int.from_bytes(lame[21:24], "big")
        unheard = (packed >> 12) + (packed & 0xFFF)
    return _Mp3Tag(start, frame, frames, size, unheard)


def _mp3_frame(head: bytes) -> _Mp3Frame | None:
    """Read a frame header of MPEG layer III; None if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version = head[1] >> 3 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    kbit = (_MP3_KBIT_1 if version == 3 else _MP3_KBIT_2)[head[2] >> 4]
    rate = _MP3_RATES[head[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}.get(version, 0)
    if version == 1 or kbit == 0 or rate == 0:
        return None
    samples = 1152 if version == 3 else 576
    size = samples // 8 * kbit * 1000 // rate + (head[2] >> 1 & 1)
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Mp3Frame(size, samples, rate, 4 + side)
