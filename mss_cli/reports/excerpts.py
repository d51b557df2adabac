"""Excerpts to listen to: aligned audio, peaks and spectrograms, each small enough to stand inside a page."""

from __future__ import annotations

import base64
import math
import struct
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.channels import check_channels, fold
from mss_cli.audio.decode import decode
from mss_cli.audio.encode import encode
from mss_cli.audio.formats import OutputFormat
from mss_cli.audio.probe import probe
from mss_cli.errors import InputError

Block = NDArray[np.float32]

LONGEST_SECONDS: Final = 12.0
PEAKS: Final = 2000
LOWEST_HZ: Final = 40.0
RANGE_DB: Final = 80.0
# mp3 is the one lossy format that every browser decodes.
_FORMAT: Final = OutputFormat("mp3", bitrate=192_000)
_CEILING: Final = 0.98
_N_FFT: Final = 2048
_COLUMNS: Final = 720
_BANDS: Final = 128
# Colours of the spectrogram from silence to the loudest cell; lightness grows evenly, so that grey print reads too.
_ANCHORS: Final = (
    (8, 9, 22),
    (35, 28, 92),
    (104, 38, 128),
    (176, 52, 117),
    (236, 96, 84),
    (250, 170, 92),
    (253, 244, 190),
)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A stretch of one stem of one track, to be heard in several versions.

    Attributes
    ----------
    track, stem : str
    start_seconds : float, >= 0
        Where it begins in every file.
    seconds : float, > 0
        How long it is; at most 12 s are taken.
    versions : mapping of str to Path
        "mixture", "reference" and names of systems, to audio files that begin together; heard in this order.
    """

    track: str
    stem: str
    start_seconds: float
    seconds: float
    versions: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Sound:
    """One version of an excerpt as the page holds it.

    Attributes
    ----------
    name : str
    audio : str
        data: address of an mp3 file.
    peaks : str
        2000 pairs of lowest and highest sample, int8 (127 is full scale), base64.
    picture : str
        data: address of the spectrogram, PNG.
    """

    name: str
    audio: str
    peaks: str
    picture: str


@dataclass(frozen=True, slots=True)
class PreparedExcerpt:
    """An excerpt ready for the page.

    Attributes
    ----------
    track, stem : str
    start_seconds, seconds : float
        As taken from the files.
    gain_db : float, <= 0
        The one gain on all versions, below 0 only where the loudest would clip.
    highest_hz : float
        Upper edge of the spectrograms; the lower one is 40 Hz.
    sounds : tuple of Sound
    """

    track: str
    stem: str
    start_seconds: float
    seconds: float
    gain_db: float
    highest_hz: float
    sounds: tuple[Sound, ...]

    def position(self, hz: float) -> float:
        """Give how high a frequency stands in the spectrograms: 0 at the bottom, 1 at the top."""
        return math.log(hz / LOWEST_HZ) / math.log(max(self.highest_hz, 2 * LOWEST_HZ) / LOWEST_HZ)


def prepare(excerpt: Excerpt) -> PreparedExcerpt:
    """Cut, encode and draw every version of an excerpt, all at one gain and on one colour scale.

    A file that ends inside the excerpt is followed by silence.

    Parameters
    ----------
    excerpt : Excerpt

    Returns
    -------
    PreparedExcerpt

    Raises
    ------
    InputError
        If a file cannot be decoded or ends before the excerpt begins.
    ValueError
        If there is no version, or the times are out of range.
    """
    if not excerpt.versions:
        raise ValueError("an excerpt needs at least one version")
    if not (0 <= excerpt.start_seconds < float("inf") and 0 < excerpt.seconds < float("inf")):
        raise ValueError(f"no such excerpt: {excerpt.seconds} s from {excerpt.start_seconds} s")
    seconds = min(excerpt.seconds, LONGEST_SECONDS)
    cuts = {name: _cut(path, excerpt.start_seconds, seconds) for name, path in excerpt.versions.items()}
    loudest = max(float(np.abs(samples).max()) for samples, _ in cuts.values())
    gain = 1.0 if loudest <= _CEILING else _CEILING / loudest
    highest_hz = min(rate for _, rate in cuts.values()) / 2
    levels = {name: spectrogram(samples, rate, highest_hz=highest_hz) for name, (samples, rate) in cuts.items()}
    top_db = max(float(level.max()) for level in levels.values())
    sounds = tuple(
        Sound(
            name=name,
            audio=_audio(samples, rate, gain),
            peaks=_base64(peaks(samples * np.float32(gain)).tobytes()),
            picture="data:image/png;base64," + _base64(_png(_shades(levels[name] - top_db))),
        )
        for name, (samples, rate) in cuts.items()
    )
    return PreparedExcerpt(
        track=excerpt.track,
        stem=excerpt.stem,
        start_seconds=excerpt.start_seconds,
        seconds=seconds,
        gain_db=20 * float(np.log10(gain)),
        highest_hz=highest_hz,
        sounds=sounds,
    )


def _cut(path: Path, start_seconds: float, seconds: float) -> tuple[Block, int]:
    """Give the excerpt of a file as (channel, sample) with one or two channels, and its rate in Hz."""
    info = probe(path)
    channels = check_channels(info.channels, path=str(path), downmix=True)
    start, wanted = round(start_seconds * info.sample_rate), max(1, round(seconds * info.sample_rate))
    cut = np.zeros((channels, wanted), np.float32)
    position = 0
    for block in decode(info):
        first, last = max(0, start - position), min(block.shape[1], start + wanted - position)
        if first < last:
            cut[:, position + first - start : position + last - start] = fold(block[:, first:last], channels)
        position += block.shape[1]
        if position >= start + wanted:
            break
    if position <= start:
        raise InputError(
            f"ends after {position / info.sample_rate:.2f} s, before the excerpt at {start_seconds:.2f} s",
            path=str(path),
            hint="choose an earlier excerpt",
        )
    return cut, info.sample_rate


def peaks(samples: Block) -> NDArray[np.int8]:
    """Give the lowest and highest sample of 2000 equal stretches.

    Parameters
    ----------
    samples : float32 array of shape (channel, sample)
        Full scale ±1; beyond it is clipped. The extremes are over both channels.

    Returns
    -------
    int8 array of shape (2000, 2)
        Lowest and highest, 127 being full scale. Stretches shorter than a sample repeat their neighbour.
    """
    starts = np.arange(PEAKS) * samples.shape[1] // PEAKS
    low = np.minimum.reduceat(samples.min(axis=0), starts)
    high = np.maximum.reduceat(samples.max(axis=0), starts)
    pairs = np.stack([low, high], axis=1).clip(-1.0, 1.0)  # (stretch, low and high)
    return np.round(pairs * 127).astype(np.int8)


def spectrogram(samples: Block, sample_rate: int, *, highest_hz: float) -> Block:
    """Give the level of bands that are equally wide on a logarithmic axis.

    Parameters
    ----------
    samples : float32 array of shape (channel, sample)
    sample_rate : int, Hz
    highest_hz : float
        Upper edge of the highest band, at most half of ``sample_rate``; the lowest begins at 40 Hz.

    Returns
    -------
    float32 array of shape (band, column)
        Mean power of each band in dB; low bands first. 128 bands, 720 columns over the whole length.
    """
    mono = np.pad(samples.mean(axis=0), _N_FFT // 2)  # (sample,)
    centres = (np.arange(_COLUMNS) + 0.5) / _COLUMNS * samples.shape[1]
    frames = np.lib.stride_tricks.sliding_window_view(mono, _N_FFT)[centres.astype(int)]  # (column, sample)
    window = np.hanning(_N_FFT + 1)[:-1].astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=1)))  # (column, bin)
    edges = np.geomspace(LOWEST_HZ, max(highest_hz, 2 * LOWEST_HZ), _BANDS + 1) / sample_rate * _N_FFT
    # Bands narrower than a bin are read off between bins; wider ones are means, from the running sum.
    total = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)  # (column, bin + 1)
    bins = np.arange(total.shape[1])
    # A bin stands for half a bin on either side of its frequency.
    sums = np.stack([np.interp(np.minimum(edges + 0.5, bins[-1]), bins, column) for column in total])
    mean = np.diff(sums, axis=1) / np.diff(edges)  # (column, band)
    level: Block = (10 * np.log10(np.maximum(mean, 1e-12))).T.astype(np.float32)
    return level


def _shades(level_db: Block) -> NDArray[np.uint8]:
    """Give 256 steps over the range below 0 dB, high bands in the first row."""
    return np.round((1 + level_db[::-1] / RANGE_DB).clip(0, 1) * 255).astype(np.uint8)


def _png(shades: NDArray[np.uint8]) -> bytes:
    """Give a palette PNG (W3C PNG, third edition) of an array of shape (row, column)."""
    rows, columns = shades.shape
    steps = np.linspace(0, len(_ANCHORS) - 1, 256)
    ramp = [np.interp(steps, np.arange(len(_ANCHORS)), colour) for colour in np.array(_ANCHORS, np.float64).T]
    palette = np.round(np.stack(ramp, axis=1)).astype(np.uint8)  # (step, red green blue)
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), shades], axis=1)  # each row begins with its filter: none
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # 8 bits, palette
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _audio(samples: Block, sample_rate: int, gain: float) -> str:
    with tempfile.TemporaryDirectory(prefix="mss-cli-") as folder:
        target = Path(folder, "excerpt.mp3")
        channels, length = samples.shape
        encode(
            [samples],
            target,
            format=_FORMAT,
            sample_rate=sample_rate,
            channels=channels,
            samples=length,
            gain=gain,
            clamp=True,
        )
        return "data:audio/mpeg;base64," + _base64(target.read_bytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
