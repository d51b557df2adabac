"""What is written is exact, and what cannot be written is said and leaves nothing behind."""

import errno
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from clicks import RATE, Signal, cut, noise, read
from mss_cli.audio.encode import encode
from mss_cli.audio.formats import OutputFormat
from mss_cli.audio.writers import IntegerScaler
from mss_cli.errors import ExitCode, OutputError
from mss_cli.files import output_error

FORMATS = [
    OutputFormat("wav"),
    OutputFormat("wav", "int24"),
    OutputFormat("wav", "float32"),
    OutputFormat("flac"),
    OutputFormat("mp3"),
    OutputFormat("ogg"),
    OutputFormat("opus"),
    OutputFormat("m4a"),
]


def write(signal: Signal, path: Path, form: OutputFormat, *, gain: float = 1.0, clamp: bool = False) -> Path:
    channels, samples = signal.shape
    encode(
        cut(signal, 4096),
        path,
        format=form,
        sample_rate=RATE,
        channels=channels,
        samples=samples,
        gain=gain,
        clamp=clamp,
    )
    return path


def test_integers_are_rounded_to_the_nearest_step_and_clipped(tmp_path: Path):
    steps = np.array([[0.4, 0.6, -0.4, -0.6, 1.5, 2.5, 40000.0, -40000.0, 32766.6]], np.float32)
    write(steps / 32768, tmp_path / "x", OutputFormat("wav"))
    written, _ = soundfile.read(tmp_path / "x", dtype="int16")
    np.testing.assert_array_equal(written, [0, 1, 0, -1, 2, 2, 32767, -32768, 32767])


@pytest.mark.parametrize("name", ["wav", "flac"])
@pytest.mark.parametrize(("depth", "bits"), [("int16", 16), ("int24", 24)])
def test_the_mean_error_of_integers_is_zero(name: str, depth: str, bits: int, tmp_path: Path):
    signal = noise(100_000)
    write(signal, tmp_path / "x", OutputFormat(name, depth))
    _, found = read(tmp_path / "x")
    error = (found.astype(np.float64) - signal) * 2 ** (bits - 1)
    assert np.abs(error).max() <= 0.5
    assert abs(error.mean()) < 0.01  # libsndfile's own rounding gives -0.5


@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50), st.sampled_from([16, 24]))
@settings(max_examples=200, deadline=None)
def test_rounding_agrees_with_exact_arithmetic(values: list[float], bits: int):
    scaled = IntegerScaler(bits)(np.array([values], np.float32))[:, 0].astype(np.int64)
    full = 2 ** (bits - 1)
    expected = [min(max(round(value * full), -full), full - 1) for value in values]
    np.testing.assert_array_equal(scaled >> (8 if bits == 24 else 0), expected)


def test_float_wav_keeps_every_bit_and_is_never_clipped(tmp_path: Path):
    signal = noise(10_000, level=3.0) * np.float32(4)
    write(signal, tmp_path / "x", OutputFormat("wav", "float32"), clamp=True)
    _, found = read(tmp_path / "x")
    np.testing.assert_array_equal(found, signal)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.name} {form.depth}")
def test_the_gain_is_applied_to_every_format(form: OutputFormat, tmp_path: Path):
    time = np.arange(RATE) / RATE
    signal = (0.5 * np.sin(2 * np.pi * 440 * time)[None]).astype(np.float32)
    write(signal, tmp_path / "x", form, gain=0.5)
    _, found = read(tmp_path / "x")
    assert found.std() == pytest.approx(signal.std() / 2, rel=0.01)


def test_clamp_limits_what_a_lossy_codec_sees(tmp_path: Path):
    time = np.arange(RATE) / RATE
    signal = (4 * np.sin(2 * np.pi * 100 * time)[None]).astype(np.float32)
    _, open_ = read(write(signal, tmp_path / "a", OutputFormat("ogg")))
    _, limited = read(write(signal, tmp_path / "b", OutputFormat("ogg"), clamp=True))
    assert np.abs(open_).max() > 3
    assert np.abs(limited).max() < 1.5


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.name} {form.depth}")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused_and_nothing_is_left(form: OutputFormat, value: float, tmp_path: Path):
    signal = noise(20_000)
    signal[0, 15_000] = value
    with pytest.raises(OutputError, match="not finite"):
        write(signal, tmp_path / "x", form)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield  # Python ignores SIGXFSZ, so a write beyond it fails with EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.name} {form.depth}")
@pytest.mark.parametrize("size", [0, 10, 5000])
def test_a_write_that_fails_midway_is_said_and_nothing_is_left(form: OutputFormat, size: int, tmp_path: Path):
    path = tmp_path / "x"
    with file_size_limit(size), pytest.raises(OutputError) as caught:
        write(noise(200_000), path, form)
    assert caught.value.message == "cannot write: larger than the file system allows"
    assert caught.value.path == str(path)
    assert caught.value.code is ExitCode.OUTPUT
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.name} {form.depth}")
def test_a_full_disk_is_said_for_every_format(form: OutputFormat, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    path = tmp_path / "x"
    path.symlink_to("/dev/full")
    with pytest.raises(OutputError) as caught:
        write(noise(500_000), path, form)
    assert caught.value.message == "cannot write: disk full"
    assert "free some space" in (caught.value.hint or "")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EROFS, "read-only file system"),
        (errno.EACCES, "permission denied"),
        (errno.EFBIG, "larger than the file system allows"),
        (errno.EIO, "input/output error"),
    ],
)
def test_each_reason_of_the_system_becomes_one_line_with_a_remedy(number: int, reason: str):
    error = output_error(Path("out/vocals.wav"), OSError(number, os.strerror(number)))
    assert str(error).startswith(f"out/vocals.wav: cannot write: {reason}; ")


def test_a_folder_that_is_missing_is_said(tmp_path: Path):
    with pytest.raises(OutputError, match="its folder does not exist"):
        write(noise(100), tmp_path / "none" / "x", OutputFormat("wav"))


def test_a_folder_in_place_of_the_file_is_said_and_kept(tmp_path: Path):
    (tmp_path / "x").mkdir()
    with pytest.raises(OutputError, match="a folder stands in its place"):
        write(noise(100), tmp_path / "x", OutputFormat("wav"))
    assert (tmp_path / "x").is_dir()


def test_an_error_of_the_source_passes_through_and_nothing_is_left(tmp_path: Path):
    def blocks() -> Iterator[Signal]:
        yield noise(5000)
        raise RuntimeError("the engine failed")

    with pytest.raises(RuntimeError, match="the engine failed"):
        encode(blocks(), tmp_path / "x", format=OutputFormat("mp3"), sample_rate=RATE, channels=2, samples=9000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("promised", [99, 101])
def test_a_count_other_than_promised_is_a_fault_of_the_caller(promised: int, tmp_path: Path):
    with pytest.raises(ValueError, match=f"{promised} samples were promised, 100 came"):
        encode([noise(100)], tmp_path / "x", format=OutputFormat("wav"), sample_rate=RATE, channels=2, samples=promised)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: f"{form.name} {form.depth}")
def test_the_same_samples_give_the_same_bytes_however_they_are_cut(form: OutputFormat, tmp_path: Path):
    signal = noise(50_000)
    for number, length in enumerate((777, 50_000)):
        encode(cut(signal, length), tmp_path / str(number), format=form, sample_rate=RATE, channels=2, samples=50_000)
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


@pytest.mark.parametrize("value", [0.25, 0.0])
def test_a_float_wav_does_not_tell_when_it_was_written(value: float, tmp_path: Path):
    write(np.full((2, 100), value, np.float32), tmp_path / "x", OutputFormat("wav", "float32"))
    content = (tmp_path / "x").read_bytes()
    place = content.index(b"PEAK")
    version, time = struct.unpack("<II", content[place + 8 : place + 16])
    assert (version, time) == (1, 0)


RF64 = """
import sys
from pathlib import Path
import numpy as np
from mss_cli.audio import writers
from mss_cli.audio.encode import encode
from mss_cli.audio.formats import OutputFormat
writers.RIFF_HIGHEST_BYTES = 40_000
for samples in (10_000, 10_001):
    blocks = [np.full((2, samples), 0.25, np.float32)]
    encode(blocks, Path(sys.argv[1]) / str(samples), format=OutputFormat("wav"), sample_rate=44100, channels=2,
           samples=samples)
"""


def test_a_wav_beyond_the_limit_becomes_rf64(tmp_path: Path):
    subprocess.run([sys.executable, "-c", RF64, str(tmp_path)], check=True)
    assert (tmp_path / "10000").read_bytes()[:4] == b"RIFF"
    assert (tmp_path / "10001").read_bytes()[:4] == b"RF64"
    info, found = read(tmp_path / "10001")
    assert (info.container, found.shape) == ("rf64", (2, 10_001))
    assert np.all(found == 0.25)
