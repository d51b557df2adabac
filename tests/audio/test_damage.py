"""Whatever is done to a file: finite blocks or one clear error, and not a word on stderr."""

import random
from pathlib import Path

import numpy as np
import pytest

from clicks import INPUTS, noise
from mss_cli.audio.decode import decode
from mss_cli.audio.probe import probe
from mss_cli.errors import InputError

MUTATIONS = 60
FORMATS = [
    "wav 16", "wav float", "rf64", "w64", "aiff", "caf", "caf alac", "flac", "mp3 (LAME tag)", "mp3 (no tag)",
    "ogg vorbis", "ogg opus", "m4a aac", "m4a alac", "aac (adts)", "wma 2", "ac3", "wavpack", "tta", "mkv aac",
    "webm opus",
]  # fmt: skip


def mutate(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    kind = rng.choice(["cut", "flip", "flip head", "zero", "insert", "remove", "double"])
    if kind == "cut":
        return bytes(damaged[: rng.randrange(1, len(damaged))])
    if kind in ("flip", "flip head"):
        end = min(len(damaged), 200) if kind == "flip head" else len(damaged)
        for _ in range(rng.choice([1, 3, 30])):
            damaged[rng.randrange(end)] ^= 1 << rng.randrange(8)
        return bytes(damaged)
    start = rng.randrange(len(damaged))
    length = rng.choice([1, 4, 100, 4000])
    if kind == "zero":
        damaged[start : start + length] = bytes(min(length, len(damaged) - start))
    elif kind == "insert":
        damaged[start:start] = rng.randbytes(length)
    elif kind == "remove":
        del damaged[start : start + length]
    else:
        damaged += damaged[start:]
    return bytes(damaged) or b"\0"


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
