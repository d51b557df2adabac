"""Signals with clicks, files of every format that hold them, and the offset at which they come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from mss_cli.audio.decode import decode
from mss_cli.audio.probe import AudioInfo, probe

Signal = NDArray[np.float32]

RATE = 44100
SAMPLES = 60_007  # no multiple of any codec's frame
_CLICKS = (9_001, 20_011, 31_337, 48_017)


def click_signal(samples: int = SAMPLES, channels: int = 2) -> Signal:
    """Give clicks of 1 ms with a wide spectrum at uneven distances, the second channel at half level."""
    rng = np.random.default_rng(7)
    signal = np.zeros((channels, samples), np.float32)
    for place in _CLICKS:
        if place + 44 > samples:
            break
        burst = rng.standard_normal(44) * np.hanning(44)
        signal[:, place : place + 44] += (0.8 * burst / np.abs(burst).max()).astype(np.float32)
    signal[1:] *= 0.5
    return signal


def noise(samples: int, channels: int = 2, *, seed: int = 0, level: float = 0.1) -> Signal:
    """Give white noise, limited to ±0.99."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.standard_normal((channels, samples)) * level, -0.99, 0.99).astype(np.float32)


def cut(signal: Signal, block_samples: int = 8192) -> Iterator[Signal]:
    """Give a signal in blocks."""
    for start in range(0, signal.shape[1], block_samples):
        yield signal[:, start : start + block_samples]


def read(path: Path, *, stream: int | None = None, block_samples: int = 65536) -> tuple[AudioInfo, Signal]:
    """Probe and decode a whole file."""
    info = probe(path, stream=stream)
    return info, np.concatenate(list(decode(info, block_samples=block_samples)), axis=1)


def offset(reference: Signal, found: Signal) -> int:
    """Give by how many samples ``found`` comes later, from the peak of the cross-correlation."""
    length = 1 << int(np.ceil(np.log2(reference.shape[1] + found.shape[1])))
    product = np.fft.rfft(found[0], length) * np.conj(np.fft.rfft(reference[0], length))
    place = int(np.fft.irfft(product, length).argmax())
    return place if place < length // 2 else place - length


def residual_db(reference: Signal, found: Signal) -> float:
    """Give the level of the difference against the reference in dB, over the common length."""
    length = min(reference.shape[1], found.shape[1])
    difference = found[:, :length].astype(np.float64) - reference[:, :length]
    power = float((difference**2).sum())
    return -np.inf if power == 0 else 10 * np.log10(power / float((reference.astype(np.float64) ** 2).sum()))


def resampled(signal: Signal, source_rate: int, target_rate: int) -> Signal:
    """Give a signal at another rate, by one call of soxr."""
    if source_rate == target_rate:
        return signal
    return np.asarray(soxr.resample(signal.T, source_rate, target_rate, quality="VHQ").T, np.float32)


def write_libsndfile(path: Path, signal: Signal, *, container: str, subtype: str, rate: int = RATE) -> None:
    """Write a file of any format of libsndfile."""
    soundfile.write(path, signal.T, rate, format=container, subtype=subtype)


def write_libav(
    path: Path,
    signal: Signal,
    *,
    container: str,
    codec: str,
    sample_format: str = "fltp",
    rate: int = RATE,
    options: dict[str, str] | None = None,
) -> None:
    """Write a file of any format of libav, independently of `mss_cli.audio.encode`."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[signal.shape[0]]
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.codec_context.layout = layout
        stream.codec_context.format = av.AudioFormat(sample_format)
        stream.codec_context.bit_rate = 192_000
        for number, block in enumerate(cut(signal, 4096)):
            frame = av.AudioFrame.from_ndarray(_typed(block, sample_format), format=sample_format, layout=layout)
            frame.sample_rate = rate
            frame.pts = number * 4096
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _typed(block: Signal, sample_format: str) -> NDArray[np.generic]:
    if sample_format.startswith("s16"):
        block = np.clip(np.rint(block * 32768), -32768, 32767).astype(np.int16)
    if sample_format.startswith("s32"):
        block = np.clip(np.rint(block.astype(np.float64) * 2**31), -(2**31), 2**31 - 1).astype(np.int32)
    if sample_format.endswith("p"):
        return np.ascontiguousarray(block)
    return np.ascontiguousarray(block.T).reshape(1, -1)


@dataclass(frozen=True, slots=True)
class InputFormat:
    """How to make an input of one format, and where a click in it must be found.

    `offset` is in samples of the file; `reason` says why it is not 0.
    """

    write: Callable[[Path, Signal], None]
    rate: int = RATE
    offset: int = 0
    reason: str = ""
    longer: int = 0


def _sndfile(container: str, subtype: str, rate: int = RATE) -> Callable[[Path, Signal], None]:
    return partial(write_libsndfile, container=container, subtype=subtype, rate=rate)


def _libav(
    container: str, codec: str, sample_format: str = "fltp", rate: int = RATE, options: dict[str, str] | None = None
) -> Callable[[Path, Signal], None]:
    return partial(
        write_libav, container=container, codec=codec, sample_format=sample_format, rate=rate, options=options
    )


_CLOCK = {"movie_timescale": str(RATE)}
_NO_DELAY = "the file does not tell the encoder's delay; every player hears it"
_WHOLE_FRAMES = "the file counts whole frames only"

INPUTS: dict[str, InputFormat] = {
    "wav 16": InputFormat(_sndfile("WAV", "PCM_16")),
    "wav 24": InputFormat(_sndfile("WAV", "PCM_24")),
    "wav float": InputFormat(_sndfile("WAV", "FLOAT")),
    "wavex 16": InputFormat(_sndfile("WAVEX", "PCM_16")),
    "rf64": InputFormat(_sndfile("RF64", "PCM_16")),
    "w64": InputFormat(_sndfile("W64", "PCM_24")),
    "aiff": InputFormat(_sndfile("AIFF", "PCM_16")),
    "caf": InputFormat(_sndfile("CAF", "FLOAT")),
    "caf alac": InputFormat(_sndfile("CAF", "ALAC_16")),
    "flac": InputFormat(_sndfile("FLAC", "PCM_16")),
    "mp3 (LAME tag)": InputFormat(_sndfile("MP3", "MPEG_LAYER_III")),
    "mp3 (libav)": InputFormat(_libav("mp3", "libmp3lame")),
    "mp3 (no tag)": InputFormat(
        _libav("mp3", "libmp3lame", options={"write_xing": "0"}), offset=1105, reason=_NO_DELAY, longer=2201
    ),
    "ogg vorbis": InputFormat(_sndfile("OGG", "VORBIS")),
    "ogg opus": InputFormat(_sndfile("OGG", "OPUS", 48000), rate=48000),
    "m4a aac": InputFormat(_libav("mp4", "aac", options=_CLOCK)),
    "m4a aac (clock in ms)": InputFormat(_libav("mp4", "aac"), reason="its header counts in ms", longer=-31),
    "m4a alac": InputFormat(_libav("ipod", "alac", "s16p", options=_CLOCK)),
    "aac (adts)": InputFormat(_libav("adts", "aac"), offset=1024, reason=_NO_DELAY, longer=1433),
    "wma 2": InputFormat(_libav("asf", "wmav2"), reason=_WHOLE_FRAMES, longer=1433),
    "wma 1": InputFormat(_libav("asf", "wmav1"), reason=_WHOLE_FRAMES, longer=1433),
    "ac3": InputFormat(_libav("ac3", "ac3"), reason=_WHOLE_FRAMES, longer=1177),
    "eac3": InputFormat(_libav("eac3", "eac3"), reason=_WHOLE_FRAMES, longer=1177),
    "wavpack": InputFormat(_libav("wv", "wavpack", "s16p")),
    "tta": InputFormat(_libav("tta", "tta", "s16")),
    "mka flac": InputFormat(_libav("matroska", "flac", "s16")),
    "mkv aac": InputFormat(_libav("matroska", "aac"), reason=_WHOLE_FRAMES, longer=409),
    "mkv ac3": InputFormat(_libav("matroska", "ac3"), reason=_WHOLE_FRAMES, longer=1177),
    "mkv mp3": InputFormat(_libav("matroska", "libmp3lame")),
    "webm opus": InputFormat(_libav("webm", "libopus", "s16", 48000), rate=48000),
    "mp4 aac": InputFormat(_libav("mov", "aac", options=_CLOCK)),
}
