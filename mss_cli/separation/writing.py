"""Finished floats to files: one gain for the track, every output encoded under a temporary name."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mss_cli.audio.encode import EncodedFile, encode
from mss_cli.audio.probe import AudioInfo
from mss_cli.audio.stemfile import encode_stem_file
from mss_cli.devices import available_cores
from mss_cli.errors import OutputError, UsageError
from mss_cli.separation.scratch import Block, Scratch
from mss_cli.separation.settings import WriteSettings
from mss_cli.separation.stems import StemPlan


class _StoppedError(Exception):
    """Ends an encoder whose file nobody wants any more."""


def check_format(plan: StemPlan, settings: WriteSettings) -> None:
    """Refuse a stem file of other than four stems.

    Raises
    ------
    UsageError
        Naming how many there are.
    """
    if settings.format.name == "stem.mp4" and len(plan.parts) != 4:
        hint = "leave out `--stems`, `--two-stems` and `--residual`, and use a model of four stems"
        raise UsageError(f"a stem file holds exactly four stems, not {len(plan.parts)}", hint=hint)


def common_gain(peaks: Sequence[float], settings: WriteSettings) -> float:
    """One gain for all stems of the track: 1 unless one of them would clip."""
    if settings.format.is_float or settings.clip != "rescale":
        return 1.0
    peak = max(peaks)
    return 1.0 if peak <= 1.0 else 1.0 / peak


def written_peak(peak: float, gain: float, settings: WriteSettings) -> float:
    """Largest absolute sample of an output as its file holds it: only float wav holds more than full scale."""
    scaled = abs(round(peak * gain, 6))
    return scaled if settings.format.is_float else min(scaled, 1.0)


@contextmanager
def final_names(temporary: dict[Path, Path]) -> Iterator[None]:
    """Name the target in errors about its temporary file."""
    try:
        yield
    except OutputError as error:
        target = temporary.get(Path(error.path or ""))
        if target is None:
            raise
        raise OutputError(error.message, path=str(target), hint=error.hint) from error


def encode_all(
    scratch: Scratch,
    temporary: Sequence[Path],
    plan: StemPlan,
    settings: WriteSettings,
    *,
    info: AudioInfo,
    channels: int,
    samples: int,
    gain: float,
) -> list[EncodedFile]:
    """Encode every output from the scratch file, several at a time; their threads work outside Python's lock."""
    tags = info.tags
    rate = info.sample_rate
    clamp = settings.clip == "clamp"
    if settings.format.name == "stem.mp4":
        return [
            encode_stem_file(
                scratch.blocks(len(plan.parts)),
                [scratch.blocks(index) for index in range(len(plan.parts))],
                temporary[0],
                names=plan.names,
                sample_rate=rate,
                channels=channels,
                samples=samples,
                gain=gain,
                clamp=clamp,
                bitrate=settings.format.bitrate,
                tags=tags,
            )
        ]

    stopped = threading.Event()

    def watched(index: int) -> Iterator[Block]:
        for block in scratch.blocks(index):
            if stopped.is_set():
                raise _StoppedError
            yield block

    def encode_one(index: int) -> EncodedFile:
        return encode(
            watched(index),
            temporary[index],
            format=settings.format,
            sample_rate=rate,
            channels=channels,
            samples=samples,
            gain=gain,
            clamp=clamp,
            tags=replace(tags, title=tags.title and f"{tags.title} ({plan.names[index]})"),
        )

    with ThreadPoolExecutor(max_workers=min(available_cores(), len(plan.parts))) as pool:
        futures = [pool.submit(encode_one, index) for index in range(len(plan.parts))]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()  # a signal or a full disk: the other encoders end at their next block
            pool.shutdown(wait=True, cancel_futures=True)
            raise
