"""Resampling in blocks equals resampling at once, and the length is exact."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from clicks import click_signal, cut, noise, offset
from mss_cli.audio.resample import Resampler, resample, resampled_length

RATES = [8000, 11025, 22050, 44100, 48000, 96000, 192000]


@given(
    samples=st.integers(0, 3000),
    source=st.sampled_from(RATES),
    target=st.sampled_from(RATES),
    block=st.integers(1, 1500),
    channels=st.integers(1, 2),
)
@settings(max_examples=150, deadline=None)
def test_the_total_length_is_the_rounded_quotient(samples: int, source: int, target: int, block: int, channels: int):
    found = list(resample(cut(noise(samples, channels), block), source, target, channels))
    assert sum(part.shape[1] for part in found) == int(np.floor(samples * target / source + 0.5))
    assert all(part.shape[0] == channels and part.shape[1] for part in found)


@pytest.mark.parametrize(("source", "target"), [(44100, 48000), (48000, 44100), (44100, 22050), (192000, 8000)])
def test_blocks_give_the_bits_of_one_call_of_soxr(source: int, target: int):
    signal = noise(50_001)
    found = np.concatenate(list(resample(cut(signal, 1234), source, target, 2)), axis=1)
    np.testing.assert_array_equal(found.T, soxr.resample(signal.T, source, target, quality="VHQ"))


@pytest.mark.parametrize(("source", "target"), [(44100, 48000), (48000, 44100), (44100, 22050), (22050, 44100)])
def test_a_click_stays_where_it_is(source: int, target: int):
    signal = click_signal()
    there = np.concatenate(list(resample(cut(signal), source, target, 2)), axis=1)
    back = np.concatenate(list(resample(cut(there), target, source, 2)), axis=1)
    assert offset(signal, back) == 0


def test_equal_rates_pass_blocks_untouched():
    block = noise(100)
    assert Resampler(44100, 44100, 2).push(block) is block


def test_a_sine_keeps_its_frequency_and_level():
    time = np.arange(44100) / 44100
    signal = np.sin(2 * np.pi * 1000 * time)[None].astype(np.float32)
    found = np.concatenate(list(resample(cut(signal), 44100, 48000, 1)), axis=1)[0]
    expected = np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)
    np.testing.assert_allclose(found[2000:-2000], expected[2000:-2000], rtol=0, atol=1e-5)


def test_one_sample_at_half_the_rate_is_one_sample_and_at_a_quarter_none():
    assert resampled_length(1, 2, 1) == 1
    assert resampled_length(1, 4, 1) == 0
    assert sum(part.shape[1] for part in resample([noise(1)], 96000, 48000, 2)) == 1


@given(samples=st.integers(1, 2000), rate=st.sampled_from(RATES))
@settings(max_examples=60, deadline=None)
def test_there_and_back_can_end_at_the_length_it_started_from(samples: int, rate: int):
    signal = noise(samples)
    there = np.concatenate([np.zeros((2, 0), np.float32), *resample([signal], rate, 44100, 2)], axis=1)
    back = Resampler(44100, rate, 2)
    first = back.push(there)
    if first.shape[1] <= samples:
        assert first.shape[1] + back.flush(samples).shape[1] == samples


def test_a_total_that_was_passed_already_is_refused():
    resampler = Resampler(44100, 44100, 1)
    resampler.push(noise(100, 1))
    with pytest.raises(ValueError, match="100 samples were given out already"):
        resampler.flush(99)
