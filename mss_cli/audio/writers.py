"""What turns blocks into the bytes of one format: libsndfile for wav and ogg, libav for the rest."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.typing import NDArray

from mss_cli.audio import chunks, libav, mp3, ogg
from mss_cli.audio.bytesource import ByteSource
from mss_cli.audio.formats import OutputFormat
from mss_cli.audio.sink import Sink
from mss_cli.audio.tags import Tags, picture_block

Block = NDArray[np.float32]

# A RIFF header counts bytes in 32 bits; 1 MiB is left for tags and chunk heads.
RIFF_HIGHEST_BYTES: Final = (4 << 30) - (1 << 20)
_BYTES_PER_SAMPLE: Final = {"int16": 2, "int24": 3, "float32": 4}
_SUBTYPES: Final = {"int16": "PCM_16", "int24": "PCM_24", "float32": "FLOAT"}
# Nominal bit/s of stereo at 44.1 kHz for Vorbis quality 0, 0.1, ... 1 (libvorbis' own table).
_VORBIS_NOMINAL: Final = (64e3, 80e3, 96e3, 112e3, 128e3, 160e3, 192e3, 224e3, 256e3, 320e3, 500e3)
# libvorbis keeps its analysis of one call on the stack: longer blocks overflow it.
_VORBIS_BLOCK: Final = 8192


class Writer(Protocol):
    """Takes blocks of shape (channel, sample), one after another."""

    def write(self, block: Block) -> None:
        """Write a block of any length."""


class IntegerScaler:
    """Round floats to integers, to the nearest step, clipped; keeps its scratch memory between blocks.

    libsndfile 1.2.2 rounds down instead, half a step off on average.

    Parameters
    ----------
    bits : {16, 24}
        24-bit samples come back in the upper bits of int32.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._full = np.float32(2.0 ** (bits - 1))
        self._scratch: Block = np.empty((0, 0), np.float32)

    def __call__(self, block: Block) -> NDArray[np.int16] | NDArray[np.int32]:
        """Give the block as contiguous integers of shape (sample, channel)."""
        channels, samples = block.shape
        if self._scratch.shape[0] < samples or self._scratch.shape[1] != channels:
            self._scratch = np.empty((samples, channels), np.float32)
        scaled = self._scratch[:samples]
        np.multiply(block.T, self._full, out=scaled)  # (sample, channel)
        np.rint(scaled, out=scaled)
        np.clip(scaled, -self._full, self._full - 1, out=scaled)
        if self._bits == 16:
            return scaled.astype(np.int16)
        return scaled.astype(np.int32) << 8


class _WavWriter:
    def __init__(self, file: soundfile.SoundFile, depth: str) -> None:
        self._file = file
        self._scaler = None if depth == "float32" else IntegerScaler(16 if depth == "int16" else 24)

    def write(self, block: Block) -> None:
        self._file.write(np.ascontiguousarray(block.T) if self._scaler is None else self._scaler(block))


class _VorbisWriter:
    """Feeds equal pieces: libvorbis looks into the first one, so another cut would give other bytes."""

    def __init__(self, file: soundfile.SoundFile, channels: int) -> None:
        self._file = file
        self._piece: Block = np.empty((_VORBIS_BLOCK, channels), np.float32)
        self._filled = 0

    def write(self, block: Block) -> None:
        start = 0
        while start < block.shape[1]:
            taken = min(block.shape[1] - start, _VORBIS_BLOCK - self._filled)
            self._piece[self._filled : self._filled + taken] = block[:, start : start + taken].T  # (sample, channel)
            self._filled += taken
            start += taken
            if self._filled == _VORBIS_BLOCK:
                self.finish()

    def finish(self) -> None:
        """Write what is held back."""
        self._file.write(self._piece[: self._filled])
        self._filled = 0


class LibavTrack:
    """One audio stream of a container being written: blocks in, packets muxed.

    Parameters
    ----------
    container : OutputContainer
    stream : AudioStream
    sample_format : str
        libav's name of the sample type that the encoder is fed with.
    """

    def __init__(self, container: OutputContainer, stream: AudioStream, sample_format: str) -> None:
        self._container = container
        self._stream = stream
        self._format = sample_format
        self._layout = stream.layout.name
        self._rate = stream.rate
        self._position = 0
        self._scaler = {"s16": IntegerScaler(16), "s32": IntegerScaler(24)}.get(sample_format)

    def write(self, block: Block) -> None:
        """Encode a block of shape (channel, sample)."""
        if not block.shape[1]:
            return
        samples: NDArray[np.float32] | NDArray[np.int16] | NDArray[np.int32]
        if self._scaler is not None:
            samples = self._scaler(block).reshape(1, -1)  # (1, sample * channel)
        elif self._format == "flt":
            samples = np.ascontiguousarray(block.T).reshape(1, -1)  # (1, sample * channel)
        else:
            samples = np.ascontiguousarray(block)  # (channel, sample)
        frame = av.AudioFrame.from_ndarray(samples, format=self._format, layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts = self._position
        self._position += block.shape[1]
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Give out what the encoder still holds."""
        self._container.mux(self._stream.encode(None))


@contextmanager
def open_writer(
    sink: Sink, format: OutputFormat, *, rate: int, channels: int, samples: int, tags: Tags
) -> Iterator[Writer]:
    """Open the writer of a format; the file is complete when the block ends.

    Parameters
    ----------
    sink : Sink
        An empty file.
    format : OutputFormat
    rate : int, Hz
        One that the format can hold.
    channels : {1, 2}
    samples : int
        Samples per channel that will be written, which decides between RIFF and RF64.
    tags : Tags
    """
    if format.name in ("wav", "ogg"):
        with _open_libsndfile(sink, format, rate, channels, samples, tags) as writer:
            yield writer
    else:
        with _open_libav(sink, format, rate, channels, samples, tags) as writer:
            yield writer


@contextmanager
def _open_libsndfile(
    sink: Sink, format: OutputFormat, rate: int, channels: int, samples: int, tags: Tags
) -> Iterator[Writer]:
    if format.name == "wav":
        planned = samples * channels * _BYTES_PER_SAMPLE[format.depth]
        container, subtype, level = "WAV" if planned <= RIFF_HIGHEST_BYTES else "RF64", _SUBTYPES[format.depth], None
    else:
        nominal = float(format.effective_bitrate or 0)
        quality = float(np.interp(nominal, _VORBIS_NOMINAL, np.linspace(0, 1, len(_VORBIS_NOMINAL))))
        container, subtype, level = "OGG", "VORBIS", 1.0 - quality
    cover = b""
    if format.name == "ogg" and tags.cover is not None and tags.cover_mime is not None:
        cover = ogg.cover_comment(tags.cover, tags.cover_mime)
    with soundfile.SoundFile(
        sink, "w", rate, channels, format=container, subtype=subtype, compression_level=level
    ) as file:
        for name, text in tags.texts().items():
            setattr(file, name, text)
        if cover:
            file.comment = ogg.cover_placeholder(cover)
        if format.name == "wav":
            yield _WavWriter(file, format.depth)
        else:
            writer = _VorbisWriter(file, channels)
            yield writer
            writer.finish()
    if format.name == "ogg":
        ogg.finish_pages(sink, cover)
    elif format.is_float:
        _forget_time(sink)


def _forget_time(sink: Sink) -> None:
    """Blank the time of writing that libsndfile puts into float files: the same samples give the same bytes."""
    sink.seek(0, os.SEEK_END)
    sink.flush()
    peaks = chunks.find_chunk(ByteSource(sink.fileno()), b"PEAK")
    if peaks is not None:
        sink.seek(peaks + 4)  # after the version of the chunk
        sink.write(bytes(4))


# AAC keeps the waveform: no noise in place of sound, no merged channels, and the plain quantiser, which is nearer to
# the original at high bit rates (music at 256 kbit/s: -37 dB against -32 dB) for half the time. Stems still add up.
_CODEC_OPTIONS: Final = {"aac": {"aac_pns": "0", "aac_is": "0", "aac_coder": "fast"}}

# Without random stream numbers and dates: the same samples give the same bytes.
REPRODUCIBLE: Final = {"fflags": "+bitexact"}

_LIBAV: Final = {
    "flac": ("flac", "flac"),
    "mp3": ("mp3", "libmp3lame"),
    "opus": ("ogg", "libopus"),
    "m4a": ("mp4", "aac"),
}


@contextmanager
def _open_libav(
    sink: Sink, format: OutputFormat, rate: int, channels: int, samples: int, tags: Tags
) -> Iterator[Writer]:
    name, codec = _LIBAV[format.name]
    sample_format = {"flac": "s16" if format.depth == "int16" else "s32", "opus": "flt"}.get(format.name, "fltp")
    # Only with a clock that ticks in samples does the mp4 header hold the exact length.
    options = dict(REPRODUCIBLE)
    if format.name == "m4a":
        options["movie_timescale"] = str(rate)
    with av.open(sink, "w", format=name, options=options) as container:
        stream = add_audio_stream(container, codec, rate, channels, sample_format, format.effective_bitrate)
        metadata = tags.texts()
        if format.name == "opus":
            if tags.cover is not None and tags.cover_mime is not None:
                block = picture_block(tags.cover, tags.cover_mime)
                metadata["METADATA_BLOCK_PICTURE"] = base64.b64encode(block).decode("ascii")
            stream.metadata.update(metadata)
        else:
            container.metadata.update(metadata)
            if tags.cover is not None:
                libav.add_cover(container, tags.cover)
        track = LibavTrack(container, stream, sample_format)
        yield track
        track.finish()
    if format.name == "mp3":
        mp3.set_exact_length(sink, samples)


def add_audio_stream(
    container: OutputContainer, codec: str, rate: int, channels: int, sample_format: str, bitrate: int | None
) -> AudioStream:
    """Add an encoder of one audio stream to a container."""
    stream = container.add_stream(codec, rate=rate, options=_CODEC_OPTIONS.get(codec, {}))
    if not isinstance(stream, AudioStream):
        raise TypeError(f"{codec} is no audio codec")
    stream.codec_context.layout = "mono" if channels == 1 else "stereo"
    stream.codec_context.format = av.AudioFormat(sample_format)
    if bitrate is not None:
        stream.codec_context.bit_rate = bitrate
    return stream
