"""Length that a file announces in its own header, against the length that is there.

libsndfile silently shortens a file that was cut; libav too. So the sizes are read here, from the bytes, and a file
that ends early is refused with both lengths. Formats without an announced length pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mss_cli.audio import boxes, chunks, flac, mp3
from mss_cli.audio.bytesource import ByteSource, CutInsideHeader, Length, NoChannels
from mss_cli.errors import InputError

_Measure = Callable[[ByteSource], Length | None]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a container is recognised and measured."""

    magic: bytes
    offset: int
    measure: _Measure


_KINDS: Final = (
    _Kind(b"RIFF", 0, chunks.measure_riff),
    _Kind(b"RF64", 0, chunks.measure_riff),
    _Kind(b"BW64", 0, chunks.measure_riff),
    _Kind(b"riff\x2e\x91\xcf\x11", 0, chunks.measure_w64),
    _Kind(b"FORM", 0, chunks.measure_aiff),
    _Kind(b"caff", 0, chunks.measure_caf),
    _Kind(b".snd", 0, chunks.measure_au),
    _Kind(b"fLaC", 0, flac.measure_flac),
    _Kind(b"ID3", 0, mp3.measure_after_id3),
    _Kind(b"\xff", 0, mp3.measure_mp3),
    _Kind(b"ftyp", 4, boxes.measure_mp4),
    _Kind(b"\x1a\x45\xdf\xa3", 0, boxes.measure_matroska),
    _Kind(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, boxes.measure_asf),
)


def counted_mp3_samples(path: Path) -> int | None:
    """Give the exact count of samples that the tag of an mp3 file announces; None without such a tag.

    Encoder delay and padding are not counted; libav leaves them out too.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = ByteSource(descriptor)
        return mp3.counted_samples(data)
    except CutInsideHeader:
        return None
    finally:
        os.close(descriptor)


def has_unsized_samples(path: Path) -> bool:
    """Tell whether a wav holds samples although its header, never completed, counts none."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return chunks.has_unsized_samples(ByteSource(descriptor))
    except (CutInsideHeader, NoChannels):
        return False
    finally:
        os.close(descriptor)


def check_length(path: Path) -> None:
    """Refuse a file that is cut inside its header or shorter than its header says.

    A header whose size was never filled in, because the writer wrote to a pipe, announces nothing.

    Parameters
    ----------
    path : Path
        A regular file with at least one byte.

    Raises
    ------
    InputError
        Naming both lengths, in seconds where the rate is known, else in bytes.
    OSError
        If it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = ByteSource(descriptor)
        kind = next((k for k in _KINDS if data.read(k.offset, len(k.magic)) == k.magic), None)
        length = None if kind is None else kind.measure(data)
    except CutInsideHeader as error:
        raise InputError("cut inside its header", path=str(path), hint="copy the file again") from error
    except NoChannels as error:
        raise InputError("holds no channels", path=str(path), hint="check the file or leave it out") from error
    finally:
        os.close(descriptor)
    if length is None or length.present >= length.announced:
        return
    raise InputError(f"ends after {length.describe()} its header announces", path=str(path), hint="copy the file again")
