"""Length of mp3 files, whose tag counts frames: read, and set right after writing.

Sources: ISO/IEC 11172-3 and 13818-3 (MPEG audio), the Xing and Info tag as LAME 3.100 writes it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mss_cli.audio import flac
from mss_cli.audio.bytesource import ByteSource, CutInsideHeader, Length
from mss_cli.audio.sink import Sink

# kbit/s by (version 1, layer III) and (versions 2 and 2.5, layer III); index 0 is "free", 15 is not allowed.
_KBIT_1: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_KBIT_2: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_RATES: Final = (44100, 48000, 32000, 0)
# LAME's part of the tag begins with 9 bytes of name; delay and padding stand 12 bytes after them.
_DELAY_OFFSET: Final = 21
# Its check sum covers the frame up to 154 bytes behind the name `Xing` and follows them; where the name stands depends
# on version and channels, so it is 190 bytes for MPEG-1 stereo only.
_CHECKED_OFFSET: Final = 154


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame header: length in bytes and samples, rate, where a Xing tag would stand."""

    size: int
    samples: int
    rate: int
    xing_offset: int


@dataclass(frozen=True, slots=True)
class _Tag:
    """What the Xing or Info tag in the first frame of an mp3 file tells.

    ``size`` counts bytes from ``start`` on; ``unheard`` is encoder delay plus padding, None if not told;
    ``lame`` is the position of LAME's part.
    """

    start: int
    first: _Frame
    frames: int
    size: int
    unheard: int | None
    lame: int


def measure_after_id3(data: ByteSource) -> Length | None:
    """Measure what follows an ID3v2 tag."""
    size = _id3_bytes(data, 0)
    if data.read(size, 4) == b"fLaC":
        return flac.measure_flac(data, size)
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


def measure_mp3(data: ByteSource, start: int = 0) -> Length | None:
    """Measure mp3 by its Xing or Info tag; None if it has none or its end is there."""
    tag = _tag(data, start)
    if tag is None or data.size >= tag.start + tag.size:
        return None
    count, position = 0, tag.start + tag.first.size  # the tag's own frame holds no music
    while (found := _frame(data.read(position, 4))) and position + found.size <= data.size:
        position += found.size
        count += 1
    announced = tag.frames * tag.first.samples - (tag.unheard or 0)
    return Length(announced, min(count * tag.first.samples, announced - 1), tag.first.rate)


def counted_samples(data: ByteSource) -> int | None:
    """Give the exact length of an mp3 file with a LAME tag; None if it is not told or more music follows."""
    tag = _tag(data, _id3_bytes(data, 0))
    if tag is None or tag.unheard is None:
        return None
    follows = data.read(tag.start + tag.size, 4)
    if follows.startswith(b"ID3") or _frame(follows) is not None:
        return None  # files were joined; the tag is about the first one
    return max(0, tag.frames * tag.first.samples - tag.unheard)


def _tag(data: ByteSource, start: int) -> _Tag | None:
    frame = _frame(data.read(start, 4))
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
        packed = int.from_bytes(lame[_DELAY_OFFSET:], "big")
        unheard = (packed >> 12) + (packed & 0xFFF)
    return _Tag(start, frame, frames, size, unheard, position)


def _frame(head: bytes) -> _Frame | None:
    """Read a frame header of MPEG layer III; None if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version = head[1] >> 3 & 3  # 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
    kbit = (_KBIT_1 if version == 3 else _KBIT_2)[head[2] >> 4]
    rate = _RATES[head[2] >> 2 & 3] >> {3: 0, 2: 1, 0: 2}.get(version, 0)
    if version == 1 or kbit == 0 or rate == 0:
        return None
    samples = 1152 if version == 3 else 576
    size = samples // 8 * kbit * 1000 // rate + (head[2] >> 1 & 1)
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    return _Frame(size, samples, rate, 4 + side)


def set_exact_length(sink: Sink, samples: int) -> None:
    """Write the padding that makes a finished mp3 file decode to exactly ``samples``.

    libav counts the padding of the last frame only; LAME sometimes adds a whole frame more.

    Parameters
    ----------
    sink : Sink
        The file; its position does not matter.
    samples : int
    """
    sink.flush()
    data = ByteSource(sink.fileno())
    tag = _tag(data, _id3_bytes(data, 0))
    if tag is None or tag.unheard is None:
        return
    delay = int.from_bytes(data.take(tag.lame + _DELAY_OFFSET, 3), "big") >> 12
    padding = tag.frames * tag.first.samples - delay - samples
    if not 0 <= padding < 1 << 12:
        return
    sink.seek(tag.lame + _DELAY_OFFSET)
    sink.write((delay << 12 | padding).to_bytes(3, "big"))
    sink.flush()
    checked = tag.first.xing_offset + _CHECKED_OFFSET
    if checked + 2 <= tag.first.size:  # a frame of the lowest bit rates ends before
        sink.seek(tag.start + checked)
        sink.write(_crc16(data.take(tag.start, checked)).to_bytes(2, "big"))


def _crc16(data: bytes) -> int:
    """Check sum of the LAME tag: polynomial x^16 + x^15 + x^2 + 1, bits reflected, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc
