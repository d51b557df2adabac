"""Whatever is done to a file: finite blocks or one clear error, and not a word on stderr."""

import random
from pathlib import Path

import numpy as np
import pytest

from clicks import INPUTS, noise
from damage import FORMATS, mutate
from mss_cli.audio.decode import decode
from mss_cli.audio.probe import probe
from mss_cli.errors import InputError

MUTATIONS = 60


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_give_finite_blocks_or_one_error(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = tmp_path / "x"
    INPUTS[name].write(path, noise(12_000))
    content = path.read_bytes()
    rng = random.Random(f"{name} 1")
    read, refused = 0, 0
    for _ in range(MUTATIONS):
        path.write_bytes(mutate(content, rng))
        try:
            info = probe(path)
            samples = 0
            for block in decode(info):
                assert block.dtype == np.float32
                assert block.shape[0] == info.channels
                assert np.isfinite(block).all()
                samples += block.shape[1]
            assert samples > 0
            assert info.samples in (None, samples)
            read += 1
        except InputError as error:
            assert error.hint  # noqa: PT017 - either outcome is right, each has its own rule
            refused += 1
    assert read + refused == MUTATIONS
    assert refused > 0
    assert capfd.readouterr().err == ""
