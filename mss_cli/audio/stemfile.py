"""Stem files after Native Instruments: one mp4 with the mixture and four stems as AAC streams.

Source: "Stems Creator" format notes of Native Instruments: stream 0 is the mixture and the only one enabled, four
stems follow, and ``moov/udta/stem`` holds a JSON text with names, colours and the settings of a player's dynamics.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from mss_cli.audio import libav
from mss_cli.audio.blocks import counted, scaled
from mss_cli.audio.boxes import top_boxes
from mss_cli.audio.bytesource import ByteSource
from mss_cli.audio.channels import fold
from mss_cli.audio.encode import EncodedFile
from mss_cli.audio.formats import OutputFormat
from mss_cli.audio.resample import resample, resampled_length
from mss_cli.audio.sink import Sink, open_sink
from mss_cli.audio.tags import Tags
from mss_cli.audio.writers import REPRODUCIBLE, LibavTrack, add_audio_stream
from mss_cli.errors import OutputError, UsageError

Block = NDArray[np.float32]

STEMS_IN_FILE: Final = 4

# Colours of the four fields in players: apart from each other also for colour-blind eyes (Okabe and Ito, 2008).
_COLORS: Final = ("#009E73", "#D55E00", "#CC79A7", "#56B4E9")


def encode_stem_file(
    mixture_blocks: Iterable[Block],
    stem_blocks: Sequence[Iterable[Block]],
    target: Path,
    *,
    names: Sequence[str],
    sample_rate: int,
    channels: int,
    samples: int,
    gain: float = 1.0,
    clamp: bool = False,
    bitrate: int | None = None,
    tags: Tags | None = None,
) -> EncodedFile:
    """Write a playable stem file and sync it; remove what was written if anything fails.

    The five sources are read in turns, so memory does not grow with their length. Mono becomes stereo, which players
    expect.

    Parameters
    ----------
    mixture_blocks : iterable of float32 arrays of shape (channel, sample)
        What sounds when the file is played as a whole.
    stem_blocks : sequence of 4 iterables of float32 arrays of shape (channel, sample)
    target : Path
        Exactly this name is written; pass a temporary name and rename it.
    names : sequence of 4 str
        Names of the stems, shown by players.
    sample_rate : int, Hz
        Rate of the blocks; resampled to the nearest one that AAC can hold.
    channels : {1, 2}
    samples : int, >= 1
        Samples per channel that each source adds up to.
    gain : float
        Factor on every sample of every stream.
    clamp : bool
        Clip every stream to ±1 before the codec sees it.
    bitrate : int or None, bit/s
        Per stream.
    tags : Tags or None

    Returns
    -------
    EncodedFile
        Length and rate of each of the five streams.

    Raises
    ------
    UsageError
        If there are not exactly four stems.
    OutputError
        If the file cannot be written, or a sample is not finite.
    ValueError
        If a source does not add up to ``samples``.
    """
    if len(names) != STEMS_IN_FILE or len(stem_blocks) != STEMS_IN_FILE:
        raise UsageError(
            f"a stem file holds exactly {STEMS_IN_FILE} stems, not {len(names)}",
            hint="choose a model with four stems, or another `--format`",
        )
    form = OutputFormat("stem.mp4", bitrate=bitrate)
    rate = form.sample_rate(sample_rate)
    sources = []
    for blocks in (mixture_blocks, *stem_blocks):
        checked = scaled(counted(blocks, channels, samples), target, gain=gain, clamp=clamp)
        sources.append(resample((fold(block, 2) for block in checked), sample_rate, rate, 2))
    with open_sink(target) as sink:
        options = REPRODUCIBLE | {"movie_timescale": str(rate)}
        with av.open(sink, "w", format="mp4", options=options) as container:
            tracks = []
            for number in range(len(sources)):
                stream = add_audio_stream(container, "aac", rate, 2, "fltp", form.effective_bitrate)
                stream.disposition = Disposition.default if number == 0 else Disposition(0)
                tracks.append(LibavTrack(container, stream, "fltp"))
            known = tags or Tags()
            container.metadata.update(known.texts())
            if known.cover is not None:
                libav.add_cover(container, known.cover)
            _write_in_turns(tracks, sources, sink)
        sink.check()
        _insert_stem_box(sink, stem_description(names))
        size = sink.finish()
    return EncodedFile(target, rate, resampled_length(samples, sample_rate, rate), size)


def _write_in_turns(tracks: Sequence[LibavTrack], sources: Sequence[Iterable[Block]], sink: Sink) -> None:
    """Feed always the track that is furthest behind: the container holds back packets until all have some."""
    iterators = [iter(source) for source in sources]
    positions: dict[int, int] = dict.fromkeys(range(len(tracks)), 0)
    while positions:
        behind = min(positions, key=lambda number: (positions[number], number))
        block = next(iterators[behind], None)
        if block is None:
            tracks[behind].finish()
            del positions[behind]
            continue
        tracks[behind].write(block)
        positions[behind] += block.shape[1]
        sink.check()


def stem_description(names: Sequence[str]) -> bytes:
    """Give the JSON text of the stem box; the player's compressor and limiter are off.

    Parameters
    ----------
    names : sequence of 4 str

    Returns
    -------
    bytes
        UTF-8, keys sorted.
    """
    description = {
        "version": 1,
        "mastering_dsp": {
            "compressor": {
                "enabled": False,
                "input_gain": 0.0,
                "output_gain": 0.0,
                "threshold": 0.0,
                "ratio": 1.0,
                "attack": 0.003,
                "release": 0.3,
                "hp_cutoff": 20,
                "dry_wet": 0,
            },
            "limiter": {"enabled": False, "threshold": 0.0, "ceiling": 0.0, "release": 0.3},
        },
        "stems": [{"name": name.capitalize(), "color": color} for name, color in zip(names, _COLORS, strict=True)],
    }
    return json.dumps(description, sort_keys=True, separators=(",", ":")).encode("ascii")


def read_stem_description(path: Path) -> bytes | None:
    """Give the JSON text of a file's stem box; None if it has none."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = ByteSource(descriptor)
        moov = next((box for box in top_boxes(data) if box[0] == b"moov"), None)
        content = b"" if moov is None else data.read(moov[1], moov[2])
    finally:
        os.close(descriptor)
    udta = _child(content, b"udta")
    if udta is None:
        return None
    stem = _child(content[udta[0] : udta[1]], b"stem")
    return None if stem is None else content[udta[0] + stem[0] + 8 : udta[0] + stem[1]]


def _insert_stem_box(sink: Sink, description: bytes) -> None:
    """Put the stem box into ``moov/udta``.

    libav writes moov after the samples, so it can grow without moving them: every offset in the file stays right.
    """
    sink.seek(0, os.SEEK_END)
    sink.flush()
    data = ByteSource(sink.fileno())
    boxes = top_boxes(data)
    moov = next((box for box in boxes if box[0] == b"moov"), None)
    if moov is None or moov != boxes[-1] or moov[1] + moov[2] != data.size:
        raise OutputError("cannot place the stem names", path=str(sink.path), hint="report this as a bug")
    content = data.take(moov[1], moov[2])
    box = struct.pack(">I4s", 8 + len(description), b"stem") + description
    udta = _child(content, b"udta")
    if udta is None:
        content += struct.pack(">I4s", 8 + len(box), b"udta") + box
    else:
        start, end = udta
        head = struct.pack(">I", end - start + len(box))
        content = content[:start] + head + content[start + 4 : end] + box + content[end:]
    sink.seek(moov[1])
    sink.write(struct.pack(">I", len(content)) + content[4:])


def _child(content: bytes, kind: bytes) -> tuple[int, int] | None:
    """Give (start, end) of a box directly inside the box that ``content`` is."""
    position = 8
    while position + 8 <= len(content):
        size, found = struct.unpack(">I4s", content[position : position + 8])
        if size < 8:
            return None
        if found == kind:
            return position, position + size
        position += size
    return None
