"""Title, artist, album and cover of a track: what is carried over from the mixture to its stems."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mss_cli.audio.libav import ATTACHED_PICTURE, open_input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from av.container import InputContainer

# A cover beyond this is a scan for print: carried into every stem it would cost more than the sound.
_COVER_HIGHEST_BYTES = 8 << 20
_TEXT_HIGHEST_CHARACTERS = 1000
_MIME_TYPES = {"mjpeg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True, slots=True)
class Tags:
    """What is known about a track; None for what is not.

    Attributes
    ----------
    title, artist, album : str or None
        One line each, without control characters.
    cover : bytes or None
        A JPEG or PNG file.
    cover_mime : {"image/jpeg", "image/png"} or None
        Type of the cover.
    """

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    cover: bytes | None = None
    cover_mime: str | None = None

    def texts(self) -> dict[str, str]:
        """Give the texts that are there, by their name in containers."""
        named = {"title": self.title, "artist": self.artist, "album": self.album}
        return {name: text for name, text in named.items() if text}


def read_tags(path: Path, *, quick: bool = False) -> Tags:
    """Read the tags of a file of any format; never fails.

    Parameters
    ----------
    path : Path
        An audio file.
    quick : bool
        See `mss_cli.audio.libav.open_input`.

    Returns
    -------
    Tags
        Without what is missing or damaged: tags are no reason to refuse music.
    """
    try:
        with open_input(path, quick=quick) as container:
            return _tags_of(container)
    except Exception:  # a broken tag must not cost the track, whatever it breaks
        return Tags()


def _tags_of(container: InputContainer) -> Tags:
    texts = {key.lower(): text for key, text in container.metadata.items()}
    for stream in container.streams.audio[:1]:  # Ogg keeps its comments with the stream
        texts = {key.lower(): text for key, text in stream.metadata.items()} | texts
    cover, mime = _cover(container)
    return Tags(_clean(texts, "title"), _clean(texts, "artist"), _clean(texts, "album"), cover, mime)


def _clean(texts: Mapping[str, str], key: str) -> str | None:
    text = " ".join("".join(c if c.isprintable() else " " for c in texts.get(key, "")).split())
    text = text.encode("utf-8", "replace").decode()  # lone surrogates cannot be written anywhere
    return text[:_TEXT_HIGHEST_CHARACTERS] or None


def _cover(container: InputContainer) -> tuple[bytes | None, str | None]:
    for stream in container.streams.video:
        mime = _MIME_TYPES.get(stream.codec_context.name)
        if mime is None or not stream.disposition & ATTACHED_PICTURE:
            continue
        for packet in container.demux(stream):
            picture = bytes(packet)
            if picture and len(picture) <= _COVER_HIGHEST_BYTES:
                return picture, mime
            break
    return None, None


def picture_block(cover: bytes, mime: str) -> bytes:
    """Pack a front cover as a FLAC picture block (RFC 9639, section 8.8), without its block header."""
    kind = mime.encode("ascii")
    # Type 3 (front cover), no description; width, height, depth and colours unknown.
    return struct.pack(f">II{len(kind)}sIIIIII", 3, len(kind), kind, 0, 0, 0, 0, 0, len(cover)) + cover
