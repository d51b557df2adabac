"""Stands in for the package stempeg, which cannot even be imported where no ffmpeg program is installed.

musdb (and with it museval) takes three names from stempeg: `Info`, `read_stems` and `write_audio`. These decode with
libav inside the process and give musdb's users the same samples.
"""

import importlib.machinery
import sys
import types
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.libav import open_input
from mss_cli.datasets.stem_streams import stream_blocks, stream_form

Samples = NDArray[np.float64]


class Info:
    """What musdb asks of a stem file: samples, duration and rate of each stream.

    A file that cannot be read has no streams, so that one broken file does not hide the others from musdb.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self._streams: list[tuple[int, Fraction, int]] = []
        try:
            with open_input(Path(path)) as container:
                for stream in container.streams.audio:
                    base = stream.time_base or Fraction(1, 44100)
                    ticks = stream.duration or 0
                    rate = int(stream.codec_context.sample_rate)
                    self._streams.append((round(ticks * base * rate), ticks * base, rate))
        except (av.error.FFmpegError, OSError):
            self._streams = []

    def samples(self, number: int) -> int:
        """Give the samples that the header announces."""
        return self._streams[number][0] if number < len(self._streams) else 0

    def duration(self, number: int) -> float:
        """Give the announced length in seconds."""
        return float(self._streams[number][1]) if number < len(self._streams) else 0.0

    def rate(self, number: int) -> int:
        """Give the sample rate in Hz."""
        return self._streams[number][2] if number < len(self._streams) else 44100


def read_stems(
    filename: str,
    start: float | None = None,
    duration: float | None = None,
    stem_id: int | None = None,
    info: Info | None = None,
    sample_rate: float | None = None,
    ffmpeg_format: str = "f32le",
    **unused: object,
) -> tuple[Samples, float]:
    """Decode one stream, (sample, channel), or all, (stream, sample, channel), and give the rate in Hz.

    Parameters
    ----------
    filename : str
    start, duration : float or None, seconds
    stem_id : int or None
        Number among the audio streams; all if None.
    info : Info or None
        Of the same file.
    sample_rate : float or None
        Refused unless it is the file's own: resampling here would give other numbers than musdb's ffmpeg.
    ffmpeg_format : {"s16le", "f32le"}
        "s16le", which musdb always asks for, rounds to 16 bits.
    **unused
        Whatever else stempeg would take.

    Raises
    ------
    ValueError
        If another sample rate is asked for.
    InputError
        If the file cannot be decoded.
    """
    path = Path(filename)
    rate = stream_form(path, stem_id or 0)[0]
    if sample_rate not in (None, rate, float(rate)):
        raise ValueError(f"the file has {rate} Hz; resample what is read instead")
    numbers = [stem_id] if stem_id is not None else range(len((info or Info(filename))._streams))
    begin = round((start or 0.0) * rate)
    end = None if duration is None else begin + round(duration * rate)
    streams = []
    for number in numbers:
        blocks = stream_blocks(path, number, sixteen_bits=ffmpeg_format == "s16le")
        streams.append(np.concatenate(list(blocks), axis=1).T[begin:end].astype(np.float64))  # (sample, channel)
    return (streams[0] if stem_id is not None else np.stack(streams)), float(rate)


def write_audio(path: str, data: Samples, sample_rate: float = 44100.0, **unused: object) -> None:
    """Write (sample, channel) as 16-bit wav, for musdb's `save_estimates`."""
    import soundfile

    soundfile.write(path, np.clip(np.rint(data * 32768), -32768, 32767).astype(np.int16), round(sample_rate))


def install() -> None:
    """Make `import stempeg` find this module; call before musdb or museval is imported for the first time.

    Nothing happens where stempeg is imported already.
    """
    if "stempeg" in sys.modules:
        return
    module = types.ModuleType("stempeg", __doc__)
    module.__spec__ = importlib.machinery.ModuleSpec("stempeg", None)
    for name, value in (("Info", Info), ("read_stems", read_stems), ("write_audio", write_audio)):
        setattr(module, name, value)
    sys.modules["stempeg"] = module
