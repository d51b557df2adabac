"""Time each augmentation step: milliseconds per second of audio, one thread; on a CPU its own time, not the wall's.

``python benchmarks/augmentation.py [--device cuda]``; a batch of 8 items of 4 stems, 3 seconds each.
"""

import argparse
import time

import torch

from mss_models.augmentation.chain import STEPS, Chain

SECONDS, BATCH, STEMS, REPEATS = 3.0, 8, 4, 3


def milliseconds(name: str, *, rate: int, channels: int, stage: str, device: str) -> float:
    """Best time of some calls, per second of audio of one stem."""
    chain = Chain((STEPS[name](probability=1.0),), stage, rate)
    samples = chain.required_samples(round(SECONDS * rate))
    audio = 0.1 * torch.randn(BATCH, STEMS, channels, samples, generator=torch.Generator().manual_seed(0)).to(device)
    best = float("inf")
    clock = time.process_time if device == "cpu" else time.perf_counter
    for repeat in range(REPEATS + 1):
        begin = clock()
        chain(audio, torch.arange(BATCH) + repeat * BATCH)
        if device == "cuda":
            torch.cuda.synchronize()
        if repeat:
            best = min(best, clock() - begin)
    return best * 1000 / (BATCH * STEMS * SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    device = parser.parse_args().device
    torch.set_num_threads(1)
    print("| step | 22050 Hz mono, per stem | 44100 Hz stereo, per stem | 44100 Hz stereo, per track |")
    print("| --- | --- | --- | --- |")
    for name in STEPS:
        mono = milliseconds(name, rate=22050, channels=1, stage="stem", device=device)
        stereo = milliseconds(name, rate=44100, channels=2, stage="stem", device=device)
        track = milliseconds(name, rate=44100, channels=2, stage="track", device=device)
        print(f"| {name} | {mono:.2f} | {stereo:.2f} | {track:.2f} |")


if __name__ == "__main__":
    main()
