"""Length of flac files, whose header counts samples rather than bytes (RFC 9639)."""

from __future__ import annotations

from typing import Final

from mss_cli.audio.bytesource import ByteSource, CutInsideHeader, Length

# The last frame of a FLAC file lies in this stretch: frames of 8 channels, 32 bit, 65535 samples are 2 MiB.
_FLAC_TAIL_BYTES: Final = 1 << 21


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
