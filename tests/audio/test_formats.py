"""Formats know what they can hold; choices that cannot be are refused with a remedy."""

import subprocess
import sys

import pytest

from mss_cli.audio.extensions import AUDIO_EXTENSIONS, VIDEO_EXTENSIONS
from mss_cli.audio.formats import DEPTHS, FORMATS, OutputFormat, output_format
from mss_cli.errors import ExitCode, UsageError


@pytest.mark.parametrize(
    ("name", "rate", "expected"),
    [
        ("wav", 1_000_000, 1_000_000),
        ("wav", 8000, 8000),
        ("flac", 192000, 192000),
        ("flac", 65537, 65540),
        ("flac", 705600, 655350),
        ("mp3", 44100, 44100),
        ("mp3", 96000, 48000),
        ("mp3", 4000, 8000),
        ("mp3", 37800, 32000),
        ("mp3", 46050, 48000),  # as near to 44100: the higher one
        ("m4a", 96000, 96000),
        ("m4a", 192000, 96000),
        ("stem.mp4", 50000, 48000),
        ("opus", 44100, 48000),
        ("opus", 8000, 48000),
        ("ogg", 37800, 37800),
        ("ogg", 384000, 192000),
    ],
)
def test_the_nearest_rate_is_chosen(name: str, rate: int, expected: int):
    assert output_format(name).sample_rate(rate) == expected


@pytest.mark.parametrize(
    ("name", "depth", "bitrate", "message"),
    [
        ("aiff", None, None, "no output format `aiff`; choose one of wav, flac"),
        ("wav", "int8", None, "no sample type `int8`; choose one of int16"),
        ("flac", "float32", None, "flac holds integers only; use `int24`"),
        ("wav", None, 128_000, "wav is lossless and has no bit rate; leave out"),
        ("flac", "int16", 128_000, "flac is lossless and has no bit rate; leave out"),
        ("mp3", "int16", None, "mp3 has no sample type to choose; leave out"),
        ("mp3", None, 500_000, "mp3 cannot have 500000 bit/s; choose a bit rate from 32k to 320k"),
        ("opus", None, 128, "opus cannot have 128 bit/s; choose a bit rate from 6k to 510k"),
    ],
)
def test_combinations_that_cannot_be_are_refused(name: str, depth: str | None, bitrate: int | None, message: str):
    with pytest.raises(UsageError) as caught:
        output_format(name, depth, bitrate)
    assert str(caught.value).startswith(message)
    assert caught.value.code is ExitCode.USAGE


def test_only_float_wav_is_float():
    floats = [(name, depth) for name in FORMATS for depth in DEPTHS if OutputFormat(name, depth).is_float]
    assert floats == [("wav", "float32")]


@pytest.mark.parametrize("name", FORMATS)
def test_the_extension_is_the_name(name: str):
    assert output_format(name).extension == name


def test_lossy_formats_have_a_default_bit_rate_and_lossless_ones_none():
    rates = {name: output_format(name).effective_bitrate for name in FORMATS}
    assert rates["wav"] is None
    assert rates["flac"] is None
    assert all(rates[name] for name in ("mp3", "ogg", "opus", "m4a", "stem.mp4"))
    assert output_format("mp3", None, 128_000).effective_bitrate == 128_000


def test_extensions_are_lower_case_with_a_dot():
    assert all(e.startswith(".") and e == e.lower() for e in AUDIO_EXTENSIONS | VIDEO_EXTENSIONS)
    assert not AUDIO_EXTENSIONS & VIDEO_EXTENSIONS


@pytest.mark.parametrize("module", ["formats", "extensions", "access"])
def test_cheap_modules_import_no_library(module: str):
    code = (
        f"import sys, mss_cli.audio.{module}\n"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'soundfile', 'av', 'soxr', 'torch')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
