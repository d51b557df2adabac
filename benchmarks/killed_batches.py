"""A batch that is killed with -9 at random instants and started again each time: what is redone, and what is torn."""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
STEMS = ("vocals", "drums", "bass", "other")


def write_songs(folder: Path, *, files: int, seconds: float) -> None:
    """Write files of noise over a chord, no two alike."""
    folder.mkdir(parents=True)
    random_numbers = np.random.default_rng(0)
    time_axis = np.arange(round(seconds * RATE))[:, None] / RATE
    for number in range(files):
        chord = 0.2 * np.sin(2 * np.pi * (110 + number) * time_axis)
        noise = 0.05 * random_numbers.standard_normal((len(time_axis), 2))
        soundfile.write(folder / f"{number:03}.wav", chord + noise, RATE, subtype="PCM_16")


def run(command: list[str], *, kill_after_events: int | None, wait_seconds: float) -> tuple[set[str], int]:
    """Run it to the end, or kill it with -9 a while after so many events; give the tracks it began and its status."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    begun: set[str] = set()
    for number, line in enumerate(process.stdout, 1):
        if not line.endswith("\n"):
            break  # cut by the kill
        event = json.loads(line)
        if event["event"] == "track_started":
            begun.add(Path(event["path"]).stem)
        if number == kill_after_events:
            time.sleep(wait_seconds)
            os.kill(process.pid, signal.SIGKILL)  # its workers see that it is gone; what it wrote is read on
    process.stdout.close()
    return begun, process.wait()


def records(out: Path) -> dict[str, tuple[int, bytes]]:
    """Give time and content of every record there is, by track."""
    found = {}
    for path in out.glob("*/*.mss.json"):
        found[path.parent.name] = (path.stat().st_mtime_ns, path.read_bytes())
    return found


def torn(out: Path, samples: int) -> list[str]:
    """Name the files under final names that are not whole, and the records that lack a stem."""
    bad = []
    for path in out.glob("*/*.wav"):
        if not path.name.startswith(".") and soundfile.info(path).frames != samples:
            bad.append(str(path))
    for name in records(out):
        bad += [f"{name}/{stem}" for stem in STEMS if not (out / name / f"{stem}.wav").exists()]
    return bad


def strangers(out: Path, files: int) -> list[str]:
    """Name what a finished run should not have left: all but stems, records and the folder of locks."""
    expected = {f"{n:03}/{name}" for n in range(files) for name in (*(f"{s}.wav" for s in STEMS), f"{n:03}.mss.json")}
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    return sorted(found ^ expected)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="where songs and stems go for a while")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    samples = round(arguments.seconds * RATE)
    known: dict[str, tuple[int, bytes]] = {}
    processed, redone, rewritten, torn_files = 0, 0, 0, 0
    print("| run | ended | tracks begun | of them with a record before | records after | torn files |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        songs, out = Path(name) / "songs", Path(name) / "out"
        write_songs(songs, files=arguments.files, seconds=arguments.seconds)
        command = [sys.executable, "-m", "mss_cli", "separate", str(songs), "-o", str(out), "-m", "classical", "--json"]
        command += ["--device", "cpu", "--jobs", str(arguments.jobs), "--threads", "1"]
        for number in range(arguments.kills + 1):
            last = number == arguments.kills
            # Skipped tracks are events, too: the instants spread over looking, loading and separating.
            limit = None if last else len(known) + rng.randrange(1, 4 * arguments.files // (arguments.kills + 1) + 10)
            begun, status = run(command, kill_after_events=limit, wait_seconds=rng.uniform(0, 0.3))
            time.sleep(1.0)  # workers of a killed run leave by themselves
            again = begun & known.keys()
            now = records(out)
            bad = torn(out, samples)
            processed += len(begun)
            redone += len(again)
            rewritten += sum(now.get(track) != seen for track, seen in known.items())
            torn_files += len(bad)
            ended = f"exit status {status}" if last else "killed"
            print(f"| {number + 1} | {ended} | {len(begun)} | {len(again)} | {len(now)} | {len(bad)} |", flush=True)
            known = now
        left = strangers(out, arguments.files)
    print(f"\n{arguments.files} files, {arguments.kills} kills: {processed} tracks begun in all,")
    print(f"{processed - arguments.files} of them begun twice, {redone} redone after their record was written,")
    print(f"{rewritten} records changed, {torn_files} torn files, {len(left)} files missing or left behind {left[:3]}")
    return int(bool(status or redone or rewritten or torn_files or left))


if __name__ == "__main__":
    sys.exit(main())
