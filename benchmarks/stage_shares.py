"""Where the CPU time of one track goes: network, transforms, everything else; fp32 beside the precision of `auto`.

The 44.1 kHz stereo complex U-Net with random weights (speed does not depend on them) runs through the whole chain of
`mss-cli separate`: 16-bit wav in, four 16-bit wavs out. One thread, so that CPU seconds of the stages add up.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mss_cli.devices import prepare_process

THREADS = prepare_process(threads=1)

import numpy as np
import soundfile
import torch

from mss_cli.audio.formats import OutputFormat
from mss_cli.events import TrackFinished
from mss_cli.separation.opening import open_engine
from mss_cli.separation.settings import EngineSettings, ReadSettings, WriteSettings
from mss_cli.separation.track import open_source, separate_track
from mss_cli.weights.store import Card, save_checkpoint
from mss_models.catalog import build
from mss_models.networks import mask_separator
from mss_models.presets import shipped


class Clock:
    """CPU seconds of the calling thread spent inside some functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **settings: object) -> object:
            started = time.thread_time()
            try:
                return function(*arguments, **settings)
            finally:
                self.seconds += time.thread_time() - started

        return call


@dataclass(frozen=True, slots=True)
class Shares:
    """CPU seconds of one track."""

    precision: str
    total: float
    separator: float
    transforms: float
    audio_seconds: float


def song(path: Path, seconds: float) -> None:
    """Write seeded noise with a slow tremolo: as hard to encode as any music."""
    random = np.random.default_rng(0)
    time_axis = np.arange(round(seconds * 44100)) / 44100
    samples = 0.1 * random.standard_normal((len(time_axis), 2)) * (1 + np.sin(time_axis))[:, None]
    soundfile.write(path, samples, 44100, subtype="PCM_16")


def checkpoint(path: Path, card: Card) -> None:
    torch.manual_seed(0)
    separator = build(card.architecture, card.configuration)
    save_checkpoint(path, separator.state_dict(), card)


def measure(weights: Path, source: Path, output: Path, precision: str) -> tuple[Shares, TrackFinished]:
    engine = open_engine(str(weights), device="cpu", precision=precision, threads=THREADS)
    opened = open_source(source, ReadSettings())
    targets = [output / f"{stem}.wav" for stem in engine.separator.stems]
    whole, transforms = Clock(), Clock()
    engine.separator.separate = whole.timed(engine.separator.separate)
    originals = mask_separator.stft, mask_separator.istft
    mask_separator.stft, mask_separator.istft = (transforms.timed(function) for function in originals)
    try:
        run = lambda: separate_track(  # noqa: E731
            engine,
            opened,
            targets,
            engine_settings=EngineSettings(),
            write_settings=WriteSettings(format=OutputFormat("wav", "int16")),
        )
        run()  # warm: code paths chosen, buffers allocated
        whole.seconds = transforms.seconds = 0.0
        started = time.process_time()
        finished = run()
        total = time.process_time() - started
    finally:
        mask_separator.stft, mask_separator.istft = originals
    seconds = finished.samples / finished.sample_rate_hz
    return Shares(finished.precision, total, whole.seconds, transforms.seconds, seconds), finished


def error_db(reference: Path, other: Path, stems: tuple[str, ...]) -> float:
    """Give the level of the largest difference of a stem, against that stem."""
    levels = []
    for stem in stems:
        first = soundfile.read(reference / f"{stem}.wav")[0]
        second = soundfile.read(other / f"{stem}.wav")[0]
        levels.append(10 * np.log10(np.square(first - second).sum() / np.square(first).sum() + 1e-20))
    return float(max(levels))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    configuration = shipped("unet44")
    stems = tuple(str(stem) for stem in configuration.settings["stems"])
    card = Card(
        name="unet44-random",
        architecture=configuration.architecture,
        configuration=json.loads(json.dumps(dict(configuration.settings))),
        stems=stems,
        sample_rate=44100,
        training="none",
        licence="MIT",
    )
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        song(base / "song.wav", arguments.seconds)
        checkpoint(base / "plain.safetensors", card)
        for precision in ("fp32", "bf16"):
            (base / precision).mkdir()
            measure(base / "plain.safetensors", base / "song.wav", base / precision, precision)
        level = error_db(base / "fp32", base / "bf16", stems)
        # The card carries the measured error, as `--precision auto` demands; random weights have no SDR to lose.
        checkpoint(base / "measured.safetensors", replace(card, bf16_error_db=level, bf16_sdr_loss_db=0.0))
        rounds = []
        for _ in range(arguments.rounds):
            pair = [
                measure(base / "measured.safetensors", base / "song.wav", base / "out", precision)[0]
                for precision in ("fp32", "auto")
            ]
            rounds.append(pair)
        report(rounds, level)
    return 0


def report(rounds: list[list[Shares]], level: float) -> None:
    print("| precision | CPU s per s of audio | times real time | network and masks | STFT and inverse | the rest |")
    print("| --- | --- | --- | --- | --- | --- |")
    for column in range(2):
        taken = sorted((pair[column] for pair in rounds), key=lambda shares: shares.total)[len(rounds) // 2]
        network = (taken.separator - taken.transforms) / taken.total
        transforms, rest = taken.transforms / taken.total, 1 - taken.separator / taken.total
        asked = "fp32" if column == 0 else f"auto ({taken.precision})"
        cost = taken.total / taken.audio_seconds
        print(f"| {asked} | {cost:.4f} | {1 / cost:.1f} | {network:.1%} | {transforms:.1%} | {rest:.1%} |")
    ratios = sorted(pair[0].total / pair[1].total for pair in rounds)
    print(f"\nfp32 / auto: {ratios[len(ratios) // 2]:.2f} (median of {len(ratios)} pairs), 1 thread")
    print(f"largest difference of a stem, bf16 against fp32: {level:.1f} dB")


if __name__ == "__main__":
    sys.exit(main())
