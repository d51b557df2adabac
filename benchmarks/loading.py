"""Speed of loading: examples per second from the cache, for a recipe's sizes, and what filling the cache costs.

    python benchmarks/loading.py [--songs 20] [--song-seconds 60] [--workers 0 1] [--seconds 5]

Writes songs of noise in four stems (44.1 kHz stereo FLAC), fills a cache from them, then makes batches of 16 for some
seconds. One thread per process. Prints Markdown tables. "audio" is seconds of mixture per second of clock.
"""

import argparse
import itertools
import os
import platform
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import soundfile
import torch

from mss_cli.training.batches import fill, loader
from mss_cli.training.mixing import RecipeExamples
from mss_cli.training.recipe import Mixing, SongSource
from mss_cli.training.song_cache import Form, SongCache
from mss_cli.training.songs import open_songs

BATCH = 16
STEMS = ("vocals", "drums", "bass", "other")
FOUR = {name: (name,) for name in STEMS}
TWO = {"vocals": ("vocals",), "accompaniment": ("*",)}
# Name, rate, channels, seconds, stems, share of coherent examples.
CASES = (
    ("U-Net 2017: 8192 Hz mono, 12 s, coherent", Form(8192, 1), 12.0, TWO, 1.0),
    ("thesis ch. 6: 22050 Hz mono, 3 s, mixed", Form(22050, 1), 3.0, FOUR, 0.0),
    ("44100 Hz stereo, 6 s, mixed", Form(44100, 2), 6.0, FOUR, 0.0),
)


def write(root: Path, songs: int, seconds: float) -> None:
    random = np.random.default_rng(0)
    for number in range(songs):
        folder = root / f"song {number:03d}"
        folder.mkdir(parents=True)
        total = np.zeros((round(seconds * 44100), 2), np.float32)
        for name in STEMS:
            samples = (0.05 * random.standard_normal(total.shape)).astype(np.float32)
            total += samples
            soundfile.write(folder / f"{name}.flac", samples, 44100)
        soundfile.write(folder / "mixture.flac", total, 44100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--songs", type=int, default=20)
    parser.add_argument("--song-seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}\n")
    print("| examples | workers | fill: songs per second | examples per second | audio | MB per second read |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "songs", options.songs, options.song_seconds)
        for place, (name, form, seconds, stems, coherent) in enumerate(CASES):
            songs = open_songs(SongSource(kind="folders", root=root / "songs"), 0)
            cache = SongCache(root / f"cache {place}", form, stems)
            samples = round(seconds * form.sample_rate)
            examples = RecipeExamples([songs], stems, cache, Mixing(coherent=coherent), seed=0, samples=samples)
            begun = time.perf_counter()
            for _ in fill(examples):
                pass
            filled = options.songs / (time.perf_counter() - begun)
            for workers in options.workers:
                rate = speed(examples, workers, options.seconds)
                megabytes = rate * samples * form.channels * len(stems) * 2 / 1e6
                print(
                    f"| {name} | {workers} | {filled:.1f} | {rate:.0f} | {rate * seconds:.0f} s/s | {megabytes:.0f} |",
                    flush=True,
                )


def speed(examples: RecipeExamples, workers: int, seconds: float) -> float:
    """Examples per second once the processes run."""
    batches = iter(loader(examples, batch=BATCH, start=lambda: 0, workers=workers))
    for _ in itertools.islice(batches, 8):  # starts the processes, and uses up what they made ahead
        pass
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        next(batches)
        count += BATCH
    return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
