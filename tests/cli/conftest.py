"""Songs, a tiny model, and a shell in which the command is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from made_songs import write_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def songs(tmp_path):
    for seed, name in enumerate(("one", "two", "three")):
        write_folder(tmp_path / "songs" / name, seed=seed, seconds=2.1)
    return tmp_path / "songs"


@pytest.fixture
def tiny(tmp_path):
    """A checkpoint of two stems with random weights."""
    import torch

    from mss_cli.weights.store import Card, save_checkpoint
    from mss_models.catalog import build, configuration_of

    torch.manual_seed(0)
    separator = build("unet", {
        "stems": ["vocals", "drums"], "sample_rate": 8192, "channels": 1, "n_fft": 256, "hop_length": 128, "bins": 128,
        "head": "sigmoid", "segment_frames": 64, "levels": 2, "base_channels": 4, "dropout_layers": 0,
    })  # fmt: skip
    made = configuration_of(separator)
    card = Card("tiny", made.architecture, made.settings, separator.stems, separator.sample_rate, "none", "MIT")
    save_checkpoint(tmp_path / "tiny.safetensors", separator.state_dict(), card)
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def shell(tmp_path):
    """A folder with `songs/` and a command `mss-cli`, as a CI machine has them."""
    for seed, name in enumerate(("one", "two")):
        write_folder(tmp_path / "songs" / name, seed=seed, seconds=1.6)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "mss-cli"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mss_cli "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(ROOT), str(ROOT / "models")])
    env = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def run(line):
        return subprocess.run(line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    return run
