"""The command as a process with workers: its events as they come, its workers by number, what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import soundfile

from signals import music

COMMAND = [sys.executable, "-m", "mss_cli", "separate"]
STEMS = ("vocals", "drums", "bass", "other")


class BatchRun:
    """`mss-cli separate ... --json` in a process group of its own; leaving the context kills it."""

    def __init__(self, *arguments, **settings):
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments), "--json", "-m", "classical", "--device", "cpu", "--threads", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            **settings,
        )
        self.seen = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        with suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.stdout.close()
        self.process.wait()

    def until(self, name, **fields):
        """Read events up to the first of a kind and give it."""
        for line in self.process.stdout:
            event = json.loads(line)
            self.seen.append(event)
            if event["event"] == name and all(event[key] == value for key, value in fields.items()):
                return event
        raise AssertionError(f"no {name} came: {self.seen[-3:]}")

    def end(self):
        """Read the rest and give the exit status."""
        self.seen += [json.loads(line) for line in self.process.stdout]
        return self.process.wait(timeout=120)

    def workers(self):
        """Give the worker processes there are now."""
        found = []
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.Error):
                    if any("multiprocessing.spawn" in word for word in child.cmdline()):
                        found.append(child)
        return found

    def of_kind(self, name):
        return [event for event in self.seen if event["event"] == name]


def write_broken(path, *, seconds=1.0):
    """Write a file with a good header and a sample that is no number, so that only a worker finds out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = music(seconds)
    samples[-1, 0] = np.nan
    soundfile.write(path, samples, 44100, subtype="FLOAT")


def gone(processes, *, within_seconds=10.0):
    """Tell whether processes end by themselves in that time."""
    limit = time.monotonic() + within_seconds
    while time.monotonic() < limit:
        if not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            return True
        time.sleep(0.05)
    return False


def files_below(folder):
    """Give relative names of all files, hidden ones too, but for the list of failures."""
    names = (path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())
    return sorted(name for name in names if name != ".mss-cli/failed.json")


def whole_tracks(*names):
    """Give the names of all files of finished tracks."""
    return sorted(
        f"{name}/{file}" for name in names for file in (*(f"{stem}.wav" for stem in STEMS), f"{name}.mss.json")
    )
