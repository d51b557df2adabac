"""Sizes in mp4, matroska and asf files: their outermost boxes against the end of the file.

Sources: ISO/IEC 14496-12 (mp4), RFC 8794 and 9559 (matroska), Microsoft "Advanced Systems Format Specification".
"""

from __future__ import annotations

import struct
from typing import Final

from mss_cli.audio.bytesource import ByteSource, CutInsideHeader, Length

_MATROSKA_SEGMENT: Final = b"\x18\x53\x80\x67"
_ASF_FILE_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def top_boxes(data: ByteSource) -> list[tuple[bytes, int, int]]:
    """Give (kind, start, size) of the outermost mp4 boxes; the last one may pass the end of the file."""
    found = []
    position = 0
    while position < data.size:
        head = data.read(position, 16)
        if len(head) < 8:
            break  # a few bytes after the last box: no cut, some programs leave them
        size, kind = struct.unpack(">I4s", head[:8])
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack(">Q", head[8:])
        elif size == 0:
            size = data.size - position  # to the end of the file
        if size < 8:
            break
        found.append((kind, position, size))
        position += size
    return found


def measure_mp4(data: ByteSource) -> Length | None:
    """Measure mp4 and its relatives by their outermost boxes, in bytes."""
    found = top_boxes(data)
    kinds = {kind for kind, _, _ in found}
    if found and found[-1][1] + found[-1][2] > data.size and found[-1][0] in (b"ftyp", b"moov"):
        raise CutInsideHeader
    end = max((start + size for _, start, size in found), default=0)
    if end > data.size:
        return Length(end, data.size)
    if not kinds & {b"moov", b"moof"}:
        raise CutInsideHeader
    return None


def measure_matroska(data: ByteSource) -> Length | None:
    """Measure matroska and webm by the size of their segment, in bytes; None if it is unknown, as in a live stream."""
    position = 4 + _vint_bytes(data.take(4, 1)[0])
    position += _vint(data, 4)
    if data.take(position, 4) != _MATROSKA_SEGMENT:
        return None
    width = _vint_bytes(data.take(position + 4, 1)[0])
    size = _vint(data, position + 4)
    if size == (1 << 7 * width) - 1:
        return None
    return Length(position + 4 + width + size, data.size)


def _vint_bytes(first: int) -> int:
    return 9 - first.bit_length()


def _vint(data: ByteSource, start: int) -> int:
    """Read an EBML number: as many leading zeros as further bytes follow."""
    width = _vint_bytes(data.take(start, 1)[0])
    if width > 8:
        return 0
    return int.from_bytes(data.take(start, width), "big") & (1 << 7 * width) - 1


def measure_asf(data: ByteSource) -> Length | None:
    """Measure wma and wmv by the file size in their properties; None if it was written to a pipe."""
    (header_bytes,) = struct.unpack("<Q", data.take(16, 8))
    if header_bytes > data.size:
        raise CutInsideHeader
    position = 30
    while position + 24 <= header_bytes:
        (size,) = struct.unpack("<Q", data.take(position + 16, 8))
        if data.read(position, 16) == _ASF_FILE_PROPERTIES:
            file_bytes, flags = struct.unpack("<Q40xI", data.take(position + 40, 52))
            broadcast = flags & 1
            return None if broadcast or file_bytes == 0 else Length(file_bytes, data.size)
        if size < 24:
            return None
        position += size
    return None
