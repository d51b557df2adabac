"""Standard input and output: a spooled input, and one stem as 32-bit float wav while it is made."""

import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from mss_cli.errors import InputError
from mss_cli.events import Listener, StemWritten, TrackFinished, TrackStarted
from mss_cli.files import make_folder, output_error
from mss_cli.separation.engine import Engine
from mss_cli.separation.memory import memory_errors
from mss_cli.separation.settings import EngineSettings
from mss_cli.separation.stems import StemPlan
from mss_cli.separation.track import Source
from mss_cli.stdout import write_bytes

_FLOAT = 3  # WAVE_FORMAT_IEEE_FLOAT
# What a streamed wav says when its size is unknown or does not fit into 32 bits.
_UNKNOWN = 0xFFFFFFFF


@contextmanager
def spooled_stdin(scratch: Path | None) -> Iterator[Path]:
    """Copy stdin to a temporary file, since formats and first passes need to seek; remove it at the end.

    Raises
    ------
    InputError, OutputError
        If stdin is a terminal or closed; if there is no room.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("stdin is a terminal", path="-", hint="pipe an audio file into the command")
    if scratch is not None:
        make_folder(scratch)
    with tempfile.NamedTemporaryFile(dir=scratch, prefix=".mss-cli-stdin-", suffix=".part") as file:
        try:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
            file.flush()
        except OSError as error:
            raise output_error(Path(file.name), error) from error
        yield Path(file.name)


def separate_to_stdout(
    engine: Engine,
    source: Source,
    plan: StemPlan,
    settings: EngineSettings,
    *,
    scratch: Path | None = None,
    listener: Listener,
) -> None:
    """Write the one stem of a plan to stdout as it is made, as 32-bit float wav, unscaled.

    Parameters
    ----------
    engine, source, plan, settings
        As for a track that is written into files.
    scratch : Path or None
        Folder of temporary files; the system's if None.
    listener : callable
        Takes the events.

    Raises
    ------
    InputError, Interruption
        If the input fails on the way; if the reader went away.
    """
    started = time.monotonic()
    info = source.info
    listener(TrackStarted(source.name, info.sample_rate, source.channels, info.seconds))
    write_bytes(wav_header(info.sample_rate, source.channels, info.samples))
    samples, peak = 0, 0.0
    pairs = engine.estimate(
        source.blocks, settings, sample_rate=info.sample_rate, channels=source.channels, scratch=scratch
    )
    with closing(pairs), memory_errors(str(source.name)):
        for mixture, estimates in pairs:
            stem = plan.apply(mixture, estimates)[0]  # (channel, sample)
            write_bytes(np.ascontiguousarray(stem.T).tobytes())
            samples += stem.shape[-1]
            peak = max(peak, float(np.abs(stem).max(initial=0.0)))
    written = StemWritten(plan.names[0], Path("-"), info.sample_rate, samples, samples * 4 * source.channels, peak)
    listener(
        TrackFinished(
            path=source.name,
            outputs=(written,),
            sample_rate_hz=info.sample_rate,
            samples=samples,
            gain=1.0,
            device=str(engine.device),
            precision=engine.precision,
            segment_seconds=engine.segment_seconds(settings),
            segments_per_batch=engine.batch_size,
            elapsed_seconds=round(time.monotonic() - started, 3),
        )
    )


def wav_header(sample_rate: int, channels: int, samples: int | None) -> bytes:
    """Give the header of a 32-bit float wav that is streamed.

    Parameters
    ----------
    sample_rate : int, Hz
        Of the samples.
    channels : int
        Interleaved.
    samples : int or None
        Length; sizes are 0xFFFFFFFF, "until the end", if it is unknown or over 4 GiB.
    """
    frame = 4 * channels
    data = _UNKNOWN if samples is None or samples * frame + 58 > _UNKNOWN else samples * frame
    riff = _UNKNOWN if data == _UNKNOWN else data + 50
    form = struct.pack("<HHIIHHH", _FLOAT, channels, sample_rate, sample_rate * frame, frame, 32, 0)
    fact = _UNKNOWN if data == _UNKNOWN else data // frame
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"fact" + struct.pack("<II", 4, fact)
    return b"RIFF" + struct.pack("<I", riff) + b"WAVE" + chunks + b"data" + struct.pack("<I", data)
