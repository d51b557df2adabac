"""Throughput of `mss-cli separate` over folders, by jobs and length of files, and peak memory by number of files."""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import soundfile

RATE = 44100
COMMAND = [sys.executable, "-m", "mss_cli", "separate", "--quiet", "--device", "cpu"]


def write_songs(folder: Path, *, files: int, seconds: float) -> None:
    """Write files of noise over a chord, 16 bit; the same number of samples in all, however it is cut."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    block = 0.1 * random.standard_normal((10 * RATE, 2))
    time_axis = np.arange(10 * RATE)[:, None] / RATE
    block += 0.1 * np.sin(2 * np.pi * 220 * time_axis)
    for number in range(files):
        with soundfile.SoundFile(folder / f"{number:05}.wav", "w", RATE, 2, subtype="PCM_16") as file:
            left = round(seconds * RATE)
            while left:
                file.write(block[:left])
                left -= min(left, len(block))


class Usage:
    """Runs a command and watches the memory of it and its workers."""

    def __init__(self, command: list[str]) -> None:
        self.peak_mebibytes = self.largest_mebibytes = 0.0
        started = time.monotonic()
        self._process = subprocess.Popen(command)
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = status
        self.seconds = time.monotonic() - started
        watcher.join()
        self.largest_mebibytes = usage.ru_maxrss / 1024  # of it or one of its workers
        # Of its workers too; other work on the machine hardly changes it.
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        if status:
            raise SystemExit(f"error: the command failed with status {status}")

    def _watch(self) -> None:
        """Add up proportional shares, so that pages of libraries count once."""
        while self._process.returncode is None:
            total = 0.0
            try:
                family = psutil.Process(self._process.pid)
                for process in (family, *family.children()):
                    total += process.memory_full_info().pss / 2**20
            except psutil.Error:
                pass
            self.peak_mebibytes = max(self.peak_mebibytes, total)
            time.sleep(0.2)


def by_jobs(arguments: argparse.Namespace) -> None:
    """Compare one and several workers, the machine's threads shared among them, over short and long files."""
    total = arguments.files * arguments.seconds
    cores = len(os.sched_getaffinity(0))
    print(f"{arguments.model}, {total:.0f} s of audio, {cores} cores\n")
    print(
        "| files | jobs | threads | wall s | audio s per s | against the first | CPU s | audio s per CPU s "
        "| peak of all, MiB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        for files in (arguments.files, 1):
            songs = Path(name) / f"songs{files}"
            write_songs(songs, files=files, seconds=total / files)
            first = None
            for jobs in range(1, (cores if files > 1 else 1) + 1):
                if cores % jobs:
                    continue
                command = [*COMMAND, str(songs), "-o", f"{name}/out", "-m", arguments.model, "--overwrite"]
                usage = Usage([*command, "--jobs", str(jobs), "--threads", str(cores // jobs)])
                first = first or usage.seconds
                print(
                    f"| {files} of {total / files:g} s | {jobs} | {cores // jobs} | {usage.seconds:.1f} "
                    f"| {total / usage.seconds:.1f} | {first / usage.seconds:.2f} | {usage.cpu_seconds:.1f} "
                    f"| {total / usage.cpu_seconds:.1f} | {usage.peak_mebibytes:.0f} |",
                    flush=True,
                )


def by_number(arguments: argparse.Namespace) -> None:
    """Show that memory does not grow with the number of files."""
    print("| files | jobs | largest process, MiB | peak of all, MiB | wall s | files per s | CPU ms per file |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for files in arguments.numbers:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            write_songs(Path(name) / "songs", files=files, seconds=0.05)
            command = [*COMMAND, f"{name}/songs", "-o", f"{name}/out", "-m", arguments.model]
            usage = Usage([*command, "--jobs", str(arguments.jobs), "--threads", "1"])
            print(
                f"| {files} | {arguments.jobs} | {usage.largest_mebibytes:.0f} | {usage.peak_mebibytes:.0f} "
                f"| {usage.seconds:.1f} | {files / usage.seconds:.1f} | {1e3 * usage.cpu_seconds / files:.1f} |",
                flush=True,
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("jobs", "memory"))
    parser.add_argument("--model", default="classical")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--numbers", type=int, nargs="*", default=[500, 5000])
    parser.add_argument("--jobs", type=int, default=2, help="for memory")
    parser.add_argument("--folder", type=Path, default=None, help="where songs and stems go for a while")
    arguments = parser.parse_args()
    (by_jobs if arguments.what == "jobs" else by_number)(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
