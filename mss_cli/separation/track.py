"""One track: file to stems. Nothing stands under a final name until every stem is whole."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mss_cli.audio.channels import check_channels, fold
from mss_cli.audio.decode import decode
from mss_cli.audio.encode import EncodedFile
from mss_cli.audio.probe import AudioInfo, probe
from mss_cli.errors import MemoryExhausted
from mss_cli.events import (
    ExtraWritten,
    Listener,
    StemWritten,
    TrackFinished,
    TrackProgress,
    TrackStarted,
    Warned,
    ignore,
)
from mss_cli.files import make_folder, publish, refuse_folders, refuse_replacing, remove_empty, temporary_name
from mss_cli.pitch.step import STEM as PITCH_STEM
from mss_cli.pitch.step import PitchFiles, PitchStep
from mss_cli.separation.engine import Engine
from mss_cli.separation.memory import is_out_of_memory
from mss_cli.separation.picture import save_picture
from mss_cli.separation.scratch import Scratch
from mss_cli.separation.settings import SHORTEST_SEGMENT_SECONDS, EngineSettings, ReadSettings, WriteSettings
from mss_cli.separation.sketch import TrackSketch
from mss_cli.separation.stems import StemPlan, plan_stems
from mss_cli.separation.threads import WriteBehind
from mss_cli.separation.writing import check_format, common_gain, encode_all, final_names, written_peak

Block = NDArray[np.float32]

Publish = Callable[[TrackFinished, dict[Path, Path]], None]

# Pairs of mixture and estimates that may wait for the disk; each is about a segment long.
_DEPTH = 2
_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """An input whose header was read and found good.

    Parameters
    ----------
    info : AudioInfo
        The header.
    name : Path
        As the user named it; `-` for stdin.
    channels : int
        1 or 2: what it is separated as.
    """

    info: AudioInfo
    name: Path
    channels: int

    def blocks(self) -> Iterator[Block]:
        """Decode from the start, (channel, sample) float32."""
        return (fold(block, self.channels) for block in decode(self.info))


def open_source(path: Path, settings: ReadSettings, *, name: Path | None = None) -> Source:
    """Read an input's header.

    Raises
    ------
    InputError
        If it is no audio, or has more than two channels and `downmix` is off.
    """
    info = probe(path, stream=settings.stream)
    channels = check_channels(info.channels, path=str(name or path), downmix=settings.downmix)
    return Source(info=info, name=name or path, channels=channels)


def publish_only(finished: TrackFinished, temporary: dict[Path, Path]) -> None:
    """Give the finished files their final names, and do nothing else."""
    publish(temporary)


@dataclass(frozen=True, slots=True)
class Mixed:
    """What separating a track into the scratch file told.

    Parameters
    ----------
    samples : int
        Length of the track.
    peaks : tuple of float
        Largest absolute sample of each output that is written, the mixture's last in a stem file.
    sketch : TrackSketch or None
        For the picture.
    segment_seconds : float or None
        Segment length in the end; None where the whole track was heard at once.
    """

    samples: int
    peaks: tuple[float, ...]
    sketch: TrackSketch | None
    segment_seconds: float | None


def separate_track(
    engine: Engine,
    source: Source,
    targets: Sequence[Path],
    *,
    engine_settings: EngineSettings,
    write_settings: WriteSettings,
    picture: Path | None = None,
    pitch: PitchStep | None = None,
    put: Publish = publish_only,
    listener: Listener = ignore,
) -> TrackFinished:
    """Separate one track and write its stems.

    Parameters
    ----------
    engine : Engine
        Of `open_engine`.
    source : Source
        Of `open_source`.
    targets : sequence of Path
        Final name of each output, in the order of the stem plan; for a stem file the one name.
    engine_settings, write_settings
        How it is separated and written.
    picture : Path or None
        Where a picture of the spectrograms goes, if one is wanted.
    pitch : PitchStep or None
        How the pitch of the vocals is written, if it is wanted; then `vocals` is among the outputs.
    put : callable
        Gives the finished files their final names: takes what will have been written, and temporary to final names.
    listener : callable
        Takes `track_started`, `track_progress`, `warning` and `track_finished`.

    Returns
    -------
    TrackFinished
        What was written.

    Raises
    ------
    InputError, OutputError, MemoryExhausted, UsageError
        Then nothing is left under any name of the track.
    """
    started = time.monotonic()
    plan = plan_stems(engine.separator.stems, write_settings.choice)
    check_format(plan, write_settings)
    finals = [*targets, *([] if picture is None else [picture]), *(() if pitch is None else pitch.files.names)]
    refuse_folders(finals)
    refuse_replacing(source.info.path, finals)
    info = source.info
    listener(TrackStarted(source.name, info.sample_rate, source.channels, info.seconds))
    with ExitStack() as stack:
        made: list[Path] = []
        stack.callback(remove_empty, made)
        for target in finals:
            made.extend(make_folder(target.parent))
        temporary = {temporary_name(target): target for target in targets}
        stack.callback(_remove, temporary)
        folder = write_settings.scratch or targets[0].parent
        mixed, scratch = stack.enter_context(
            _separated(engine, source, plan, folder, engine_settings, write_settings, listener)
        )
        gain = common_gain(mixed.peaks, write_settings)
        with final_names(temporary):
            encoded = encode_all(
                scratch,
                list(temporary),
                plan,
                write_settings,
                info=info,
                channels=source.channels,
                samples=mixed.samples,
                gain=gain,
            )
        _tell_rate(encoded[0], source, write_settings, listener)
        if mixed.sketch is not None and picture is not None:
            drawn = temporary_name(picture)
            temporary[drawn] = picture
            save_picture(mixed.sketch, drawn, title=source.name.name)
        if pitch is not None:
            _write_pitch(pitch, source, scratch, plan, temporary)
        finished = TrackFinished(
            path=source.name,
            outputs=_outputs(encoded, targets, mixed, plan, gain, write_settings),
            sample_rate_hz=info.sample_rate,
            samples=mixed.samples,
            gain=gain,
            device=str(engine.device),
            precision=engine.precision,
            segment_seconds=mixed.segment_seconds,
            segments_per_batch=engine.batch_size,
            elapsed_seconds=round(time.monotonic() - started, 3),
            extras=_extras(temporary, picture, pitch),
        )
        put(finished, temporary)
        made.clear()
    finished = replace(finished, elapsed_seconds=round(time.monotonic() - started, 3))
    listener(finished)
    return finished


def _outputs(
    encoded: Sequence[EncodedFile],
    targets: Sequence[Path],
    mixed: "Mixed",
    plan: StemPlan,
    gain: float,
    settings: WriteSettings,
) -> tuple[StemWritten, ...]:
    whole_file = settings.format.name == "stem.mp4"
    names = ("stems",) if whole_file else plan.names
    peaks = (max(mixed.peaks),) if whole_file else mixed.peaks
    return tuple(
        StemWritten(name, target, file.sample_rate, file.samples, file.bytes, written_peak(peak, gain, settings))
        for name, target, file, peak in zip(names, targets, encoded, peaks, strict=True)
    )


def _extras(temporary: dict[Path, Path], picture: Path | None, pitch: PitchStep | None) -> tuple[ExtraWritten, ...]:
    """Describe the files that are no stems while they have their temporary names."""
    kinds = {picture: "picture"} if picture is not None else {}
    kinds |= {path: kind for kind, path in pitch.files.kinds.items()} if pitch is not None else {}
    return tuple(
        ExtraWritten(kinds[final], final, path.stat().st_size) for path, final in temporary.items() if final in kinds
    )


def _write_pitch(
    pitch: PitchStep, source: Source, scratch: Scratch, plan: StemPlan, temporary: dict[Path, Path]
) -> None:
    """Write the pitch files under temporary names, which join the others."""
    files = PitchFiles(*map(temporary_name, pitch.files.names))
    temporary |= dict(zip(files.names, pitch.files.names, strict=True))
    blocks = source.blocks if pitch.hears_mixture else partial(scratch.blocks, plan.names.index(PITCH_STEM))
    with final_names(temporary):
        pitch.write(blocks, files, sample_rate=source.info.sample_rate, title=source.name.name)


@contextmanager
def _separated(
    engine: Engine,
    source: Source,
    plan: StemPlan,
    folder: Path,
    settings: EngineSettings,
    write_settings: WriteSettings,
    listener: Listener,
) -> Iterator[tuple[Mixed, Scratch]]:
    """Separate into a scratch file; with shorter segments, and at last on the CPU, while memory runs out."""
    make_folder(folder)
    while True:
        scratch = Scratch(
            folder, outputs=len(plan.parts) + (write_settings.format.name == "stem.mp4"), channels=source.channels
        )
        with scratch:
            try:
                mixed = _fill(engine, source, plan, scratch, folder, settings, write_settings, listener)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                settings = _smaller(engine, source, settings, listener)
                continue
            yield mixed, scratch
            return


def _fill(
    engine: Engine,
    source: Source,
    plan: StemPlan,
    scratch: Scratch,
    folder: Path,
    settings: EngineSettings,
    write_settings: WriteSettings,
    listener: Listener,
) -> Mixed:
    sketch = TrackSketch(plan.names, source.info.sample_rate) if write_settings.plot else None
    with_mixture = write_settings.format.name == "stem.mp4"
    peaks = np.zeros(len(plan.parts) + with_mixture, np.float32)
    samples = 0

    def write(pair: tuple[Block, Block]) -> None:
        mixture, estimates = pair
        outputs = plan.apply(mixture, estimates)  # (output, channel, sample)
        if sketch is not None:
            sketch.push(np.concatenate([outputs, mixture[None]]))
        if with_mixture:
            outputs = np.concatenate([outputs, mixture[None]])
        if outputs.shape[-1]:
            np.maximum(peaks, _peaks(outputs), out=peaks)
            scratch.append(outputs)

    def smaller_batch(size: int) -> None:
        engine.batch_size = size
        listener(Warned(f"out of memory: going on with {size} segments at once", source.name))

    progress = _Progress(source, listener)
    pairs = engine.estimate(
        source.blocks,
        settings,
        sample_rate=source.info.sample_rate,
        channels=source.channels,
        scratch=folder,
        on_smaller_batch=smaller_batch,
        on_progress=progress.share,
    )
    with closing(pairs), WriteBehind(write, depth=_DEPTH) as behind:
        for mixture, estimates in pairs:
            behind.put((mixture, estimates))
            samples += mixture.shape[-1]
            progress.samples(samples)
    return Mixed(samples, tuple(float(peak) for peak in peaks), sketch, engine.segment_seconds(settings))


class _Progress:
    """Tells about once a second how far a track is."""

    def __init__(self, source: Source, listener: Listener) -> None:
        self._source, self._listener = source, listener
        self._told = time.monotonic()
        self._shared = False

    def samples(self, done: int) -> None:
        """Take how many samples have their estimates: all the work there is, unless the separator knows better."""
        if not self._shared:
            self._tell(done / self._source.info.sample_rate)

    def share(self, done: float) -> None:
        """Take the share of the work that is done, from a separator that goes over the track more than once."""
        self._shared = True
        if self._source.info.seconds is not None:
            self._tell(done * self._source.info.seconds)

    def _tell(self, seconds: float) -> None:
        if time.monotonic() - self._told >= _PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._listener(TrackProgress(self._source.name, seconds, self._source.info.seconds))


def _peaks(outputs: Block) -> Block:
    """Largest absolute sample of each output, without a copy of the samples."""
    axes = (1, 2)
    largest: Block = np.maximum(outputs.max(axis=axes), -outputs.min(axis=axes))
    return largest


def _smaller(engine: Engine, source: Source, settings: EngineSettings, listener: Listener) -> EngineSettings:
    """Cut into segments, halve them, or move to the CPU, or give up."""
    import torch

    seconds = engine.segment_seconds(settings)
    if seconds is None:
        seconds = engine.separator.segment_samples / engine.separator.sample_rate
        listener(Warned(f"out of memory: starting again with segments of {seconds:.2f} s", source.name))
        return replace(settings, segment_seconds=seconds)
    if seconds / 2 >= SHORTEST_SEGMENT_SECONDS:
        listener(Warned(f"out of memory: starting again with segments of {seconds / 2:.2f} s", source.name))
        return replace(settings, segment_seconds=seconds / 2)
    if engine.device.type != "cpu":
        listener(Warned(f"out of memory on {engine.device}: starting again on the CPU", source.name))
        engine.device, engine.precision = torch.device("cpu"), "fp32"
        engine.separator.prepare(engine.device, engine.precision)
        engine.batch_size = 1
        return replace(settings, segment_seconds=None)
    raise MemoryExhausted(
        "out of memory, even with the shortest segments",
        path=str(source.name),
        hint="free memory or use another machine",
    )


def _tell_rate(encoded: EncodedFile, source: Source, settings: WriteSettings, listener: Listener) -> None:
    if encoded.sample_rate != source.info.sample_rate:
        text = f"{settings.format.name} cannot hold {source.info.sample_rate} Hz: written at {encoded.sample_rate} Hz"
        listener(Warned(text, source.name))


def _remove(temporary: dict[Path, Path]) -> None:
    for path in temporary:
        try:
            os.unlink(path)  # noqa: PTH108 - gone already when it was renamed
        except OSError:
            continue
