"""A click stays where it is, through every format in and out."""

from pathlib import Path

import pytest

from clicks import INPUTS, RATE, SAMPLES, click_signal, cut, noise, offset, read, resampled, residual_db
from mss_cli.audio.encode import encode
from mss_cli.audio.formats import OutputFormat

OUTPUTS = {
    "wav int16": (OutputFormat("wav"), -75.0),
    "wav int24": (OutputFormat("wav", "int24"), -120.0),
    "wav float32": (OutputFormat("wav", "float32"), -300.0),
    "flac int16": (OutputFormat("flac"), -75.0),
    "flac int24": (OutputFormat("flac", "int24"), -120.0),
    # What a lossy codec leaves of noise: enough that a shift of one sample (about +3 dB) would fail.
    "mp3": (OutputFormat("mp3"), -6.0),
    "ogg": (OutputFormat("ogg"), -5.0),
    "opus": (OutputFormat("opus"), -3.0),
    "m4a": (OutputFormat("m4a"), -6.0),
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_click_in_an_input_is_decoded_where_it_was(name: str, tmp_path: Path):
    form = INPUTS[name]
    path = tmp_path / "no-suffix-to-guess-from"
    signal = click_signal()
    form.write(path, signal)
    info, found = read(path)
    assert (info.sample_rate, info.channels) == (form.rate, 2)
    assert offset(signal, found) == form.offset
    assert found.shape[1] - SAMPLES == form.longer
    assert info.samples in (None, found.shape[1])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_click_is_encoded_where_it_was_and_the_length_is_exact(name: str, channels: int, tmp_path: Path):
    form, _ = OUTPUTS[name]
    signal = click_signal(channels=channels)
    written = encode(
        cut(signal), tmp_path / "x.part", format=form, sample_rate=RATE, channels=channels, samples=SAMPLES
    )
    info, found = read(written.path)
    expected = resampled(signal, RATE, written.sample_rate)
    assert offset(expected, found) == 0
    assert found.shape == expected.shape == (channels, written.samples)
    assert info.sample_rate == written.sample_rate == form.sample_rate(RATE)
    assert written.bytes == written.path.stat().st_size


@pytest.mark.parametrize("name", OUTPUTS)
def test_noise_comes_back_as_near_as_the_format_allows(name: str, tmp_path: Path):
    form, highest_db = OUTPUTS[name]
    signal = noise(30_000)
    written = encode(cut(signal), tmp_path / "x", format=form, sample_rate=RATE, channels=2, samples=30_000)
    _, found = read(written.path)
    assert residual_db(resampled(signal, RATE, written.sample_rate), found) < highest_db


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("samples", [1, 2, 441, 1152, 1153])
def test_short_signals_keep_their_length_in_every_format(name: str, samples: int, tmp_path: Path):
    form, _ = OUTPUTS[name]
    written = encode([noise(samples)], tmp_path / "x", format=form, sample_rate=RATE, channels=2, samples=samples)
    _, found = read(written.path)
    assert found.shape == (2, written.samples)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 32000, 37800, 48000, 88200, 96000, 192000])
@pytest.mark.parametrize("name", ["wav int16", "flac int16", "mp3", "ogg", "opus", "m4a"])
def test_every_usual_rate_is_held_or_resampled_to_the_nearest(name: str, rate: int, tmp_path: Path):
    form, _ = OUTPUTS[name]
    signal = click_signal(samples=24_001)
    written = encode(cut(signal), tmp_path / "x", format=form, sample_rate=rate, channels=2, samples=24_001)
    info, found = read(written.path)
    expected = resampled(signal, rate, written.sample_rate)
    assert info.sample_rate == written.sample_rate
    assert found.shape == expected.shape
    assert offset(expected, found) == 0
