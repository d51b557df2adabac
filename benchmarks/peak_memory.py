"""Peak memory of `mss-cli separate` against the length of the song: it must stay flat."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100


def write_song(path: Path, minutes: float) -> None:
    """Write a stereo song block by block: a slow chord and noise bursts, 16 bit."""
    random = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 2, subtype="PCM_16") as file:
        for second in range(round(minutes * 60)):
            time_axis = second + np.arange(RATE) / RATE
            chord = sum(np.sin(2 * np.pi * pitch * time_axis) for pitch in (55.0, 220.0, 277.2, 329.6))
            burst = random.standard_normal(RATE) * np.exp(-((time_axis % 0.5) / 0.03))
            file.write(0.1 * np.stack([chord + burst, 0.7 * chord + burst], axis=1))


def peak_mebibytes(command: list[str]) -> tuple[float, float, float]:
    """Run a command; give its peak resident memory in MiB, its CPU seconds and its wall seconds."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"error: the command failed with status {status}")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", type=float, nargs="*", default=[3.0, 30.0])
    parser.add_argument("--model", default="classical")
    parser.add_argument("--folder", type=Path, default=None, help="where songs and stems go for a while")
    arguments = parser.parse_args()
    print("| length, min | peak, MiB | above the first | CPU s per s of audio | wall s |")
    print("| --- | --- | --- | --- | --- |")
    first = None
    for minutes in arguments.minutes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            song = Path(name) / "song.wav"
            write_song(song, minutes)
            command = [sys.executable, "-m", "mss_cli", "separate", str(song), "-o", name, "--quiet"]
            peak, cpu, wall = peak_mebibytes([*command, "--model", arguments.model])
            first = peak if first is None else first
            print(
                f"| {minutes:g} | {peak:.0f} | {peak - first:+.0f} | {cpu / minutes / 60:.4f} | {wall:.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
