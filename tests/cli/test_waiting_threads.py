"""Threads of one operation that wait for each other sleep: on a shared machine spinning costs more than the work."""

import os
import re
import subprocess
import sys

import pytest

from signals import write_music

SEPARATE = ["-m", "mss_cli", "separate", "-m", "classical", "--device", "cpu", "--threads", "2", "--jobs", "1", "-q"]


def spins(arguments):
    """Give how often a waiting thread of that Python process looks before it sleeps, as libgomp says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**kept, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    found = re.search(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if found is None:
        pytest.skip("torch has another OpenMP here")
    return int(found[1])


def test_the_command_lets_them_sleep(tmp_path):
    song = write_music(tmp_path / "song.wav", seconds=0.2)
    assert spins([*SEPARATE, song, "-o", tmp_path / "out"]) == 0


def test_the_python_interface_lets_them_sleep():
    assert spins(["-c", "import mss_cli.separation.api"]) == 0
