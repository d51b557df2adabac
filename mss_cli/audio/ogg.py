"""Pages of Ogg Vorbis files (RFC 3533) as libsndfile writes them: a fixed stream number, and a cover.

libsndfile numbers streams by chance and has no word for covers. A comment of the right length keeps the place of the
cover, so that no page changes its size.
"""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Final

from mss_cli.audio.bytesource import ByteSource
from mss_cli.audio.sink import Sink
from mss_cli.audio.tags import picture_block

_HEAD: Final = struct.Struct("<4sBBqIIIB")  # capture, version, type, position, serial, sequence, check sum, segments
_SERIAL: Final = 1
_COVER_KEY: Final = b"METADATA_BLOCK_PICTURE="
_PLACE_KEY: Final = b"COMMENT="
_SERIAL_OFFSET: Final = 14
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_chained(path: Path) -> bool:
    """Tell whether an Ogg file holds one stream after another, as recordings of radio streams do.

    Parameters
    ----------
    path : Path
        An Ogg file; its pages are stepped over, their content is not read.
    """
    first_page = 2  # the flag of a page that begins a stream
    with path.open("rb") as file:
        begun = False
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            capture, _, kind, _, _, _, _, segments = _HEAD.unpack(head)
            if capture != b"OggS":
                return False
            if kind & first_page and begun:
                return True
            begun = begun or not kind & first_page
            file.seek(sum(file.read(segments)), 1)
    return False


def cover_comment(cover: bytes, mime: str) -> bytes:
    """Give a cover as the comment that Ogg players look for (base64 of a FLAC picture block)."""
    return _COVER_KEY + base64.b64encode(picture_block(cover, mime))


def cover_placeholder(comment: bytes) -> str:
    """Give the text of a ``COMMENT=`` that takes as many bytes as ``comment``."""
    return "x" * (len(comment) - len(_PLACE_KEY))


def finish_pages(sink: Sink, cover: bytes = b"") -> None:
    """Number the only stream of a finished file 1, and put the cover in its place.

    Parameters
    ----------
    sink : Sink
        The file; its position does not matter.
    cover : bytes
        From `cover_comment`, if the file was written with its `cover_placeholder`.
    """
    place = _PLACE_KEY + b"x" * 8
    sink.seek(0, 2)
    sink.flush()
    data = ByteSource(sink.fileno())
    position = 0
    while len(head := data.read(position, _HEAD.size)) == _HEAD.size:
        capture, version, kind, granule, _, sequence, _, segments = _HEAD.unpack(head)
        if capture != b"OggS":
            return
        table = data.read(position + _HEAD.size, segments)
        body = data.read(position + _HEAD.size + segments, sum(table))
        if cover:
            # The texts before it are short, so the place begins in the page that begins the comments.
            start = body.find(place) if place else 0
            if start >= 0:
                fits = cover[: len(body) - start]
                body = body[:start] + fits + body[start + len(fits) :]
                cover, place = cover[len(fits) :], b""
        blank = _HEAD.pack(capture, version, kind, granule, _SERIAL, sequence, 0, segments)
        checksum = page_checksum(blank + table + body)
        sink.seek(position + _SERIAL_OFFSET)
        sink.write(struct.pack("<IIIB", _SERIAL, sequence, checksum, segments) + table + body)
        position += _HEAD.size + segments + sum(table)


def page_checksum(page: bytes) -> int:
    """Give the check sum of a page whose own field is 0: polynomial 0x04c11db7, from 0, bits not reflected.

    zlib computes the reflected form, so bits are turned around before and after.
    """
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
