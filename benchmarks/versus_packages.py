"""Published models here and in their own packages: CPU time, output, peak memory, on equal random weights.

    pip install --no-deps --target DIR openunmix==1.3.0
    PYTHONPATH=DIR OMP_NUM_THREADS=1 python benchmarks/versus_packages.py [umxhq umxl ...] [--seconds 60] [--rounds 3]
    PYTHONPATH=DIR OMP_NUM_THREADS=1 python benchmarks/versus_packages.py umxl --memory 60 600
    OMP_NUM_THREADS=1 python benchmarks/versus_packages.py umxl --ways "at once" segments

One thread. Package and ours take turns on the whole excerpt in one process; the ratio is of the least CPU times. The
error is the energy of the difference over that of the package's estimates. "blocks" is ours through a scratch file, in
memory that does not grow; "segments" is ours in segments of 30 s with a quarter of overlap. With `--memory` every way
runs in a process of its own for each length and tells its peak. Prints Markdown tables.
"""

import argparse
import dataclasses
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from mss_models.networks.open_unmix.configurations import OPEN_UNMIX, read_open_unmix
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator, OpenUnmixSettings
from mss_models.networks.open_unmix.track import separate_track
from mss_models.streaming import StreamSettings, stream
from open_unmix_peer import build_ours, build_peer, randomize

CPU = torch.device("cpu")
BLOCK_SECONDS = 5
WAYS = ("package", "at once", "blocks", "segments")
CASES = {
    "umxhq": ("umxhq", 1),
    "umxhq, no filter": ("umxhq", 0),
    "umxl": ("umxl", 1),
    "umxl, no filter": ("umxl", 0),
    "umxse": ("umxse", 1),
}


class FileStore:
    """A `FrameStore` in a file without a name."""

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the store
        self._width, self._dtype = width, dtype

    def write(self, first: int, rows: Tensor) -> None:
        data = rows.contiguous().view(torch.uint8).numpy()
        os.pwrite(self._file.fileno(), data, first * self._width * self._dtype.itemsize)

    def read(self, first: int, count: int) -> Tensor:
        rows = torch.empty(count, self._width, dtype=self._dtype)
        data = memoryview(rows.view(torch.uint8).numpy()).cast("B")
        if os.preadv(self._file.fileno(), [data], first * self._width * self._dtype.itemsize) != data.nbytes:
            raise OSError("the scratch file is too short")
        return rows


def music(settings: OpenUnmixSettings, seconds: float) -> Tensor:
    """Chords and bursts of noise at different places, (channel, sample)."""
    generator = torch.Generator().manual_seed(0)
    samples = round(settings.sample_rate * seconds)
    moment = torch.arange(samples, dtype=torch.float64) / settings.sample_rate
    chord = torch.zeros(samples)
    for pitch in (55.0, 220.0, 277.2, 329.6):
        chord += torch.sin(2 * math.pi * pitch * moment).float()
    burst = torch.randn(samples, generator=generator) * torch.exp(-(moment % 0.5) / 0.03).float()
    hiss = torch.randn(settings.channels, samples, generator=generator) * 0.05
    places = torch.tensor([[1.0, 1.0], [0.7, 1.2]])[: settings.channels]
    return 0.1 * (places @ torch.stack([chord, burst]) + hiss)


def blocks_of(mixture: Tensor, rate: int) -> Iterator[Tensor]:
    return iter(mixture.split(rate * BLOCK_SECONDS, dim=-1))


def runs(
    settings: OpenUnmixSettings, mixture: Tensor, ways: tuple[str, ...], *, keep: bool = True
) -> dict[str, Callable[[], Tensor | None]]:
    """What is compared; each gives (stem, channel, sample), or nothing where it need not be kept."""
    peer = build_peer(settings) if "package" in ways else None
    torch.manual_seed(0)
    ours = OpenUnmixSeparator(settings).eval() if peer is None else build_ours(settings, peer)
    if peer is None:
        for place, network in enumerate(ours.members):
            randomize(network, place)
    ours.prepare(CPU, "fp32")

    def kept(parts: Iterator[Tensor]) -> Tensor | None:
        if keep:
            return torch.cat(list(parts), dim=-1)
        for _ in parts:
            pass
        return None

    def at_once() -> Tensor:
        return ours.separate(mixture[None])[0]

    def by_blocks() -> Tensor | None:
        pieces = separate_track(ours, lambda: blocks_of(mixture, ours.sample_rate), FileStore, device=CPU)
        return kept(pieces)

    def by_segments() -> Tensor | None:
        cut = StreamSettings(30 * ours.sample_rate, 0.25)
        return kept(stream(ours, blocks_of(mixture, ours.sample_rate), cut, device=CPU))

    def package() -> Tensor:
        if peer is None:
            raise ValueError("the package is not among the ways")
        with torch.inference_mode():
            estimates: Tensor = peer(mixture[None].clone())[0]
        return estimates

    every: dict[str, Callable[[], Tensor | None]] = {
        "package": package,
        "at once": at_once,
        "blocks": by_blocks,
        "segments": by_segments,
    }
    return {way: every[way] for way in ways}


def speed(names: list[str], seconds: float, rounds: int, chosen: tuple[str, ...]) -> None:
    first = chosen[0]
    print(f"| model | way | CPU s per s | {first} over it | error, dB |")
    print("| --- | --- | --- | --- | --- |")
    for name in names:
        settings = settings_of(name)
        mixture = music(settings, seconds)
        ways = runs(settings, mixture, chosen)
        least = dict.fromkeys(ways, math.inf)
        errors: dict[str, float] = {}
        expected: Tensor | None = None
        for _ in range(rounds):
            for way, run in ways.items():
                start = time.process_time()
                estimates = run()
                least[way] = min(least[way], time.process_time() - start)
                if estimates is None:
                    continue
                expected = estimates if way == first else expected
                if expected is not None and way != first and way not in errors:
                    errors[way] = 20 * math.log10(max(1e-30, float((estimates - expected).norm() / expected.norm())))
                del estimates
        for way in ways:
            ratio = least[first] / least[way]
            error = f"{errors[way]:.0f}" if way in errors else "-"
            print(f"| {name} | {way} | {least[way] / seconds:.4f} | {ratio:.2f} | {error} |", flush=True)


def memory(names: list[str], lengths: list[float]) -> None:
    print("| model | way | length, s | peak, MiB | scratch, MiB |")
    print("| --- | --- | --- | --- | --- |")
    for name in names:
        per_second = settings_of(name).stored_numbers_per_second * torch.float32.itemsize
        for way in WAYS:
            for length in lengths:
                scratch = per_second * length / 2**20 if way == "blocks" else 0
                command = [sys.executable, __file__, name, "--alone", way, "--seconds", str(length)]
                result = subprocess.run(command, capture_output=True, text=True, check=False)
                peak = result.stdout.strip() if result.returncode == 0 else "failed"
                print(f"| {name} | {way} | {length:g} | {peak} | {scratch:.0f} |", flush=True)


def alone(name: str, way: str, seconds: float) -> None:
    """Run one way once and print this process's peak resident memory, without the track and, in pieces, estimates."""
    settings = settings_of(name)
    mixture = music(settings, seconds)
    if way in ("blocks", "segments"):  # a track is read from a file there; here a mapped one
        with tempfile.NamedTemporaryFile() as file:
            mapped = torch.from_file(file.name, shared=True, size=mixture.numel()).view(mixture.shape)
            mapped.copy_(mixture)
        mixture = mapped
    runs(settings, mixture, (way,), keep=False)[way]()
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


def settings_of(name: str) -> OpenUnmixSettings:
    preset, iterations = CASES[name]
    return dataclasses.replace(read_open_unmix(OPEN_UNMIX[preset]), wiener_iterations=iterations)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(CASES)}; all if none is named")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, default=list(WAYS), help="the first is what others are held against"
    )
    parser.add_argument("--memory", type=float, nargs="+", metavar="SECONDS")
    parser.add_argument("--alone", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.models = arguments.models or list(CASES)
    for name in set(arguments.models) - set(CASES):
        parser.error(f"there is no model `{name}`")
    torch.set_num_threads(1)
    if arguments.alone:
        alone(arguments.models[0], arguments.alone, arguments.seconds)
    elif arguments.memory:
        memory(arguments.models, arguments.memory)
    else:
        speed(arguments.models, arguments.seconds, arguments.rounds, tuple(arguments.ways))
    return 0


if __name__ == "__main__":
    sys.exit(main())
