"""What an audio file holds: found by its content, checked against its own header, before anything is decoded."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import soundfile

from mss_cli.audio.access import check_readable, unreadable
from mss_cli.audio.headers import check_length, counted_mp3_samples, has_unsized_samples
from mss_cli.audio.libav import open_input
from mss_cli.audio.ogg import is_chained
from mss_cli.audio.tags import Tags, read_tags
from mss_cli.errors import InputError

Decoder = Literal["libsndfile", "ffmpeg"]

# What libsndfile reports for a length it does not know (SF_COUNT_MAX).
_UNKNOWN_SAMPLES = 0x7FFFFFFFFFFFFFFF
# Codecs whose stream duration is a count of samples rather than a rounded time.
COUNTED_CODECS = frozenset({"alac", "ape", "flac", "tak", "tta", "wavpack"})


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """One audio stream of one file.

    Attributes
    ----------
    path : Path
        The file, as the user named it.
    sample_rate : int, Hz
        Rate of the decoded blocks.
    channels : int
        Channels of the decoded blocks; not limited here.
    samples : int or None
        Exact count of samples that `mss_cli.audio.decode.decode` gives, where the file tells it.
    decoder : {"libsndfile", "ffmpeg"}
        Library that decodes it.
    container, codec : str
        Names in lower case, as the library gives them.
    stream : int or None
        Number among the audio streams; None if there can be only one.
    audio_streams : int
        How many audio streams the file has.
    tags : Tags
        Title, artist, album, cover.
    """

    path: Path
    sample_rate: int
    channels: int
    samples: int | None
    decoder: Decoder
    container: str
    codec: str
    stream: int | None
    audio_streams: int
    tags: Tags

    @property
    def seconds(self) -> float | None:
        """Length in seconds, where the file tells it."""
        return None if self.samples is None else self.samples / self.sample_rate


def probe(path: Path, *, stream: int | None = None) -> AudioInfo:
    """Find out what a file holds and whether it is whole.

    Parameters
    ----------
    path : Path
        Any file; its name says nothing about its content.
    stream : int or None, >= 0
        Number among the audio streams, for containers with several; None for the first. In a stem file 0 is the
        mixture.

    Returns
    -------
    AudioInfo

    Raises
    ------
    InputError
        If the file is missing, a folder, not readable, empty, not audio, without an audio stream, without samples
        or channels, cut inside its header, shorter than its header says, or lacks the stream asked for.
    """
    check_readable(path)
    try:
        check_length(path)
        info = _probe_libsndfile(path)
        if info is None:
            info = _probe_libav(path, stream)
    except OSError as error:
        raise unreadable(path, error) from error
    if stream is not None and not 0 <= stream < info.audio_streams:
        raise _no_such_stream(path, stream, info.audio_streams)
    return info


def _probe_libsndfile(path: Path) -> AudioInfo | None:
    """Read the header with libsndfile; None if it does not know the format."""
    descriptor = os.open(path, os.O_RDONLY)  # a descriptor, since soundfile refuses names that are not UTF-8
    try:
        # libsndfile leaves mp3 to mpg123, which prints warnings about damaged files on stderr: libav reads it.
        if os.pread(descriptor, 3, 0).startswith((b"ID3", b"\xff")):
            return None
        with soundfile.SoundFile(descriptor, closefd=False) as file:
            rate, channels, samples = file.samplerate, file.channels, file.frames
            container, codec = file.format.lower(), file.subtype.lower()
            if samples == _UNKNOWN_SAMPLES and not len(file.read(1)):
                samples = 0
    except (soundfile.LibsndfileError, TypeError, ValueError):
        return None
    finally:
        os.close(descriptor)
    if container == "ogg" and is_chained(path):
        return None  # libsndfile stops after the first link
    known = 0 <= samples < _UNKNOWN_SAMPLES
    if known and samples == 0 and has_unsized_samples(path):
        return None
    if rate <= 0 or (known and samples == 0):
        raise _no_samples(path)
    return AudioInfo(
        path=path,
        sample_rate=rate,
        channels=channels,
        samples=samples if known else None,
        decoder="libsndfile",
        container=container,
        codec=codec,
        stream=None,
        audio_streams=1,
        tags=read_tags(path, quick=True),
    )


def _probe_libav(path: Path, number: int | None) -> AudioInfo:
    """Read the header with libav and decode one frame: some codecs tell rate and channels only then."""
    try:
        with open_input(path) as container:
            streams = container.streams.audio
            count = len(streams)
            if count == 0:
                raise InputError("no audio stream", path=str(path), hint="check the file or leave it out")
            if number is not None and not 0 <= number < count:
                raise _no_such_stream(path, number, count)
            stream = streams[number or 0]
            codec = stream.codec_context
            if codec is None:
                raise InputError("its codec is not known", path=str(path), hint="convert it to flac or wav")
            duration, time_base = stream.duration, stream.time_base
            header_rate, name = codec.sample_rate, codec.name
            frame = next((frame for packet in container.demux(stream) for frame in packet.decode()), None)
            if frame is None or frame.samples == 0:
                raise _no_samples(path)
            rate, channels = frame.sample_rate, frame.layout.nb_channels
            form = container.format.name.split(",")[0]
            gapless = container.metadata.get("iTunSMPB", "")
    except av.error.FFmpegError as error:
        raise _not_audio(path, error) from error
    if rate <= 0 or channels <= 0:
        raise _no_samples(path)
    samples = None
    if form == "mp3":
        samples = counted_mp3_samples(path)
    elif form == "mov" and rate == header_rate and (counted := itunes_samples(gapless)):
        samples = counted
    elif (form == "mov" or name in COUNTED_CODECS) and duration and time_base and header_rate:
        samples = round(duration * time_base * rate)
    return AudioInfo(
        path=path,
        sample_rate=rate,
        channels=channels,
        samples=samples,
        decoder="ffmpeg",
        container=form,
        codec=name,
        stream=number or 0,
        audio_streams=count,
        tags=read_tags(path),
    )


def itunes_samples(text: str) -> int | None:
    """Read the count of samples from the gapless tag of iTunes; None if it tells none.

    The tag holds hexadecimal numbers: 0, encoder delay, padding, samples. Without an edit list the duration in the
    header counts delay and padding too.
    """
    try:
        return int(text.split()[3], 16) or None
    except (IndexError, ValueError):
        return None


def _no_samples(path: Path) -> InputError:
    return InputError("holds no samples", path=str(path), hint="check the file or leave it out")


def _no_such_stream(path: Path, number: int, count: int) -> InputError:
    have = "1 audio stream" if count == 1 else f"{count} audio streams"
    hint = "leave out `--stream`" if count == 1 else f"choose `--stream` from 0 to {count - 1}"
    return InputError(f"no audio stream {number}: it has {have}", path=str(path), hint=hint)


def _not_audio(path: Path, error: Exception) -> InputError:
    """Tell a file of another kind from one whose sound cannot be decoded."""
    if isinstance(error, OSError) and error.errno in (errno.EIO, errno.EACCES):
        return unreadable(path, error)
    return InputError("not an audio file that can be read", path=str(path), hint="check the file or leave it out")
