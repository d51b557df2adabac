"""The one place that opens files through PyAV: quiet, by content, and never more than the file named."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition

# libav prints warnings on stderr by itself; every finding that matters comes back as an error or a short stream.
av.logging.set_level(av.logging.PANIC)

ATTACHED_PICTURE: Final = 1 << 10
"""Disposition of a video stream that is a cover (AV_DISPOSITION_ATTACHED_PIC)."""

# Only demuxers that hold sound in the file itself. Playlists, image sequences and subtitles are left out: they would
# open other files or addresses, or take plain text for media.
_DEMUXERS: Final = (
    "aac,ac3,eac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dtshd,flac,flv,latm,loas,matroska,webm,mov,mp4,m4a,"
    "3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,rm,rso,shn,sox,tak,truehd,mlp,tta,voc,vqf,w64,wav,wv,xwma"
)
_BUFFER_BYTES: Final = 1 << 18
_QUICK: Final = {"probesize": "65536"}
_PICTURES: Final = {"format_whitelist": "jpeg_pipe,png_pipe"}


class _Source:
    """A file for libav that keeps its faults to itself until the end.

    PyAV prints on stderr what a file raises while another error is under way, and a damaged file makes libav seek to
    places that do not exist.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: OSError | None = None

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            self.failure = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1

    def tell(self) -> int:
        return self._file.tell()


@contextmanager
def open_input(path: Path, *, quick: bool = False) -> Iterator[InputContainer]:
    """Open a file for demuxing.

    It is handed over as a Python file: names of any bytes work, and nothing in a name is read as a protocol.

    Parameters
    ----------
    path : Path
        A regular file.
    quick : bool
        Look at the header only, not at the first 5 MB: enough for tags of files that libsndfile knows.

    Yields
    ------
    InputContainer
        Everything taken from it is dead after the block: copy numbers out before.

    Raises
    ------
    av.error.FFmpegError
        If it is not media of a kind known here.
    OSError
        If it cannot be read.
    """
    with path.open("rb", buffering=_BUFFER_BYTES) as file:
        source = _Source(file)
        try:
            options = {"format_whitelist": _DEMUXERS} | (_QUICK if quick else {})
            with av.open(source, "r", metadata_errors="ignore", container_options=options) as container:
                yield container
        finally:
            if source.failure is not None:
                raise source.failure


def add_cover(container: OutputContainer, cover: bytes) -> None:
    """Add a JPEG or PNG file as attached picture; nothing happens if libav cannot read it.

    Call it before the first packet of another stream is muxed.
    """
    try:
        with av.open(io.BytesIO(cover), "r", metadata_errors="ignore", container_options=_PICTURES) as pictures:
            template = pictures.streams.video[0]
            packet = next(packet for packet in pictures.demux(template) if packet.size)
            stream = container.add_stream_from_template(template)
            stream.disposition = Disposition.attached_pic
            packet.stream = stream
            container.mux(packet)
    except (av.error.FFmpegError, IndexError, StopIteration, ValueError):
        return
