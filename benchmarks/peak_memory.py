"""Peak memory of `mss-cli separate` against the length of the song: it must stay flat.

    python benchmarks/peak_memory.py 3 180
    python benchmarks/peak_memory.py 10 180 --random umxl
    python benchmarks/peak_memory.py 10 180 --random htdemucs --settings '{"width": 8, "transformer": {"layers": 1}}'

`--random` takes a published network with random weights, which cost what trained ones do; `--settings` changes its
sizes: a narrow network shows what memory does with length where the whole one takes hours.
"""

import argparse
import json
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


def write_checkpoint(path: Path, name: str, changes: dict[str, object]) -> None:
    """Write a published network with random weights."""
    import torch

    from mss_cli.weights.store import Card, save_checkpoint
    from mss_models.catalog import build, configuration_of
    from mss_models.presets import shipped

    torch.manual_seed(0)
    settings = {**shipped(name).settings, **changes}
    separator = build(shipped(name).architecture, settings)
    made = configuration_of(separator)
    card = Card(
        name=f"{name}-random",
        architecture=made.architecture,
        configuration=made.settings,
        stems=separator.stems,
        sample_rate=separator.sample_rate,
        training="none",
        licence="none",
    )
    save_checkpoint(path, separator.state_dict(), card)


def peak_mebibytes(command: list[str]) -> tuple[float, float, float]:
    """Run a command; give its peak resident memory in MiB, its CPU seconds and its wall seconds."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"error: the command failed with status {status}")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", type=float, nargs="*", default=[3.0, 30.0])
    parser.add_argument("--model", default="classical")
    parser.add_argument("--random", metavar="NAME", help="this published network, with random weights")
    parser.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="other sizes for it")
    parser.add_argument("--options", default="", help="more for `separate`, as one word")
    parser.add_argument("--folder", type=Path, default=None, help="where songs and stems go for a while")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:  # in a process of its own: its memory is no child's
        write_checkpoint(arguments.write, arguments.random, arguments.settings)
        return 0
    print("| length, min | peak, MiB | above the first | CPU s per s of audio | wall s |")
    print("| --- | --- | --- | --- | --- |")
    first = None
    for minutes in arguments.minutes:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            song, model = Path(name) / "song.wav", arguments.model
            write_song(song, minutes)
            if arguments.random:
                model = str(Path(name) / "random.safetensors")
                made = [sys.executable, __file__, "--random", arguments.random, "--write", model]
                subprocess.run([*made, "--settings", json.dumps(arguments.settings)], check=True)
            command = [sys.executable, "-m", "mss_cli", "separate", str(song), "-o", name, "--quiet"]
            peak, cpu, wall = peak_mebibytes([*command, "--model", model, *arguments.options.split()])
            first = peak if first is None else first
            print(
                f"| {minutes:g} | {peak:.0f} | {peak - first:+.0f} | {cpu / minutes / 60:.4f} | {wall:.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
